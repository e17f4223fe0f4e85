"""Somebody else's server on the loopback, answering byte for byte what a test tells it to."""

from __future__ import annotations

import os
import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType

Handler = Callable[[socket.socket], None]


def answer(
    body: bytes | str = b"{}", status: str = "200 OK", *, keep: bool = False, **headers: str
) -> Handler:
    """A proper answer; header names are written with _ for -."""
    content = body.encode() if isinstance(body, str) else body
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(content)}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    lines += [] if keep else ["Connection: close"]
    head = "\r\n".join(lines) + "\r\n\r\n"
    return say(head.encode() + content)


def say(data: bytes) -> Handler:
    """Exactly these bytes, whatever they are."""
    return lambda sock: sock.sendall(data)


def drip(data: bytes, pause_s: float) -> Handler:
    """One byte at a time."""

    def handler(sock: socket.socket) -> None:
        for position in range(len(data)):
            sock.sendall(data[position : position + 1])
            time.sleep(pause_s)

    return handler


def hang(sock: socket.socket) -> None:
    """Nothing, until the caller hangs up."""
    sock.settimeout(20)
    with suppress(OSError):
        sock.recv(1)


def close(sock: socket.socket) -> None:
    """Nothing, and the connection is closed."""
    sock.shutdown(socket.SHUT_RDWR)
    sock.close()


def reset(sock: socket.socket) -> None:
    """Nothing, and the connection is reset."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    os.close(sock.detach())


class Peer:
    """Serves connections one after the other in its own thread; `requests` has all that it read."""

    def __init__(self, *handlers: Handler, tls: ssl.SSLContext | None = None, greeting: bytes = b"") -> None:
        self.requests: list[bytes] = []
        self.connections = 0
        self._handlers = list(handlers)
        self._tls = tls
        self._greeting = greeting
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self.url = f"{'https' if tls else 'http'}://127.0.0.1:{self.port}"
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Peer:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    @property
    def request(self) -> bytes:
        """The only request."""
        assert len(self.requests) == 1
        return self.requests[0]

    def header(self, name: str) -> str:
        """A header of the only request."""
        for line in self.request.partition(b"\r\n\r\n")[0].decode().split("\r\n")[1:]:
            key, _, value = line.partition(": ")
            if key.lower() == name.lower():
                return value
        return ""

    @property
    def body(self) -> bytes:
        return self.request.partition(b"\r\n\r\n")[2]

    def _run(self) -> None:
        while True:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            threading.Thread(target=self._serve, args=(sock,), daemon=True).start()

    def _serve(self, sock: socket.socket) -> None:
        with suppress(OSError):
            sock.settimeout(20)
            if self._tls:
                sock = self._tls.wrap_socket(sock, server_side=True)
            with sock:
                sock.sendall(self._greeting)
                while request := _read_request(sock):
                    self.requests.append(request)
                    handler = self._handlers.pop(0) if len(self._handlers) > 1 else self._handlers[0]
                    handler(sock)
                    if b"keep" not in request.partition(b"\r\n")[0]:
                        return


def _read_request(sock: socket.socket) -> bytes:
    data = b""
    while b"\r\n\r\n" not in data:
        piece = sock.recv(65536)
        if not piece:
            return b""
        data += piece
    head = data.partition(b"\r\n\r\n")[0].lower()
    length = 0
    if b"content-length:" in head:
        length = int(head.split(b"content-length:")[1].split(b"\r\n")[0])
    while len(data.partition(b"\r\n\r\n")[2]) < length:
        data += sock.recv(65536)
    return data
