"""Outcomes: what gateways said to claimed messages. `life` decides what an answer is worth.

The outcome is written by whoever holds the lease; an answer that comes after the lease was lost still counts
as evidence, but never over what is known better.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from app.domain import life
from app.domain.life import Answered, AttemptNow, Change, State
from app.domain.messages import Claim
from app.domain.outcomes import Accepted, RefusalKind, Refused
from app.domain.retry import Timing
from app.store.accounts.pace import note_answered
from app.store.database import AnyRow, insert_or_ignore, writing
from app.store.messages.parked import apply_parked
from app.store.messages.rows import close_attempts, locked, locked_where, state_of, write, write_all
from app.store.tables import attempts, messages, parts


@dataclass(frozen=True)
class Recorded:
    """What one answer changed. `is_ours`: the claim decided. `push_due_at`: when the portal is to hear."""

    is_ours: bool
    push_due_at: datetime | None = None


def record(answers: Sequence[Answered], *, now: datetime, timing: Timing) -> list[Recorded]:
    """Write what gateways said, in one commit and in the order of the answers."""
    with writing() as connection:
        rows = _rows_of(connection, answers)
        open_attempts = _attempts_of(connection, answers)
        recorded, changes, ends = [], [], []
        for answer in answers:
            claim = answer.claim
            row, attempt = rows.get(claim.message.id), open_attempts.get(claim.attempt_id)
            change = _change_of(row, answer, attempt, now, timing)
            if row is None or change is None:
                recorded.append(Recorded(False))
                continue
            recorded.append(Recorded(life.holds(state_of(row), claim), change.state.push_due_at))
            changes.append((row, change))
            if change.attempt is not None:
                ends.append((claim.attempt_id, change.attempt))
        close_attempts(connection, ends, now)
        _add_parts(connection, [answer for answer in answers if answer.claim.message.id in rows])
        write_all(connection, changes, now)
        told = apply_parked(connection, answers, now=now, timing=timing)
        for account_id, was_accepted in _answering(answers).items():
            note_answered(connection, account_id, accepted=was_accepted)
    return [
        Recorded(each.is_ours, told.get(answer.claim.message.id, each.push_due_at))
        for each, answer in zip(recorded, answers, strict=True)
    ]


def _rows_of(connection: Connection, answers: Sequence[Answered]) -> dict[int, AnyRow]:
    """The locked rows. A number that another portal's message has got meanwhile is not ours."""
    wanted = {answer.claim.message.id: answer.claim.portal_id for answer in answers}
    rows = locked_where(connection, messages.c.id.in_(wanted))
    return {row.id: row for row in rows if row.portal_id == wanted[row.id]}


def _attempts_of(connection: Connection, answers: Sequence[Answered]) -> dict[int, AttemptNow]:
    """By their ids, as long as they are the ones that our references belong to."""
    references = {answer.claim.attempt_id: answer.claim.reference for answer in answers}
    found = connection.execute(
        sa.select(attempts.c.id, attempts.c.reference, attempts.c.calls, attempts.c.outcome).where(
            attempts.c.id.in_(references)
        )
    )
    return {
        row.id: AttemptNow(row.id, row.calls, row.outcome)
        for row in found
        if row.reference == references[row.id]
    }


def _change_of(
    row: AnyRow | None, answer: Answered, attempt: AttemptNow | None, now: datetime, timing: Timing
) -> Change | None:
    if row is None or attempt is None:
        return None
    return life.answered(state_of(row), answer, attempt, now, timing)


def _add_parts(connection: Connection, answers: Sequence[Answered]) -> None:
    """A gateway that drops repeats answers the second call with the ids of the first."""
    rows = [
        {
            "attempt_id": answer.claim.attempt_id,
            "account_id": answer.claim.account_id,
            "gateway_message_id": gateway_id,
            "status": answer.outcome.status,
            "call": answer.claim.calls,
        }
        for answer in answers
        if isinstance(answer.outcome, Accepted)
        for gateway_id in dict.fromkeys(answer.outcome.ids)
    ]
    if rows:
        connection.execute(insert_or_ignore(connection, parts, "attempt_id", "gateway_message_id"), rows)


def _answering(answers: Sequence[Answered]) -> Mapping[int, bool]:
    """The accounts whose gateways gave a sensible answer, and whether they took something."""
    found: dict[int, bool] = {}
    for answer in answers:
        match answer.outcome:
            case Accepted():
                found[answer.claim.account_id] = True
            case Refused(kind=RefusalKind.PERMANENT) if answer.claim.calls == 1:
                found.setdefault(answer.claim.account_id, False)
    return dict(sorted(found.items()))


# --- the answers to a question that stayed open


def ask_again(claim: Claim, *, at: datetime, resend: bool, now: datetime) -> None:
    """The gateway could not tell: ask once more at `at`, or try the same reference again."""
    _write_asked(claim, lambda state: life.asked(state, at, resend=resend), now)


def stop_asking(claim: Claim, *, now: datetime) -> None:
    """The gateway cannot be asked any more: only a report or the deadline ends the question."""
    _write_asked(claim, life.asked_no_more, now)


def record_never_taken(claim: Claim, refused: Refused, *, now: datetime) -> bool:
    """The gateway, asked later, does not know our reference: nothing was sent, so send it now."""
    return _write_asked(claim, lambda state: life.never_taken(state, refused, now), now)


def _write_asked(claim: Claim, event: Callable[[State], Change], now: datetime) -> bool:
    """Write an event while the question about this very call is still open."""
    with writing() as connection:
        row = locked(connection, claim.message.id)
        if row is None:
            return False
        attempt = connection.execute(
            sa.select(attempts.c.id, attempts.c.calls, attempts.c.outcome).where(
                attempts.c.id == claim.attempt_id, attempts.c.reference == claim.reference
            )
        ).first()
        state = state_of(row)
        if attempt is None or not life.is_open_question(state, claim, AttemptNow(*attempt)):
            return False
        change = event(state)
        write(connection, row, change, now)
        if change.attempt is not None:
            close_attempts(connection, [(claim.attempt_id, change.attempt)], now)
    return True
