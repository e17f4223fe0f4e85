"""A gunicorn worker in which nobody can hold the threads that somebody else needs.

gunicorn's own threaded worker gives a thread to each connection that has something to read, and that thread
waits for the rest of the request: sixty unfinished bodies hold sixty threads. Here the main loop reads,
without ever waiting for one client, and a thread is given to whole requests only. There are three pools of
threads: for what machines call and nobody repeats (HANDLER, reports), for events of portals, and for what
people open.
"""

from __future__ import annotations

import contextlib
import errno
import selectors
import socket
import sys
import time
from collections import OrderedDict, deque
from collections.abc import Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import Any

from gunicorn import http
from gunicorn.workers.gthread import STOP_KEEPALIVE_LINGER, ThreadWorker

from app.serving.incoming import Incoming

READ_S = 20.0  # from a request's first byte to its last
SEND_S = 20.0  # how long a client may leave a part of its answer unread
LINGER_S = 2.0  # how long we wait for a client to close what we have closed
UNREAD_LIMIT = 64 * 1024 * 1024  # bytes of unfinished requests in one process
WAITING_LIMIT = 100  # requests that wait for a thread of those who serve people and events
ACCEPT_AT_ONCE = 64

CALLS = ("/sms/", "/reports/", "/healthz", "/readyz")
EVENTS = ("/events",)
EVENT_THREADS = 2
PEOPLE_THREADS = 16

_BUSY = (
    b"HTTP/1.1 503 Service Unavailable\r\nContent-Type: text/plain; charset=utf-8\r\nRetry-After: 5\r\n"
    b"Cache-Control: no-store\r\nContent-Length: 16\r\nConnection: close\r\n\r\nbusy, try again\n"
)
_TOO_SLOW = b"HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


class _Received:
    """What gunicorn's parser reads instead of a socket: it ends where the bytes end, and never waits."""

    def __init__(self, data: bytearray) -> None:
        self._left = memoryview(bytes(data))

    def recv(self, size: int) -> bytes:
        part, self._left = self._left[:size], self._left[size:]
        return bytes(part)


class _Connection:
    """One client. Its attributes `sock`, `client`, `server` and `timeout` are also read by gunicorn."""

    def __init__(self, sock: socket.socket, client: Any, server: Any) -> None:
        self.sock, self.client, self.server = sock, client, server
        self.incoming = Incoming()
        self.timeout = 0.0  # when its present state ends, of `time.monotonic()`
        self.source = _Received(bytearray())
        self.parser: Any = None
        self.watch: object | None = None  # the poller looks at it

    def close(self, graceful: bool = False) -> None:
        with contextlib.suppress(OSError):
            self.sock.close()


class _Pool:
    """Some threads, and the requests that wait for them: of each address one in turn, so that who calls a
    thousand times at once is only in its own way."""

    def __init__(self, name: str, threads: int, waiting_limit: float) -> None:
        self.threads, self._waiting_limit = threads, waiting_limit
        self.executor = ThreadPoolExecutor(max_workers=threads, thread_name_prefix=name)
        self.at_work = 0
        self._waiting: OrderedDict[str, deque[_Connection]] = OrderedDict()
        self._waiting_count = 0

    @property
    def is_full(self) -> bool:
        return self.at_work + self._waiting_count >= self.threads + self._waiting_limit

    def add(self, conn: _Connection) -> None:
        self._waiting.setdefault(_address(conn.incoming.path), deque()).append(conn)
        self._waiting_count += 1

    def next(self) -> _Connection | None:
        """Who is served now, if a thread is free for it."""
        if not self._waiting or self.at_work >= self.threads:
            return None
        address, mine = self._waiting.popitem(last=False)
        conn = mine.popleft()
        if mine:
            self._waiting[address] = mine  # at the end
        self._waiting_count -= 1
        self.at_work += 1
        return conn


def _address(path: str) -> str:
    """Whose address it is: `/sms/SECRET`, `/reports/GATEWAY/SECRET`."""
    return "/".join(path.split("/", 4)[:4]) if path.startswith(CALLS) else ""


