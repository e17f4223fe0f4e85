"""The weekly summary: when it comes, what time it is of, and what is in it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from app.domain.status import MessageStatus

AT = time(9)  # on Monday: people are there, and nobody is woken
WEEK = timedelta(days=7)


def zone_of(name: str) -> ZoneInfo:
    """UTC where there is no such time zone."""
    try:
        return ZoneInfo(name or "UTC")
    except (KeyError, ValueError, OSError):
        return ZoneInfo("UTC")


def next_summary_at(now: datetime, zone: ZoneInfo) -> datetime:
    """The first Monday morning after this moment."""
    today = now.astimezone(zone).date()
    monday = today - timedelta(days=today.weekday())
    mornings = (_at(monday + weeks * WEEK, AT, zone) for weeks in (0, 1))
    return next(morning for morning in mornings if morning > now)


def week_before(at: datetime, zone: ZoneInfo) -> tuple[datetime, datetime]:
    """The last whole week, Monday to Sunday, before a moment: its first one, and the first one after it."""
    today = at.astimezone(zone).date()
    monday = today - timedelta(days=today.weekday())
    return _at(monday - WEEK, time(), zone), _at(monday, time(), zone)


def _at(day: date, clock: time, zone: ZoneInfo) -> datetime:
    return datetime.combine(day, clock, zone).astimezone(UTC)


@dataclass(frozen=True)
class WeekFigures:
    """A week in three numbers."""

    messages: int
    delivered_share: float | None  # of those that came to an end; None where none did
    to_look_at: int  # that failed, or whose outcome nobody knows

    @classmethod
    def of(cls, counts: Mapping[MessageStatus, int]) -> WeekFigures:
        ended = sum(count for status, count in counts.items() if status.is_final)
        delivered = counts.get(MessageStatus.DELIVERED, 0)
        return cls(
            messages=sum(counts.values()),
            delivered_share=delivered / ended if ended else None,
            to_look_at=counts.get(MessageStatus.FAILED, 0) + counts.get(MessageStatus.UNKNOWN, 0),
        )
