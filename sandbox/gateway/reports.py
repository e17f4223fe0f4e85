"""Sends delivery reports: a clock that knows what is due, and threads that make the calls."""

from __future__ import annotations

import heapq
import http.client
import itertools
import json
import queue
import random
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode, urlsplit

from sandbox.gateway.behaviour import Behaviour, Reports
from sandbox.gateway.ledger import Ledger, Message

_LONGEST_RETRY_S = 10.0


@dataclass(frozen=True)
class Job:
    """One word about one message, to be sent."""

    message: Message
    word: str
    reports: Reports
    attempt: int = 1


def plan(message: Message, behaviour: Behaviour) -> list[tuple[float, str]]:
    """When (seconds from now) and which words are sent about a message; the same for the same seed."""
    reports = behaviour.reports
    chance = random.Random(f"{behaviour.seed}:{message.to}:{message.text}:{message.copy}:reports")
    words = list(reports.words)
    if reports.final and words:
        words[-1] = chance.choices(
            [word for word, _ in reports.final], [weight for _, weight in reports.final]
        )[0]
    if chance.random() < reports.shuffle:
        chance.shuffle(words)
    sent = [word for word in words for _ in range(1 + (chance.random() < reports.duplicates))]
    sent = [word for word in sent if chance.random() >= reports.loss]
    start_s = reports.delay_s + chance.random() * reports.jitter_s
    return [(start_s + position * reports.gap_s, word) for position, word in enumerate(sent)]


class ReportSender:
    """Calls the callbacks. A report that is not answered 2xx is sent again, with growing pauses."""

    def __init__(self, ledger: Ledger, threads: int = 8) -> None:
        self._ledger = ledger
        self._due: list[tuple[float, int, Job]] = []
        self._numbers = itertools.count()
        self._changed = threading.Condition()
        self._ready: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
        self._stopped = False
        self._busy = 0
        self._threads = [threading.Thread(target=self._work, daemon=True) for _ in range(threads)]
        for thread in (threading.Thread(target=self._tick, name="report-clock", daemon=True), *self._threads):
            thread.start()

    def schedule(self, jobs: list[tuple[float, Job]]) -> None:
        """Send each job that many seconds from now."""
        if not jobs:
            return
        now = time.monotonic()
        with self._changed:
            first = self._due[0][0] if self._due else float("inf")
            for delay_s, job in jobs:
                heapq.heappush(self._due, (now + delay_s, next(self._numbers), job))
            if self._due[0][0] < first:
                self._changed.notify()

    def send_now(self, job: Job) -> None:
        """Send one report in the caller's thread and wait for its answer."""
        with _Caller() as caller:
            self._send(job, caller)

    @property
    def waiting(self) -> int:
        """Reports that are still to be sent, those under way included."""
        with self._changed:
            return len(self._due) + self._busy

    def forget(self) -> None:
        """Drop every report that is not under way."""
        with self._changed:
            self._due.clear()

    def close(self) -> None:
        with self._changed:
            self._stopped = True
            self._changed.notify()
        for _ in self._threads:
            self._ready.put(None)

    def _tick(self) -> None:
        while True:
            with self._changed:
                if self._stopped:
                    return
                now = time.monotonic()
                while self._due and self._due[0][0] <= now:
                    self._busy += 1
                    self._ready.put(heapq.heappop(self._due)[2])
                self._changed.wait(self._due[0][0] - now if self._due else None)

    def _work(self) -> None:
        with _Caller() as caller:
            while (job := self._ready.get()) is not None:
                try:
                    self._send(job, caller)
                finally:
                    with self._changed:
                        self._busy -= 1

    def _send(self, job: Job, caller: _Caller) -> None:
        status = caller.call(job)
        self._ledger.record_report(job.message, job.word, status, job.attempt)
        if 200 <= status < 300:
            return
        if job.attempt > job.reports.retries:
            self._ledger.record_given_up(job.message, job.word)
            return
        pause_s = min(job.reports.retry_delay_s * 2 ** (job.attempt - 1), _LONGEST_RETRY_S)
        again = Job(job.message, job.word, job.reports, job.attempt + 1)
        self.schedule([(pause_s, again)])


class _Caller:
    """The connections of one thread, kept open between calls."""

    def __init__(self) -> None:
        self._connections: dict[str, http.client.HTTPConnection] = {}

    def __enter__(self) -> _Caller:
        return self

    def __exit__(self, *_: object) -> None:
        for connection in self._connections.values():
            connection.close()

    def call(self, job: Job) -> int:
        """The status of the answer; 0 when there was none."""
        for is_last in self._tries(job):
            try:
                return self._call_once(job)
            except (OSError, http.client.HTTPException, ValueError):
                self._drop(job)
                if is_last:
                    break
        return 0

    def _tries(self, job: Job) -> Iterator[bool]:
        # A kept connection may have been closed by the other side meanwhile; a new one is tried once.
        if urlsplit(job.message.callback).netloc in self._connections:
            yield False
        yield True

    def _call_once(self, job: Job) -> int:
        url = urlsplit(job.message.callback)
        connection = self._connections.get(url.netloc)
        if connection is None:
            kind = http.client.HTTPSConnection if url.scheme == "https" else http.client.HTTPConnection
            connection = kind(url.netloc, timeout=job.reports.timeout_s)
            self._connections[url.netloc] = connection
        method, query, headers, body = _request(job, url.query)
        connection.request(method, (url.path or "/") + (f"?{query}" if query else ""), body, headers)
        answer = connection.getresponse()
        answer.read()
        return answer.status

    def _drop(self, job: Job) -> None:
        connection = self._connections.pop(urlsplit(job.message.callback).netloc, None)
        if connection is not None:
            with suppress(OSError):
                connection.close()


def _request(job: Job, query: str) -> tuple[str, str, dict[str, str], bytes | None]:
    item: dict[str, Any] = {
        "id": job.message.id,
        "reference": job.message.reference,
        "to": job.message.to,
        "status": job.word,
        "at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }
    match job.reports.format:
        case "query":
            return "GET", "&".join(filter(None, (query, urlencode(item)))), {}, None
        case "form":
            headers = {"Content-Type": "application/x-www-form-urlencoded"}
            return "POST", query, headers, urlencode(item).encode()
        case "array":
            return "POST", query, {"Content-Type": "application/json"}, json.dumps([item]).encode()
    return "POST", query, {"Content-Type": "application/json"}, json.dumps(item).encode()
