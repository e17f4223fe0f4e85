"""All lines of one process: a thread with an event loop of its own, and plain calls from everybody else's."""

from __future__ import annotations

import asyncio
import concurrent.futures
import logging
import socket
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from app.domain.outcomes import Outcome, Unknown
from app.gateways.base import NotMade, Outgoing
from app.gateways.smpp.line import Changed, Events, Late, Line, LineSettings, tls_context
from app.gateways.smpp.pdu import RX_T_APPN, ShortMessage
from app.gateways.smpp.session import Session
from app.transport import NotSent
from app.transport.addresses import connect_failure

log = logging.getLogger(__name__)

# Opens a checked TCP connection; raises an error of `app.transport`.
OpenSocket = Callable[[str, int, float], socket.socket]
# Stores what a `deliver_sm` says; returns the status to answer it with. Called in a thread, after that it is
# answered: so it commits first.
Store = Callable[[ShortMessage], int]

CONNECT_S = 5.0
ANSWER_S = 15.0  # more than a line waits for an answer
GRACE_S = 5.0
STORING_AT_ONCE = 8
LONGEST_END_S = 15.0


@dataclass(frozen=True)
class Owner:
    """Whose line it is. `store` and `late` are called in threads, for they write rows; the others in the
    loop, one after the other."""

    store: Store
    changed: Changed
    late: Late
    may_speak: Callable[[], bool]


class Lines:
    """Lines by account. Thread-safe."""

    def __init__(self, open_socket: OpenSocket) -> None:
        self._open_socket = open_socket
        self._lines: dict[int, tuple[Line, concurrent.futures.Future[None]]] = {}
        self._lock = threading.Lock()
        self._loop = asyncio.new_event_loop()
        self._storing = ThreadPoolExecutor(STORING_AT_ONCE, thread_name_prefix="receipts")
        self._thread = threading.Thread(target=self._run, name="smpp-lines", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_forever()

    def open(self, account_id: int, settings: LineSettings, owner: Owner) -> None:
        """Keep a line for this account until `close`; binds in the background."""

        async def deliver(message: ShortMessage) -> int:
            return await self._loop.run_in_executor(self._storing, owner.store, message)

        def late(reference: str, outcome: Outcome) -> None:
            self._storing.submit(owner.late, reference, outcome)

        with self._lock:
            if account_id in self._lines:
                return
            line = Line(settings, self._connect, Events(deliver, owner.changed, late, owner.may_speak))
            keeping = asyncio.run_coroutine_threadsafe(line.keep(), self._loop)
            self._lines[account_id] = line, keeping

    def submit(self, account_id: int, message: Outgoing, ends: float) -> Outcome:
        """Hand a message over and wait for the message centre's answer; nothing is written after `ends`, of
        `time.monotonic`.

        Raises:
            NotMade: nothing was written; this process does not hold the account.
        """
        with self._lock:
            found = self._lines.get(account_id)
        if found is None:
            raise NotMade("this process does not hold the account's line")
        future = asyncio.run_coroutine_threadsafe(found[0].submit(message, ends), self._loop)
        # The line's own limits come first. A process that was paused finds its patience over, too, and what
        # came in meanwhile unread: so it is asked once more.
        for patience_s in (max(0.0, ends - time.monotonic()) + ANSWER_S, GRACE_S):
            try:
                return future.result(timeout=patience_s)
            except TimeoutError:
                continue
        return Unknown("the line did not say in time what became of the message")

    def held(self) -> set[int]:
        with self._lock:
            return set(self._lines)

    def close(self, account_id: int) -> None:
        """Drain the account's window, say goodbye."""
        with self._lock:
            found = self._lines.pop(account_id, None)
        if found is None:
            return
        ending = asyncio.run_coroutine_threadsafe(found[0].end(), self._loop)
        try:
            ending.result(timeout=LONGEST_END_S)
        except Exception as error:
            log.warning("line ended badly", extra={"account": account_id, "why": type(error).__name__})
        found[1].cancel()

    def stop(self) -> None:
        """End all lines, then the thread."""
        with ThreadPoolExecutor(16) as ending:
            list(ending.map(self.close, self.held()))
        self._storing.shutdown(wait=True)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(timeout=5)
        if not self._thread.is_alive():
            self._loop.close()

    async def _connect(self, settings: LineSettings) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await connected(self._open_socket, settings)


async def connected(
    open_socket: OpenSocket, settings: LineSettings
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A connection to the checked address, with TLS where the settings say so."""
    loop = asyncio.get_running_loop()
    opening = loop.run_in_executor(None, open_socket, settings.host, settings.port, CONNECT_S)
    try:
        sock = await asyncio.shield(opening)
    except asyncio.CancelledError:
        opening.add_done_callback(_close)  # the thread goes on, and nobody waits for its socket
        raise
    sock.setblocking(False)
    context = tls_context(settings)
    name = (settings.tls_name or settings.host) if context else None
    try:
        return await asyncio.open_connection(sock=sock, ssl=context, server_hostname=name)
    except OSError as error:
        sock.close()
        raise NotSent(connect_failure(error)) from None


def _close(opening: asyncio.Future[socket.socket]) -> None:
    if not opening.cancelled() and opening.exception() is None:
        opening.result().close()


async def try_login(open_socket: OpenSocket, settings: LineSettings) -> None:
    """Bind once and leave, to see whether the login is right.

    Raises:
        BindRefused, NoAnswer, LineLost, Malformed: as `Session.bind`.
        TransportError: no connection.
    """

    async def keep_nothing(_message: ShortMessage) -> int:
        return RX_T_APPN  # receipts are for the process that holds the line

    reader, writer = await connected(open_socket, settings)
    session = Session(reader, writer, settings.pace, keep_nothing)
    session.start()
    try:
        # Nobody sends a transmitter receipts, which would have to be refused here.
        await session.bind("transmitter", settings.login)
        await session.leave()
    finally:
        await session.close("the login was tried")
