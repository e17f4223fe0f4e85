"""The weekly summary comes on Monday morning where the people are, of the whole week before."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from app.domain.status import MessageStatus
from app.domain.weeks import WeekFigures, next_summary_at, week_before, zone_of


@pytest.mark.parametrize(
    ("now", "zone", "then"),
    [
        ("2026-11-28T12:00", "UTC", "2026-11-30T09:00"),  # a Saturday
        ("2026-11-30T08:59", "UTC", "2026-11-30T09:00"),
        ("2026-11-30T09:00", "UTC", "2026-12-07T09:00"),
        ("2026-11-29T23:30", "Asia/Tokyo", "2026-11-30T00:00"),  # it is Monday there
        ("2026-11-30T00:00", "Asia/Tokyo", "2026-12-07T00:00"),
        ("2026-11-30T08:30", "America/New_York", "2026-11-30T14:00"),
        ("2026-03-24T12:00", "Europe/Berlin", "2026-03-30T07:00"),  # summer time began on Sunday
        ("2026-11-28T12:00", "no/where", "2026-11-30T09:00"),
        ("2026-11-28T12:00", "", "2026-11-30T09:00"),
    ],
)
def test_the_next_one_is_on_monday_morning(now: str, zone: str, then: str) -> None:
    assert next_summary_at(_utc(now), zone_of(zone)) == _utc(then)


def test_the_week_is_whole_and_begins_where_the_people_are() -> None:
    since, until = week_before(_utc("2026-03-30T07:00"), zone_of("Europe/Berlin"))

    assert (since, until) == (_utc("2026-03-22T23:00"), _utc("2026-03-29T22:00"))
    assert until - since == timedelta(days=7, hours=-1)


def test_a_week_in_three_numbers() -> None:
    counts = {
        MessageStatus.DELIVERED: 90,
        MessageStatus.UNDELIVERED: 6,
        MessageStatus.FAILED: 4,
        MessageStatus.UNKNOWN: 2,
        MessageStatus.SENT: 3,
    }

    assert WeekFigures.of(counts) == WeekFigures(messages=105, delivered_share=0.9, to_look_at=6)
    assert WeekFigures.of({MessageStatus.SENT: 1}) == WeekFigures(1, None, 0)


def _utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)
