"""The leaky bucket of 2 requests a second, blocked at 50."""

from __future__ import annotations

import time


class Bucket:
    """Each call pours one unit in, `rate` units a second drain, and a full bucket refuses."""

    def __init__(self, rate: float, limit: float) -> None:
        self.rate = rate
        self.limit = limit
        self.enabled = True
        self._level = 0.0
        self._seen = time.monotonic()

    def pour(self) -> bool:
        """Count one call; False if it must be refused (a refused call is not counted)."""
        if not self.enabled:
            return True
        now = time.monotonic()
        self._level = max(0.0, self._level - (now - self._seen) * self.rate)
        self._seen = now
        if self._level + 1 > self.limit:
            return False
        self._level += 1
        return True

    def empty(self) -> None:
        self._level = 0.0

    def view(self) -> dict[str, float | bool]:
        return {
            "rate": self.rate,
            "limit": self.limit,
            "enabled": self.enabled,
            "level": round(self._level, 2),
        }
