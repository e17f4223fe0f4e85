"""One commit for all who wait to write: SQLite has one writer at a time, and each commit waits for the disk.

Nobody waits for company. Whoever's turn it is takes along what has gathered behind it meanwhile; alone it
stores its own and goes. PostgreSQL does the same by itself, for all of its connections.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from threading import Lock
from typing import Generic, TypeVar

from sqlalchemy.engine import Connection

from app.store.database import StoreUnavailable, turn_to_write, writing_in_turn

Item = TypeVar("Item")
Result = TypeVar("Result")

MOST = 64  # in one commit


@dataclass(eq=False)
class _Waiting(Generic[Item, Result]):
    item: Item
    result: Result | None = None
    is_done: bool = False
    is_alone: bool = False  # it was in a commit that failed, perhaps for another's sake


class Together(Generic[Item, Result]):
    """`store` writes one item and says what became of it; it runs once in every commit that is tried."""

    def __init__(self, store: Callable[[Connection, Item], Result]) -> None:
        self._store = store
        self._waiting: list[_Waiting[Item, Result]] = []
        self._lock = Lock()

    def write(self, item: Item) -> Result:
        """Committed when this returns.

        Where a commit fails, each that was in it is tried alone: one may have spoilt it for all.

        Raises:
            StoreUnavailable: it was not stored.
        """
        mine: _Waiting[Item, Result] = _Waiting(item)
        with self._lock:
            self._waiting.append(mine)
        try:
            while not mine.is_done:
                with turn_to_write(unless=lambda: mine.is_done):
                    if not mine.is_done:
                        self._write_all(self._take(mine))
        finally:
            with self._lock:
                if mine in self._waiting:  # its time was over: nobody is to store it later
                    self._waiting.remove(mine)
        return mine.result  # type: ignore[return-value]

    def _take(self, mine: _Waiting[Item, Result]) -> list[_Waiting[Item, Result]]:
        with self._lock:
            if mine.is_alone:
                return [mine]
            batch, self._waiting = self._waiting[:MOST], self._waiting[MOST:]
        if mine in batch:
            return batch
        return [*batch, mine]

    def _write_all(self, batch: list[_Waiting[Item, Result]]) -> None:
        try:
            with writing_in_turn() as connection:
                results = [self._store(connection, each.item) for each in batch]
        except StoreUnavailable:
            if len(batch) == 1:
                raise
            for each in batch:
                each.is_alone = True
            return
        for each, result in zip(batch, results, strict=True):
            each.result, each.is_done = result, True
