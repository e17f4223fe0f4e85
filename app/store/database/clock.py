"""The time that rows go by: the database's own, carried on between two connections."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from typing import Any

CLOCK_ERROR_LIMIT_S = 0.5

CLOCK_DRIFT = 1e-4  # how far two machines' clocks part in a second, at worst


class DatabaseClock:
    """PostgreSQL's clock, carried on by this machine's monotonic one between two connections.

    Leases of workers on several machines are compared with each other, so all go by one clock, and a
    machine whose own clock is wrong or jumps does no harm. SQLite has but one machine: its own clock.
    """

    def __init__(self) -> None:
        self._anchor: tuple[datetime, float, float] | None = None  # a time, our ticks then, its error

    def now(self) -> datetime:
        anchor = self._anchor
        if anchor is None:
            return datetime.now(UTC)
        at, ticks, _ = anchor
        return at + timedelta(seconds=time.monotonic() - ticks)

    def set_by(self, connection: Any) -> None:
        """Ask what time it is. The answer took some time itself, so the quickest one of late tells it best:
        processes whose clocks differ by more than a hint takes would find rows not due yet."""
        for _ in range(2):  # the first one may be slow for being the first
            before = time.monotonic()
            at = connection.execute("SELECT clock_timestamp()").fetchone()[0]
            after = time.monotonic()
            error_s = (after - before) / 2
            if error_s < min(CLOCK_ERROR_LIMIT_S, self._error_s(after)):
                self._anchor = (at.astimezone(UTC), before + error_s, error_s)

    def _error_s(self, ticks: float) -> float:
        """How wrong the clock may be by now."""
        if self._anchor is None:
            return float("inf")
        _, then, error_s = self._anchor
        return error_s + (ticks - then) * CLOCK_DRIFT

    def forget(self) -> None:
        self._anchor = None


database_clock = DatabaseClock()


def utcnow() -> datetime:
    """The time that rows go by: the database's where it has a clock of its own."""
    return database_clock.now()
