"""What workers count for the operator's monitoring: numbers by name and labels, until somebody takes them.

A worker listens on no port, so nobody can scrape it. It adds its numbers to rows every few seconds, and
`/metrics` of any web process shows the sum of all workers on all machines.
"""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass

SECONDS = (0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 1800.0)


@dataclass(frozen=True, order=True)
class Series:
    """One line of Prometheus text: a name and its labels, sorted by label."""

    name: str
    labels: tuple[tuple[str, str], ...] = ()


class Counts:
    """One object per process, shared by its threads. Adding never fails and never waits for anybody."""

    def __init__(self) -> None:
        self._values: dict[Series, float] = defaultdict(float)
        self._lock = threading.Lock()

    def add(self, name: str, value: float = 1, **labels: str) -> None:
        """Add to a counter; its name ends in `_total`."""
        with self._lock:
            self._values[_series(name, labels)] += value

    def observe(self, name: str, seconds: float, **labels: str) -> None:
        """Add one observation to a histogram: a bucket, the sum and the count."""
        bucket = next((limit for limit in SECONDS if seconds <= limit), None)
        with self._lock:
            if bucket is not None:
                self._values[_series(f"{name}_bucket", {**labels, "le": str(bucket)})] += 1
            self._values[_series(f"{name}_sum", labels)] += seconds
            self._values[_series(f"{name}_count", labels)] += 1

    def take(self) -> dict[Series, float]:
        """What has gathered since the last time; who takes it has to keep it."""
        with self._lock:
            taken, self._values = dict(self._values), defaultdict(float)
        return taken

    def give_back(self, taken: Mapping[Series, float]) -> None:
        """What could not be kept is taken along with the next."""
        with self._lock:
            for series, value in taken.items():
                self._values[series] += value


def _series(name: str, labels: Mapping[str, str]) -> Series:
    return Series(name, tuple(sorted(labels.items())))
