"""Pauses and limits: the page prints the table, and each pause does what it says."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from app.domain.retry import LIMITS, Timing, born, pause_before, pause_of_not_found, pause_of_poll

CONFIGURATION = Path(__file__).resolve().parents[2] / "docs/configuration.md"
NOW = datetime(2026, 11, 28, 12, tzinfo=UTC)


def test_the_page_prints_the_table_of_delays() -> None:
    page = CONFIGURATION.read_text(encoding="utf-8")
    rows = [f"| `{name}` | {value:.10g} | {meaning} |" for name, value, meaning in Timing.table()]

    assert [row for row in rows if row not in page] == []


def test_the_page_prints_the_table_of_limits() -> None:
    page = CONFIGURATION.read_text(encoding="utf-8")
    rows = [f"| {name} | {value} | {meaning} |" for name, (value, meaning) in LIMITS.items()]

    assert [row for row in rows if row not in page] == []


@pytest.mark.parametrize(("tries", "seconds"), [(0, 5), (1, 5), (2, 20), (3, 80), (4, 320), (9, 3600)])
def test_pauses_grow_to_an_hour(tries: int, seconds: float) -> None:
    pause = pause_before(tries, base_s=5).total_seconds()

    assert seconds <= pause <= seconds * 1.2


@pytest.mark.parametrize(("polls", "seconds"), [(0, 600), (1, 3600), (2, 21_600), (3, 86_400), (9, 86_400)])
def test_polls_become_rarer(polls: int, seconds: float) -> None:
    assert pause_of_poll(polls, 5.0) == timedelta(seconds=seconds)
    assert pause_of_poll(0, 1200.0) == timedelta(seconds=3600)


def test_pauses_of_what_the_portal_does_not_know_shrink_with_the_whole() -> None:
    assert pause_of_not_found(0, Timing()) == timedelta(seconds=10)
    assert pause_of_not_found(99, Timing(push_not_found_s=60)) == timedelta(seconds=18)


@pytest.mark.parametrize(
    ("sent_at", "begins"),
    [
        (None, NOW),
        (NOW - timedelta(hours=5), NOW - timedelta(hours=5)),
        (NOW + timedelta(hours=5), NOW),
        (NOW - timedelta(days=1), NOW),
        (datetime.fromtimestamp(0, UTC), NOW),
    ],
)
def test_a_life_begins_with_the_older_clock_unless_it_cannot_be_right(
    sent_at: datetime | None, begins: datetime
) -> None:
    assert born(NOW, sent_at) == begins


def test_pauses_are_spread() -> None:
    found = {pause_before(3, base_s=5) for _ in range(20)}

    assert len(found) > 1
    assert all(timedelta(seconds=80) <= pause <= timedelta(seconds=96) for pause in found)
