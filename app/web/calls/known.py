"""Who is behind an address, known for a few seconds: a campaign or its reports do not look it up each time.

Only what fits is answered from here. Whatever does not (another application_token, a wrong signature, a word
that the settings do not have) is looked up anew, so what was changed counts at once.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Hashable
from datetime import datetime
from threading import Lock
from typing import Generic, TypeVar

Owner = TypeVar("Owner")
Address = TypeVar("Address", bound=Hashable)

KNOWN_S = 3.0
LIMIT = 10_000


class Known(Generic[Address, Owner]):
    """Owners by their addresses; an address that nobody has is not remembered."""

    def __init__(self, look_up: Callable[[Address, datetime], Owner | None]) -> None:
        self._look_up = look_up
        self._owners: OrderedDict[Address, tuple[float, Owner, int]] = OrderedDict()
        self._lock = Lock()

    def find(self, address: Address, now: datetime) -> tuple[Owner | None, int]:
        """The owner, and how many calls came in this short while."""
        with self._lock:
            known = self._owners.get(address)
            if known is not None and known[0] > time.monotonic():
                self._owners[address] = (known[0], known[1], known[2] + 1)
                return known[1], known[2] + 1
        return self.find_anew(address, now), 1

    def find_anew(self, address: Address, now: datetime) -> Owner | None:
        owner = self._look_up(address, now)
        with self._lock:
            if owner is None:
                self._owners.pop(address, None)
            else:
                self._owners[address] = (time.monotonic() + KNOWN_S, owner, 1)
                self._owners.move_to_end(address)
                while len(self._owners) > LIMIT:
                    self._owners.popitem(last=False)
        return owner
