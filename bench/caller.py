"""Calls a web server over connections that stay open, as fast as it answers or at a given rate.

A process of its own, so that it never waits for the benchmark's: `python -m bench.caller ORDER`, an order as
JSON. In the open loop a call's time counts from the moment that it was meant for: a server that is stuck
delays the calls behind, and that is measured, too.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any
from urllib.parse import urlencode, urlsplit

from bench.sections import share_of
from sandbox.processes import PROJECT


@dataclass(frozen=True)
class Order:
    """What to call: a GET, or a `form` that is posted; `{n}` in address or values is each call's number."""

    url: str
    seconds: float
    connections: int = 16
    rate_per_s: float = 0.0  # 0: as fast as it answers
    form: dict[str, str] | None = None
    calls: int = 0  # 0: as many as there is time for


@dataclass(frozen=True)
class Heard:
    """What came of it."""

    calls: int
    seconds: float
    answers: dict[str, int]
    p50_ms: float
    p99_ms: float
    worst_ms: float

    @property
    def per_s(self) -> float:
        return self.calls / self.seconds

    def must_be(self, *statuses: int) -> Heard:
        """Figures of refusals are worth nothing."""
        if strange := {word: count for word, count in self.answers.items() if int(word) not in statuses}:
            raise RuntimeError(f"answers that a benchmark must not get: {strange}")
        return self


def call(order: Order) -> Heard:
    """Do it in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-m", "bench.caller", json.dumps(asdict(order))],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        timeout=order.seconds + 120,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"the caller failed: {done.stderr}")
    return Heard(**json.loads(done.stdout))


class _Caller:
    def __init__(self, order: Order) -> None:
        self._order = order
        self._url = urlsplit(order.url)
        self._waits: list[float] = []
        self._answers: Counter[str] = Counter()
        self._begun = 0

    async def run(self) -> Heard:
        began = time.perf_counter()
        moments = self._moments(began)
        tasks = [self._talk(moments, began + self._order.seconds) for _ in range(self._order.connections)]
        await asyncio.gather(*tasks)
        seconds = time.perf_counter() - began
        waits = sorted(self._waits)
        return Heard(
            calls=len(waits),
            seconds=seconds,
            answers=dict(self._answers),
            p50_ms=share_of(waits, 0.5),
            p99_ms=share_of(waits, 0.99),
            worst_ms=share_of(waits, 1.0),
        )

    def _moments(self, began: float) -> Iterator[float]:
        """When each call is meant to begin; in the closed loop whenever somebody has time."""
        rate = self._order.rate_per_s
        return (began + n / rate for n in itertools.count()) if rate else itertools.repeat(0.0)

    async def _talk(self, moments: Iterator[float], ends: float) -> None:
        reader, writer = await asyncio.open_connection(self._url.hostname, self._url.port)
        for moment in moments:
            if (now := time.perf_counter()) >= ends or moment >= ends or self._is_done():
                break
            if moment > now:
                await asyncio.sleep(moment - now)
            meant = moment or now
            writer.write(self._request())
            status, stays = await _answer(reader)
            self._waits.append((time.perf_counter() - meant) * 1000)
            self._answers[status] += 1
            if not stays:
                writer.close()
                reader, writer = await asyncio.open_connection(self._url.hostname, self._url.port)
        writer.close()

    def _is_done(self) -> bool:
        return 0 < self._order.calls <= self._begun

    def _request(self) -> bytes:
        path = (self._url.path or "/") + (f"?{self._url.query}" if self._url.query else "")
        number = self._begun = self._begun + 1
        if self._order.form is None:
            return f"GET {path.replace('{n}', str(number))} HTTP/1.1\r\nHost: bench\r\n\r\n".encode()
        form = {name: value.replace("{n}", str(number)) for name, value in self._order.form.items()}
        body = urlencode(form)
        return (
            f"POST {path} HTTP/1.1\r\nHost: bench\r\nContent-Type: application/x-www-form-urlencoded\r\n"
            f"Content-Length: {len(body)}\r\n\r\n{body}"
        ).encode()


async def _answer(reader: asyncio.StreamReader) -> tuple[str, bool]:
    """The status, and whether the connection stays open."""
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
    length, chunked = head.partition("content-length:")[2].split("\r\n", 1)[0].strip(), "chunked" in head
    if length:
        await reader.readexactly(int(length))
    elif chunked:
        await reader.readuntil(b"0\r\n\r\n")
    return head.split(" ", 2)[1], "connection: close" not in head


def main(order: dict[str, Any]) -> None:
    print(json.dumps(asdict(asyncio.run(_Caller(Order(**order)).run()))))


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
