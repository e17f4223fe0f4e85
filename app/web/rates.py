"""How often somebody may do something, counted in this process: a flood costs the database nothing."""

from __future__ import annotations

from collections import OrderedDict, deque
from threading import Lock

KNOWN_LIMIT = 10_000


class Rate:
    """At most so many in any span of `span_s` seconds, for each name."""

    def __init__(self, span_s: float) -> None:
        self._span_s = span_s
        self._times: OrderedDict[str, deque[float]] = OrderedDict()
        self._lock = Lock()

    def allow(self, name: str, limit: int, *, now: float) -> bool:
        """Whether one more is allowed; if so it counts. `now` is seconds of a clock that never goes back."""
        with self._lock:
            times = self._times.setdefault(name, deque())
            self._times.move_to_end(name)
            while len(self._times) > KNOWN_LIMIT:
                self._times.popitem(last=False)
            while times and times[0] <= now - self._span_s:
                times.popleft()
            if len(times) >= limit:
                return False
            times.append(now)
            return True
