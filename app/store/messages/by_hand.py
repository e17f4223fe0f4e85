"""What a person decides about messages: sent again, resolved, cancelled, or unsure after a restore."""

from __future__ import annotations

from datetime import datetime, timedelta

import sqlalchemy as sa

from app.domain import life
from app.domain.audit import Action
from app.domain.messages import Message, Reason, Work
from app.domain.portals import PortalSettings
from app.domain.retry import Timing
from app.domain.status import MessageStatus
from app.store import audit
from app.store.database import statement, writing
from app.store.messages.rows import (
    apply_event,
    locked_where,
    message_columns,
    message_of,
    state_of,
    write_all,
)
from app.store.tables import NEEDS_ATTENTION, messages, portals


def resolve(seen: Message, status: MessageStatus, *, now: datetime, timing: Timing) -> bool:
    """A person found out what became of an unknown outcome. False when it is not what they saw (any more)."""
    return apply_event(
        seen.id,
        lambda state: life.resolved(state, status, now, timing),
        now,
        seen=seen,
        action=Action.MESSAGE_RESOLVED,
    )


def cancel(seen: Message, *, now: datetime, timing: Timing) -> bool:
    """A person does not want it sent any more. False when it is not what they saw (any more)."""
    return apply_event(
        seen.id,
        lambda state: life.cancelled(state, now, timing),
        now,
        seen=seen,
        action=Action.MESSAGE_ENDED,
    )


def resend(seen: Message, *, now: datetime, timing: Timing) -> bool:
    """A new attempt with a fresh ladder; False when the message is not what the person saw any more, so that
    of two clicks one counts."""
    with statement() as connection:
        stored = connection.scalar(sa.select(portals.c.settings).where(portals.c.id == seen.portal_id))
    settings = PortalSettings.from_json(stored or {})
    if life.may_send_again(seen, country=settings.default_country).answer == "no":
        return False
    lifetime = timedelta(seconds=settings.time_to_live_s or timing.time_to_live_s)
    return apply_event(
        seen.id,
        lambda state: life.resent(state, now, timing, lifetime=lifetime),
        now,
        seen=seen,
        action=Action.MESSAGE_SENT_AGAIN,
    )


def end_dead(seen: Message, *, now: datetime, timing: Timing) -> bool:
    """The operator has seen to a dead letter. False when it is none, or not what they saw any more."""
    return apply_event(
        seen.id,
        lambda state: life.dead_ended(state, now, timing),
        now,
        seen=seen,
        action=Action.MESSAGE_ENDED,
    )


def dead_letters(portal_id: int | None = None, *, limit: int) -> list[tuple[str, Message]]:
    """Messages that our own errors ended, with their portals' member ids; the oldest first."""
    query = (
        sa.select(*message_columns(), portals.c.member_id)
        .join(portals, portals.c.id == messages.c.portal_id)
        .where(sa.text(NEEDS_ATTENTION), messages.c.reason == Reason.DEAD_LETTER)
        .order_by(messages.c.id)
        .limit(limit)
    )
    if portal_id is not None:
        query = query.where(messages.c.portal_id == portal_id)
    with statement() as connection:
        return [(row.member_id, message_of(row)) for row in connection.execute(query)]


RESTORED = "restored from a backup"


def mark_unsent_unknown(*, now: datetime, timing: Timing) -> int:
    """After a restore from a backup the rows know nothing of what went out since: count every message that
    was still to be submitted as an unknown outcome; returns how many."""
    unsent = messages.c.work.in_([Work.QUEUED, Work.HELD, Work.SUBMITTING])
    with writing() as connection:
        rows = locked_where(connection, unsent)  # nobody else is at work then
        changes = [(row, life.restored(state_of(row), RESTORED, now, timing)) for row in rows]
        write_all(connection, changes, now)
        audit.record(connection, Action.MESSAGES_DOUBTED, None, after={"messages": len(rows)}, at=now)
    return len(rows)


def count_tests(portal_id: int, author_id: str, *, since: datetime) -> int:
    """Test messages of one administrator since then."""
    query = sa.select(sa.func.count()).where(
        messages.c.portal_id == portal_id,
        messages.c.received_at > since,
        messages.c.origin == "test",
        messages.c.author_id == author_id,
    )
    with statement() as connection:
        return int(connection.scalar(query) or 0)
