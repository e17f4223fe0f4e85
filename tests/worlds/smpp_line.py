"""One of our lines for the tests, and places where a message centre may be found."""

from __future__ import annotations

import asyncio
import socket
import ssl
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

from app.domain.outcomes import Outcome
from app.gateways.base import Outgoing
from app.gateways.smpp.line import Connect, Events, Line, LineSettings
from app.gateways.smpp.lines import connected
from app.gateways.smpp.pdu import HEADER, Pdu, ShortMessage
from app.gateways.smpp.session import Login, Pace
from bench.peers.message_centre import Centre


class Desk:
    """One of our lines, with what it heard."""

    def __init__(
        self,
        port: int,
        *,
        window: int = 10,
        answer_s: float = 2.0,
        enquire_s: float = 30.0,
        connect: Connect | None = None,
        login: Login | None = None,
        **settings: Any,
    ) -> None:
        self.heard: list[ShortMessage] = []
        self.troubles: list[tuple[str, bool]] = []
        self.late: list[tuple[str, Outcome]] = []
        self.holds = True
        self.paused_s = 0.0  # for so long the process is stopped right before it writes
        self.status_for_receipts = 0
        self.is_stuck = asyncio.Event()
        self.is_stuck.set()
        self.settings = LineSettings(
            host="127.0.0.1",
            port=port,
            login=login or Login("me", "secret"),
            pace=Pace(window=window, answer_s=answer_s, enquire_s=enquire_s),
            **settings,
        )
        events = Events(
            self._deliver,
            lambda *trouble: self.troubles.append(trouble),
            lambda *late: self.late.append(late),
            self._may_speak,
        )
        self.line = Line(self.settings, connect or _connect, events)

    async def submit(self, message: Outgoing, within_s: float = 10.0) -> Outcome:
        return await self.line.submit(message, asyncio.get_running_loop().time() + within_s)

    def _may_speak(self) -> bool:
        time.sleep(self.paused_s)
        return self.holds

    async def _deliver(self, message: ShortMessage) -> int:
        await self.is_stuck.wait()
        if self.status_for_receipts == 0:
            self.heard.append(message)
        return self.status_for_receipts


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


@asynccontextmanager
async def a_bare_centre(status: int) -> AsyncIterator[int]:
    """One that answers every bind with this status, and leaves."""

    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked = Pdu(*HEADER.unpack(await reader.readexactly(HEADER.size))[1:])
        writer.write(asked.answer(status).encoded())
        writer.close()

    server = await asyncio.start_server(refuse, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]


@asynccontextmanager
async def behind_tls(port: int, certificate: Path) -> AsyncIterator[int]:
    """TLS in front of a centre, as operators put it there."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)

    async def join(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection("127.0.0.1", port)
        joined.append((asyncio.current_task(), writer, back))
        await asyncio.gather(_pump(reader, back), _pump(there, writer))

    joined: list[Any] = []
    server = await asyncio.start_server(join, "127.0.0.1", 0, ssl=context)
    async with server:
        yield server.sockets[0].getsockname()[1]
        for task, *writers in joined:
            for writer in writers:
                writer.transport.abort()
            await task


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while data := await reader.read(4096):
            writer.write(data)
            await writer.drain()
    writer.close()


async def checked(settings: LineSettings) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A connection as the product makes it."""
    return await connected(lambda host, port, s: socket.create_connection((host, port), s), settings)
