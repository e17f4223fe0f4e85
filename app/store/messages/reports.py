"""Stop 3 of a message's walk: delivery reports, matched by our reference first."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from app.domain import life
from app.domain.life import Change, Part, State
from app.domain.outcomes import DeliveryReport, id_spellings
from app.domain.retry import Timing
from app.domain.status import MessageStatus
from app.store.database import AnyRow, is_sqlite, writing
from app.store.database.many import update_many
from app.store.database.together import Together
from app.store.messages.rows import locked_rows, state_columns, state_of, write_all
from app.store.tables import attempts, gateway_accounts, messages, parked_reports, parts

SEEN_GRAIN = timedelta(seconds=10)

_NEVER = datetime.min.replace(tzinfo=UTC)

_noted: dict[int, datetime] = {}  # by this process, and when: one entry for each account


class Told(NamedTuple):
    """A message of which its portal has to hear."""

    row_id: int
    portal_id: int
    due_at: datetime


@dataclass(frozen=True)
class Call:
    """What one call of a gateway brought."""

    account_id: int
    reports: Sequence[DeliveryReport]
    now: datetime
    timing: Timing


def apply_reports(
    account_id: int, found: Sequence[DeliveryReport], *, now: datetime, timing: Timing
) -> datetime | None:
    """Apply reports of this account, and park those that match nothing yet.

    Returns when the portal is to hear of them; None when it need not.
    """
    call = Call(account_id, found, now, timing)
    if is_sqlite():
        told = _together.write(call)
    else:
        # Two commits, for each locks its rows in the order of their ids: one after the other they could not.
        with writing() as connection:
            told, rest = _with_reference(connection, call)
        if rest:
            with writing() as connection:
                told += _without_reference(connection, replace(call, reports=rest))
    return min((each.due_at for each in told), default=None)


def _whole(connection: Connection, call: Call) -> list[Told]:
    told, rest = _with_reference(connection, call)
    return [*told, *_without_reference(connection, replace(call, reports=rest))] if rest else told


_together = Together(_whole)


def _with_reference(connection: Connection, call: Call) -> tuple[list[Told], list[DeliveryReport]]:
    """Apply or park those that carry a reference of ours; returns also the others."""
    told, early, unknown = by_reference(connection, call)
    # Under the lock of their messages: whoever records the outcome comes after us, and finds them.
    _park(connection, call, early)
    return told, unknown


def _without_reference(connection: Connection, call: Call) -> list[Told]:
    told, rest = by_gateway_id(connection, call)
    _park(connection, call, rest)
    return told


def _park(connection: Connection, call: Call, found: Sequence[DeliveryReport]) -> None:
    if found:
        rows = [parked_row(call.account_id, report, call.now) for report in found]
        connection.execute(sa.insert(parked_reports), rows)


_LOCK_BY_REFERENCE = (
    sa.select(attempts.c.id.label("for_attempt"), attempts.c.reference, *state_columns())
    .join_from(messages, attempts, attempts.c.message_row_id == messages.c.id)
    .where(
        attempts.c.account_id == sa.bindparam("account"),
        attempts.c.reference.in_(sa.bindparam("references", expanding=True)),
    )
    .order_by(messages.c.id)
    .with_for_update(of=messages)
)


def by_reference(
    connection: Connection, call: Call
) -> tuple[list[Told], list[DeliveryReport], list[DeliveryReport]]:
    """Apply those that carry a reference of ours; returns also those that came before the outcome of their
    call was recorded, and those whose reference is not known."""
    wanted = sorted({report.reference for report in call.reports if report.reference})
    if not wanted:
        return [], [], list(call.reports)
    found = connection.execute(_LOCK_BY_REFERENCE, {"account": call.account_id, "references": wanted})
    rows = {row.reference: row for row in found}
    mine = [(rows[each.reference].for_attempt, each) for each in call.reports if each.reference in rows]
    told, early = apply(connection, {row.for_attempt: row for row in rows.values()}, mine, call)
    return told, early, [each for each in call.reports if each.reference not in rows]


def by_gateway_id(connection: Connection, call: Call) -> tuple[list[Told], list[DeliveryReport]]:
    """Apply those that carry an id of the gateway's; returns also the others."""
    known = attempts_with(connection, call.account_id, call.reports)
    locked = locked_rows(connection, {row.row_id for row in known.values()})
    rows = {row.id: row for row in locked}
    by_attempt = {each.attempt_id: rows[each.row_id] for each in known.values() if each.row_id in rows}
    mine = [(each.attempt_id, call.reports[place]) for place, each in known.items()]
    told, early = apply(connection, by_attempt, mine, call)
    return told, [*early, *(each for place, each in enumerate(call.reports) if place not in known)]


_BY_GATEWAY_ID = (
    sa.select(
        parts.c.gateway_message_id,
        attempts.c.id.label("attempt_id"),
        attempts.c.message_row_id.label("row_id"),
    )
    .join_from(parts, attempts, attempts.c.id == parts.c.attempt_id)
    .where(
        parts.c.account_id == sa.bindparam("account"),
        parts.c.gateway_message_id.in_(sa.bindparam("ids", expanding=True)),
    )
    .order_by(attempts.c.id)
)


