"""The queue: due messages are taken for one account, as many as it calls at once, each by its own lease."""

from __future__ import annotations

import secrets as random_source
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import cache
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from app.domain import life
from app.domain.life import COLUMNS, Change
from app.domain.messages import Claim, Message, Work
from app.domain.policy import End, Hold, Send
from app.domain.retry import Timing
from app.domain.status import MessageStatus
from app.domain.texts import TextMeasure
from app.store.database import AnyRow, statement, writing
from app.store.database.many import insert_many
from app.store.messages.rows import FIELDS, locked, message_of, state_of, write, write_all
from app.store.tables import QUEUED, attempts, messages

# The clocks of two machines differ: a hint may come before its time, and nobody gives another one soon.
EARLY = timedelta(seconds=0.25)
AT_ONCE = 200  # messages that one commit holds or ends


@dataclass(frozen=True)
class Ruling:
    """What becomes of a due message; None: an unknown outcome that must not be repeated."""

    decision: Send | Hold | End | None
    size: TextMeasure


@dataclass(frozen=True)
class Taken:
    """`claims` are to be called at once. `looked_at`: how many rows were due; `poison`: rows at which our own
    code failed, with the exception's name."""

    claims: Sequence[Claim] = ()
    looked_at: int = 0
    ended: int = 0
    poison: Mapping[int, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Sending:
    """Whose messages are taken: of the portal's queue those that this account sends."""

    portal_id: int
    account_id: int
    gateway: str
    is_default: bool


def _is_sent_by(account_id: sa.ColumnElement[int], is_default: bool) -> sa.ColumnElement[bool]:
    """An unknown outcome is never taken to a second gateway."""
    column = messages.c
    repeats = sa.and_(column.status == MessageStatus.UNKNOWN, column.account_id == account_id)
    if not is_default:
        return repeats
    return sa.or_(column.status != MessageStatus.UNKNOWN, column.account_id.is_(None), repeats)


def take(
    sending: Sending,
    rule: Callable[[Message], Ruling],
    *,
    limit: int,
    now: datetime,
    timing: Timing,
) -> Taken:
    """Take up to `limit` due messages, single ones before campaigns, oldest first; what our rules hold or end
    is written on the way. One commit, and nothing is taken that is not called at once."""
    asked = {
        "portal": sending.portal_id,
        "account": sending.account_id,
        "before": now + EARLY,
        "most": limit,
    }
    with writing() as connection:
        rows = connection.execute(_due_for(sending.is_default), asked).all()
        return _take(connection, rows, sending, rule, now, timing)


@cache
def _due_for(is_default: bool) -> sa.Select[Any]:
    """Made once: to put it together cost as much as to run it."""
    column = messages.c
    return (
        _columns()
        .where(column.portal_id == sa.bindparam("portal"), sa.text(QUEUED))
        .where(column.due_at <= sa.bindparam("before"), _is_sent_by(sa.bindparam("account"), is_default))
        .order_by(column.lane, column.due_at, column.id)
        .limit(sa.bindparam("most"))
        .with_for_update(skip_locked=True)
    )


def hold_all(portal_id: int, rule: Callable[[Message], Ruling], *, now: datetime, timing: Timing) -> Taken:
    """The same for a portal that no account sends for: nothing is claimed, all of it is held or ended."""
    column = messages.c
    query = (
        _columns()
        .where(column.portal_id == portal_id, column.work == Work.QUEUED, column.due_at <= now + EARLY)
        .where(sa.or_(column.status != MessageStatus.UNKNOWN, column.account_id.is_(None)))
        .order_by(column.due_at)
        .limit(AT_ONCE)
        .with_for_update(skip_locked=True)
    )
    with writing() as connection:
        return _take(connection, connection.execute(query).all(), None, rule, now, timing)


def _columns() -> sa.Select[Any]:
    return sa.select(*(messages.c[name] for name in dict.fromkeys((*FIELDS, *COLUMNS, "id"))))


def _take(
    connection: Connection,
    rows: Sequence[AnyRow],
    sending: Sending | None,
    rule: Callable[[Message], Ruling],
    now: datetime,
    timing: Timing,
) -> Taken:
    going: list[tuple[AnyRow, Message, Send, TextMeasure]] = []
    changes: list[tuple[AnyRow, Change]] = []
    poison: dict[int, str] = {}
    for row in rows:
        message = message_of(row)
        try:
            ruling = rule(message)
        except MemoryError:
            raise  # nobody's fault: all of it stays due
        except Exception as error:  # one message must not keep the others from going
            poison[row.id] = type(error).__name__
            continue
        if isinstance(ruling.decision, Send) and sending is not None:
            going.append((row, message, ruling.decision, ruling.size))
        elif (change := _change_of(row, ruling.decision, now, timing)) is not None:
            changes.append((row, change))
    claims, claimed, more = _claim(connection, going, sending, now, timing) if sending else ([], [], {})
    write_all(connection, [*changes, *claimed], now, more)
    ended = sum(change.state.work is Work.CLOSED for _, change in changes)
    return Taken(claims, len(rows), ended, poison)


def _change_of(row: AnyRow, decision: object, now: datetime, timing: Timing) -> Change | None:
    state = state_of(row)
    match decision:
        case Hold():
            return life.put_off(state, decision.reason, decision.text, decision.until)
        case End():
            failed = MessageStatus.FAILED
            return life.ended(state, failed, decision.reason, decision.text, now, timing)
    return life.not_repeated(state)


def _claim(
    connection: Connection,
    going: Sequence[tuple[AnyRow, Message, Send, TextMeasure]],
    sending: Sending,
    now: datetime,
    timing: Timing,
) -> tuple[list[Claim], list[tuple[AnyRow, Change]], dict[int, dict[str, Any]]]:
    """Claims with their attempts, the changes of their rows, and what else is written to these."""
    claims, changes, more = [], [], {}
    found = _attempts_for(connection, [row for row, *_ in going], sending, now)
    for row, message, send, size in going:
        attempt, is_again = found[row.id]
        lease = random_source.token_hex(16)
        taken = replace(life.claimed(state_of(row), lease, now, timing), attempt_id=attempt.id)
        step = f"again as {attempt.reference}" if is_again else attempt.reference
        changes.append((row, Change(taken, (("submitting", step),))))
        more[row.id] = {
            "account_id": sending.account_id,
            "recipient": send.recipient.number,
            "encoding": size.encoding,
            "segments": size.segments,
            "attempts": attempt.number,
        }
        claims.append(
            Claim(
                message=replace(
                    message,
                    recipient=send.recipient.number,
                    encoding=size.encoding,
                    segments=size.segments,
                    attempts=attempt.number,
                ),
                lease=lease,
                attempt_id=attempt.id,
                reference=attempt.reference,
                calls=attempt.calls,
                tries=taken.tries,
                portal_id=row.portal_id,
                account_id=sending.account_id,
            )
        )
    return claims, changes, more


_ATTEMPT = ("id", "message_row_id", "number", "reference", "calls")


def _attempts_for(
    connection: Connection, rows: Sequence[AnyRow], sending: Sending, now: datetime
) -> dict[int, tuple[AnyRow, bool]]:
    """An attempt for each row: after an unknown outcome the same once more, else a new one."""
    found: dict[int, tuple[AnyRow, bool]] = {}
    open_ids = [row.attempt_id for row in rows if row.attempt_id and row.status == MessageStatus.UNKNOWN]
    if open_ids:
        again = connection.execute(
            sa.update(attempts)
            .where(
                attempts.c.id.in_(open_ids),
                attempts.c.outcome == "unknown",
                attempts.c.account_id == sending.account_id,
            )
            .values(calls=attempts.c.calls + 1, finished_at=None)
            .returning(*(attempts.c[name] for name in _ATTEMPT))
        )
        found = {attempt.message_row_id: (attempt, True) for attempt in again}
    new = [
        {
            "message_row_id": row.id,
            "number": row.attempts + 1,
            "account_id": sending.account_id,
            "gateway": sending.gateway,
            "reference": random_source.token_urlsafe(12),
            "calls": 1,
            "started_at": now,
        }
        for row in rows
        if row.id not in found
    ]
    made = insert_many(connection, attempts, new, returning=_ATTEMPT)
    return found | {attempt.message_row_id: (attempt, False) for attempt in made}


# --- who has work


def portals_with_due(now: datetime, *, limit: int) -> list[int]:
    """Portals with messages to submit, longest waiting first."""
    query = (
        sa.select(messages.c.portal_id)
        .where(messages.c.due_at <= now, messages.c.work == Work.QUEUED)
        .group_by(messages.c.portal_id)
        .order_by(sa.func.min(messages.c.due_at))
        .limit(limit)
    )
    with statement() as connection:
        return list(connection.scalars(query))


@cache
def _any_due_for(is_default: bool) -> sa.Select[Any]:
    column = messages.c
    return (
        sa.select(column.id)
        .where(column.portal_id == sa.bindparam("portal"), sa.text(QUEUED))
        .where(column.due_at <= sa.bindparam("before"), _is_sent_by(sa.bindparam("account"), is_default))
        .limit(1)
    )


def has_due(sending: Sending, now: datetime) -> bool:
    asked = {"portal": sending.portal_id, "account": sending.account_id, "before": now + EARLY}
    with statement() as connection:
        return connection.scalar(_any_due_for(sending.is_default), asked) is not None


def accounts_that_repeat(portal_id: int, now: datetime) -> list[int]:
    """Accounts with unknown outcomes that are due to be submitted once more."""
    column = messages.c
    query = (
        sa.select(column.account_id)
        .where(column.portal_id == portal_id, column.work == Work.QUEUED, column.due_at <= now)
        .where(column.status == MessageStatus.UNKNOWN, column.account_id.is_not(None))
        .distinct()
    )
    with statement() as connection:
        return list(connection.scalars(query))


def due(row_id: int, work: Work, *, now: datetime) -> Message | None:
    """The message when it really waits for this work now; a hint alone proves nothing."""
    query = sa.select(*(messages.c[name] for name in FIELDS)).where(
        messages.c.id == row_id, messages.c.work == work, messages.c.due_at <= now
    )
    with statement() as connection:
        row = connection.execute(query).first()
    return message_of(row) if row else None


# --- what became of a claim that was not answered


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
