"""Delivery reports: matched by our reference first, parked when they outrun the submission."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from app.config import Timing
from app.domain.messages import Claim, Reason, Work
from app.domain.outcomes import DeliveryReport
from app.domain.status import MessageStatus, advance, aggregate
from app.store.closing import waiting_for_report
from app.store.database import AnyRow, statement, writing
from app.store.outbox import push_due
from app.store.rows import add_event, locked
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
        return _apply(connection, attempt, report, now, timing)


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


ID_DIGITS = 24  # longer numbers are not told apart by their zeros


def id_spellings(gateway_message_id: str) -> list[str]:
    """An id as it came, and for a number the same with more or fewer leading zeros.

    Gateways answer `00000002` and report `2`, because one of their systems keeps the id as a number.
    """
    found = [gateway_message_id]
    if gateway_message_id.isascii() and gateway_message_id.isdigit() and len(gateway_message_id) <= ID_DIGITS:
        bare = gateway_message_id.lstrip("0") or "0"
        found += [bare.zfill(n) for n in range(len(bare), ID_DIGITS + 1) if n != len(gateway_message_id)]
    return found


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
        return _apply(connection, attempt, report, now, timing)


def apply_parked(
    connection: Connection, claim: Claim, gateway_ids: Sequence[str], *, now: datetime, timing: Timing
) -> None:
    """Match what came before the outcome of the submission was recorded, in the same commit."""
    spellings = [spelling for one in gateway_ids for spelling in id_spellings(one)]
    mine = sa.and_(
        parked_reports.c.account_id == claim.account_id,
        sa.or_(
            parked_reports.c.reference == claim.reference,
            sa.and_(parked_reports.c.gateway_message_id.in_(spellings), parked_reports.c.reference == ""),
        ),
    )
    waiting = connection.execute(sa.select(parked_reports).where(mine).order_by(parked_reports.c.id)).all()
    if not waiting:
        return
    attempt = connection.execute(sa.select(attempts).where(attempts.c.id == claim.attempt_id)).one()
    for row in waiting:
        _apply(connection, attempt, _unpark(row), now, timing)
    connection.execute(sa.delete(parked_reports).where(parked_reports.c.id.in_([row.id for row in waiting])))


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
) -> int | None:
    row = locked(connection, attempt.message_row_id)
    if row is None:
        return None
    words = " ".join(filter(None, (report.raw_status, report.code, report.text)))
    if report.status is None:
        add_event(connection, row.id, now, "report_not_understood", words)
        return None
    heard = _status_of_attempt(connection, attempt.id, report)
    is_current = attempt.id == row.attempt_id
    add_event(connection, row.id, now, "report", f"{report.status}: {words}")
    if not is_current and heard is not MessageStatus.DELIVERED:
        return None  # an earlier attempt's bad end says nothing of this one; its delivery is a delivery
    before = MessageStatus(row.status)
    status = advance(before, heard)
    if status is before:
        return None
    values: dict[str, Any] = {"status": status, **push_due(row, status, now, timing)}
    if status is MessageStatus.DELIVERED and not row.is_resend:
        values["delivery_ms"] = max(0, (now - row.received_at) // timedelta(milliseconds=1))
    if status.is_final:
        bad = status is not MessageStatus.DELIVERED
        values |= {"reason": Reason.REPORTED if bad else "", "reason_text": words if bad else ""}
    if row.work != Work.SUBMITTING:  # a call in flight writes its own end
        values |= _work_after(row, status, now, timing)
    connection.execute(sa.update(messages).where(messages.c.id == row.id).values(**values))
    return int(row.portal_id) if "push_due_at" in values else None


def _work_after(row: AnyRow, status: MessageStatus, now: datetime, timing: Timing) -> dict[str, Any]:
    if status.is_final:
        return {"work": Work.CLOSED, "due_at": None, "poll_at": None, "deadline_at": None}
    if row.work == Work.CLOSED:
        return {}
    # The report proves that the gateway has the message: no second submission, wait for the end.
    return waiting_for_report(now, timing, poll_at=row.poll_at)


def _status_of_attempt(connection: Connection, attempt_id: int, report: DeliveryReport) -> MessageStatus:
    """The word for the whole attempt once this report of one part is in."""
    assert report.status is not None
    known = connection.execute(
        sa.select(parts.c.id, parts.c.gateway_message_id, parts.c.status, parts.c.call).where(
            parts.c.attempt_id == attempt_id
        )
    ).all()
    if len(known) <= 1:
        mine = known[0] if known else None
    else:
        spellings = id_spellings(report.gateway_message_id)
        same = [p for p in known if p.gateway_message_id in spellings]
        mine = min(same, key=lambda p: spellings.index(p.gateway_message_id), default=None)
    if mine is None:
        # No such part: with several of them we cannot tell which, so only a bad end counts for the whole.
        return (
            report.status if not known or report.status is not MessageStatus.DELIVERED else MessageStatus.SENT
        )
    reached = advance(MessageStatus(mine.status), report.status)
    connection.execute(sa.update(parts).where(parts.c.id == mine.id).values(status=reached))
    # A repeat after an unknown outcome may have been taken as a second message: one of them is enough.
    same_call = [p for p in known if p.call == mine.call]
    return aggregate([reached, *(MessageStatus(p.status) for p in same_call if p.id != mine.id)])


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
