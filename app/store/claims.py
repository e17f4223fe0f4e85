"""The queue: a due message is taken by one worker at a time, for as long as its lease lasts, or put off."""

from __future__ import annotations

import secrets as random_source
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from app.domain import life
from app.domain.life import Change, State
from app.domain.messages import Claim, Message, Reason, Work
from app.domain.retry import Timing
from app.domain.status import MessageStatus
from app.store.database import AnyRow, statement, writing
from app.store.rows import locked, message_columns, message_of, state_of, write
from app.store.tables import attempts, messages


def due(row_id: int, work: Work, *, now: datetime) -> Message | None:
    """The message when it really waits for this work now; a hint alone proves nothing."""
    query = sa.select(*message_columns()).where(
        messages.c.id == row_id, messages.c.work == work, messages.c.due_at <= now
    )
    with statement() as connection:
        row = connection.execute(query).first()
    return message_of(row) if row else None


def some_due(portal_id: int, *, now: datetime, limit: int) -> list[int]:
    """Messages of one portal that could be submitted now, those that wait longest."""
    query = (
        sa.select(messages.c.id)
        .where(messages.c.portal_id == portal_id, messages.c.due_at <= now, messages.c.work == Work.QUEUED)
        .order_by(messages.c.due_at)
        .limit(limit)
    )
    with statement() as connection:
        return list(connection.scalars(query))


def count_queued(portal_id: int) -> int:
    """How many messages of this portal are still to be submitted."""
    query = sa.select(sa.func.count()).where(
        messages.c.portal_id == portal_id, messages.c.due_at.is_not(None), messages.c.work == Work.QUEUED
    )
    with statement() as connection:
        return connection.scalar(query) or 0


WAIT_TOGETHER = 500  # more of them would keep SQLite's other writers waiting


# --- the claim ---


def claim(
    message: Message,
    *,
    account_id: int,
    gateway: str,
    recipient: str,
    encoding: str,
    segments: int,
    now: datetime,
    timing: Timing,
) -> Claim | None:
    """Take a due message for submission; None when another worker was faster.

    After an unknown outcome the same attempt is called again under its reference; else a new one begins.
    """
    lease = random_source.token_hex(16)
    with writing() as connection:
        row = locked(connection, message.id)
        if row is None or row.work != Work.QUEUED or row.due_at is None or row.due_at > now:
            return None
        attempt, step = _attempt_for_call(connection, row, account_id, gateway, now)
        taken = replace(life.claimed(state_of(row), lease, now, timing), attempt_id=attempt.id)
        write(
            connection,
            row,
            Change(taken, (("submitting", step),)),
            now,
            account_id=account_id,
            recipient=recipient,
            encoding=encoding,
            segments=segments,
            attempts=attempt.number,
        )
        changed = connection.execute(sa.select(messages).where(messages.c.id == row.id)).one()
    return _claim_of(changed, attempt, lease)


def _claim_of(row: AnyRow, attempt: AnyRow, lease: str) -> Claim:
    return Claim(
        message=message_of(row),
        lease=lease,
        attempt_id=attempt.id,
        reference=attempt.reference,
        calls=attempt.calls,
        tries=row.tries,
        portal_id=row.portal_id,
        account_id=attempt.account_id,
    )


def _attempt_for_call(
    connection: Connection, row: AnyRow, account_id: int, gateway: str, now: datetime
) -> tuple[AnyRow, str]:
    """The attempt, and what the timeline says of it."""
    found = (
        attempts.c.id,
        attempts.c.number,
        attempts.c.reference,
        attempts.c.calls,
        attempts.c.account_id,
    )
    again = connection.execute(
        sa.update(attempts)
        .where(
            attempts.c.id == row.attempt_id,
            attempts.c.message_row_id == row.id,
            attempts.c.outcome == "unknown",
            attempts.c.account_id == account_id,
        )
        .values(calls=attempts.c.calls + 1, finished_at=None)
        .returning(*found)
    ).first()
    if again is not None:
        return again, f"again as {again.reference}"
    attempt = connection.execute(
        sa.insert(attempts)
        .values(
            message_row_id=row.id,
            number=row.attempts + 1,
            account_id=account_id,
            gateway=gateway,
            reference=random_source.token_urlsafe(12),
            calls=1,
            started_at=now,
        )
        .returning(*found)
    ).one()
    return attempt, attempt.reference


