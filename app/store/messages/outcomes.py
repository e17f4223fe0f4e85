"""Outcomes: what gateways said to claimed messages. `life` decides what an answer is worth.

The outcome is written by whoever holds the lease; an answer that comes after the lease was lost still counts
as evidence, but never over what is known better.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from app.domain import life
from app.domain.life import Answered, AttemptNow, Change, State
from app.domain.messages import Claim
from app.domain.outcomes import Accepted, RefusalKind, Refused
from app.domain.retry import Timing
from app.store.accounts.pace import note_answered
from app.store.database import AnyRow, writing
from app.store.database.many import insert_many
from app.store.messages.parked import apply_parked
from app.store.messages.rows import close_attempts, locked, state_columns, state_of, write, write_all
from app.store.tables import attempts, messages, parts


@dataclass(frozen=True)
class Recorded:
    """What one answer changed. `is_ours`: the claim decided. `push_due_at`: when the portal is to hear."""

    is_ours: bool
    push_due_at: datetime | None = None


def record(answers: Sequence[Answered], *, now: datetime, timing: Timing) -> list[Recorded]:
    """Write what gateways said, in one commit and in the order of the answers."""
    with writing() as connection:
        found = _locked(connection, answers)
        recorded, changes, ends = [], [], []
        for answer in answers:
            row = found.get(answer.claim.attempt_id)
            change = _change_of(row, answer, now, timing) if row is not None else None
            if row is None or change is None:
                recorded.append(Recorded(False))
                continue
            recorded.append(Recorded(life.holds(state_of(row), answer.claim), change.state.push_due_at))
            changes.append((row, change))
            if change.attempt is not None:
                end = replace(change.attempt, exchanges=answer.exchanges)
                ends.append((answer.claim.attempt_id, end))
        close_attempts(connection, ends, now)
        _add_parts(connection, [answer for answer in answers if answer.claim.attempt_id in found])
        write_all(connection, changes, now)
        told = apply_parked(connection, answers, now=now, timing=timing)
        for account_id, was_accepted in _answering(answers).items():
            note_answered(connection, account_id, accepted=was_accepted)
    return [
        Recorded(each.is_ours, told.get(answer.claim.message.id, each.push_due_at))
        for each, answer in zip(recorded, answers, strict=True)
    ]


# Both are locked: of a row that somebody else writes just now the new version is read, of both alike.
_LOCK = (
    sa.select(
        *(attempts.c[name].label(f"attempt_{name}") for name in ("reference", "calls", "outcome")),
        attempts.c.id.label("of_attempt"),
        *state_columns(),
    )
    .join_from(messages, attempts, attempts.c.message_row_id == messages.c.id)
    .where(attempts.c.id.in_(sa.bindparam("attempt_ids", expanding=True)))
    .order_by(messages.c.id)
    .with_for_update()
)


def _locked(connection: Connection, answers: Sequence[Answered]) -> dict[int, AnyRow]:
    """The rows with their attempts, by these. A number that another portal's message has got meanwhile is not
    ours."""
    claims = {answer.claim.attempt_id: answer.claim for answer in answers}
    rows = connection.execute(_LOCK, {"attempt_ids": sorted(claims)})
    return {row.of_attempt: row for row in rows if _is_of(claims[row.of_attempt], row)}


def _is_of(claim: Claim, row: AnyRow) -> bool:
    mine = (claim.message.id, claim.portal_id, claim.reference)
    return (row.id, row.portal_id, row.attempt_reference) == mine


def _change_of(row: AnyRow, answer: Answered, now: datetime, timing: Timing) -> Change | None:
    attempt = AttemptNow(row.of_attempt, row.attempt_calls, row.attempt_outcome)
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
    insert_many(connection, parts, rows, ignore_on=("attempt_id", "gateway_message_id"))


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
