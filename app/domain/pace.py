"""How fast one account may be called: in memory, with the clock passed in."""

from __future__ import annotations

from collections import deque
from datetime import datetime, timedelta

BURST = timedelta(seconds=0.1)  # what was not used for so long may be used at once
SEEN = timedelta(seconds=2)


class Pace:
    """A rate that the gateway taught us or its adapter declares, or none. `next_at`: nothing goes before."""

    def __init__(self) -> None:
        self._rate: float | None = None
        self._next_at: datetime | None = None
        self._accepted: deque[datetime] = deque(maxlen=500)

    def learn(
        self, rate_per_s: float | None, next_at: datetime | None, *, most_per_s: float | None = None
    ) -> None:
        """What the account's row says by now. `most_per_s` is the rate that the gateway is known to take."""
        self._rate = min((rate for rate in (rate_per_s, most_per_s) if rate), default=None)
        if next_at is not None and (self._next_at is None or next_at > self._next_at):
            self._next_at = next_at

    def places(self, now: datetime, limit: int) -> int:
        """How many calls may begin now, at most `limit`."""
        if self._next_at is not None and self._next_at > now:
            return 0
        if self._rate is None or self._next_at is None:
            return limit if self._rate is None else min(limit, 1)
        unused = min(now - self._next_at, BURST).total_seconds()
        return min(limit, 1 + int(unused * self._rate))

    def took(self, count: int, now: datetime) -> None:
        """So many calls have begun."""
        if self._rate is None or not count:
            return
        begins = max(self._next_at or now, now - BURST)
        self._next_at = begins + timedelta(seconds=count / self._rate)

    def wait_s(self, now: datetime) -> float:
        """How long until the next call may begin."""
        return max(0.0, (self._next_at - now).total_seconds()) if self._next_at is not None else 0.0

    @property
    def next_at(self) -> datetime | None:
        return self._next_at if self._rate is not None else None

    def note_accepted(self, count: int, now: datetime) -> None:
        self._accepted.extend([now] * count)

    def accepted_per_s(self, now: datetime) -> float:
        """How fast the account took messages just now."""
        return sum(at > now - SEEN for at in self._accepted) / SEEN.total_seconds()
