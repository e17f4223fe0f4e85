"""The event queue: posts each item once, never again, and notes what came of it."""

from __future__ import annotations

import heapq
import http.client
import itertools
import random
import select
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from queue import SimpleQueue
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from sandbox.portal.world import Portal, World

USER_AGENT = "Bitrix24 Webhook Engine"

# An idle connection may be closed by the other side at any moment, and a post must not be repeated:
# so a connection is used again only while it is this fresh.
_REUSE_WITHIN_S = 1.0


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
            heapq.heappush(self._timers, (time.monotonic() + delay_s, next(self._order), run))
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
                    self._wake.wait(due_in)
                    continue
                _, _, run = heapq.heappop(self._timers)
            try:
                run()
            finally:
                self._count(-1)

    def _work(self) -> None:
        connections = _Connections(self.timeout_s)
        while (item := self._ready.get()) is not None:
            try:
                self._post(item, connections)
            finally:
                self._count(-1)

    def _post(self, item: Item, connections: _Connections) -> None:
        at = time.time()
        started = time.perf_counter()
        status, problem = 0, ""
        try:
            status = connections.post(item.url, item.body)
        except (OSError, http.client.HTTPException, ValueError) as error:
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


class _Connections:
    """The open connections of one worker. Answers are read whole and thrown away."""

    def __init__(self, timeout_s: float) -> None:
        self._timeout_s = timeout_s
        self._open: dict[str, tuple[http.client.HTTPConnection, float]] = {}

    def post(self, url: str, body: bytes) -> int:
        parts = urlsplit(url)
        connection = self._take(parts.scheme, parts.netloc)
        path = parts.path or "/"
        if parts.query:
            path += f"?{parts.query}"
        headers = {
            "Content-Type": "application/x-www-form-urlencoded",
            "User-Agent": USER_AGENT,
            "Accept": "*/*",
        }
        try:
            connection.request("POST", path, body=body, headers=headers)
            response = connection.getresponse()
            response.read()
        except BaseException:
            connection.close()
            raise
        if response.will_close:
            connection.close()
        else:
            self._open[f"{parts.scheme}://{parts.netloc}"] = (connection, time.monotonic())
        return response.status

    def _take(self, scheme: str, netloc: str) -> http.client.HTTPConnection:
        connection, used_at = self._open.pop(f"{scheme}://{netloc}", (None, 0.0))
        if connection is not None:
            fresh = time.monotonic() - used_at < _REUSE_WITHIN_S
            if fresh and connection.sock is not None and not _readable(connection.sock.fileno()):
                return connection
            connection.close()
        kind = http.client.HTTPSConnection if scheme == "https" else http.client.HTTPConnection
        return kind(netloc, timeout=self._timeout_s)


def _readable(fileno: int) -> bool:
    """True if the other side has closed (or said something unasked), so the connection is spent."""
    with suppress(OSError, ValueError):
        poll = select.poll()
        poll.register(fileno, select.POLLIN)
        return bool(poll.poll(0))
    return True
