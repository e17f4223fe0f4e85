"""The days that statistics are of: the last ones, or a person's own; and the same number before them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any

from app.store.figures.statistics import Span
from app.web.admin.parts.days import begin_of, day_of

PERIODS = (7, 30, 90)
USUAL = 30
MOST_DAYS = 366
MOST_BARS = 92  # more days are drawn as weeks
_EARLIEST = date(2000, 1, 1)


@dataclass(frozen=True)
class Period:
    """From its first day to its last one."""

    first: date
    last: date

    @property
    def days(self) -> int:
        return (self.last - self.first).days + 1

    @property
    def before(self) -> Period:
        """As many days right before it."""
        return Period(self.first - timedelta(days=self.days), self.first - timedelta(days=1))

    @property
    def span(self) -> Span:
        return Span(begin_of(self.first), begin_of(self.last + timedelta(days=1)))

    @property
    def address(self) -> dict[str, Any]:
        """As the log knows it."""
        return {"period": "custom", "from": self.first.isoformat(), "to": self.last.isoformat()}

    def parts(self) -> list[Period]:
        """Its days; where they are many, its weeks, the last of which may be short."""
        length = 1 if self.days <= MOST_BARS else 7
        return list(self._parts(length))

    def _parts(self, length: int) -> Iterator[Period]:
        first = self.first
        while first <= self.last:
            last = min(first + timedelta(days=length - 1), self.last)
            yield Period(first, last)
            first = last + timedelta(days=1)


def read(asked: Mapping[str, str], now: datetime) -> Period:
    """The period of a page's address: `days`, or `from` and `to`. What cannot be understood is the usual."""
    today = day_of(now)
    own = [_day(asked.get(name, ""), today) for name in ("from", "to")]
    if any(own):
        last = own[1] or today
        first = own[0] or last - timedelta(days=USUAL - 1)
        first, last = min(first, last), max(first, last)
        return Period(max(first, last - timedelta(days=MOST_DAYS - 1)), last)
    words = asked.get("days", "")
    days = int(words) if words in map(str, PERIODS) else USUAL
    return Period(today - timedelta(days=days - 1), today)


def _day(text: str, today: date) -> date | None:
    """No later than today, and no earlier than any of our portals."""
    try:
        return min(max(date.fromisoformat(text), _EARLIEST), today)
    except ValueError:
        return None