def attempts_with(
    connection: Connection, account_id: int, found: Sequence[DeliveryReport]
) -> dict[int, AnyRow]:
    """The newest attempt with the id of each report, by the report's place; the id as it is written goes
    before other spellings of it."""
    spellings = {
        place: id_spellings(report.gateway_message_id)
        for place, report in enumerate(found)
        if report.gateway_message_id
    }
    wanted = {each for spelt in spellings.values() for each in spelt}
    if not wanted:
        return {}
    rows = connection.execute(_BY_GATEWAY_ID, {"account": account_id, "ids": sorted(wanted)})
    newest = {row.gateway_message_id: row for row in rows}
    first = {
        place: next((newest[each] for each in spelt if each in newest), None)
        for place, spelt in spellings.items()
    }
    return {place: row for place, row in first.items() if row is not None}


_ATTEMPTS_WITH_PARTS = (
    sa.select(
        attempts.c.id.label("attempt_id"),
        attempts.c.outcome,
        *(parts.c.id, parts.c.gateway_message_id, parts.c.status, parts.c.call),
    )
    .join_from(attempts, parts, parts.c.attempt_id == attempts.c.id, isouter=True)
    .where(attempts.c.id.in_(sa.bindparam("attempt_ids", expanding=True)))
    .order_by(attempts.c.id, parts.c.id)
)


def apply(
    connection: Connection,
    rows: Mapping[int, AnyRow],
    found: Sequence[tuple[int, DeliveryReport]],
    call: Call,
) -> tuple[list[Told], list[DeliveryReport]]:
    """Apply reports to locked rows, both by their attempt. Returns also those that came before the outcome
    of their call was recorded."""
    found = [(attempt_id, report) for attempt_id, report in found if attempt_id in rows]
    if not found:
        return [], []
    outcomes, known = _fresh(connection, rows)
    states: dict[int, State] = {row.id: state_of(row) for row in rows.values()}
    steps: dict[int, list[tuple[str, str]]] = defaultdict(list)
    reached_parts: dict[int, str] = {}
    told, early = [], []
    for attempt_id, report in found:
        row = rows[attempt_id]
        before = states[row.id]
        if not outcomes.get(attempt_id):
            early.append(report)
            continue
        if report.status is None:
            steps[row.id].append(("report_not_understood", life.words_of_report(report)))
            continue
        heard, part, reached = life.word_of_attempt(known[attempt_id].values(), report)
        if part is not None and reached is not part.status:
            known[attempt_id][part.id] = replace(part, status=reached)
            reached_parts[part.id] = reached
        is_current = attempt_id == before.attempt_id
        change = life.reported(before, report, heard, call.now, call.timing, is_current=is_current)
        states[row.id] = change.state
        steps[row.id] += change.steps
        if change.state.status is not before.status and change.state.push_due_at is not None:
            told.append(Told(row.id, row.portal_id, change.state.push_due_at))
    written = [{"id": part_id, "status": word} for part_id, word in reached_parts.items()]
    update_many(connection, parts, written)
    unique = {row.id: row for row in rows.values() if row.id in steps}
    write_all(connection, [(row, Change(states[i], tuple(steps[i]))) for i, row in unique.items()], call.now)
    return told, early


def _fresh(
    connection: Connection, rows: Mapping[int, AnyRow]
) -> tuple[dict[int, str], dict[int, dict[int, Part]]]:
    """The attempts' outcomes and parts, read after their messages were locked: whoever held a lock before us
    may have changed them."""
    outcomes: dict[int, str] = {}
    known: dict[int, dict[int, Part]] = defaultdict(dict)
    for row in connection.execute(_ATTEMPTS_WITH_PARTS, {"attempt_ids": sorted(rows)}):
        outcomes[row.attempt_id] = row.outcome
        if row.id is not None:
            part = Part(row.id, row.gateway_message_id, MessageStatus(row.status), row.call)
            known[row.attempt_id][row.id] = part
    return outcomes, known


def note_report_call(account_id: int, now: datetime) -> None:
    """Remember that the gateway reaches us; often enough to know, seldom enough to cost nothing."""
    if abs(now - _noted.get(account_id, _NEVER)) < SEEN_GRAIN:
        return
    last = gateway_accounts.c.last_report_at
    with writing() as connection:
        connection.execute(
            sa.update(gateway_accounts)
            .where(gateway_accounts.c.id == account_id, sa.or_(last.is_(None), last < now - SEEN_GRAIN))
            .values(last_report_at=now)
        )
    _noted[account_id] = now


def parked_row(account_id: int, report: DeliveryReport, now: datetime) -> dict[str, Any]:
    return {
        "account_id": account_id,
        "reference": report.reference[:60],
        "gateway_message_id": report.gateway_message_id[:120],
        "report": {**asdict(report), "at": report.at.isoformat() if report.at else None},
        "received_at": now,
    }
