"""Delivery reports: matched by our reference first, parked when they outrun the submission."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from app.domain import life
from app.domain.life import Answered, Part
from app.domain.messages import Work
from app.domain.outcomes import Accepted, DeliveryReport, id_spellings
from app.domain.retry import Timing
from app.domain.status import MessageStatus
from app.store.database import AnyRow, statement, writing
from app.store.rows import add_event, locked, state_of, write
from app.store.tables import attempts, gateway_accounts, messages, parked_reports, parts

SEEN_GRAIN = timedelta(seconds=10)
RACE_SPAN = timedelta(minutes=15)  # a report and its submission that missed each other did so just now


def apply_report(account_id: int, report: DeliveryReport, *, now: datetime, timing: Timing) -> int | None:
    """Apply one report of this account, or park it. Returns the portal to hint, None when parked."""
    with writing() as connection:
        attempt = _attempt_of(connection, account_id, report)
        if attempt is not None and attempt.outcome == "":
            # The call may be recorded at this very moment: wait for that, then look again.
            locked(connection, attempt.message_row_id)
            attempt = _attempt_of(connection, account_id, report)
        if attempt is None or attempt.outcome == "":
            _park(connection, account_id, report, now)
            return None
        return _apply(connection, attempt, report, now, timing)[0]


def note_report_call(account_id: int, now: datetime) -> None:
    """Remember that the gateway reaches us; often enough to know, seldom enough to cost nothing."""
    last = gateway_accounts.c.last_report_at
    with writing() as connection:
        connection.execute(
            sa.update(gateway_accounts)
            .where(gateway_accounts.c.id == account_id, sa.or_(last.is_(None), last < now - SEEN_GRAIN))
            .values(last_report_at=now)
        )


def _attempt_of(connection: Connection, account_id: int, report: DeliveryReport) -> AnyRow | None:
    if report.reference:
        found = connection.execute(
            sa.select(attempts).where(
                attempts.c.reference == report.reference, attempts.c.account_id == account_id
            )
        ).first()
        if found is not None:
            return found
    if not report.gateway_message_id:
        return None
    by_id = (
        sa.select(attempts)
        .join(parts, parts.c.attempt_id == attempts.c.id)
        .where(parts.c.account_id == account_id)
        .order_by(attempts.c.id.desc())
    )
    same = parts.c.gateway_message_id == report.gateway_message_id
    found = connection.execute(by_id.where(same)).first()
    if found is not None:
        return found
    others = id_spellings(report.gateway_message_id)[1:]
    return connection.execute(by_id.where(parts.c.gateway_message_id.in_(others))).first() if others else None


def _park(connection: Connection, account_id: int, report: DeliveryReport, now: datetime) -> None:
    connection.execute(sa.insert(parked_reports).values(_parked(account_id, report, now)))


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


def _match(row: AnyRow, now: datetime, timing: Timing) -> int | None:
    """Apply one parked report if it has a message by now; returns the portal to tell."""
    with writing() as connection:
        report = _unpark(row)
        attempt = _attempt_of(connection, row.account_id, report)
        if attempt is None or attempt.outcome == "":
            return None
        if not connection.execute(sa.delete(parked_reports).where(parked_reports.c.id == row.id)).rowcount:
            return None
        return _apply(connection, attempt, report, now, timing)[0]


def apply_parked(
    connection: Connection, answers: Sequence[Answered], *, now: datetime, timing: Timing
) -> dict[int, datetime]:
    """Match what came before the outcomes were recorded, in the same commit. Returns the messages of which
    the portal must hear by that, and when."""
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
    told: dict[int, datetime] = {}
    matched = []
    for row in connection.execute(sa.select(parked_reports).where(mine).order_by(column.id)).all():
        claim = by_reference.get(row.reference) or ids.get((row.account_id, row.gateway_message_id))
        if claim is None or claim.account_id != row.account_id:
            continue
        attempt = connection.execute(sa.select(attempts).where(attempts.c.id == claim.attempt_id)).first()
        if attempt is None:
            continue
        matched.append(row.id)
        if (due_at := _apply(connection, attempt, _unpark(row), now, timing)[1]) is not None:
            told[claim.message.id] = due_at
    if matched:
        connection.execute(sa.delete(parked_reports).where(column.id.in_(matched)))
    return told


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
    """Forget the reports that nobody claimed in all the time."""
    with writing() as connection:
        return connection.execute(
            sa.delete(parked_reports).where(
                parked_reports.c.received_at < now - timing.span("parked_report_s")
            )
        ).rowcount


def _apply(
    connection: Connection,
    attempt: AnyRow,
    report: DeliveryReport,
    now: datetime,
    timing: Timing,
) -> tuple[int | None, datetime | None]:
    """The portal that has to hear of it, and when; None for both when nobody has."""
    row = locked(connection, attempt.message_row_id)
    if row is None:
        return None, None
    if report.status is None:
        add_event(connection, row.id, now, "report_not_understood", life.words_of_report(report))
        return None, None
    heard = _word_of_attempt(connection, attempt.id, report)
    is_current = attempt.id == row.attempt_id
    change = life.reported(state_of(row), report, heard, now, timing, is_current=is_current)
    write(connection, row, change, now)
    if change.state.status == row.status or change.state.push_due_at is None:
        return None, None
    return int(row.portal_id), change.state.push_due_at


def _word_of_attempt(connection: Connection, attempt_id: int, report: DeliveryReport) -> MessageStatus:
    """The word for the whole attempt once this report of one part is in."""
    rows = connection.execute(
        sa.select(parts.c.id, parts.c.gateway_message_id, parts.c.status, parts.c.call)
        .where(parts.c.attempt_id == attempt_id)
        .order_by(parts.c.id)
    )
    known = [Part(row.id, row.gateway_message_id, MessageStatus(row.status), row.call) for row in rows]
    word, part, reached = life.word_of_attempt(known, report)
    if part is not None and reached is not part.status:
        connection.execute(sa.update(parts).where(parts.c.id == part.id).values(status=reached))
    return word


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
