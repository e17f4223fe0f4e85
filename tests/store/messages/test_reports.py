"""Reports of one call go into one commit, with few statements, and two calls at once spoil nothing."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from flask import Flask

from app.domain.outcomes import DeliveryReport
from app.domain.retry import Timing
from app.domain.status import MessageStatus
from app.store.accounts import accounts
from app.store.accounts.accounts import Account
from app.store.database import db, statement, utcnow, writing
from app.store.messages import parked, reports
from app.store.tables import attempts, messages, parked_reports, parts
from tests.worlds.product import a_portal, product

TIMING = Timing()
SENT, DELIVERED = MessageStatus.SENT, MessageStatus.DELIVERED
BOTH_S = 1.0  # so long the first one waits for the second; a lock makes it wait in vain


@pytest.fixture
def sqlite(tmp_path: Path) -> Iterator[Flask]:
    with product(tmp_path) as app:
        yield app


@pytest.fixture
def postgresql(tmp_path: Path, postgres_url: str) -> Iterator[Flask]:
    with product(tmp_path, DATABASE_URL=postgres_url) as app:
        yield app


def an_account() -> Account:
    portal = a_portal()
    return accounts.connect(
        portal.id, portal.member_id, "demo", label="Demo", public={}, secrets={}, now=utcnow()
    )


def sent(account: Account, reference: str, *, part_ids: Sequence[str] = (), outcome: str = "accepted") -> int:
    """A message that the gateway took; returns its row."""
    now = utcnow()
    row: dict[str, Any] = {
        "portal_id": account.portal_id,
        "message_id": f"m-{reference}",
        "origin": "portal",
        "sender_code": "sms",
        "recipient": "+4915112345678",
        "text": "hello",
        "body_hash": "0",
        "bindings": [],
        "extra": {},
        "received_at": now,
        "expires_at": now + timedelta(days=1),
        "status": "sent",
        "work": "waiting",
        "due_at": now + timedelta(days=1),
        "deadline_at": now + timedelta(days=1),
        "attempts": 1,
    }
    attempt = {"account_id": account.id, "gateway": "demo", "reference": reference, "outcome": outcome}
    with writing() as connection:
        row_id = connection.scalar(sa.insert(messages).values(row).returning(messages.c.id))
        attempt |= {"message_row_id": row_id, "number": 1, "calls": 1, "started_at": now}
        attempt_id = connection.scalar(sa.insert(attempts).values(attempt).returning(attempts.c.id))
        connection.execute(sa.update(messages).where(messages.c.id == row_id).values(attempt_id=attempt_id))
        for each in part_ids:
            part = {"attempt_id": attempt_id, "account_id": account.id, "gateway_message_id": each}
            connection.execute(sa.insert(parts).values(**part, status="sent"))
    assert row_id is not None
    return row_id


def report(reference: str = "", status: MessageStatus = DELIVERED, part: str = "") -> DeliveryReport:
    return DeliveryReport(status, status, reference=reference, gateway_message_id=part)


def apply(account: Account, *found: DeliveryReport) -> None:
    reports.apply_reports(account.id, found, now=utcnow(), timing=TIMING)


def statuses() -> list[str]:
    with statement() as connection:
        return list(connection.scalars(sa.select(messages.c.status).order_by(messages.c.id)))


@contextmanager
def statements_seen() -> Iterator[list[str]]:
    seen: list[str] = []

    def note(_connection: Any, _cursor: Any, text: str, *_more: Any) -> None:
        seen.append(" ".join(text.split()[:3]))

    sa.event.listen(db.engine, "before_cursor_execute", note)
    yield seen
    sa.event.remove(db.engine, "before_cursor_execute", note)


def test_twenty_reports_cost_no_more_statements_than_one(sqlite: Flask) -> None:
    account = an_account()
    for number in range(21):
        sent(account, f"r{number}", part_ids=[f"G{number}"])

    with statements_seen() as one:
        apply(account, report("r0"))
    with statements_seen() as twenty:
        apply(account, *(report(f"r{number}") for number in range(1, 21)))

    assert statuses() == ["delivered"] * 21
    assert one == twenty
    assert len([text for text in one if not text.startswith("BEGIN")]) == 5, one


def test_each_report_of_a_call_counts_in_its_own_right(sqlite: Flask) -> None:
    account = an_account()
    sent(account, "known")
    sent(account, "by-id", part_ids=["00000042"])
    sent(account, "in-flight", outcome="")

    apply(
        account,
        report("known", SENT),
        report("known", MessageStatus.UNDELIVERED),
        report("", DELIVERED, part="42"),
        report("in-flight"),
        report("nobody's", part="nobody's either"),
        DeliveryReport(None, "WHAT", reference="known"),
    )

    assert statuses() == ["undelivered", "delivered", "sent"]
    with statement() as connection:
        assert connection.scalar(sa.select(sa.func.count()).select_from(parked_reports)) == 2


def test_the_parts_of_a_message_may_be_reported_in_one_call(sqlite: Flask) -> None:
    account = an_account()
    sent(account, "r", part_ids=["A", "B"])

    apply(account, report("r", part="A"), report("r", part="B"))

    assert statuses() == ["delivered"]


def test_a_reference_of_another_account_is_nobodys(sqlite: Flask) -> None:
    account = an_account()
    other = accounts.connect(
        account.portal_id, "a" * 32, "http", label="Other", public={}, secrets={}, now=utcnow()
    )
    sent(account, "r")

    apply(other, report("r"))

    assert statuses() == ["sent"]


@pytest.mark.slow
def test_two_parts_that_are_reported_at_once_are_a_delivery(postgresql: Flask) -> None:
    account = an_account()
    sent(account, "r", part_ids=["A", "B"])
    meeting = threading.Barrier(2)

    def wait(_connection: Any, _cursor: Any, text: str, *_more: Any) -> None:
        if "FOR UPDATE" in text or "FROM attempts LEFT" in text:
            with suppress(threading.BrokenBarrierError):
                meeting.wait(BOTH_S)

    sa.event.listen(db.engine, "before_cursor_execute", wait)
    both(postgresql, [report("r", part="A")], [report("r", part="B")], account=account)
    sa.event.remove(db.engine, "before_cursor_execute", wait)

    assert statuses() == ["delivered"]


@pytest.mark.slow
def test_messages_are_locked_in_the_order_of_their_ids(postgresql: Flask) -> None:
    """Then calls that have messages in common wait for each other, and never in a circle."""
    account = an_account()
    names = [f"r{number}" for number in range(30)]
    first, *others = [sent(account, name) for name in names]
    locking = sa.select(messages.c.id).with_for_update(nowait=True)

    with ThreadPoolExecutor(1) as threads:
        with writing() as connection:
            connection.execute(locking.where(messages.c.id == first))
            call = threads.submit(both, postgresql, [report(name) for name in names[::-1]], account=account)
            while not waiting_for_a_lock():
                threading.Event().wait(0.02)
            # It waits for the first and has locked nothing beyond: nobody else's order can meet it halfway.
            connection.execute(locking.where(messages.c.id.in_(others)))
        call.result()

    assert statuses() == ["delivered"] * 30


def waiting_for_a_lock() -> bool:
    with statement() as connection:
        return bool(connection.scalar(sa.text("SELECT count(*) FROM pg_locks WHERE NOT granted")))


def both(app: Flask, *calls: Sequence[DeliveryReport], account: Account) -> None:
    def run(found: Sequence[DeliveryReport]) -> None:
        with app.app_context():
            apply(account, *found)

    with ThreadPoolExecutor(len(calls)) as threads:
        list(threads.map(run, calls))


def test_parked_reports_of_an_account_are_bounded_and_the_newest_stay(
    sqlite: Flask, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parked, "PARKED_LIMIT", 10)
    account = an_account()
    foreign = [
        DeliveryReport(reference=f"of-others-{number}", status=DELIVERED, raw_status="OK")
        for number in range(25)
    ]
    parked.park_all(account.id, foreign, now=utcnow())

    assert parked.drop_parked(now=utcnow(), timing=TIMING) == 15

    with statement() as connection:
        left = connection.scalars(sa.select(parked_reports.c.reference).order_by(parked_reports.c.id)).all()
    assert list(left) == [f"of-others-{number}" for number in range(15, 25)]
