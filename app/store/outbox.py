"""What each portal has to be told: newest status per message, never backwards, not too early."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from app.config import Timing
from app.domain.portals import PortalState
from app.domain.status import MessageStatus, word_for_portal
from app.store.database import AnyRow, statement, writing
from app.store.rows import add_event
from app.store.secrets import secret_box
from app.store.tables import messages, portals

# Pauses after "message not found": the portal may store the id only after it has called us.
NOT_FOUND_PAUSES_S = (10, 30, 60, 120, 180)


@dataclass(frozen=True)
class Push:
    """One status to tell: `word` for the portal's `message_id`."""

    row_id: int
    message_id: str
    sender_code: str
    word: MessageStatus
    status: MessageStatus
    received_at: datetime
    not_found_since: datetime | None
    tries: int
    author_id: str
    due_at: datetime


def push_due(
    row: AnyRow,
    status: MessageStatus,
    now: datetime,
    timing: Timing,
    *,
    is_resend: bool | None = None,
) -> dict[str, Any]:
    """The columns to write beside a new status, so that the portal hears of it in time.

    The portal overwrites what it hears in its first seconds, and other words may follow at once, so the
    push waits a little; see bitrix24 contract 5.6 on both races.
    """
    if row.origin != "portal":
        return {}
    told = MessageStatus(row.told) if row.told else None
    again = row.is_resend if is_resend is None else is_resend
    if word_for_portal(status, told=told, is_resend=again) is None:
        return {}
    due_at = max(now + timing.span("push_fill_s"), row.received_at + timing.span("first_push_s"))
    return {"push_due_at": due_at, "push_tries": 0}


def due_pushes(portal_id: int, *, now: datetime, limit: int) -> list[Push]:
    """The oldest due statuses of one portal."""
    query = (
        sa.select(messages)
        .where(messages.c.portal_id == portal_id, messages.c.push_due_at <= now)
        .order_by(messages.c.push_due_at)
        .limit(limit)
    )
    with statement() as connection:
        rows = connection.execute(query).all()
    return [_push(row) for row in rows]


def due_with_author(portal_id: int, *, now: datetime, limit: int) -> list[tuple[Push, str]]:
    """The oldest due statuses whose message came with its author's own token, as long as that lives."""
    query = (
        sa.select(messages, portals.c.member_id)
        .join(portals, portals.c.id == messages.c.portal_id)
        .where(
            messages.c.portal_id == portal_id,
            messages.c.push_due_at <= now,
            messages.c.author_token_until > now,
            messages.c.author_token != "",
        )
        .order_by(messages.c.push_due_at)
        .limit(limit)
    )
    with statement() as connection:
        rows = connection.execute(query).all()
    return [(_push(row), secret_box().open(row.member_id, row.author_token)) for row in rows]


def _push(row: AnyRow) -> Push:
    status = MessageStatus(row.status)
    told = MessageStatus(row.told) if row.told else None
    # A due row whose word was told already is the repeat of a final word that was told very early.
    word = word_for_portal(status, told=told, is_resend=row.is_resend) or told or status
    return Push(
        row_id=row.id,
        message_id=row.message_id,
        sender_code=row.sender_code,
        word=word,
        status=status,
        received_at=row.received_at,
        not_found_since=row.not_found_since,
        tries=row.push_tries,
        author_id=row.author_id,
        due_at=row.push_due_at,
    )


def keep_lease(portal_id: int, lease: str, *, until: datetime) -> bool:
    """Hold on to the right to tell this portal; False when it was lost meanwhile."""
    with writing() as connection:
        return bool(
            connection.execute(
                sa.update(portals)
                .where(portals.c.id == portal_id, portals.c.push_lease == lease)
                .values(push_lease_until=until)
            ).rowcount
        )


