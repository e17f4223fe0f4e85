"""Reports that outran their submission: parked, and matched when it is recorded."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from app.domain.life import Answered
from app.domain.messages import Claim
from app.domain.outcomes import Accepted, DeliveryReport, id_spellings
from app.domain.retry import Timing
from app.domain.status import MessageStatus
from app.store.database import AnyRow, statement, writing
from app.store.messages.reports import Call, apply, by_gateway_id, by_reference, parked_row
from app.store.messages.rows import locked_rows
from app.store.tables import attempts, parked_reports, parts

PARKED_LIMIT = 20_000  # of one account

RACE_SPAN = timedelta(minutes=15)  # a report and its submission that missed each other did so just now


def park_all(account_id: int, found: Sequence[DeliveryReport], *, now: datetime) -> None:
    """Keep a large batch in one commit; `match_parked` applies it."""
    rows = [parked_row(account_id, report, now) for report in found]
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


def _match(row: AnyRow, now: datetime, timing: Timing, report: DeliveryReport | None = None) -> int | None:
    """Apply one parked report, or this in its place, if it has a message by now; returns the portal to
    tell."""
    call = Call(row.account_id, [report or _unpark(row)], now, timing)
    with suppress(_FoundByAnother), writing() as connection:
        told, early, rest = by_reference(connection, call)
        if rest:
            told, early = by_gateway_id(connection, call)
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
    """Match what came before the outcomes were recorded, in the same commit, and what the answers themselves
    report. Returns the messages of which the portal must hear by that, and when."""
    matched = [*_in_answers(answers), *_parked_for(connection, answers)]
    told: dict[int, datetime] = {}
    for account_id in sorted({claim.account_id for _, claim, _ in matched}):
        mine = [each for each in matched if each[1].account_id == account_id]
        row_of = {claim.attempt_id: claim.message.id for _, claim, _ in mine}
        rows = {row.id: row for row in locked_rows(connection, set(row_of.values()))}
        by_attempt = {attempt: rows[row_id] for attempt, row_id in row_of.items() if row_id in rows}
        call = Call(account_id, [report for _, _, report in mine], now, timing)
        found = [(claim.attempt_id, report) for _, claim, report in mine]
        told |= {each.row_id: each.due_at for each in apply(connection, by_attempt, found, call)[0]}
    if matched:
        ids = [parked_id for parked_id, _, _ in matched if parked_id is not None]
        connection.execute(sa.delete(parked_reports).where(parked_reports.c.id.in_(ids)))
    return told


def _in_answers(answers: Sequence[Answered]) -> list[tuple[int | None, Claim, DeliveryReport]]:
    return [
        (None, answer.claim, report)
        for answer in answers
        if isinstance(answer.outcome, Accepted)
        for report in answer.outcome.reports
    ]


_PARKED_FOR = (
    sa.select(parked_reports)
    .where(
        parked_reports.c.account_id.in_(sa.bindparam("accounts", expanding=True)),
        sa.or_(
            parked_reports.c.reference.in_(sa.bindparam("references", expanding=True)),
            sa.and_(
                parked_reports.c.gateway_message_id.in_(sa.bindparam("ids", expanding=True)),
                parked_reports.c.reference == "",
            ),
        ),
    )
    .order_by(parked_reports.c.id)
)


def _parked_for(
    connection: Connection, answers: Sequence[Answered]
) -> list[tuple[int | None, Claim, DeliveryReport]]:
    """The parked reports of these submissions, each with its id and its claim."""
    ids = {
        (answer.claim.account_id, spelling): answer.claim
        for answer in answers
        if isinstance(answer.outcome, Accepted)
        for gateway_id in answer.outcome.ids
        for spelling in id_spellings(gateway_id)
    }
    by_reference = {answer.claim.reference: answer.claim for answer in answers}
    asked = {
        "accounts": sorted({answer.claim.account_id for answer in answers}),
        "references": sorted(by_reference),
        "ids": sorted({each for _, each in ids}),
    }
    found: list[tuple[int | None, Claim, DeliveryReport]] = []
    for row in connection.execute(_PARKED_FOR, asked).all():
        claim = by_reference.get(row.reference) or ids.get((row.account_id, row.gateway_message_id))
        if claim is not None and claim.account_id == row.account_id:
            found.append((row.id, claim, _unpark(row)))
    return found


def _unpark(row: AnyRow) -> DeliveryReport:
    data = dict(row.report)
    data["at"] = datetime.fromisoformat(data["at"]) if data["at"] else None
    data["status"] = MessageStatus(data["status"]) if data["status"] else None
    return DeliveryReport(**data)


def parked_lately(account_id: int, *, now: datetime, limit: int = 200) -> list[tuple[int, DeliveryReport]]:
    """An account's newest parked reports without a reference, each with its id."""
    column = parked_reports.c
    query = (
        sa.select(parked_reports)
        .where(column.account_id == account_id, column.reference == "", column.received_at >= now - RACE_SPAN)
        .order_by(column.id.desc())
        .limit(limit)
    )
    with statement() as connection:
        return [(row.id, _unpark(row)) for row in connection.execute(query)]


def match_one_parked(parked_id: int, report: DeliveryReport, *, now: datetime, timing: Timing) -> int | None:
    """Apply a parked report as this one; returns the portal to tell."""
    query = sa.select(parked_reports).where(parked_reports.c.id == parked_id)
    with statement() as connection:
        row = connection.execute(query).first()
    return _match(row, now, timing, report) if row is not None else None


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
