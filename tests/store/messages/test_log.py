"""The log's queries stay fast: whatever it is searched by, an index answers, and rows are read by id."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa
from flask import Flask

from app.domain.status import MessageStatus
from app.store.database import db, utcnow
from app.store.figures import counts, overview, statistics
from app.store.figures.statistics import Span
from app.store.messages import log as message_log
from app.store.messages import timeline
from app.store.messages.log import Filters, Position
from tests.worlds.product import product

NOW = utcnow()
SPAN = Span(NOW - timedelta(days=1), NOW)
ROWS_OF_A_PAGE = "SEARCH messages USING INTEGER PRIMARY KEY (rowid=?)"

FILTERS = {
    "nothing": Filters(),
    "status": Filters(status=MessageStatus.UNKNOWN),
    "period": Filters(since=NOW, until=NOW),
    "number": Filters(digits="5678"),
    "gateway": Filters(account_ids=(1,)),
    "sender": Filters(sender_code="sms_2"),
    "all at once": Filters(NOW, NOW, MessageStatus.FAILED, (1,), "sms", digits="5678"),
    "whole number": Filters(recipient="+4915112345678"),
    "author": Filters(author_id="5"),
}
OTHER_INDEX = {"whole number": "ix_messages_recipient", "author": "ix_messages_author"}


@pytest.fixture(scope="module")
def web(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Flask]:
    with product(tmp_path_factory.mktemp("product")) as app:
        yield app


@pytest.fixture
def plans(web: Flask) -> Iterator[list[str]]:
    """How SQLite goes about every query of the test."""
    found: list[str] = []

    def explain(_connection: Any, cursor: Any, query: str, values: Any, _context: Any, _many: bool) -> None:
        found.extend(row[3] for row in cursor.connection.execute(f"EXPLAIN QUERY PLAN {query}", values))

    sa.event.listen(db.engine, "before_cursor_execute", explain)
    yield found
    sa.event.remove(db.engine, "before_cursor_execute", explain)


@pytest.mark.parametrize("name", FILTERS)
@pytest.mark.parametrize("after", [None, Position(NOW, 7)], ids=["newest", "older"])
def test_a_page_is_found_in_an_index_alone(plans: list[str], name: str, after: Position | None) -> None:
    message_log.page(1, FILTERS[name], limit=51, after=after)

    *searches, rows = [step for step in plans if "messages" in step]
    index = OTHER_INDEX.get(name, "ix_messages_log")
    assert rows == ROWS_OF_A_PAGE
    assert searches
    assert all(f"COVERING INDEX {index}" in step for step in searches), searches
    if FILTERS[name].status is not None:
        assert all("portal_id=? AND status=?" in step for step in searches)


def test_the_counts_of_the_statuses_are_read_in_an_index_alone(plans: list[str]) -> None:
    message_log.counts_of(1, Filters(since=NOW))
    message_log.counts_of(1, Filters(account_ids=(1,)))

    reads = [step for step in plans if "messages" in step]
    assert len(reads) == 2 * len(MessageStatus)
    assert all("COVERING INDEX ix_messages_log_by_status (portal_id=? AND status=?" in step for step in reads)


def test_an_id_and_our_number_are_found_at_once(plans: list[str]) -> None:
    message_log.page(1, Filters(message_id="65575980"), limit=51)
    message_log.page(1, Filters(row_id=7), limit=51)

    reads = [step for step in plans if "messages" in step]
    assert "(portal_id=? AND message_id>? AND message_id<?)" in " ".join(reads)
    assert all("(rowid=?)" in step or "message_id>" in step for step in reads), reads


def test_figures_read_the_counts_and_what_is_not_counted_yet(plans: list[str]) -> None:
    """However many messages there are: no other row of theirs is looked at."""
    statistics.tallies(1, [SPAN, SPAN])
    statistics.delivery_times(1, SPAN)
    statistics.splits(1, SPAN)
    statistics.costs(1, SPAN)
    statistics.by_status(1, SPAN)

    reads = [step for step in plans if "messages" in step or "attempts" in step]
    assert len(reads) == 5
    assert all("_not_counted (" in step or "_not_split (" in step for step in reads), reads
    assert not [step for step in plans if step.startswith("SCAN") and "_counts" in step]


def test_what_is_to_be_counted_is_found_without_looking_at_the_rest(plans: list[str]) -> None:
    counts.fold(now=NOW)
    counts.fold_costs()

    reads = [step for step in plans if " messages" in step or " attempts" in step]
    assert reads == [
        "SCAN messages USING INDEX ix_messages_not_counted",
        "SCAN attempts USING INDEX ix_attempts_cost_not_counted",
    ]


def test_the_newest_message_is_not_sorted_for(plans: list[str]) -> None:
    overview.last_received_at(1)
    timeline.receipts_after(1, 7)

    assert not [step for step in plans if "TEMP B-TREE FOR ORDER BY" in step]
    assert any("ix_messages_log (portal_id=?)" in step for step in plans)
    assert any("INTEGER PRIMARY KEY (rowid>?)" in step for step in plans)
