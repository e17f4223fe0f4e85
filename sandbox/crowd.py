"""A crowd in front of a web server: callers that never stop, and requests that are never finished.

It only sends and listens, so it serves any application: a test, a benchmark and a chaos run use the same one.
"""

from __future__ import annotations

import selectors
import socket
import ssl
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import suppress
from types import TracebackType
from urllib.parse import urlencode, urlsplit

import requests

OPEN_AT_ONCE = 50
PATIENCE_S = 60.0


class Crowd:
    """All who call `url` at the same time; they leave with the end of the block."""

    def __init__(self, url: str, *, ca_file: str | None = None) -> None:
        self._tls = ssl.create_default_context(cafile=ca_file) if url.startswith("https:") else None
        self._url = url.rstrip("/")
        self._leaving = threading.Event()
        self._threads: list[threading.Thread] = []
        self._lock = threading.Lock()
        self.answers: dict[str, Counter[str]] = {}
        self.slowest_s: Counter[str] = Counter()
        self.unfinished = 0  # requests that are open at this moment

    def __enter__(self) -> Crowd:
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self._leaving.set()
        for thread in self._threads:
            thread.join(PATIENCE_S + 5)

    def keep_posting(
        self,
        name: str,
        callers: int,
        path: str,
        form: Callable[[int], Mapping[str, str]],
        *,
        pause_s: float,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        """So many callers post to `path`, each again `pause_s` after its answer. `form` gets a number."""

        def call(caller: int) -> None:
            number = caller
            with requests.Session() as session:
                session.trust_env = False
                while not self._leaving.is_set():
                    self._post(session, name, path, form(number), headers or {})
                    number += callers
                    time.sleep(pause_s)

        for caller in range(callers):
            self._start(lambda caller=caller: call(caller))

    def _post(
        self,
        session: requests.Session,
        name: str,
        path: str,
        form: Mapping[str, str],
        headers: Mapping[str, str],
    ) -> None:
        began = time.monotonic()
        try:
            answer = session.post(f"{self._url}{path}", data=dict(form), headers=headers, timeout=PATIENCE_S)
            said = str(answer.status_code)
        except requests.RequestException as error:
            said = type(error).__name__
        with self._lock:
            self.answers.setdefault(name, Counter())[said] += 1
            self.slowest_s[name] = max(self.slowest_s[name], time.monotonic() - began)

    def leave_unfinished(self, count: int, path: str) -> None:
        """Keep so many requests open whose bodies never come whole; one that is closed is opened again."""
        address = urlsplit(self._url)
        body = urlencode({"message_id": "unfinished", "message_body": "x" * 500}).encode()
        head = f"POST {path} HTTP/1.1\r\nHost: {address.netloc}\r\nContent-Length: {len(body)}\r\n\r\n"
        part = head.encode() + body[:-100]

        def hold() -> None:
            selector = selectors.DefaultSelector()
            while not self._leaving.is_set():
                for _ in range(min(OPEN_AT_ONCE, count - self.unfinished)):
                    with suppress(OSError):
                        sock = self._connected(address.hostname or "", address.port or 80)
                        sock.sendall(part)
                        sock.setblocking(False)
                        selector.register(sock, selectors.EVENT_READ)
                        self.unfinished += 1
                for key, _ in selector.select(0.1):
                    if _is_over(key.fileobj):
                        selector.unregister(key.fileobj)
                        self.unfinished -= 1
            for key in list(selector.get_map().values()):
                key.fileobj.close()  # type: ignore[union-attr]

        self._start(hold)

    def _connected(self, host: str, port: int) -> socket.socket:
        sock = socket.create_connection((host, port), 5)
        return self._tls.wrap_socket(sock, server_hostname=host) if self._tls is not None else sock

    def wait_unfinished(self, count: int) -> None:
        ends = time.monotonic() + PATIENCE_S
        while self.unfinished < count:
            if time.monotonic() > ends:
                raise TimeoutError(f"only {self.unfinished} of {count} requests could be left open")
            time.sleep(0.05)

    def _start(self, act: Callable[[], None]) -> None:
        thread = threading.Thread(target=act, name="crowd", daemon=True)
        thread.start()
        self._threads.append(thread)


def _is_over(sock: object) -> bool:
    assert isinstance(sock, socket.socket)
    try:
        if sock.recv(65536):
            return False
    except (BlockingIOError, ssl.SSLWantReadError):
        return False
    except OSError:
        pass
    sock.close()
    return True