def give_back(claim: Claim, *, now: datetime) -> bool:
    """The call was never made: the message is due again, and the attempt did not happen."""
    with writing() as connection:
        row = locked(connection, claim.message.id)
        change = life.given_back(state_of(row), claim, now) if row is not None else None
        if row is None or change is None:
            return False
        values = {"outcome": "not_made"} if claim.calls == 1 else {"calls": claim.calls - 1}
        connection.execute(
            sa.update(attempts).where(attempts.c.id == claim.attempt_id).values(finished_at=now, **values)
        )
        write(connection, row, change, now)
    return True


def lost_claim(row_id: int, *, now: datetime) -> Claim | None:
    """A claim that has run out; None when its outcome was recorded meanwhile."""
    with statement() as connection:
        row = connection.execute(
            sa.select(messages).where(
                messages.c.id == row_id, messages.c.work == Work.SUBMITTING, messages.c.due_at <= now
            )
        ).first()
        if row is None:
            return None
        attempt = connection.execute(sa.select(attempts).where(attempts.c.id == row.attempt_id)).one()
    return _claim_of(row, attempt, row.lease)


def open_question(row_id: int) -> tuple[Claim, datetime, int] | None:
    """A message whose outcome is unknown: its last call, when that began, and how often we asked for it."""
    with statement() as connection:
        row = connection.execute(
            sa.select(messages).where(
                messages.c.id == row_id,
                messages.c.work == Work.WAITING,
                messages.c.status == MessageStatus.UNKNOWN,
            )
        ).first()
        if row is None:
            return None
        attempt = connection.execute(sa.select(attempts).where(attempts.c.id == row.attempt_id)).first()
        if attempt is None or attempt.outcome != "unknown":
            return None
    return _claim_of(row, attempt, ""), attempt.finished_at or attempt.started_at, row.polls


# --- not now


def put_off(
    row_id: int,
    reason: Reason,
    text: str,
    *,
    until: datetime,
    now: datetime,
    slot_at: datetime | None = None,
) -> None:
    """Not now: no gateway, a stopped account, or not its turn. The row stays queued and says why."""
    _write_queued(row_id, lambda state: life.put_off(state, reason, text, until, slot_at=slot_at), now)


def stop_repeating(row_id: int, *, now: datetime) -> None:
    """An unknown outcome that must not be repeated any more: only a report or the deadline ends it."""
    _write_queued(row_id, life.not_repeated, now)


def _write_queued(row_id: int, event: Callable[[State], Change | None], now: datetime) -> None:
    with writing() as connection:
        row = locked(connection, row_id)
        change = event(state_of(row)) if row is not None else None
        if row is not None and change is not None:
            write(connection, row, change, now)


def all_wait_in_queue(message: Message, *, until: datetime) -> None:
    """Not this one and none of those that wait for the same gateway: it is silent.

    Many at once, so that a long queue costs the other portals no time: each would be written by itself else,
    every time that its turn comes.
    """
    column = messages.c
    end: sa.ColumnElement[Any] = column.expires_at
    if message.status is MessageStatus.UNKNOWN:
        end = sa.case((column.deadline_at < column.expires_at, column.deadline_at), else_=column.expires_at)
    with writing() as connection:
        found = _waiting_like(connection, message, column.due_at <= until)
        connection.execute(
            sa.update(messages)
            .where(column.id.in_(found), column.work == Work.QUEUED)
            .values(
                due_at=sa.case((end < until, end), else_=until),
                hinted_at=None,
                slot_at=None,
                reason=Reason.NONE,
                reason_text="",
            )
        )


def all_may_go(message: Message, *, now: datetime) -> None:
    """The gateway answers again: those that were put off with this one need not wait for their time."""
    column = messages.c
    put_off = (column.due_at > now, column.slot_at.is_(None), column.reason == "", column.reason_text == "")
    with writing() as connection:
        found = _waiting_like(connection, message, *put_off)
        connection.execute(
            sa.update(messages)
            .where(column.id.in_(found), column.work == Work.QUEUED)
            .values(due_at=now, hinted_at=None)
        )


def _waiting_like(connection: Connection, message: Message, *more: sa.ColumnElement[bool]) -> Sequence[int]:
    """Those in the queue for the same gateway, some at a time; locked where rows have locks."""
    column = messages.c
    query = sa.select(column.id).where(
        column.portal_id == message.portal_id,
        column.work == Work.QUEUED,
        column.status == message.status,
        *more,
    )
    if message.status is MessageStatus.UNKNOWN:  # these stay with their gateway, whatever the portal's is now
        query = query.where(column.account_id == message.account_id)
    # Several workers may come to this at once.
    query = query.order_by(column.due_at).limit(WAIT_TOGETHER).with_for_update(skip_locked=True)
    return connection.scalars(query).all()
