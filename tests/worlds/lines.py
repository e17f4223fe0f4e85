"""A portal, the product, a message centre, and what the process `smpp` does, in threads of the test."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import Any

import pytest

from app.gateway_accounts import Draft, account_of, draft, save
from app.gateways.smpp import line
from app.jobs import lines
from app.jobs.lines import LineKeeper
from app.store.accounts.accounts import Account
from bench.peers.message_centre import Centre, Proxy, Thread
from tests.worlds.faults import FaultWorld, fault_world
from tests.worlds.portals import HintList

PATIENCE_S = 30.0


class Operator:
    """A message centre in a thread, perhaps with a proxy before it."""

    def __init__(self, thread: Thread) -> None:
        self._thread = thread
        self.centre: Centre = self.run(self._centre(0))
        self.proxy: Proxy | None = None

    def run(self, work: Any) -> Any:
        return self._thread.ask(work)

    async def _centre(self, port: int) -> Centre:
        centre = Centre(port)
        await centre.start()
        return centre

    def restart(self) -> Centre:
        """Another centre at the same place; it knows nothing of what this one took, and counts anew."""
        port = self.centre.port
        self.run(self.centre.stop())
        self.centre = self.run(self._centre(port))
        self.centre.answer = lambda _number, count: f"again-{count}"
        return self.centre

    def with_proxy(self) -> Proxy:
        """A proxy on the way to it."""
        self.proxy = Proxy(self.centre.port)
        self.run(self.proxy.start())
        return self.proxy

    def cut(self) -> None:
        """End every connection, and wait until the centre has noticed."""

        async def cut() -> None:
            assert self.proxy is not None
            gone = set(self.centre.esmes)
            self.proxy.cut()
            while gone & set(self.centre.esmes):
                await asyncio.sleep(0.01)

        self.run(cut())

    def wait_taken(self, count: int) -> None:
        deadline = time.monotonic() + PATIENCE_S
        while len(self.centre.taken) < count:
            assert time.monotonic() < deadline, self.centre.taken
            time.sleep(0.02)

    def let_go(self, *ids: str) -> None:
        """Answer what was left without an answer with these ids, oldest first."""

        async def let_go() -> None:
            self.centre.let_go(*ids)

        self.run(let_go())

    def report(self, found: str, word: str, **options: Any) -> int:
        return int(self.run(self.centre.report(f"id:{found} stat:{word} err:000", **options)))

    def stop(self) -> None:
        if self.proxy is not None:
            self.run(self.proxy.stop())
        self.run(self.centre.stop())


@contextmanager
def an_operator() -> Iterator[Operator]:
    """One for a product in processes of its own."""
    thread = Thread()
    operator = Operator(thread)
    yield operator
    operator.stop()
    thread.stop()


class LineWorld:
    """`faults` is the product with its portal; `operator` the first message centre."""

    def __init__(self, faults: FaultWorld, thread: Thread, ending: ExitStack) -> None:
        self.faults, self._thread, self._ending = faults, thread, ending
        self.operator = self.another_operator()

    def another_operator(self) -> Operator:
        operator = Operator(self._thread)
        self._ending.callback(operator.stop)
        return operator

    def connect(self, operator: Operator | None = None, **settings: str) -> Account:
        """As an administrator does it, who changes the account that is there."""
        adapter = self.faults.services.gateways.get("smpp")
        assert adapter is not None
        portal = self.faults.world.row
        given = {
            "host": "127.0.0.1",
            "port": str((operator or self.operator).centre.port),
            "system_id": "me",
            "password": "secret",
            "originator": "ACME",
            **settings,
        }
        base = account_of(portal, adapter)
        written: Draft = draft(portal, adapter, given, base=base, allow_private=True)
        return save(written, now=self.faults.world.now())

    @contextmanager
    def keeper(self) -> Iterator[LineKeeper]:
        """A process `smpp` at work."""
        engine = HintList()
        engine._app = self.faults.world.app
        engine.hints = self.faults.world.engine.hints
        keeper = LineKeeper(replace(self.faults.services, engine=engine), self._in_app)
        stopping = threading.Event()
        running = threading.Thread(target=self._in_app, args=(lambda: keeper.run(stopping),))
        running.start()
        try:
            yield keeper
        finally:
            stopping.set()
            running.join(PATIENCE_S)
            engine.calls.shutdown(wait=True)
        assert not running.is_alive()

    def _in_app(self, work: Callable[[], None]) -> None:
        with self.faults.world.app.app_context():
            work()

    def send(self, number: str = "", **fields: Any) -> str:
        return self.faults.send(**({"to": f"+{number}"} if number else {}), **fields)

    def wait(self, is_so: Callable[[], bool]) -> None:
        deadline = time.monotonic() + PATIENCE_S
        while not is_so():
            assert time.monotonic() < deadline, "it did not become so"
            time.sleep(0.02)

    def wait_status(self, message_id: str, status: str) -> None:
        self.wait(lambda: self.faults.status(message_id)[0] == status)


@contextmanager
def line_world(patch: pytest.MonkeyPatch, **timing: float) -> Iterator[LineWorld]:
    """Installed and ready; no account is connected and no line is kept yet."""
    patch.setattr(line, "FIRST_PAUSE_S", 0.05)
    patch.setattr(lines, "LOOK_S", 0.02)
    patch.setattr(lines, "OWNERS_S", 0.05)
    patch.setattr(lines, "REPLACED_S", 0.2)
    patch.setattr(lines, "PARKED_S", 0.1)
    with ExitStack() as ending:
        faults = ending.enter_context(fault_world(**{"gateway_deadline_s": 10.0, **timing}))
        thread = Thread()
        ending.callback(thread.stop)
        yield LineWorld(faults, thread, ending)
