"""Delivery reports: matched by our reference first, parked when they outrun the submission."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from app.domain import life
from app.domain.life import Answered, Change, Part, State
from app.domain.messages import Claim, Work
from app.domain.outcomes import Accepted, DeliveryReport, id_spellings
from app.domain.retry import Timing
from app.domain.status import MessageStatus
from app.store.database import AnyRow, is_sqlite, statement, writing
from app.store.database.together import Together
from app.store.messages.rows import locked_where, state_columns, state_of, write_all
from app.store.tables import attempts, gateway_accounts, messages, parked_reports, parts

SEEN_GRAIN = timedelta(seconds=10)
_NEVER = datetime.min.replace(tzinfo=UTC)
_noted: dict[int, datetime] = {}  # by this process, and when: one entry for each account
PARKED_LIMIT = 20_000  # of one account
RACE_SPAN = timedelta(minutes=15)  # a report and its submission that missed each other did so just now


class Told(NamedTuple):
    """A message of which its portal has to hear."""

    row_id: int
    portal_id: int
    due_at: datetime


@dataclass(frozen=True)
class _Call:
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
    call = _Call(account_id, found, now, timing)
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


def _whole(connection: Connection, call: _Call) -> list[Told]:
    told, rest = _with_reference(connection, call)
    return [*told, *_without_reference(connection, replace(call, reports=rest))] if rest else told


_together = Together(_whole)


def _with_reference(connection: Connection, call: _Call) -> tuple[list[Told], list[DeliveryReport]]:
    """Apply or park those that carry a reference of ours; returns also the others."""
    told, early, unknown = _by_reference(connection, call)
    # Under the lock of their messages: whoever records the outcome comes after us, and finds them.
    _park(connection, call, early)
    return told, unknown


def _without_reference(connection: Connection, call: _Call) -> list[Told]:
    told, rest = _by_gateway_id(connection, call)
    _park(connection, call, rest)
    return told


def _park(connection: Connection, call: _Call, found: Sequence[DeliveryReport]) -> None:
    if found:
        rows = [_parked(call.account_id, report, call.now) for report in found]
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


def _by_reference(
    connection: Connection, call: _Call
) -> tuple[list[Told], list[DeliveryReport], list[DeliveryReport]]:
    """Apply those that carry a reference of ours; returns also those that came before the outcome of their
    call was recorded, and those whose reference is not known."""
    wanted = sorted({report.reference for report in call.reports if report.reference})
    if not wanted:
        return [], [], list(call.reports)
    found = connection.execute(_LOCK_BY_REFERENCE, {"account": call.account_id, "references": wanted})
    rows = {row.reference: row for row in found}
    mine = [(rows[each.reference].for_attempt, each) for each in call.reports if each.reference in rows]
    told, early = _apply(connection, {row.for_attempt: row for row in rows.values()}, mine, call)
    return told, early, [each for each in call.reports if each.reference not in rows]


def _by_gateway_id(connection: Connection, call: _Call) -> tuple[list[Told], list[DeliveryReport]]:
    """Apply those that carry an id of the gateway's; returns also the others."""
    known = _attempts_with(connection, call.account_id, call.reports)
    locked = locked_where(connection, messages.c.id.in_({row.row_id for row in known.values()}))
    rows = {row.id: row for row in locked}
    by_attempt = {each.attempt_id: rows[each.row_id] for each in known.values() if each.row_id in rows}
    mine = [(each.attempt_id, call.reports[place]) for place, each in known.items()]
    told, early = _apply(connection, by_attempt, mine, call)
    return told, [*early, *(each for place, each in enumerate(call.reports) if place not in known)]