def record_told(pushes: Sequence[Push], *, now: datetime, timing: Timing) -> None:
    """These words were told. A final word told in the first minute is told once more after it."""
    with writing() as connection:
        for push in pushes:
            minute = push.received_at + timing.span("push_repeat_s")
            again = minute if push.word.is_final and now < minute else None
            _after_push(
                connection, push, again, told=push.word, told_at=now, not_found_since=None, push_tries=0
            )
            add_event(connection, push.row_id, now, "told", push.word)


def record_not_found(push: Push, *, now: datetime, timing: Timing) -> None:
    """The portal does not know the message: not yet, or not any more. Try for some minutes, then stop."""
    since = push.not_found_since or now
    limit = timing.span("push_not_found_s")
    pause = NOT_FOUND_PAUSES_S[min(push.tries, len(NOT_FOUND_PAUSES_S) - 1)]
    # Tests shrink the whole, so shrink the pauses alike.
    next_try = now + timedelta(seconds=pause) * (limit / timedelta(seconds=600))
    with writing() as connection:
        if now - since >= limit:
            _after_push(connection, push, None)
            add_event(connection, push.row_id, now, "not_told", "the portal does not know this message")
        else:
            _after_push(connection, push, next_try, not_found_since=since, push_tries=push.tries + 1)


def record_push_failed(push: Push, why: str, *, next_try: datetime | None, now: datetime) -> None:
    """This one could not be told: again at `next_try`, or never."""
    with writing() as connection:
        _after_push(connection, push, next_try, push_tries=push.tries + 1)
        if next_try is None:
            add_event(connection, push.row_id, now, "not_told", why)


def _after_push(connection: sa.Connection, push: Push, next_due: datetime | None, **values: Any) -> None:
    """Write the result. A status that changed while we told the old one is due, also when another
    worker has told the new one meanwhile: ours may have been the last that the portal heard."""
    unchanged = messages.c.status == push.status
    now_at_latest = sa.func.coalesce(messages.c.push_due_at, push.due_at)
    connection.execute(
        sa.update(messages)
        .where(messages.c.id == push.row_id)
        .values(push_due_at=sa.case((unchanged, next_due), else_=now_at_latest), **values)
    )


def drop_stale(*, now: datetime, timing: Timing) -> int:
    """The portal deletes its messages after two weeks: nobody is left to be told."""
    with writing() as connection:
        return connection.execute(
            sa.update(messages)
            .where(
                messages.c.push_due_at.is_not(None),
                messages.c.received_at < now - timing.span("push_give_up_s"),
            )
            .values(push_due_at=None)
        ).rowcount


def portals_to_tell(now: datetime, *, limit: int) -> list[int]:
    """Portals with a due status that may be told now, longest waiting first."""
    query = (
        sa.select(messages.c.portal_id)
        .join(portals, portals.c.id == messages.c.portal_id)
        .where(
            messages.c.push_due_at <= now,
            portals.c.state.in_([state for state in PortalState if state.can_be_told]),
            sa.or_(portals.c.push_lease_until.is_(None), portals.c.push_lease_until <= now),
            sa.or_(portals.c.push_paused_until.is_(None), portals.c.push_paused_until <= now),
        )
        .group_by(messages.c.portal_id)
        .order_by(sa.func.min(messages.c.push_due_at))
        .limit(limit)
    )
    with statement() as connection:
        return list(connection.scalars(query))


def next_push_at(portal_id: int) -> datetime | None:
    with statement() as connection:
        at: datetime | None = connection.scalar(
            sa.select(sa.func.min(messages.c.push_due_at)).where(messages.c.portal_id == portal_id)
        )
    return at


def seconds_to_push(portal_id: int, *, now: datetime) -> float | None:
    """How long until the portal's next status is due; None when nothing is to be told."""
    at = next_push_at(portal_id)
    return max(0.0, (at - now).total_seconds()) if at is not None else None


def count_due(portal_id: int, moment: datetime) -> int:
    """How many statuses are due by `moment`."""
    with statement() as connection:
        return int(
            connection.scalar(
                sa.select(sa.func.count()).where(
                    messages.c.portal_id == portal_id, messages.c.push_due_at <= moment
                )
            )
            or 0
        )