class CrowdWorker(ThreadWorker):  # type: ignore[misc]
    """See the first lines of this file. TLS and HTTP/2 end at the proxy."""

    @classmethod
    def check_config(cls, cfg: Any, log: Any) -> None:
        if cfg.is_ssl or "h2" in cfg.http_protocols or cfg.proxy_protocol != "off":
            sys.exit("gunicorn: TLS, HTTP/2 and the proxy protocol end at the proxy in front of us")

    def init_process(self) -> None:
        self.reading: dict[_Connection, None] = {}  # the oldest first
        self.lingering: dict[_Connection, None] = {}
        self.unread_bytes = 0
        self.people = _Pool("people", PEOPLE_THREADS, WAITING_LIMIT)
        self.events = _Pool("events", EVENT_THREADS, WAITING_LIMIT)
        self.calls = _Pool("calls", self.cfg.threads, float("inf"))
        super().init_process()

    def get_thread_pool(self) -> ThreadPoolExecutor:
        return self.calls.executor

    # --- the main loop: accept, read, give to a thread

    def set_accept_enabled(self, enabled: bool) -> None:
        """A worker that ends takes in who waits at the door and shuts it at once: who comes later is refused,
        and a proxy calls somebody else. An open door with nobody behind it would cut them off in the end."""
        super().set_accept_enabled(enabled)
        if not self.alive:
            for listener in self.sockets:
                self.accept(listener)
                listener.close()

    def accept(self, listener: Any) -> None:
        for _ in range(ACCEPT_AT_ONCE):
            try:
                sock, client = listener.accept()
            except OSError as error:
                if error.errno not in (errno.EAGAIN, errno.ECONNABORTED, errno.EWOULDBLOCK, errno.EBADF):
                    raise
                return
            sock.setblocking(False)
            self.nr_conns += 1
            conn = _Connection(sock, client, listener.getsockname())
            self._start_reading(conn)
            if self.nr_conns >= self.worker_connections:
                self._make_room()

    def _make_room(self) -> None:
        """All places are taken: those go who use theirs least."""
        for waiting in (self.keepalived_conns, self.reading):
            if waiting:
                self._forget(next(iter(waiting)))
                return

    def _start_reading(self, conn: _Connection) -> None:
        conn.timeout = time.monotonic() + READ_S
        self.reading[conn] = None
        self.unread_bytes += len(conn.incoming.data)
        if conn.incoming.is_whole:
            self._dispatch(conn)
            return
        self._read(conn)  # most clients have sent it all by now
        if conn in self.reading:
            self._watch(conn, self._read)

    def _read(self, conn: _Connection) -> None:
        try:
            data = conn.sock.recv(64 * 1024)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._forget(conn)
            return
        self.unread_bytes += len(data)
        conn.incoming.add(data)
        if conn.incoming.is_whole:
            self._dispatch(conn)
            return
        if conn.incoming.waits_for_continue:
            conn.incoming.waits_for_continue = False
            self._tell(conn, _CONTINUE)
        if self.unread_bytes > UNREAD_LIMIT:
            self._forget(max(self.reading, key=lambda reading: len(reading.incoming.data)))

    def _dispatch(self, conn: _Connection) -> None:
        self._leave(conn)
        pool = self._pool_for(conn.incoming.path)
        if pool.is_full:
            self._tell(conn, _BUSY)
            self._linger(conn)
            return
        conn.source = _Received(conn.incoming.data)
        pool.add(conn)
        self._serve_next(pool)

    def _serve_next(self, pool: _Pool) -> None:
        while (conn := pool.next()) is not None:
            future = pool.executor.submit(self.handle, conn)
            future.add_done_callback(partial(self._defer_end, conn, pool))

    def _defer_end(self, conn: _Connection, pool: _Pool, done: Future[bool]) -> None:
        self.method_queue.defer(self._after_request, conn, pool, done)

    def _pool_for(self, path: str) -> _Pool:
        if path.startswith(CALLS):
            return self.calls
        return self.events if path.startswith(EVENTS) else self.people

    # --- in a thread: one whole request

    def handle(self, conn: _Connection) -> bool:
        """Serve one request; True when its connection may bring another."""
        request = None
        try:
            conn.sock.settimeout(SEND_S)
            conn.parser = http.get_parser(self.cfg, conn.source, conn.client)
            request = next(conn.parser)
            if not request:
                return False
            stays = self.handle_request(request, conn)
            return bool(stays and not conn.incoming.is_cut and conn.parser.finish_body())
        except (http.errors.NoMoreData, StopIteration):
            return False
        except OSError as error:  # gone, or it does not read its answer
            self.log.debug("connection lost: %s", error)
            return False
        except Exception as error:
            with contextlib.suppress(OSError):
                self.handle_error(request, conn.sock, conn.client, error)
            return False

    # --- the main loop again: keep, or close

    def _after_request(self, conn: _Connection, pool: _Pool, done: Future[bool]) -> None:
        pool.at_work -= 1
        self._serve_next(pool)
        stays = not done.cancelled() and done.exception() is None and done.result()
        if not stays:
            self._linger(conn)
            return
        behind = conn.parser.unreader.take_buffered() + conn.source.recv(sys.maxsize)
        conn.sock.setblocking(False)
        conn.incoming, conn.parser, conn.source = Incoming(), None, _Received(bytearray())
        if behind:
            conn.incoming.add(behind)
            self._start_reading(conn)
            return
        conn.timeout = time.monotonic() + (self.cfg.keepalive if self.alive else STOP_KEEPALIVE_LINGER)
        self.keepalived_conns.append(conn)
        self._watch(conn, self._begin_next)

    def _begin_next(self, conn: _Connection) -> None:
        self._leave(conn)
        self._start_reading(conn)

    def _linger(self, conn: _Connection) -> None:
        """Closed from our side. An end with something unread would take the answer away from its reader."""
        try:
            conn.sock.setblocking(False)
            conn.sock.shutdown(socket.SHUT_WR)
        except OSError:
            self._drop(conn)
            return
        conn.timeout = time.monotonic() + LINGER_S
        self.lingering[conn] = None
        self._watch(conn, self._drain)

    def _drain(self, conn: _Connection) -> None:
        try:
            is_over = not conn.sock.recv(64 * 1024)
        except BlockingIOError:
            return
        except OSError:
            is_over = True
        if is_over:
            self._forget(conn)

    def murder_pending(self) -> None:
        """gunicorn asks each second."""
        now = time.monotonic()
        for conn in _overdue(self.reading, now):
            self._leave(conn)
            if conn.incoming.data:
                self._tell(conn, _TOO_SLOW)
            self._linger(conn)
        for conn in _overdue(self.lingering, now):
            self._forget(conn)

    def murder_keepalived(self, force: bool = False) -> None:
        now = time.monotonic()
        for conn in _overdue(self.keepalived_conns, float("inf") if force else now):
            self._forget(conn)
        if not self.alive:  # who has sent nothing yet is not waited for longer than who keeps a connection
            for conn in self.reading:
                if not conn.incoming.data:
                    conn.timeout = min(conn.timeout, now + STOP_KEEPALIVE_LINGER)

    # --- a connection and its states

    def _watch(self, conn: _Connection, act: Any) -> None:
        watch = conn.watch = object()

        def wake(_sock: Any) -> None:
            if conn.watch is watch:  # nothing before it in this round has ended its wait
                act(conn)

        self.poller.register(conn.sock, selectors.EVENT_READ, wake)

    def _leave(self, conn: _Connection) -> None:
        """Out of the state it waits in."""
        if conn in self.reading:
            del self.reading[conn]
            self.unread_bytes -= len(conn.incoming.data)
        elif conn in self.lingering:
            del self.lingering[conn]
        else:
            self.keepalived_conns.remove(conn)
        if conn.watch is not None:
            conn.watch = None
            self.poller.unregister(conn.sock)

    def _forget(self, conn: _Connection) -> None:
        self._leave(conn)
        self._drop(conn)

    def _drop(self, conn: _Connection) -> None:
        self.nr_conns -= 1
        conn.close()

    def _tell(self, conn: _Connection, words: bytes) -> None:
        with contextlib.suppress(OSError):
            conn.sock.send(words)


def _overdue(waiting: Iterable[_Connection], now: float) -> list[_Connection]:
    return [conn for conn in waiting if conn.timeout <= now]
