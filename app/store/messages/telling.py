"""What each portal has to be told: newest status per message, never backwards, not too early."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa

from app.domain import life
from app.domain.life import COLUMNS, Change, State
from app.domain.portals import PortalState
from app.domain.retry import Timing
from app.domain.status import MessageStatus
from app.store import leases
from app.store.database import AnyRow, statement, writing
from app.store.database.secrets import secret_box
from app.store.messages.rows import lock_in_order, locked_rows, state_of, write_all
from app.store.tables import messages, portals


@dataclass(frozen=True)
class Push:
    """One status to tell: `word` for the portal's `message_id`."""

    row_id: int
    portal_id: int
    message_id: str
    sender_code: str
    word: MessageStatus | None  # None: there is nothing that it may hear
    status: MessageStatus
    received_at: datetime
    not_found_since: datetime | None
    tries: int
    author_id: str
    due_at: datetime


_PUSHED = ("id", "portal_id", "message_id", "sender_code", "author_id", *COLUMNS)
_DUE = (
    sa.select(*(messages.c[name] for name in _PUSHED))
    .where(messages.c.portal_id == sa.bindparam("portal"), messages.c.push_due_at <= sa.bindparam("now"))
    .order_by(messages.c.push_due_at)
    .limit(sa.bindparam("most"))
)


def due_pushes(portal_id: int, *, now: datetime, limit: int) -> list[Push]:
    """The oldest due statuses of one portal."""
    with statement() as connection:
        rows = connection.execute(_DUE, {"portal": portal_id, "now": now, "most": limit}).all()
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
    state = state_of(row)
    return Push(
        row_id=row.id,
        portal_id=row.portal_id,
        message_id=row.message_id,
        sender_code=row.sender_code,
        word=life.word_to_tell(state),
        status=state.status,
        received_at=row.received_at,
        not_found_since=row.not_found_since,
        tries=row.push_tries,
        author_id=row.author_id,
        due_at=row.push_due_at,
    )


def record_told(pushes: Sequence[Push], *, now: datetime, timing: Timing) -> None:
    """These words were told. A message that was forgotten meanwhile takes nothing from the others."""

    def told(state: State, push: Push) -> Change | None:
        return life.told(state, push.word, push.status, push.due_at, now, timing) if push.word else None

    _write_pushed(pushes, told, now)


def record_nothing_to_tell(pushes: Sequence[Push], *, now: datetime) -> None:
    """These were due for a word that the portal must not hear."""
    _write_pushed(
        pushes, lambda state, push: life.nothing_to_tell(state) if state.status is push.status else None, now
    )


def record_no_answer(pushes: Sequence[Push], *, now: datetime) -> None:
    """The portal may still carry out what we called, whenever it likes."""
    _write_pushed(pushes, lambda state, _push: life.not_answered(state), now)


def record_not_found(push: Push, *, now: datetime, timing: Timing) -> None:
    """The portal does not know the message: not yet, or not any more. Try for some minutes, then stop."""
    _write_pushed(
        [push], lambda state, push: life.not_found(state, push.status, push.due_at, now, timing), now
    )


def record_push_failed(push: Push, why: str, *, next_try: datetime | None, now: datetime) -> None:
    """This one could not be told: again at `next_try`, or never."""
    _write_pushed(
        [push], lambda state, push: life.not_told(state, push.status, push.due_at, why, next_try), now
    )


def _write_pushed(
    pushes: Sequence[Push], event: Callable[[State, Push], Change | None], now: datetime
) -> None:
    if not pushes:
        return
    of_row = {push.row_id: push for push in pushes}
    with writing() as connection:
        rows = locked_rows(connection, of_row)
        changes = []
        for row in rows:
            push = of_row[row.id]
            if row.portal_id == push.portal_id and (change := event(state_of(row), push)) is not None:
                changes.append((row, change))
        write_all(connection, changes, now)


def drop_stale(*, now: datetime, timing: Timing) -> int:
    """The portal deletes its messages after two weeks: nobody is left to be told."""
    stale = sa.and_(
        messages.c.push_due_at.is_not(None),
        messages.c.received_at < now - timing.span("push_give_up_s"),
    )
    with writing() as connection:
        lock_in_order(connection, stale)
        return connection.execute(sa.update(messages).where(stale).values(push_due_at=None)).rowcount


def portals_to_tell(now: datetime, *, limit: int) -> list[int]:
    """Portals with a due status that may be told now, longest waiting first."""
    query = (
        sa.select(messages.c.portal_id)
        .join(portals, portals.c.id == messages.c.portal_id)
        .where(
            messages.c.push_due_at <= now,
            portals.c.state.in_([state for state in PortalState if state.can_be_told]),
            leases.is_free(portals, "push", now),
            sa.or_(portals.c.push_paused_until.is_(None), portals.c.push_paused_until <= now),
        )
        .group_by(messages.c.portal_id)
        .order_by(sa.func.min(messages.c.push_due_at))
        .limit(limit)
    )
    with statement() as connection:
        return list(connection.scalars(query))


_NEXT = sa.select(sa.func.min(messages.c.push_due_at)).where(messages.c.portal_id == sa.bindparam("portal"))


def next_push_at(portal_id: int) -> datetime | None:
    with statement() as connection:
        at: datetime | None = connection.scalar(_NEXT, {"portal": portal_id})
    return at


def seconds_to_push(portal_id: int, *, now: datetime) -> float | None:
    """How long until the portal's next status is due; None when nothing is to be told."""
    at = next_push_at(portal_id)
    return max(0.0, (at - now).total_seconds()) if at is not None else None


_COUNT_DUE = sa.select(sa.func.count()).where(
    messages.c.portal_id == sa.bindparam("portal"), messages.c.push_due_at <= sa.bindparam("moment")
)


def count_due(portal_id: int, moment: datetime) -> int:
    """How many statuses are due by `moment`."""
    with statement() as connection:
        return int(connection.scalar(_COUNT_DUE, {"portal": portal_id, "moment": moment}) or 0)
