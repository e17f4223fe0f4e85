"""Messages over SMPP through a proxy that spoils the line, and what became of each, at the centre and here.

The centre answers in another order than it is asked, in hexadecimal, and reports in decimal, often before it
answers; it throttles, and not all that it takes is delivered. The proxy cuts the line every few seconds,
breaks packets into pieces of any length, and makes them wait.
"""

from __future__ import annotations

import asyncio
import itertools
import time
from collections import Counter
from typing import Any

from bench.peers.message_centre import Answer, Centre, Proxy, Thread
from bench.sections import Section, table
from bench.worlds import SQLITE, World, world_on
from sandbox.client import PortalSandbox

FIRST_NUMBER = 4915100000000
THROTTLED = 0x58
WORDS = {"DELIVRD": "delivered", "UNDELIV": "undelivered", "EXPIRED": "undelivered", "REJECTD": "failed"}
UNKNOWN_S = 30.0  # then an outcome that nothing has resolved ends as failed


def measure(*, short: bool) -> Section:
    count, every_s, patience_s = (200, 1.5, 200.0) if short else (10_000, 3.0, 1800.0)
    with world_on(SQLITE, env={"TIMING": f"unknown_s={UNKNOWN_S:g},retry_base_s=1,push_repeat_s=0"}) as world:
        thread = Thread()
        try:
            figures = _Run(world, thread, count, every_s, patience_s).figures()
        finally:
            thread.stop()
    return Section(
        title="SMPP through a proxy that spoils the line",
        text=f"{count:,} messages over one line to somebody else's server (smpp34). The line is cut every"
        f" {every_s:g} seconds, packets come in pieces and late, answers in another order, receipts before"
        " answers and in another base; one submission of a hundred is throttled. On SQLite.",
        table=table(["", "figure"], [[name.replace("_", " "), value] for name, value in figures.items()]),
        figures=figures,
        is_as_promised=figures["as_promised"],
    )


class _Run:
    def __init__(self, world: World, thread: Thread, count: int, every_s: float, patience_s: float) -> None:
        self._world, self._thread, self._count = world, thread, count
        self._every_s, self._patience_s = every_s, patience_s
        self._portal: PortalSandbox = world.portal
        self._cuts = 0

    def figures(self) -> dict[str, Any]:
        self._thread.ask(self._open())
        self._connect()
        smpp = self._world.stack.start_product("smpp")
        began = time.monotonic()
        cutting = asyncio.run_coroutine_threadsafe(self._cut(), self._thread.loop)
        self._portal.wait_campaign(
            self._portal.campaign(
                self._count, to=f"+{FIRST_NUMBER}", text="Message {n} through the storm", auth="none"
            ),
            timeout_s=self._patience_s,
        )
        self._wait(lambda: self._open_rows() == 0)
        took_s = time.monotonic() - began
        cutting.cancel()
        self._wait(self._is_told)
        smpp.terminate()
        found = self._compare(took_s)
        self._thread.ask(self._close())
        return found

    async def _open(self) -> None:
        self._centre = Centre()
        self._centre.answer, self._centre.words = _answer, _words
        self._centre.ids = lambda found: str(int(found, 16))
        self._centre.is_shuffled = True
        await self._centre.start()
        self._proxy = Proxy(self._centre.port)
        self._proxy.slices, self._proxy.delay_s = True, 0.001
        await self._proxy.start()

    async def _close(self) -> None:
        await self._proxy.stop()
        await self._centre.stop()

    async def _cut(self) -> None:
        for turn in itertools.count():
            await asyncio.sleep(self._every_s)
            self._centre.receipt_first = turn % 2 == 0
            self._proxy.cut()
            self._cuts += 1

    def _connect(self) -> None:
        self._portal.install(finish=True)
        self._portal.configure(races={"enabled": False})
        settings = {
            "host": "127.0.0.1",
            "port": self._proxy.port,
            "system_id": "bench",
            "password": "secret",
            "originator": "BENCH",
        }
        pairs = [f"{name}={value}" for name, value in settings.items()]
        self._world.stack.run_flask("gateways", "set", self._portal.info()["member_id"], "smpp", *pairs)

    def _open_rows(self) -> int:
        """Messages that wait for anything: to be submitted, for a report, for the end of a question."""
        rows = self._world.query("SELECT count(*) FROM messages")[0][0]
        closed = self._world.query("SELECT count(*) FROM messages WHERE work = 'closed'")[0][0]
        return int(self._count - min(rows, closed))

    def _is_told(self) -> bool:
        statuses = self._portal.count_messages()["statuses"]
        return sum(statuses.get(word, 0) for word in set(WORDS.values())) >= self._count

    def _wait(self, is_so: Any) -> None:
        ends = time.monotonic() + self._patience_s
        while time.monotonic() < ends:
            if is_so():
                return
            time.sleep(0.5)

    def _compare(self, took_s: float) -> dict[str, Any]:
        rows = self._world.query(
            "SELECT recipient, status, reason, (SELECT count(*) FROM message_events WHERE event = 'unknown'"
            " AND message_row_id = messages.id) FROM messages"
        )
        taken = Counter(number for number, _found in self._centre.accepted)
        told = {
            row["to"].removeprefix("+"): row["status"] for row in self._portal.messages(limit=self._count)
        }
        unknown = {row[0].removeprefix("+") for row in rows if row[2] == "unknown"}
        were_unknown = {row[0].removeprefix("+") for row in rows if row[3]}
        wrong = [
            number
            for number, count in taken.items()
            if number not in unknown and told.get(number) != _end_of(number)
        ]
        invented = [
            n for n, status in told.items() if not taken[n] and status in ("delivered", "undelivered")
        ]
        lost = [number for number, status in told.items() if not taken[number] and number not in unknown]
        figures = {
            "messages": self._count,
            "seconds": round(took_s, 1),
            "line_cut": self._cuts,
            "bound": self._proxy.connections,
            "offered_again_after_throttling": len(self._centre.taken) - len(self._centre.accepted),
            "without_an_answer": len(were_unknown),
            "of_these_settled_by_late_answers_and_receipts": len(were_unknown - unknown),
            "ended_as_unknown": len(unknown),
            "of_these_the_centre_had": sum(taken[number] > 0 for number in unknown),
            "delivered": sum(status == "delivered" for status in told.values()),
            "lost": self._count - len(told) + len(lost),
            "taken_twice": sum(count > 1 for count in taken.values()),
            "wrong_status": len(wrong) + len(invented),
        }
        bad = figures["lost"] + figures["taken_twice"] + figures["wrong_status"]
        return {**figures, "as_promised": bad == 0 and len(told) == self._count}


def _answer(_number: str, count: int) -> Answer:
    return THROTTLED if count % 100 == 0 else f"{0xA0000 + count:08X}"


def _end_of(number: str) -> str:
    return WORDS[_words(number)[-1]]


def _words(number: str) -> tuple[str, ...]:
    """What the centre reports of a message to this number."""
    rare = {0: "UNDELIV", 1: "EXPIRED", 2: "REJECTD"}
    return ("ENROUTE", rare.get(int(number) % 50, "DELIVRD"))
