"""One worker's HTTP connections: post a form, read the status, keep the connection while it is fresh.

`http.client` spends most of its time parsing headers that nobody looks at here. This reader needs a quarter
of the processor time, which the application under test on the same machine gets instead.
"""

from __future__ import annotations

import select
import socket
import ssl
import time
from contextlib import suppress
from urllib.parse import urlsplit

USER_AGENT = "Bitrix24 Webhook Engine"

# An idle connection may be closed by the other side at any moment, and a post must not be repeated:
# so a connection is used again only while it is this fresh.
_REUSE_WITHIN_S = 1.0
_MAX_HEAD = 65_536
_PORTS = {"http": 80, "https": 443}


class BadAnswer(Exception):
    """What came back is not an HTTP answer, or ended in the middle."""


class Poster:
    """Not for sharing among threads."""

    def __init__(self, timeout_s: float) -> None:
        self._timeout_s = timeout_s
        self._open: dict[tuple[str, str], tuple[socket.socket, float]] = {}

    def post(self, url: str, body: bytes) -> int:
        """Post once, never again; the status of the answer. Redirects are answers like any other.

        Raises:
            OSError: no connection, or silence for longer than the timeout.
            BadAnswer: no usable answer.
            ValueError: not an address that can be posted to.
        """
        parts = urlsplit(url)
        if parts.scheme not in _PORTS or not parts.hostname:
            raise ValueError(f"cannot post to {url}")
        key = (parts.scheme, parts.netloc)
        sock = self._take(key) or self._connect(parts.scheme, parts.hostname, parts.port)
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        head = (
            f"POST {target} HTTP/1.1\r\nHost: {parts.netloc}\r\nUser-Agent: {USER_AGENT}\r\nAccept: */*\r\n"
            f"Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        try:
            sock.sendall(head.encode("ascii") + body)
            status, keep = _read_answer(sock)
        except BaseException:
            sock.close()
            raise
        if keep:
            self._open[key] = (sock, time.monotonic())
        else:
            sock.close()
        return status

    def close(self) -> None:
        for sock, _ in self._open.values():
            sock.close()
        self._open.clear()

    def _take(self, key: tuple[str, str]) -> socket.socket | None:
        sock, used_at = self._open.pop(key, (None, 0.0))
        if sock is None:
            return None
        if time.monotonic() - used_at < _REUSE_WITHIN_S and not _readable(sock):
            return sock
        sock.close()
        return None

    def _connect(self, scheme: str, host: str, port: int | None) -> socket.socket:
        sock = socket.create_connection((host, port or _PORTS[scheme]), timeout=self._timeout_s)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if scheme == "https":
            return ssl.create_default_context().wrap_socket(sock, server_hostname=host)
        return sock


def _readable(sock: socket.socket) -> bool:
    """True if the other side has closed (or said something unasked), so the connection is spent."""
    with suppress(OSError, ValueError):
        poll = select.poll()
        poll.register(sock.fileno(), select.POLLIN)
        return bool(poll.poll(0))
    return True


def _read_answer(sock: socket.socket) -> tuple[int, bool]:
    """The status, and whether the connection may be used again; the body is read and thrown away."""
    data = b""
    while (end := data.find(b"\r\n\r\n")) < 0:
        data += _receive(sock)
        if len(data) > _MAX_HEAD:
            raise BadAnswer("the head does not end")
    first, *lines = data[:end].decode("latin-1").split("\r\n")
    words = first.split(" ", 2)
    if len(words) < 2 or not words[0].startswith("HTTP/1.") or not words[1].isdecimal():
        raise BadAnswer("not HTTP")
    headers = {
        name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)
    }
    keep = words[0] == "HTTP/1.1" and "close" not in headers.get("connection", "").lower()
    length = headers.get("content-length", "")
    if not length.isdecimal():
        # Chunked, or as long as the connection lives: the status is all that counts, so leave the rest.
        return int(words[1]), False
    missing = int(length) - (len(data) - end - 4)
    while missing > 0:
        missing -= len(_receive(sock))
    return int(words[1]), keep


def _receive(sock: socket.socket) -> bytes:
    data = sock.recv(65_536)
    if not data:
        raise BadAnswer("the connection was closed without a whole answer")
    return data
