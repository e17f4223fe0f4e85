"""The event queue: posts each item once, never again, and notes what came of it."""

from __future__ import annotations

import heapq
import itertools
import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from queue import SimpleQueue
from typing import TYPE_CHECKING

from sandbox.portal.posting import BadAnswer, Poster

if TYPE_CHECKING:
    from sandbox.portal.world import Portal, World


# Timers may be this late: waking once for several costs less than waking for each.
_TICK_S = 0.01


@dataclass(frozen=True, slots=True)
class Item:
    """One thing to post. `note` names it in the ledger; `done` hears (at, HTTP status or 0, seconds)."""

    portal: Portal
    kind: str
    url: str
    body: bytes
    note: dict[str, object]
    done: Callable[[float, int, float], None] | None = None


class EventQueue:
    """Worker threads behind one scheduler; `later` also serves as the portal's own timer."""

    def __init__(self, world: World, workers: int = 24, timeout_s: float = 20.0) -> None:
        self._world = world
        self.timeout_s = timeout_s
        self._ready: SimpleQueue[Item | None] = SimpleQueue()
        self._timers: list[tuple[float, int, Callable[[], None]]] = []
        self._order = itertools.count()
        self._wake = threading.Condition()
        self._rng = random.Random(24)
        self._held: list[Item] = []
        self._outstanding = 0  # items and timers that were begun and are not finished
        self._count_lock = threading.Lock()
        self._stopping = False
        self._workers = [threading.Thread(target=self._work, daemon=True) for _ in range(workers)]
        self._scheduler = threading.Thread(target=self._run_timers, daemon=True)

    def start(self) -> None:
        for thread in (*self._workers, self._scheduler):
            thread.start()

    def stop(self) -> None:
        self._stopping = True
        for _ in self._workers:
            self._ready.put(None)
        with self._wake:
            self._wake.notify()
        for thread in self._workers:
            thread.join(timeout=2.0)

    def post(self, item: Item) -> None:
        """Hand an item over; the portal's queue faults decide when, how often and whether it goes out."""
        plan = item.portal.queue_faults.plan(self._rng)
        if not plan:
            self._world.ledger.record("dropped", item.portal.number, **item.note)
        for delay_s in plan:
            if delay_s > 0:
                self.later(delay_s, lambda: self._enqueue(item))
            else:
                self._enqueue(item)

    def post_at_once(self, item: Item, copies: int) -> None:
        """Post the same item several times at the same moment, whatever the faults say."""
        for _ in range(copies):
            self._put(item)

    def later(self, delay_s: float, run: Callable[[], None]) -> None:
        """Run something short after a while; delays are real seconds, not the movable clock's."""
        self._count(1)
        with self._wake:
            timer = (time.monotonic() + delay_s, next(self._order), run)
            heapq.heappush(self._timers, timer)
            if self._timers[0] is timer:  # otherwise the scheduler wakes early enough anyhow
                self._wake.notify()

    def release(self) -> int:
        """Let go what was held back by a pause."""
        with self._world.lock:
            held, self._held = self._held, []
        for item in held:
            self._enqueue(item)
        return len(held)

    def backlog(self) -> int:
        """Items and timers that are not finished; 0 means the portal has come to rest."""
        return self._outstanding + len(self._held)

    def _enqueue(self, item: Item) -> None:
        if item.portal.queue_faults.paused:
            with self._world.lock:
                self._held.append(item)
            return
        self._put(item)

    def _put(self, item: Item) -> None:
        self._count(1)
        self._ready.put(item)

    def _count(self, change: int) -> None:
        with self._count_lock:
            self._outstanding += change

    def _run_timers(self) -> None:
        while not self._stopping:
            with self._wake:
                if not self._timers:
                    self._wake.wait()
                    continue
                due_in = self._timers[0][0] - time.monotonic()
                if due_in > 0:
                    self._wake.wait(max(due_in, _TICK_S))
                    continue
                _, _, run = heapq.heappop(self._timers)
            try:
                run()
            finally:
                self._count(-1)

    def _work(self) -> None:
        poster = Poster(self.timeout_s)
        while (item := self._ready.get()) is not None:
            try:
                self._post(item, poster)
            finally:
                self._count(-1)
        poster.close()

    def _post(self, item: Item, poster: Poster) -> None:
        at = time.time()
        started = time.perf_counter()
        status, problem = 0, ""
        try:
            status = poster.post(item.url, item.body)
        except (OSError, BadAnswer, ValueError) as error:
            problem = type(error).__name__
        seconds = time.perf_counter() - started
        note = dict(item.note)
        if problem:
            note["problem"] = problem
        self._world.ledger.record(
            item.kind, item.portal.number, status, latency_ms=round(seconds * 1000, 2), **note
        )
        if item.done is not None:
            item.done(at, status, seconds)
