"""A database that is paused or cut off keeps no deadlines: the watchdog keeps ours.

PostgreSQL's own limits need a server that works. So a thread of ours ends whatever waits too long, by
shutting the connection's socket. After that the database counts as down: further calls fail at once, and
one thread asks until it is back.
"""

from __future__ import annotations

import contextlib
import itertools
import logging
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import psycopg

from app.store.database.deadlines import deadline

log = logging.getLogger(__name__)

CONNECT_S = 1.2
PROBE_S = 0.25
DOUBT_S = 0.3  # how long a probe may take before one slow call counts as a dead database
_TICK_S = 0.05


class Down(Exception):
    """The database was found dead a moment ago, and nothing was asked of it now."""


class Watch:
    """One per engine. Its threads start when they are first needed, so a fork before that does no harm."""

    def __init__(self) -> None:
        self._connect: Callable[[], Any] | None = None
        self._watched: dict[int, tuple[float, Any]] = {}
        self._numbers = itertools.count()
        self._lock = threading.Lock()
        self._pid = 0
        self._down = False
        self._is_probing = False

    @property
    def is_down(self) -> bool:
        return self._down

    def check(self) -> None:
        """Raises `Down` while the database is known to be dead."""
        if self._down:
            raise Down("the database did not answer a moment ago")

    @contextlib.contextmanager
    def over(self, connection: Any) -> Iterator[None]:
        """End this connection when the block takes longer than its deadline."""
        self._start()
        number = next(self._numbers)
        self._watched[number] = (deadline(), connection)
        try:
            yield
        finally:
            with self._lock:
                self._watched.pop(number, None)

    def connect(self, dial_up: Callable[[], Any]) -> Any:
        """A new connection, or an error in `CONNECT_S`: psycopg itself waits two seconds at least."""
        self.check()
        self._connect = dial_up  # the probe will want it
        result: list[Any] = []
        given_up = threading.Event()
        done = threading.Event()

        def dial() -> None:
            try:
                made: Any = dial_up()
            except Exception as error:
                made = error
            with self._lock:
                if given_up.is_set() and not isinstance(made, Exception):
                    made.close()
                result.append(made)
            done.set()

        _start_thread(threading.Thread(target=dial, name="database connect", daemon=True))
        done.wait(max(0.05, min(CONNECT_S, deadline() - time.monotonic())))
        with self._lock:
            given_up.set()
            made = result[0] if result else psycopg.OperationalError("no connection in time")
        if isinstance(made, Exception):
            self.report_down()
            raise made
        return made

    def suspect(self) -> None:
        """One call took too long. A machine that is only busy answers a probe at once, and nobody notices."""
        self._begin_probe(DOUBT_S)

    def report_down(self) -> None:
        """It does not answer: spare everybody the waiting until it does."""
        self._begin_probe(0.0)

    def _begin_probe(self, doubt_s: float) -> None:
        with self._lock:
            if not doubt_s:
                self._set_down()
            if self._is_probing:
                return
            self._is_probing = True
        try:
            _start_thread(threading.Thread(target=self._probe, name="database probe", daemon=True))
            if doubt_s:
                timer = threading.Timer(doubt_s, self._set_down_if_probing)
                timer.daemon = True
                _start_thread(timer)
        except Down:  # then the next call finds out by itself
            with self._lock:
                self._down = self._is_probing = False

    def _set_down_if_probing(self) -> None:
        with self._lock:
            if self._is_probing:
                self._set_down()

    def _set_down(self) -> None:
        if not self._down:
            self._down = True
            log.error("the database does not answer")

    def _probe(self) -> None:
        began = time.monotonic()
        assert self._connect is not None
        while True:
            try:
                with contextlib.closing(self._connect()) as connection:
                    connection.execute("SELECT 1")
                break
            except Exception:
                time.sleep(PROBE_S)
        with self._lock:
            was_down, self._down, self._is_probing = self._down, False, False
        if was_down:
            log.warning("the database answers again", extra={"after_s": round(time.monotonic() - began, 1)})

    def _start(self) -> None:
        if self._pid == os.getpid():
            return
        with self._lock:
            if self._pid == os.getpid():
                return
            self._watched.clear()
            _start_thread(threading.Thread(target=self._look, name="database watch", daemon=True))
            self._pid = os.getpid()

    def _look(self) -> None:
        while True:
            time.sleep(_TICK_S)
            with contextlib.suppress(MemoryError):  # without this thread nobody would end anything
                self._end_late()

    def _end_late(self) -> None:
        now = time.monotonic()
        late = [number for number, (until, _) in list(self._watched.items()) if until < now]
        for number in late:
            with self._lock:
                _, connection = self._watched.pop(number, (0.0, None))
                if connection is not None:
                    _shut(connection)
            if connection is not None:
                self.suspect()


def _start_thread(thread: threading.Thread) -> None:
    """Raises `Down` when the machine has no room for it: without its threads nobody keeps the deadlines."""
    try:
        thread.start()
    except RuntimeError as error:
        raise Down(str(error)) from error


def _shut(connection: Any) -> None:
    """Whoever waits on this connection hears of its end at once."""
    if connection.closed:
        return
    with contextlib.suppress(OSError), socket.socket(fileno=os.dup(connection.fileno())) as sock:
        sock.shutdown(socket.SHUT_RDWR)
