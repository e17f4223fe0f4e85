"""One bound connection to a message centre: framing, window, answers, signs of life.

Nothing here knows rows or accounts. A packet that was written and not answered is nobody's to repeat: whoever
waits for it hears `NoAnswer`, and so does everybody on a line that is cut.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Literal

from app.gateways.smpp import pdu
from app.gateways.smpp.pdu import Malformed, Pdu, ShortMessage

log = logging.getLogger(__name__)

Role = Literal["transceiver", "transmitter", "receiver"]
_BINDS: dict[Role, int] = {
    "transceiver": pdu.BIND_TRANSCEIVER,
    "transmitter": pdu.BIND_TRANSMITTER,
    "receiver": pdu.BIND_RECEIVER,
}
RECEIPTS_AT_ONCE = 20
RECEIPTS_AT_MOST = 1_000  # that wait here; a centre that sends more at once hears "later"
LATE_AT_MOST = 10_000  # questions whose answers are still awaited after their time


class BindRefused(Exception):
    """The centre does not let us in; `status` says why."""

    def __init__(self, status: int) -> None:
        super().__init__(f"the bind was refused with status 0x{status:08X}")
        self.status = status


class LineLost(Exception):
    """The session is over. Nothing of the packet at hand was written."""


class NoAnswer(Exception):
    """The packet was written, and no answer came."""


@dataclass(frozen=True)
class Login:
    system_id: str
    password: str
    system_type: str = ""


@dataclass(frozen=True)
class Pace:
    """Seconds, and how many packets may wait for their answer."""

    window: int = 10
    answer_s: float = 8.0  # the last packets are written 20 seconds after their claim, and 30 it lasts
    enquire_s: float = 30.0


# Stores what a `deliver_sm` says and returns the status to answer it with, after the commit.
Deliver = Callable[[ShortMessage], Awaitable[int]]
# Takes an answer that came after its time.
Late = Callable[[Pdu], None]


class Session:
    """Use it by `open_session`; `closed` is done when it is over, with the reason as its result."""

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, pace: Pace, deliver: Deliver
    ) -> None:
        self._reader, self._writer, self._pace, self._deliver = reader, writer, pace, deliver
        self._numbers = itertools.cycle(range(1, 0x7FFFFFFF))
        self._waiting: dict[int, asyncio.Future[Pdu]] = {}
        self._late: dict[int, Late] = {}  # oldest first
        self._window = asyncio.Semaphore(pace.window)
        self._places = asyncio.Semaphore(RECEIPTS_AT_ONCE)
        self._receipts = 0
        self._heard_at = asyncio.get_running_loop().time()
        self._tasks: set[asyncio.Task[None]] = set()
        self._is_leaving = False
        self.has_served = False  # a message was answered, or brought
        self.closed: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    def start(self) -> None:
        self._spawn(self._read())

    async def bind(self, role: Role, login: Login) -> None:
        """Raises BindRefused, NoAnswer, LineLost or, for a login that SMPP has no room for, Malformed."""
        body = pdu.bind_body(login.system_id, login.password, login.system_type)
        answer = await self._ask(_BINDS[role], body)
        if answer.status != pdu.ROK:
            raise BindRefused(answer.status)
        self._spawn(self._keep_alive())

    async def submit(
        self, message: ShortMessage, within_s: float, *, check: Callable[[], None], late: Late
    ) -> Pdu:
        """The centre's `submit_sm_resp`, or its generic nack; `within_s` is for the place in the window.

        `check` is called right before it is written, and raises where it must not be. `late` gets an answer
        that comes after `NoAnswer`, as long as the session lasts.

        Raises:
            LineLost: nothing was written.
            NoAnswer: it was written, and what the centre made of it is unknown.
        """
        body = pdu.message_body(message)
        try:
            await asyncio.wait_for(self._window.acquire(), within_s)
        except TimeoutError:
            raise LineLost("no place in the window became free in time") from None
        try:
            check()
            return await self._ask(pdu.SUBMIT_SM, body, late=late)
        finally:
            self._window.release()

    async def leave(self) -> None:
        """Take no more, wait for what is under way, say goodbye, close."""
        self._is_leaving = True
        waiting = [future for future in self._waiting.values() if not future.done()]
        if waiting:
            await asyncio.wait(waiting, timeout=self._pace.answer_s)
        with suppress(LineLost, NoAnswer):
            await self._ask(pdu.UNBIND, b"", is_goodbye=True)
        await self.close("we said goodbye")

    async def close(self, why: str) -> None:
        """End it at once; who waits for an answer hears that none will come."""
        if self.closed.done():
            return
        self.closed.set_result(why)
        for future in self._waiting.values():
            if not future.done():
                future.set_exception(NoAnswer(f"the line was cut: {why}"))
        for task in self._tasks - {asyncio.current_task()}:
            task.cancel()
        self._writer.close()
        with suppress(Exception):  # however it ends, it is over
            await asyncio.wait_for(self._writer.wait_closed(), 1.0)

    # --- out

    async def _ask(
        self, command: int, body: bytes, *, is_goodbye: bool = False, late: Late | None = None
    ) -> Pdu:
        if self.closed.done() or (self._is_leaving and not is_goodbye):
            raise LineLost(self.closed.result() if self.closed.done() else "the session is ending")
        number = next(self._numbers)
        future: asyncio.Future[Pdu] = asyncio.get_running_loop().create_future()
        self._waiting[number] = future
        try:
            self._write(Pdu(command, pdu.ROK, number, body))
            return await asyncio.wait_for(future, self._pace.answer_s)
        except TimeoutError:
            if late is not None:
                self._await_late(number, late)
            raise NoAnswer(f"no answer within {self._pace.answer_s:g} seconds") from None
        finally:
            self._waiting.pop(number, None)

    def _await_late(self, number: int, late: Late) -> None:
        self._late[number] = late
        if len(self._late) > LATE_AT_MOST:
            del self._late[next(iter(self._late))]

    def _write(self, packet: Pdu) -> None:
        self._writer.write(packet.encoded())

    async def _keep_alive(self) -> None:
        """Ask for a sign of life after a silence; a peer that gives none is gone, whatever TCP believes."""
        while True:
            silent_s = asyncio.get_running_loop().time() - self._heard_at
            if silent_s < self._pace.enquire_s:
                await asyncio.sleep(self._pace.enquire_s - silent_s)
                continue
            try:
                await self._ask(pdu.ENQUIRE_LINK, b"")
            except (NoAnswer, LineLost):
                await self.close("the message centre gave no sign of life")
                return

    # --- in

    async def _read(self) -> None:
        try:
            while True:
                header = await self._reader.readexactly(4)
                raw = header + await self._reader.readexactly(pdu.length_of(header) - 4)
                self._heard_at = asyncio.get_running_loop().time()
                self._take(pdu.decoded(raw))
        except Malformed as error:
            await self.close(f"the message centre sent {error}")
        except (OSError, asyncio.IncompleteReadError):
            await self.close("the connection ended")

    def _take(self, packet: Pdu) -> None:
        if packet.is_response:
            self.has_served |= packet.command == pdu.SUBMIT_SM | pdu.RESPONSE
            future = self._waiting.get(packet.sequence)
            if future is not None and not future.done():
                future.set_result(packet)
            elif (late := self._late.pop(packet.sequence, None)) is not None:
                late(packet)
        elif packet.command == pdu.DELIVER_SM:
            self.has_served = True
            # Never waited for here: behind them come the answers to our own packets.
            if self._receipts >= RECEIPTS_AT_MOST:
                self._write(packet.answer(pdu.RX_T_APPN, b"\x00"))
                return
            self._receipts += 1
            self._spawn(self._take_delivery(packet))
        elif packet.command == pdu.ENQUIRE_LINK:
            self._write(packet.answer())
        elif packet.command == pdu.UNBIND:
            self._write(packet.answer())
            self._is_leaving = True
            self._spawn(self._end_after_unbind())
        elif packet.command != pdu.ALERT_NOTIFICATION:
            self._write(Pdu(pdu.GENERIC_NACK, pdu.RINVCMDID, packet.sequence))

    async def _take_delivery(self, packet: Pdu) -> None:
        """Answered after the commit: a centre repeats what we do not answer, and what we refuse for now."""
        try:
            async with self._places:
                status = await self._deliver(pdu.message_of(packet.body))
        except Malformed as error:
            log.warning("unreadable deliver_sm", extra={"why": str(error)})
            status = pdu.ROK  # it will not become readable by being repeated
        except Exception:
            log.exception("deliver_sm not stored")
            status = pdu.RX_T_APPN
        finally:
            self._receipts -= 1
        if not self.closed.done():
            self._write(packet.answer(status, b"\x00"))

    async def _end_after_unbind(self) -> None:
        waiting = [future for future in self._waiting.values() if not future.done()]
        if waiting:
            await asyncio.wait(waiting, timeout=self._pace.answer_s)
        await self.close("the message centre ended the session")

    def _spawn(self, work: Awaitable[None]) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
