"""A message centre and the line to it: somebody else's SMPP server, and a proxy that spoils the connection.

The protocol is smpp34's, written in Rust; what the centre decides is said here.
"""

from __future__ import annotations

import asyncio
import random
import threading
from collections.abc import Callable, Coroutine, Sequence
from concurrent.futures import Future
from contextlib import suppress
from typing import Any, TypeVar

import smpp34

from sandbox.processes import free_port

# What the centre does with a submission: accept it with an id, refuse it with a status, or say nothing.
Answer = str | int | None
Result = TypeVar("Result")

RECEIPT = (
    "id:{id} sub:001 dlvrd:001 submit date:2611281200 done date:2611281201 stat:{word} err:000 text:{begin}"
)
BEGIN = 20  # characters of the message that a receipt repeats
RECEIPTS_AT_ONCE = 50


class Centre:
    """Accepts everything, unless told otherwise before or while it runs.

    `answer(number, count)` decides on each submission; `words(number)` are the states that it reports then.
    `is_shuffled`: answers leave in another order than the submissions came in. `receipt_first`: the receipts
    leave before the answer. `ids` writes an id as the receipt has it. `with_id`: receipts name their message.
    `as_tlv`: they do so by parameters. `repeats`: they have the beginning of its text.
    """

    def __init__(self, port: int = 0) -> None:
        self.port = port or free_port()
        self.taken: list[tuple[str, bytes]] = []
        self.sessions: list[str] = []  # which each of these came over
        self.originators: list[tuple[int, int, str]] = []
        self.accepted: list[tuple[str, str]] = []  # number and id
        self.receipts = 0  # that were taken from us
        self.esmes: dict[Any, Any] = {}
        self.answer: Callable[[str, int], Answer] = lambda _number, count: f"id-{count}"
        self.words: Callable[[str], Sequence[str]] = lambda _number: ()
        self.ids: Callable[[str], str] = lambda found: found
        self.is_shuffled = self.receipt_first = self.as_tlv = False
        self.with_id = self.repeats = True
        self._unanswered: list[Any] = []
        self._held: list[tuple[Any, str, str, str]] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._places = asyncio.Semaphore(RECEIPTS_AT_ONCE)
        self._server: Any = None

    async def start(self) -> None:
        self._server = smpp34.Server(host="127.0.0.1", port=self.port, system_id="CENTRE")
        await self._server.start()
        self._spawn(self._serve())
        self._spawn(self._shuffle())

    async def stop(self) -> None:
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._server.stop()
        for session in self.esmes.values():  # the server lets them live on
            with suppress(Exception):
                await asyncio.wait_for(session.unbind(), 1.0)

    async def _serve(self) -> None:
        while True:
            event = await self._server.next()
            match event:
                case smpp34.Esme():
                    self.esmes[event.session_id] = event
                case smpp34.Unbound():
                    self.esmes.pop(event.session_id, None)
                case smpp34.SubmitSmEvent():
                    self._take(event)

    def _take(self, event: Any) -> None:
        number, text = event.destination_addr, bytes(event.short_message)
        self.taken.append((number, text))
        self.sessions.append(event.session_id)
        self.originators.append((event.source_addr_ton, event.source_addr_npi, event.source_addr))
        answer = self.answer(number, len(self.taken))
        if isinstance(answer, int):
            event.reject(answer)
        elif answer is None:
            self._unanswered.append(event)
        elif self.is_shuffled:
            self._held.append((event, number, answer, event.source_addr))
        else:
            self._accept(event, number, answer, event.source_addr)

    async def _shuffle(self) -> None:
        while True:
            await asyncio.sleep(0.02)
            held, self._held = self._held, []
            random.shuffle(held)
            for each in held:
                self._accept(*each)

    def _accept(self, event: Any, number: str, found: str, originator: str) -> None:
        self.accepted.append((number, found))
        words = self.words(number)
        is_answered = not (words and self.receipt_first)
        if is_answered:
            event.accept(message_id=found)
        if words:
            self._spawn(self._report_all(event, number, found, originator, words, is_answered=is_answered))

    async def _report_all(
        self, event: Any, number: str, found: str, originator: str, words: Sequence[str], *, is_answered: bool
    ) -> None:
        for word in words:
            text, tlvs = self._receipt(self.ids(found), word, bytes(event.short_message))
            await self._report_until_taken(text, tlvs, number, originator)
        if not is_answered:
            event.accept(message_id=found)

    def _receipt(self, found: str, word: str, message: bytes) -> tuple[str, list[Any]]:
        if self.as_tlv:
            state = {"DELIVRD": 2, "EXPIRED": 3, "UNDELIV": 5, "REJECTD": 8}[word]
            return "", [
                smpp34.Tlv(smpp34.TLV_RECEIPTED_MESSAGE_ID, found.encode() + b"\x00"),
                smpp34.Tlv(smpp34.TLV_MESSAGE_STATE, bytes((state,))),
            ]
        begin = message[:BEGIN].decode("ascii", "replace") if self.repeats else ""
        text = RECEIPT.format(id=found, word=word, begin=begin)
        return (text if self.with_id else text.partition(" ")[2]), []

    async def _report_until_taken(self, text: str, tlvs: list[Any], number: str, originator: str) -> None:
        """As centres do: what is refused, or cut off, comes again."""
        async with self._places:
            while True:
                with suppress(Exception):
                    if await self.report(text, tlvs, number=number, originator=originator) == 0:
                        self.receipts += 1
                        return
                await asyncio.sleep(0.2)

    async def report(
        self,
        text: str,
        tlvs: list[Any] | None = None,
        *,
        number: str = "4915112345678",
        originator: str = "Acme",
    ) -> int:
        """Send a receipt over the newest session; returns the status that it was answered with."""
        session = list(self.esmes.values())[-1]
        answer = await session.deliver_sm(
            source_addr=number,
            destination_addr=originator,
            esm_class=4,
            short_message=text.encode(),
            tlvs=tlvs or [],
        )
        return int(answer.command_status)

    def let_go(self, *ids: str) -> None:
        """Answer what was left without an answer with these ids, oldest first."""
        for event, found in zip(self._unanswered, ids, strict=False):
            event.accept(message_id=found)
        del self._unanswered[: len(ids)]

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