def _attempts_with(
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
    rows = connection.execute(
        sa.select(
            parts.c.gateway_message_id,
            attempts.c.id.label("attempt_id"),
            attempts.c.message_row_id.label("row_id"),
        )
        .join_from(parts, attempts, attempts.c.id == parts.c.attempt_id)
        .where(parts.c.account_id == account_id, parts.c.gateway_message_id.in_(wanted))
        .order_by(attempts.c.id)
    )
    newest = {row.gateway_message_id: row for row in rows}
    first = {
        place: next((newest[each] for each in spelt if each in newest), None)
        for place, spelt in spellings.items()
    }
    return {place: row for place, row in first.items() if row is not None}


def message_of(account_id: int, report: DeliveryReport) -> int | None:
    """The row of the message that a report would be about; nothing is changed."""
    by_reference = sa.select(attempts.c.message_row_id).where(
        attempts.c.reference == report.reference, attempts.c.account_id == account_id
    )
    with statement() as connection:
        row_id = connection.scalar(by_reference) if report.reference else None
        known = {} if row_id else _attempts_with(connection, account_id, [report])
    return row_id or next((int(row.row_id) for row in known.values()), None)


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
_SET_PART = (
    sa.update(parts).where(parts.c.id == sa.bindparam("part_id_")).values(status=sa.bindparam("reached"))
)


def _apply(
    connection: Connection,
    rows: Mapping[int, AnyRow],
    found: Sequence[tuple[int, DeliveryReport]],
    call: _Call,
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
    if reached_parts:
        connection.execute(
            _SET_PART, [{"part_id_": each, "reached": word} for each, word in sorted(reached_parts.items())]
        )
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


def _parked(account_id: int, report: DeliveryReport, now: datetime) -> dict[str, Any]:
    return {
        "account_id": account_id,
        "reference": report.reference[:60],
        "gateway_message_id": report.gateway_message_id[:120],
        "report": {**asdict(report), "at": report.at.isoformat() if report.at else None},
        "received_at": now,
    }


def park_all(account_id: int, found: Sequence[DeliveryReport], *, now: datetime) -> None:
    """Keep a large batch in one commit; `match_parked` applies it."""
    rows = [_parked(account_id, report, now) for report in found]
    with writing() as connection:
        connection.execute(sa.insert(parked_reports), rows)


def match_parked(account_id: int, after_id: int, *, now: datetime, timing: Timing, limit: int = 100) -> int:
    """Apply an account's parked reports that have a message, `limit` at a time.

    Returns the id to go on from, 0 when this was the last.
    """
    with statement() as connection:
        rows = connection.execute(
            sa.select(parked_reports)
            .where(
                parked_reports.c.account_id == account_id,
                parked_reports.c.id > after_id,
                parked_reports.c.received_at >= now - RACE_SPAN,
            )
            .order_by(parked_reports.c.id)
            .limit(limit)
        ).all()
    for row in rows:
        _match(row, now, timing)
    return rows[-1].id if len(rows) == limit else 0


class _FoundByAnother(Exception):
    """Somebody else applied the parked report meanwhile."""


def _match(row: AnyRow, now: datetime, timing: Timing) -> int | None:
    """Apply one parked report if it has a message by now; returns the portal to tell."""
    call = _Call(row.account_id, [_unpark(row)], now, timing)
    with suppress(_FoundByAnother), writing() as connection:
        told, early, rest = _by_reference(connection, call)
        if rest:
            told, early = _by_gateway_id(connection, call)
        if early:
            return None
        # After the message's lock, as in `apply_parked`: the other way round they could wait for each other.
        if not connection.execute(sa.delete(parked_reports).where(parked_reports.c.id == row.id)).rowcount:
            raise _FoundByAnother
        return next((each.portal_id for each in told), None)
    return None


def apply_parked(
    connection: Connection, answers: Sequence[Answered], *, now: datetime, timing: Timing
) -> dict[int, datetime]:
    """Match what came before the outcomes were recorded, in the same commit. Returns the messages of which
    the portal must hear by that, and when."""
    matched = _parked_for(connection, answers)
    told: dict[int, datetime] = {}
    for account_id in sorted({claim.account_id for _, claim, _ in matched}):
        mine = [each for each in matched if each[1].account_id == account_id]
        row_of = {claim.attempt_id: claim.message.id for _, claim, _ in mine}
        rows = {row.id: row for row in locked_where(connection, messages.c.id.in_(set(row_of.values())))}
        by_attempt = {attempt: rows[row_id] for attempt, row_id in row_of.items() if row_id in rows}
        call = _Call(account_id, [report for _, _, report in mine], now, timing)
        found = [(claim.attempt_id, report) for _, claim, report in mine]
        told |= {each.row_id: each.due_at for each in _apply(connection, by_attempt, found, call)[0]}
    if matched:
        ids = [parked_id for parked_id, _, _ in matched]
        connection.execute(sa.delete(parked_reports).where(parked_reports.c.id.in_(ids)))
    return told


def _parked_for(
    connection: Connection, answers: Sequence[Answered]
) -> list[tuple[int, Claim, DeliveryReport]]:
    """The parked reports of these submissions, each with its id and its claim."""
    ids = {
        (answer.claim.account_id, spelling): answer.claim
        for answer in answers
        if isinstance(answer.outcome, Accepted)
        for gateway_id in answer.outcome.ids
        for spelling in id_spellings(gateway_id)
    }
    by_reference = {answer.claim.reference: answer.claim for answer in answers}
    column = parked_reports.c
    mine = sa.and_(
        column.account_id.in_({answer.claim.account_id for answer in answers}),
        sa.or_(
            column.reference.in_(by_reference),
            sa.and_(column.gateway_message_id.in_({each for _, each in ids}), column.reference == ""),
        ),
    )
    found = []
    for row in connection.execute(sa.select(parked_reports).where(mine).order_by(column.id)).all():
        claim = by_reference.get(row.reference) or ids.get((row.account_id, row.gateway_message_id))
        if claim is not None and claim.account_id == row.account_id:
            found.append((row.id, claim, _unpark(row)))
    return found


def _unpark(row: AnyRow) -> DeliveryReport:
    data = dict(row.report)
    data["at"] = datetime.fromisoformat(data["at"]) if data["at"] else None
    data["status"] = MessageStatus(data["status"]) if data["status"] else None
    return DeliveryReport(**data)


def rematch_parked(*, now: datetime, timing: Timing, limit: int = 500) -> set[int]:
    """Match parked reports that missed their submission by a moment; returns the portals to tell.

    Only those that have a match are read, so any number of others costs nothing but the index.
    """
    with statement() as connection:
        rows = connection.execute(_matching(now - RACE_SPAN).limit(limit)).all()
    found = {_match(row, now, timing) for row in rows}
    return {portal_id for portal_id in found if portal_id is not None}


def _matching(since: datetime) -> sa.Select[Any]:
    by_reference = sa.exists().where(
        attempts.c.reference == parked_reports.c.reference,
        attempts.c.account_id == parked_reports.c.account_id,
        attempts.c.outcome != "",
    )
    by_gateway_id = sa.exists().where(
        parts.c.account_id == parked_reports.c.account_id,
        parts.c.gateway_message_id == parked_reports.c.gateway_message_id,
        parked_reports.c.gateway_message_id != "",
    )
    return (
        sa.select(parked_reports)
        .where(parked_reports.c.received_at >= since, sa.or_(by_reference, by_gateway_id))
        .order_by(parked_reports.c.id)
    )


def drop_parked(*, now: datetime, timing: Timing) -> int:
    """Forget the reports that nobody claimed in all the time, and the oldest of an account that has too many:
    a gateway that tells us of somebody else's messages must not fill the disk."""
    column = parked_reports.c
    with writing() as connection:
        dropped: int = connection.execute(
            sa.delete(parked_reports).where(column.received_at < now - timing.span("parked_report_s"))
        ).rowcount
        crowded = (
            sa.select(column.account_id).group_by(column.account_id).having(sa.func.count() > PARKED_LIMIT)
        )
        for account_id in connection.scalars(crowded).all():
            newest = sa.select(column.id).where(column.account_id == account_id).order_by(column.id.desc())
            oldest_kept = connection.scalar(newest.offset(PARKED_LIMIT - 1).limit(1))
            dropped += connection.execute(
                sa.delete(parked_reports).where(column.account_id == account_id, column.id < oldest_kept)
            ).rowcount
    return dropped


def waiting_for_poll(row_id: int) -> tuple[int, int, list[str]] | None:
    """Account, polls so far and the gateway's ids of a message that waits for its report."""
    with statement() as connection:
        row = connection.execute(
            sa.select(messages.c.account_id, messages.c.polls, messages.c.attempt_id).where(
                messages.c.id == row_id, messages.c.work == Work.WAITING
            )
        ).first()
        if row is None:
            return None
        ids = connection.scalars(
            sa.select(parts.c.gateway_message_id).where(parts.c.attempt_id == row.attempt_id)
        ).all()
    return row.account_id, row.polls, list(ids)


def spelt_otherwise(account_id: int, spellings: Sequence[str], number: str) -> str:
    """The id among `spellings` under which this account's gateway took a message to this number; else empty.

    Only the number's last digits are compared, for gateways write it in forms of their own.
    """
    digits = "".join(filter(str.isdigit, number))[-8:]
    if not digits or not spellings:
        return ""
    query = (
        sa.select(parts.c.gateway_message_id)
        .join(attempts, attempts.c.id == parts.c.attempt_id)
        .join(messages, messages.c.id == attempts.c.message_row_id)
        .where(
            parts.c.account_id == account_id,
            parts.c.gateway_message_id.in_(spellings),
            messages.c.recipient.endswith(digits, autoescape=True),
        )
        .order_by(parts.c.id.desc())
        .limit(1)
    )
    with statement() as connection:
        return connection.scalar(query) or ""


def knows(account_id: int, gateway_message_id: str) -> bool:
    """Whether a message was taken under this id, as it is written or with other leading zeros."""
    query = sa.select(parts.c.id).where(
        parts.c.account_id == account_id, parts.c.gateway_message_id.in_(id_spellings(gateway_message_id))
    )
    with statement() as connection:
        return connection.scalar(query.limit(1)) is not None
