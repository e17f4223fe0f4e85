"""Days as the person in front of the page counts them: in their time zone."""

from __future__ import annotations

from datetime import UTC, date, datetime, time
from zoneinfo import ZoneInfo

from app.web.admin.words.language import zone_name


def zone() -> ZoneInfo:
    return ZoneInfo(zone_name())


def day_of(at: datetime) -> date:
    return at.astimezone(zone()).date()


def begin_of(day: date) -> datetime:
    """The first moment of a day, in UTC; a day may have 23 or 25 hours."""
    return datetime.combine(day, time(), zone()).astimezone(UTC)
