"""A message centre for the tests: somebody else's SMPP server, and a proxy that spoils the line to it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

import smpp34

from app.gateways.base import Outgoing
from app.gateways.smpp.line import Line, LineSettings
from app.gateways.smpp.pdu import ShortMessage
from app.gateways.smpp.session import Login, Pace
from sandbox.processes import free_port

# What the centre does with a submission: accept it with an id, refuse it with a status, or say nothing.
Answer = str | int | None


class Centre:
    """smpp34's server. `answers` decides by the recipient's number; without a rule it accepts."""

    def __init__(self, port: int = 0) -> None:
        self.port = port or free_port()
        self.taken: list[tuple[str, bytes]] = []
        self.esmes: dict[Any, Any] = {}
        self._unanswered: list[Any] = []  # one that is let go is refused
        self.answer: Callable[[str, int], Answer] = lambda _number, count: f"id-{count}"
        self.joined = asyncio.Event()
        self._server: Any = None
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        self._server = smpp34.Server(host="127.0.0.1", port=self.port, system_id="CENTRE")
        await self._server.start()
        self._task = asyncio.create_task(self._serve())

    async def stop(self) -> None:
        assert self._task is not None
        self._task.cancel()
        with suppress(asyncio.CancelledError):
            await self._task
        await self._server.stop()

    async def _serve(self) -> None:
        while True:
            event = await self._server.next()
            match event:
                case smpp34.Esme():
                    self.esmes[event.session_id] = event
                    self.joined.set()
                case smpp34.SubmitSmEvent():
                    await self._take(event)

    async def _take(self, event: Any) -> None:
        number = _text(event.destination_addr)
        self.taken.append((number, bytes(event.short_message)))
        answer = self.answer(number, len(self.taken))
        if isinstance(answer, str):
            await _maybe(event.accept(message_id=answer))
        elif isinstance(answer, int):
            await _maybe(event.reject(answer))
        else:
            self._unanswered.append(event)

    async def report(self, text: str, tlvs: list[Any] | None = None) -> int:
        """Send a receipt; returns the status that it was answered with."""
        esme = list(self.esmes.values())[-1]
        answer = await esme.deliver_sm(
            source_addr="4915112345678",
            destination_addr="Acme",
            esm_class=4,
            short_message=text.encode(),
            tlvs=tlvs or [],
        )
        return int(answer.command_status)


async def _maybe(result: Any) -> None:
    if asyncio.iscoroutine(result) or asyncio.isfuture(result):
        await result


def _text(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else value


class Proxy:
    """Between us and the centre. `slow_bytes` sends its answers one byte at a time, `mute` swallows them,
    `cut` ends all connections at once."""

    def __init__(self, target: int) -> None:
        self.port = free_port()
        self.mute = False
        self.slow_bytes = False
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
                pieces = (
                    [data[at : at + 1] for at in range(len(data))] if answers and self.slow_bytes else [data]
                )
                for piece in pieces:
                    writer.write(piece)
                    await writer.drain()
                    if len(pieces) > 1:
                        await asyncio.sleep(0.002)
        writer.close()


class Desk:
    """One of our lines, with what it heard."""

    def __init__(
        self, port: int, *, window: int = 10, answer_s: float = 2.0, enquire_s: float = 30.0
    ) -> None:
        self.heard: list[ShortMessage] = []
        self.troubles: list[tuple[str, bool]] = []
        self.status_for_receipts = 0
        self.settings = LineSettings(
            host="127.0.0.1",
            port=port,
            login=Login("me", "secret"),
            pace=Pace(window=window, answer_s=answer_s, enquire_s=enquire_s),
        )
        self.line = Line(self.settings, _connect, self._deliver, self._changed)

    async def _deliver(self, message: ShortMessage) -> int:
        if self.status_for_receipts == 0:
            self.heard.append(message)
        return self.status_for_receipts

    def _changed(self, why: str, is_refused: bool) -> None:
        self.troubles.append((why, is_refused))


async def _connect(settings: LineSettings) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    return await asyncio.open_connection(settings.host, settings.port)


def a_message(number: str = "+4915112345678", text: str = "Hello") -> Outgoing:
    return Outgoing("ref", number, text, "Acme", "", "gsm7", 1, 3600)


@asynccontextmanager
async def at_the(desk: Desk) -> AsyncIterator[Desk]:
    keeping = asyncio.create_task(desk.line.keep())
    try:
        yield desk
    finally:
        await desk.line.end()
        keeping.cancel()
        with suppress(asyncio.CancelledError):
            await keeping


@asynccontextmanager
async def a_centre(port: int = 0) -> AsyncIterator[Centre]:
    centre = Centre(port)
    await centre.start()
    try:
        yield centre
    finally:
        await centre.stop()
