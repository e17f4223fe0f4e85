"""A small HTTP/1.1 server for WSGI applications: one process, one thread per connection.

The doubles keep their state in memory, so it must be one process; and clients with pooled connections hammer
them, so it must keep connections alive. werkzeug's server always closes them. waitress and cheroot keep
them, but took 1.3 to 1.7 times the processor time for the same answer, and are one more dependency.
"""

from __future__ import annotations

import io
import signal
import socket
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterable
from contextlib import suppress
from email.utils import formatdate
from http import HTTPStatus
from typing import Any, BinaryIO, cast
from urllib.parse import unquote_to_bytes

WsgiApp = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]

ABORT_KEY = "sandbox.abort"
"""environ[ABORT_KEY]() drops the connection without an answer, as a crashing server would."""

_MAX_LINE = 65_536
_MAX_HEADERS = 200
_IDLE_TIMEOUT_S = 120.0
_BACKLOG = 1024


class BadRequest(Exception):
    """The bytes on the connection are not an HTTP request that we read."""


class Server:
    """One listening socket and the threads that serve its connections.

    `port` 0 takes any free port; read it from `.port`. `threads` is how many connections are served at once;
    more wait in the listen queue.
    """

    def __init__(self, app: WsgiApp, host: str = "127.0.0.1", port: int = 0, threads: int = 512) -> None:
        self.app = app
        self.host = host
        self._listener = socket.create_server((host, port), backlog=_BACKLOG)
        self.port: int = self._listener.getsockname()[1]
        self._slots = threading.BoundedSemaphore(threads)
        self._connections: set[_Connection] = set()
        self._lock = threading.Lock()
        self._stopping = False
        self._acceptor = threading.Thread(target=self._accept, name=f"accept-{self.port}", daemon=True)

    def start(self) -> Server:
        self._acceptor.start()
        return self

    def stop(self, grace_s: float = 2.0) -> None:
        """Close the door, let running requests finish within `grace_s`, then cut the rest."""
        self._stopping = True
        # A blocked accept() does not notice that its socket was closed; shutdown() wakes it.
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        deadline = time.monotonic() + grace_s
        while time.monotonic() < deadline:
            with self._lock:
                connections = list(self._connections)
            if not any(connection.busy for connection in connections):
                break
            time.sleep(0.01)
        with self._lock:
            connections = list(self._connections)
        for connection in connections:
            connection.close()

    @property
    def stopping(self) -> bool:
        return self._stopping

    def _accept(self) -> None:
        while not self._stopping:
            self._slots.acquire()
            try:
                sock, address = self._listener.accept()
            except OSError:
                self._slots.release()
                # Closed by stop(), or out of file descriptors: then let some connections end first.
                time.sleep(0.01)
                continue
            connection = _Connection(self, sock, address)
            with self._lock:
                self._connections.add(connection)
            threading.Thread(target=self._run, args=(connection,), daemon=True).start()

    def _run(self, connection: _Connection) -> None:
        try:
            connection.serve()
        finally:
            connection.close()
            with self._lock:
                self._connections.discard(connection)
            self._slots.release()


