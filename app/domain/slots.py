"""How many threads of this process one gateway account may hold: never all of them.

A gateway that hangs holds a thread for the whole deadline of a call. Were there no limit, a campaign to
one such gateway would stop every other portal's messages.
"""

from __future__ import annotations

import threading
import time
from collections import Counter, deque

SEEN_S = 2.0


class Slots:
    """Counts per account, in memory: what they protect is this process."""

    def __init__(self, threads: int) -> None:
        self.limit = max(1, threads - max(1, threads // 4))
        self._held: Counter[int] = Counter()
        self._turned_away: set[int] = set()
        self._accepted: dict[int, deque[float]] = {}
        self._lock = threading.Lock()

    def take(self, account_id: int) -> bool:
        """False when this account has its share; who holds a slot then goes on with the next message."""
        with self._lock:
            if self._held[account_id] >= self.limit:
                self._turned_away.add(account_id)
                return False
            self._held[account_id] += 1
            return True

    def free(self, account_id: int) -> None:
        with self._lock:
            self._held[account_id] -= 1
            if not self._held[account_id]:
                del self._held[account_id]

    def has_more(self, account_id: int) -> bool:
        """Whether somebody was turned away since the last time this was asked."""
        with self._lock:
            found = account_id in self._turned_away
            self._turned_away.discard(account_id)
            return found

    def note_accepted(self, account_id: int) -> None:
        with self._lock:
            self._accepted.setdefault(account_id, deque(maxlen=500)).append(time.monotonic())

    def accepted_per_s(self, account_id: int) -> float:
        """How fast this account took messages just now."""
        since = time.monotonic() - SEEN_S
        with self._lock:
            return sum(at > since for at in self._accepted.get(account_id, ())) / SEEN_S
