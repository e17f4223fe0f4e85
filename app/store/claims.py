"""Claims: a due message is taken by one worker at a time, for as long as its lease lasts."""

from __future__ import annotations

import secrets as random_source
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from app.config import Timing
from app.domain.messages import Claim, Message, Reason, Work
from app.domain.status import MessageStatus
from app.store.closing import close_attempt, set_message
from app.store.database import AnyRow, statement, writing
from app.store.rows import add_event, locked, message_columns, message_of
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
        row = connection.execute(
            sa.update(messages)
            .where(messages.c.id == message.id, messages.c.work == Work.QUEUED, messages.c.due_at <= now)
            .values(
                work=Work.SUBMITTING,
                lease=lease,
                due_at=now + timing.span("lease_s"),
                hinted_at=None,
                slot_at=None,
                tries=messages.c.tries + 1,
                account_id=account_id,
                recipient=recipient,
                encoding=encoding,
                segments=segments,
                reason=Reason.NONE,
                reason_text="",
            )
            .returning(*message_columns(), messages.c.tries, messages.c.attempt_id)
        ).first()
        if row is None:
            return None
        attempt = _attempt_for_call(connection, row, account_id, gateway, now)
    return _claim_of(row, attempt, lease)


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
) -> AnyRow:
    found = (attempts.c.id, attempts.c.reference, attempts.c.calls, attempts.c.account_id)
    again = connection.execute(
        sa.update(attempts)
        .where(
            attempts.c.id == row.attempt_id,
            attempts.c.outcome == "unknown",
            attempts.c.account_id == account_id,
        )
        .values(calls=attempts.c.calls + 1, finished_at=None)
        .returning(*found)
    ).first()
    if again is not None:
        add_event(connection, row.id, now, "submitting", f"again as {again.reference}")
        return again
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
    set_message(connection, row.id, attempt_id=attempt.id, attempts=row.attempts + 1)
    add_event(connection, row.id, now, "submitting", attempt.reference)
    return attempt


def give_back(claim: Claim, *, now: datetime) -> bool:
    """The call was never made: the message is due again, and the attempt did not happen."""
    with writing() as connection:
        row = held_by(connection, claim)
        if row is None:
            return False
        if claim.calls == 1:
            close_attempt(connection, claim.attempt_id, "not_made", now)
        else:
            connection.execute(
                sa.update(attempts)
                .where(attempts.c.id == claim.attempt_id)
                .values(calls=claim.calls - 1, finished_at=now)
            )
        add_event(connection, row.id, now, "given_back")
        set_message(
            connection, row.id, work=Work.QUEUED, lease=None, due_at=now, hinted_at=None, tries=row.tries - 1
        )
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


def held_by(connection: Connection, claim: Claim) -> AnyRow | None:
    """The locked row while this claim holds it."""
    row = locked(connection, claim.message.id)
    return row if row is not None and row.lease == claim.lease and row.work == Work.SUBMITTING else None
