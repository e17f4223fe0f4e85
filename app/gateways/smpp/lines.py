"""All lines of one process: a thread with an event loop of its own, and plain calls from everybody else's."""

from __future__ import annotations

import asyncio
import concurrent.futures
import logging
import socket
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from app.domain.outcomes import Outcome, RefusalKind, Refused, Unknown
from app.gateways.base import Outgoing
from app.gateways.smpp.line import Changed, Line, LineSettings, tls_context
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
STORING_AT_ONCE = 8
LONGEST_END_S = 15.0


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

    def open(self, account_id: int, settings: LineSettings, store: Store, changed: Changed) -> None:
        """Keep a line for this account until `close`; binds in the background."""

        async def deliver(message: ShortMessage) -> int:
            return await self._loop.run_in_executor(self._storing, store, message)

        def tell(why: str, is_refused: bool) -> None:
            self._storing.submit(changed, why, is_refused)  # it writes rows, which takes its time

        with self._lock:
            if account_id in self._lines:
                return
            line = Line(settings, self._connect, deliver, tell)
            keeping = asyncio.run_coroutine_threadsafe(line.keep(), self._loop)
            self._lines[account_id] = line, keeping

    def submit(self, account_id: int, message: Outgoing, within_s: float) -> Outcome:
        """Hand a message over; waits for the message centre's answer, `within_s` at most."""
        with self._lock:
            found = self._lines.get(account_id)
        if found is None:
            return Refused(
                RefusalKind.TEMPORARY, "not_bound", "this process does not hold the account's line"
            )
        future = asyncio.run_coroutine_threadsafe(found[0].submit(message, within_s), self._loop)
        try:
            return future.result(timeout=within_s + 15.0)  # the line's own limits come first
        except TimeoutError:
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
    sock = await loop.run_in_executor(None, open_socket, settings.host, settings.port, CONNECT_S)
    sock.setblocking(False)
    context = tls_context(settings)
    name = (settings.tls_name or settings.host) if context else None
    try:
        return await asyncio.open_connection(sock=sock, ssl=context, server_hostname=name)
    except OSError as error:
        sock.close()
        raise NotSent(connect_failure(error)) from None


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
