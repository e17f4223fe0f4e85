"""Counts are what the messages say at every moment, and outlive them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from flask import Flask
from hypothesis import given, settings
from hypothesis import strategies as st

from app.domain.delivery_times import tenths_of
from app.domain.messages import Reason
from app.domain.portals import Portal
from app.domain.status import MessageStatus
from app.store.accounts import accounts
from app.store.database import db, statement, utcnow, writing
from app.store.figures import counts, statistics
from app.store.figures.statistics import Span
from app.store.tables import attempts, cost_counts, delivery_counts, message_counts, messages, split_counts
from app.store.upkeep import erasure, retention
from tests.worlds.product import a_portal, product

DAY = Span(datetime(2026, 3, 1, tzinfo=UTC), datetime(2026, 3, 2, tzinfo=UTC))
LATER = datetime(2026, 3, 3, tzinfo=UTC)


@pytest.fixture
def app(tmp_path: Path) -> Iterator[Flask]:
    with product(tmp_path) as made:
        yield made


def add(portal: Portal, message_id: str, **values: Any) -> int:
    row: dict[str, Any] = {
        "portal_id": portal.id,
        "message_id": message_id,
        "origin": "portal",
        "sender_code": "sms",
        "recipient": "+4915112345678",
        "text": "hello",
        "body_hash": "0",
        "bindings": [],
        "extra": {},
        "received_at": DAY.since + timedelta(hours=5),
        "expires_at": LATER,
        "status": "queued",
        "work": "closed",
        **values,
    }
    with writing() as connection:
        row_id = connection.scalar(sa.insert(messages).values(row).returning(messages.c.id))
    assert row_id is not None
    return row_id


def change(row_id: int, **values: Any) -> None:
    with writing() as connection:
        connection.execute(sa.update(messages).where(messages.c.id == row_id).values(**values))


def told(portal: Portal) -> dict[tuple[str, str], int]:
    return {(t.status, t.reason): t.count for t in statistics.tallies(portal.id, [DAY])}


def folded() -> int:
    return counts.fold(now=LATER)


def test_a_message_is_in_the_figures_before_and_after_it_is_counted(app: Flask) -> None:
    portal = a_portal()
    row_id = add(portal, "m", status="delivered", delivery_ms=4_210, segments=2)

    before = statistics.tallies(portal.id, [DAY]), statistics.delivery_times(portal.id, DAY)
    assert folded() == 1
    after = statistics.tallies(portal.id, [DAY]), statistics.delivery_times(portal.id, DAY)

    assert before == after
    assert before[0][0].count == 1
    assert before[0][0].segments == 2
    assert before[1] == {4.2: 1}
    assert folded() == 0
    change(row_id, status="failed", reason="refused", delivery_ms=None)
    assert told(portal) == {("failed", "refused"): 1}
    assert statistics.delivery_times(portal.id, DAY) == {}
    folded()
    assert told(portal) == {("failed", "refused"): 1}
    assert statistics.delivery_times(portal.id, DAY) == {}


def test_who_is_on_the_way_is_counted_when_it_comes_to_rest(app: Flask) -> None:
    portal = a_portal()
    add(portal, "m", work="queued", received_at=DAY.since)

    assert counts.fold(now=DAY.since + timedelta(minutes=1)) == 0
    assert told(portal) == {("queued", ""): 1}
    assert counts.fold(now=DAY.since + timedelta(minutes=3)) == 1


def test_statistics_outlive_the_messages(app: Flask) -> None:
    portal = a_portal()
    row_id = add(portal, "counted", status="delivered", delivery_ms=2_000, received_at=DAY.since)
    add(portal, "not yet", status="failed", reason="refused", received_at=DAY.since)
    account_id = an_account(portal)
    with writing() as connection:
        connection.execute(
            sa.insert(attempts).values(
                message_row_id=row_id,
                number=1,
                account_id=account_id,
                gateway="demo",
                calls=1,
                reference="r",
                started_at=DAY.since,
                cost="0.05 EUR",
            )
        )
    counts.fold(now=LATER, limit=1)

    removed = sum(each.rows for each in retention.purge(portal, now=DAY.since + timedelta(days=4000)))

    assert removed == 2
    assert told(portal) == {("delivered", ""): 1, ("failed", "refused"): 1}
    assert statistics.delivery_times(portal.id, DAY) == {2.0: 1}
    assert statistics.costs(portal.id, DAY) == {"0.05 EUR": 1}


def an_account(portal: Portal) -> int:
    made = accounts.connect(
        portal.id, portal.member_id, "demo", label="Demo", public={}, secrets={}, now=utcnow()
    )
    return made.id


def test_what_was_spent_is_counted_once_and_corrected(app: Flask) -> None:
    portal = a_portal()
    account_id, row_id = an_account(portal), add(portal, "m")
    values = {"message_row_id": row_id, "number": 1, "account_id": account_id, "gateway": "demo", "calls": 1}
    with writing() as connection:
        connection.execute(
            sa.insert(attempts).values(**values, reference="r", started_at=DAY.since, cost="0.05 EUR")
        )

    assert statistics.costs(portal.id, DAY) == {"0.05 EUR": 1}
    assert counts.fold_costs() == 1
    assert statistics.costs(portal.id, DAY) == {"0.05 EUR": 1}
    with writing() as connection:
        connection.execute(sa.update(attempts).values(cost="0.07 EUR"))
    assert statistics.costs(portal.id, DAY) == {"0.07 EUR": 1}
    counts.fold_costs()
    assert statistics.costs(portal.id, DAY) == {"0.07 EUR": 1}


def test_an_erased_portals_counts_go_with_it_and_do_not_come_back(app: Flask) -> None:
    portal = a_portal()
    row_id = add(portal, "m", status="delivered", delivery_ms=1_000)
    folded()
    with writing() as connection:
        erasure.blank(connection, portal, now=utcnow())
    change(row_id, status="failed")  # a report that was on its way

    folded()

    with statement() as connection:
        for table in (message_counts, delivery_counts, cost_counts, split_counts):
            assert connection.scalar(sa.select(sa.func.count()).select_from(table)) == 0


def test_the_check_finds_a_wrong_count_and_no_other(app: Flask) -> None:
    portal = a_portal()
    for number in range(3):
        add(portal, f"m{number}", status="delivered", received_at=utcnow() - timedelta(hours=1))
    counts.fold(now=utcnow() + timedelta(hours=1))
    today = f"--day={utcnow() - timedelta(hours=1):%Y-%m-%d}"

    right = app.test_cli_runner().invoke(args=["statistics", "check", today])
    with writing() as connection:
        connection.execute(sa.update(message_counts).values(count=message_counts.c.count + 1))
    wrong = app.test_cli_runner().invoke(args=["statistics", "check", today])

    assert right.exit_code == 0, right.output
    assert "all counts are right" in right.output
    assert wrong.exit_code == 1
    assert "counted 4, there are 3" in wrong.output


@pytest.mark.slow
def test_many_who_count_and_change_at_once_miss_nothing(tmp_path: Path, postgres_url: str) -> None:
    with product(tmp_path, DATABASE_URL=postgres_url) as app:
        portal = a_portal()
        ids = [add(portal, f"m{number}") for number in range(60)]

        def in_app(deed: Any) -> None:
            with app.app_context():
                deed()

        def change_all(word: str) -> Any:
            return lambda: [change(row_id, status=word) for row_id in ids]

        def count_all() -> None:
            for _ in range(60):
                counts.fold(now=LATER, limit=7)

        deeds = [change_all("sent"), count_all, change_all("unknown"), count_all, count_all]
        with ThreadPoolExecutor(len(deeds)) as threads:
            list(threads.map(in_app, deeds))

        assert sum(told(portal).values()) == 60
        while folded():
            pass
        with statement() as connection:
            rows = connection.execute(
                sa.select(messages.c.status, sa.func.count()).group_by(messages.c.status)
            )
            assert {(status, ""): count for status, count in rows} == told(portal)
        assert counts.differences([portal.id], DAY.since, DAY.until) == []
        assert counts.split_differences([portal.id], DAY.since, DAY.until) == []
        with counting_reads() as plans:
            counts.fold(now=LATER)
            counts.fold_costs()
            counts.fold_splits(now=LATER)
            told(portal)
            shares(portal)
        assert plans
        assert not [plan for plan in plans if re.search("Seq Scan on (messages|attempts)", plan)]
        db.engine.dispose()


@contextmanager
def counting_reads() -> Iterator[list[str]]:
    """How PostgreSQL goes about what looks for rows that are not counted."""
    plans: list[str] = []

    def explain(connection: Any, cursor: Any, query: str, values: Any, *_more: Any) -> None:
        if query.startswith("SELECT") and "<>" in query and "_counts" not in query:
            plans.extend(row[0] for row in cursor.connection.execute(f"EXPLAIN {query}", values))

    sa.event.listen(db.engine, "before_cursor_execute", explain)
    yield plans
    sa.event.remove(db.engine, "before_cursor_execute", explain)


def shares(portal: Portal) -> dict[str, tuple[int, int, int]]:
    found = statistics.splits(portal.id, DAY)
    both = {**found.senders, **found.authors}
    return {value: (share.count, share.delivered, share.failed) for value, share in both.items()}


def test_messages_are_split_by_sender_and_author_before_and_after_they_are_counted(app: Flask) -> None:
    portal = a_portal()
    add(portal, "by hand", status="delivered", author_id="7", segments=2)
    robot = add(portal, "robot", status="sent", module_id="bizproc", sender_code="sms_2")
    add(portal, "campaign", status="undelivered", module_id="sender", sender_code="sms_2")
    add(portal, "test", status="failed", origin="test", author_id="7")
    expected = {
        "sms": (2, 1, 1),
        "sms_2": (2, 0, 1),
        "person": (1, 1, 0),
        "robot": (1, 0, 0),
        "marketing": (1, 0, 1),
        "test": (1, 0, 1),
    }

    before = shares(portal)
    assert folded() == 4
    after = shares(portal)

    assert before == after == expected
    assert statistics.splits(portal.id, DAY).senders["sms"].segments == 2
    change(robot, status="delivered")
    assert shares(portal)["robot"] == (1, 1, 0)
    folded()
    assert shares(portal)["robot"] == (1, 1, 0)
    assert counts.split_differences([portal.id], DAY.since, DAY.until) == []


def test_messages_of_the_release_before_are_split_in_the_background_and_once(
    app: Flask, monkeypatch: pytest.MonkeyPatch
) -> None:
    portal = a_portal()
    for number in range(5):
        add(portal, f"m{number}", status="delivered", author_id="7")
    folded()
    with writing() as connection:  # as the migration finds them
        connection.execute(sa.update(messages).values(split_as=""))
        connection.execute(sa.delete(split_counts))
    monkeypatch.setattr(statistics, "NOT_SPLIT_READ", 3)
    assert not statistics.splits(portal.id, DAY).is_complete

    assert [counts.fold_splits(now=LATER, limit=3) for _ in range(3)] == [3, 2, 0]

    assert statistics.splits(portal.id, DAY).is_complete
    assert shares(portal) == {"sms": (5, 5, 0), "person": (5, 5, 0)}
    assert told(portal) == {("delivered", ""): 5}


def test_a_message_that_is_removed_before_it_is_split_is_counted_all_the_same(app: Flask) -> None:
    portal = a_portal()
    add(portal, "old", status="delivered", received_at=DAY.since)
    folded()
    with writing() as connection:
        connection.execute(sa.update(messages).values(split_as=""))
        connection.execute(sa.delete(split_counts))

    list(retention.purge(portal, now=DAY.since + timedelta(days=4000)))

    assert shares(portal)["sms"] == (1, 1, 0)


def test_the_check_finds_a_wrong_split(app: Flask) -> None:
    portal = a_portal()
    add(portal, "m", status="delivered", received_at=utcnow() - timedelta(hours=1))
    counts.fold(now=utcnow() + timedelta(hours=1))
    with writing() as connection:
        connection.execute(sa.update(split_counts).values(count=3))

    found = app.test_cli_runner().invoke(
        args=["statistics", "check", f"--day={utcnow() - timedelta(hours=1):%Y-%m-%d}"]
    )

    assert found.exit_code == 1
    assert "sender sms  counted 3, there are 1" in found.output


@settings(max_examples=50)
@given(status=st.sampled_from(MessageStatus), segments=st.integers(0, 999))
def test_what_a_row_was_split_as_is_read_as_it_was_written(status: MessageStatus, segments: int) -> None:
    assert counts.Part.read(f"{status} {segments}") == counts.Part(status, segments)
    assert len(f"{status} {segments}") <= 24


@settings(max_examples=200)
@given(
    status=st.sampled_from(MessageStatus),
    account_id=st.none() | st.integers(1, 10**12),
    segments=st.integers(0, 99),
    delivery_ms=st.none() | st.integers(0, 10**10),
    reason=st.sampled_from(["", *Reason]),
)
def test_what_a_row_was_counted_as_is_read_as_it_was_written(
    status: MessageStatus, account_id: int | None, segments: int, delivery_ms: int | None, reason: str
) -> None:
    took = -1 if delivery_ms is None else delivery_ms
    key = f"{status} {account_id or 0} {segments} {took} {reason}"

    assert counts.Kind.read(key) == counts.Kind(status, account_id, segments, delivery_ms, reason)
    assert len(key) <= 120


@pytest.mark.parametrize(
    ("delivery_ms", "tenths"), [(0, 0), (99, 0), (4_280, 42), (9_999, 99), (12_345, 120), (754_321, 7500)]
)
def test_times_are_counted_to_two_digits(delivery_ms: int, tenths: int) -> None:
    assert tenths_of(delivery_ms) == tenths
