"""Messages: found, ended and woken by our own decision. What gateways say is in `outcomes` and `reports`."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import sqlalchemy as sa

from app.domain import life
from app.domain.audit import Action
from app.domain.messages import Message, Reason, Work
from app.domain.retry import Timing
from app.domain.status import MessageStatus
from app.store import audit
from app.store.database import statement, writing
from app.store.database.secrets import secret_box
from app.store.messages.acceptance import NOTHING_KEPT
from app.store.messages.rows import (
    apply_event,
    lock_in_order,
    locked,
    locked_where,
    message_columns,
    message_of,
    state_of,
    write,
    write_all,
)
from app.store.tables import messages


def finish(
    seen: Message,
    status: MessageStatus,
    reason: Reason,
    text: str,
    *,
    now: datetime,
    timing: Timing,
) -> bool:
    """End a message by our own decision, if it is still where the caller saw it: a report may have come."""
    more = NOTHING_KEPT if reason is Reason.UNINSTALLED else {}  # the HANDLER had not heard of it yet
    return apply_event(
        seen.id,
        lambda state: life.ended(state, status, reason, text, now, timing),
        now,
        seen=seen,
        action=Action.MESSAGE_ENDED if audit.is_a_person() else None,
        **more,
    )


def close_without_report(row_id: int, *, now: datetime) -> bool:
    """The gateway took it and never said more: closed as sent; a failure would be a guess."""
    return apply_event(row_id, life.no_report, now)


def next_poll(row_id: int, at: datetime | None, *, now: datetime) -> None:
    """Nothing final yet: ask again at `at`, or only wait for the deadline."""
    apply_event(row_id, lambda state: life.polled(state, at), now)


def note_exception(row_id: int, why: str, *, now: datetime, timing: Timing) -> bool:
    """A job failed at this message by an error of ours. True when it is a dead letter now."""
    with writing() as connection:
        row = locked(connection, row_id)
        change = life.failed_by_us(state_of(row), why, now, timing) if row is not None else None
        if row is None or change is None:
            return False
        write(connection, row, change, now)
    return bool(change.steps)


TOGETHER = 500  # more of them in one commit would keep others waiting


def wake_account(account_id: int | None, portal_id: int, *, now: datetime) -> None:
    """Messages that wait for a gateway are due again: it was connected, repaired or probed well."""
    column = messages.c
    mine = [
        column.portal_id == portal_id,
        column.work == Work.QUEUED,
        column.reason.in_([Reason.NO_GATEWAY, Reason.ACCOUNT_STOPPED, Reason.PAUSED]),
    ]
    if account_id is not None:
        mine.append(sa.or_(column.account_id == account_id, column.account_id.is_(None)))
    while True:
        with writing() as connection:
            rows = locked_where(connection, *mine, limit=TOGETHER)
            write_all(connection, [(row, life.woken(state_of(row), now)) for row in rows], now)
        if len(rows) < TOGETHER:
            return


def end_unsent(portal_id: int, *, up_to: int, now: datetime, timing: Timing) -> None:
    """The app was removed: what was not submitted is over. `up_to` is the last row of that installation."""
    of_then = sa.and_(messages.c.portal_id == portal_id, messages.c.id <= up_to)
    unsent = messages.c.work.in_([Work.QUEUED, Work.HELD])
    while True:
        with writing() as connection:
            rows = locked_where(connection, of_then, unsent, limit=TOGETHER)
            changes = [(row, life.uninstalled(state_of(row), now, timing)) for row in rows]
            write_all(connection, changes, now)
        if len(rows) < TOGETHER:
            break
    with_token = sa.and_(of_then, messages.c.author_token != "")
    with writing() as connection:
        lock_in_order(connection, with_token)
        connection.execute(
            sa.update(messages).where(with_token).values(author_token="", author_token_until=None)
        )


# --- the sweeper's and the readers' view ---


def lost_leases(now: datetime, *, limit: int) -> list[int]:
    """Claims that have run out: their workers died or sleep."""
    query = (
        sa.select(messages.c.id)
        .where(messages.c.due_at <= now, messages.c.work == Work.SUBMITTING)
        .order_by(messages.c.due_at)
        .limit(limit)
    )
    with statement() as connection:
        return list(connection.scalars(query))


def neglected(now: datetime, *, timing: Timing, limit: int) -> list[tuple[int, Work]]:
    """Due rows that are looked after one by one, whose hint is missing or old, each portal in turn; they are
    marked as hinted."""
    turn = sa.func.row_number().over(partition_by=messages.c.portal_id, order_by=messages.c.due_at)
    waiting = (
        sa.select(messages.c.id, messages.c.work, turn.label("turn"))
        .where(
            messages.c.due_at <= now,
            messages.c.work.in_([Work.HELD, Work.WAITING]),
            sa.or_(messages.c.hinted_at.is_(None), messages.c.hinted_at <= now - timing.span("rehint_s")),
        )
        .subquery()
    )
    with writing() as connection:
        rows = connection.execute(
            sa.select(waiting.c.id, waiting.c.work).order_by(waiting.c.turn, waiting.c.id).limit(limit)
        ).all()
        if rows:
            mine = messages.c.id.in_([row.id for row in rows])
            lock_in_order(connection, mine)
            connection.execute(sa.update(messages).where(mine).values(hinted_at=now))
    return [(row.id, Work(row.work)) for row in rows]


def find(portal_id: int, message_id: str) -> Message | None:
    return _first(messages.c.portal_id == portal_id, messages.c.message_id == message_id)


def by_row(portal_id: int, row_id: int) -> Message | None:
    return _first(messages.c.portal_id == portal_id, messages.c.id == row_id)


def by_number(row_id: int) -> Message | None:
    """Of whatever portal: for the operator alone."""
    return _first(messages.c.id == row_id)


def _first(*conditions: sa.ColumnElement[bool]) -> Message | None:
    with statement() as connection:
        row = connection.execute(sa.select(*message_columns()).where(*conditions)).first()
    return message_of(row) if row else None


COUNTED_AT_MOST = 20_000  # a million messages may wait for their reports, and somebody asks every few seconds


def backlog(portal_id: int | None = None) -> dict[str, int]:
    """How many messages are at each kind of work, and how many statuses wait to be told. Of very many only
    those that are due first are counted."""
    mine = [messages.c.portal_id == portal_id] if portal_id is not None else []
    due_first = _first_of(messages.c.due_at, *mine)
    told_first = _first_of(messages.c.push_due_at, *mine)
    with statement() as connection:
        by_work = connection.execute(sa.select(due_first.c.work, sa.func.count()).group_by(due_first.c.work))
        result = {str(work): int(count) for work, count in by_work}
        result["to_tell"] = connection.scalar(sa.select(sa.func.count()).select_from(told_first)) or 0
    return result


def _first_of(due: sa.Column[Any], *mine: sa.ColumnElement[bool]) -> sa.Subquery:
    query = sa.select(messages.c.work).where(due.is_not(None), *mine)
    return query.order_by(due).limit(COUNTED_AT_MOST).subquery()


def author_token(row_id: int, member_id: str, *, now: datetime) -> str:
    """The author's own access token while it lives, else empty: they may tell of their own message."""
    query = sa.select(messages.c.author_token).where(
        messages.c.id == row_id, messages.c.author_token_until > now
    )
    with statement() as connection:
        sealed = connection.scalar(query)
    return secret_box().open(member_id, sealed or "")