class Proxy:
    """Between us and the centre, in both directions.

    `slow_bytes` sends the centre's answers one byte at a time, `mute` swallows them, `cut` ends all
    connections at once. `slices` breaks what passes into pieces of any length; behind each it waits
    `delay_s`, more or less.
    """

    def __init__(self, target: int) -> None:
        self.port = free_port()
        self.mute = self.slow_bytes = self.slices = False
        self.delay_s = 0.0
        self.connections = 0
        self._target = target
        self._writers: list[asyncio.StreamWriter] = []

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._join, "127.0.0.1", self.port)

    async def stop(self) -> None:
        self._server.close()
        self.cut()

    def cut(self) -> None:
        for writer in self._writers:
            writer.transport.abort()
        self._writers.clear()

    async def _join(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            there, back = await asyncio.open_connection("127.0.0.1", self._target)
        except OSError:
            writer.transport.abort()
            return
        self._writers += [writer, back]
        await asyncio.gather(self._pump(reader, back, answers=False), self._pump(there, writer, answers=True))

    async def _pump(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, answers: bool
    ) -> None:
        with suppress(OSError):
            while data := await reader.read(4096):
                if answers and self.mute:
                    continue
                pieces, pause_s = self._pieces(data, answers=answers)
                for piece in pieces:
                    writer.write(piece)
                    await writer.drain()
                    if pause_s:
                        await asyncio.sleep(pause_s * random.random() * 2)
        writer.close()

    def _pieces(self, data: bytes, *, answers: bool) -> tuple[list[bytes], float]:
        """What arrives at once, and the pause behind each, on average."""
        if answers and self.slow_bytes:
            return [data[at : at + 1] for at in range(len(data))], 0.002
        if not self.slices:
            return [data], self.delay_s
        ends = sorted({*random.choices(range(1, len(data) + 1), k=3), len(data)})
        return [data[begin:end] for begin, end in zip([0, *ends], ends, strict=False)], self.delay_s


class Thread:
    """An event loop in a thread of its own, for whoever has none."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self._thread.start()

    def ask(self, work: Coroutine[Any, Any, Result], *, timeout_s: float = 60) -> Result:
        future: Future[Result] = asyncio.run_coroutine_threadsafe(work, self.loop)
        return future.result(timeout=timeout_s)

    def stop(self) -> None:
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join()
        self.loop.close()