class _Connection:
    def __init__(self, server: Server, sock: socket.socket, address: tuple[str, int]) -> None:
        self.server = server
        self.sock = sock
        self.address = address
        self.busy = False
        self._aborted = False

    def serve(self) -> None:
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.sock.settimeout(_IDLE_TIMEOUT_S)
        reader = cast(BinaryIO, self.sock.makefile("rb", buffering=65_536))
        try:
            while not self.server.stopping:
                line = reader.readline(_MAX_LINE)
                if not line:
                    return
                if line in (b"\r\n", b"\n"):
                    continue
                self.busy = True
                if not self._one_request(line, reader):
                    return
                self.busy = False
        except BadRequest as error:
            with suppress(OSError):
                self._write_plain(HTTPStatus.BAD_REQUEST, str(error))
        except OSError:
            return  # the client went away or sat idle for too long
        finally:
            self.busy = False
            reader.close()

    def close(self) -> None:
        with suppress(OSError):
            self.sock.shutdown(socket.SHUT_RDWR)
        self.sock.close()

    def _one_request(self, line: bytes, reader: BinaryIO) -> bool:
        """Serve one request; True if the connection may carry another."""
        try:
            method, target, protocol = line.decode("latin-1").split()
        except ValueError:
            raise BadRequest("request line") from None
        if not protocol.startswith("HTTP/1."):
            raise BadRequest("protocol")
        headers = _read_headers(reader)
        if headers.get("HTTP_EXPECT", "").lower() == "100-continue":
            self.sock.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
        body = _read_body(reader, headers)
        asked = headers.get("HTTP_CONNECTION", "").lower()
        keep = "close" not in asked if protocol == "HTTP/1.1" else "keep-alive" in asked
        environ = self._environ(method, target, protocol, headers, body)
        return self._answer(environ, keep) and keep

    def _environ(
        self, method: str, target: str, protocol: str, headers: dict[str, str], body: bytes
    ) -> dict[str, Any]:
        path, _, query = target.partition("?")
        if "://" in path:  # a proxy-style absolute address
            path = "/" + path.split("://", 1)[1].partition("/")[2]
        environ: dict[str, Any] = {
            "REQUEST_METHOD": method,
            "SCRIPT_NAME": "",
            "PATH_INFO": unquote_to_bytes(path).decode("latin-1"),
            "QUERY_STRING": query,
            "REQUEST_URI": target,
            "SERVER_NAME": self.server.host,
            "SERVER_PORT": str(self.server.port),
            "SERVER_PROTOCOL": protocol,
            "REMOTE_ADDR": self.address[0],
            "REMOTE_PORT": str(self.address[1]),
            "wsgi.version": (1, 0),
            "wsgi.url_scheme": "http",
            "wsgi.input": io.BytesIO(body),
            "wsgi.errors": sys.stderr,
            "wsgi.multithread": True,
            "wsgi.multiprocess": False,
            "wsgi.run_once": False,
            ABORT_KEY: self._abort,
        }
        environ.update(headers)
        environ["CONTENT_LENGTH"] = str(len(body))
        environ["CONTENT_TYPE"] = environ.pop("HTTP_CONTENT_TYPE", "")
        environ.pop("HTTP_CONTENT_LENGTH", None)
        return environ

    def _abort(self) -> None:
        self._aborted = True
        self.close()

    def _answer(self, environ: dict[str, Any], keep: bool) -> bool:
        started: list[tuple[str, list[tuple[str, str]]]] = []

        def start_response(status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> None:
            started[:] = [(status, headers)]

        result: Iterable[bytes] = ()
        sent = False
        try:
            result = self.server.app(environ, start_response)
            chunks = list(result)
            if self._aborted:
                return False
            status, headers = started[0]
            data = b"".join(chunks)
            head = _head(status, headers, len(data), environ["REQUEST_METHOD"], keep)
            sent = True
            self.sock.sendall(head if environ["REQUEST_METHOD"] == "HEAD" else head + data)
        except OSError:
            return False
        except Exception:
            # A bug in a double must be seen by whoever runs it, and must not end the process.
            traceback.print_exc()
            if not sent and not self._aborted:
                with suppress(OSError):
                    self._write_plain(HTTPStatus.INTERNAL_SERVER_ERROR, "the sandbox failed; see its stderr")
            return False
        finally:
            close = getattr(result, "close", None)
            if close is not None:
                close()
        return True

    def _write_plain(self, status: HTTPStatus, text: str) -> None:
        data = text.encode()
        headers = [("Content-Type", "text/plain; charset=utf-8")]
        self.sock.sendall(_head(f"{status.value} {status.phrase}", headers, len(data), "GET", False) + data)


def _read_headers(reader: BinaryIO) -> dict[str, str]:
    headers: dict[str, str] = {}
    for _ in range(_MAX_HEADERS):
        line = reader.readline(_MAX_LINE)
        if line in (b"\r\n", b"\n"):
            return headers
        name, colon, value = line.decode("latin-1").partition(":")
        if not colon:
            raise BadRequest("header line")
        key = "HTTP_" + name.strip().upper().replace("-", "_")
        value = value.strip()
        headers[key] = f"{headers[key]},{value}" if key in headers else value
    raise BadRequest("too many headers")


def _read_body(reader: BinaryIO, headers: dict[str, str]) -> bytes:
    if "chunked" in headers.get("HTTP_TRANSFER_ENCODING", "").lower():
        return _read_chunks(reader)
    try:
        length = int(headers.get("HTTP_CONTENT_LENGTH", 0))
    except ValueError:
        raise BadRequest("content length") from None
    body = reader.read(length) if length > 0 else b""
    if len(body) < length:
        raise BadRequest("body ended early")
    return body


def _read_chunks(reader: BinaryIO) -> bytes:
    parts: list[bytes] = []
    while True:
        try:
            size = int(reader.readline(_MAX_LINE).split(b";")[0], 16)
        except ValueError:
            raise BadRequest("chunk size") from None
        if size == 0:
            while reader.readline(_MAX_LINE) not in (b"\r\n", b"\n", b""):
                pass
            return b"".join(parts)
        parts.append(reader.read(size))
        reader.readline(_MAX_LINE)


def _head(status: str, headers: list[tuple[str, str]], length: int, method: str, keep: bool) -> bytes:
    lines = [f"HTTP/1.1 {status}", f"Date: {formatdate(usegmt=True)}"]
    given = False
    for name, value in headers:
        lower = name.lower()
        if lower in ("connection", "date"):
            continue
        given = given or lower == "content-length"
        if lower != "content-length" or method == "HEAD":
            lines.append(f"{name}: {value}")
    if (not given or method != "HEAD") and not status.startswith(("204", "304")):
        lines.append(f"Content-Length: {length}")
    lines.append(f"Connection: {'keep-alive' if keep else 'close'}")
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


def wait_for_stop() -> None:
    """Sleep until SIGTERM or SIGINT. Only the main thread may call it."""
    stop = threading.Event()
    for name in (signal.SIGTERM, signal.SIGINT):
        signal.signal(name, lambda *_: stop.set())
    stop.wait()


def serve(
    app: WsgiApp,
    host: str = "127.0.0.1",
    port: int = 0,
    threads: int = 512,
    on_ready: Callable[[int], None] | None = None,
) -> None:
    """Serve until SIGTERM or SIGINT. `on_ready` gets the port once connections are accepted."""
    server = Server(app, host, port, threads).start()
    if on_ready is not None:
        on_ready(server.port)
    wait_for_stop()
    server.stop()
