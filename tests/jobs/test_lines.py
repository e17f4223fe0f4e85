"""Messages over SMPP, from a card in the portal to somebody else's message centre and back."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from typing import Any

import pytest

from sandbox.client import PortalSandbox
from sandbox.processes import Process
from sandbox.stack import Stack
from tests.gateways.smpp.centre import Centre

pytestmark = pytest.mark.slow

FAST = "first_push_s=0.3,push_fill_s=0.1,sweep_s=0.5,push_repeat_s=1"


class Operator:
    """A message centre in a thread of its own."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self.thread.start()
        self.centre: Centre = self.ask(self._made())

    async def _made(self) -> Centre:
        centre = Centre()
        await centre.start()
        return centre

    def ask(self, work: Any) -> Any:
        future: Future[Any] = asyncio.run_coroutine_threadsafe(work, self.loop)
        return future.result(timeout=60)

    def wait_taken(self, count: int) -> None:
        async def wait() -> None:
            while len(self.centre.taken) < count:
                await asyncio.sleep(0.05)

        self.ask(wait())

    def stop(self) -> None:
        self.ask(self.centre.stop())
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join()
        self.loop.close()


@pytest.fixture
def operator() -> Iterator[Operator]:
    operator = Operator()
    yield operator
    operator.stop()


@contextmanager
def connected(operator: Operator) -> Iterator[tuple[Stack, PortalSandbox, Process]]:
    with Stack(env={"TIMING": FAST}) as stack:
        portal = PortalSandbox(stack.portal_url)
        portal.install(finish=True)
        settings = {
            "host": "127.0.0.1",
            "port": operator.centre.port,
            "system_id": "me",
            "password": "secret",
        }
        pairs = [f"{name}={value}" for name, value in {**settings, "originator": "ACME"}.items()]
        stack.run_flask("gateways", "set", portal.info()["member_id"], "smpp", *pairs)
        yield stack, portal, stack.start_product("smpp")


def test_a_message_goes_over_the_line_and_its_receipt_comes_back(operator: Operator) -> None:
    """The centre answers in hexadecimal and reports in decimal."""
    operator.centre.answer = lambda _number, count: f"{count + 9:08X}"
    with connected(operator) as (_stack, portal, _smpp):
        message = portal.send_sms(to="+4915112345678", text="Hello")["message_id"]
        operator.wait_taken(1)
        answered = operator.ask(operator.centre.report("id:0000000010 stat:DELIVRD err:000 text:Hello"))
        portal.wait_status(message, "delivered")

    assert answered == 0
    assert operator.centre.taken == [("4915112345678", b"Hello")]


def test_what_the_centre_refuses_ends_as_failed(operator: Operator) -> None:
    operator.centre.answer = lambda _number, _count: 0x0B
    with connected(operator) as (_stack, portal, _smpp):
        message = portal.send_sms(to="+4915112345678", text="Hello")["message_id"]
        portal.wait_status(message, "failed")

    assert len(operator.centre.taken) == 1


def test_a_killed_process_loses_nothing_and_doubles_nothing(operator: Operator) -> None:
    """Another one takes the line over when the lease of the dead one ends."""
    with connected(operator) as (stack, portal, smpp):
        portal.send_sms(to="+4915112345679", text="before")
        operator.wait_taken(1)
        smpp.kill()
        message = portal.send_sms(to="+4915112345678", text="after")["message_id"]
        stack.start_product("smpp")
        operator.wait_taken(2)
        operator.ask(operator.centre.report("id:id-2 stat:DELIVRD err:000 text:after"))
        portal.wait_status(message, "delivered")

    assert [octets for _number, octets in operator.centre.taken] == [b"before", b"after"]
