"""SQLite has one writer at a time: threads and processes queue up for it."""

from __future__ import annotations

import fcntl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from app import private_files
from app.store.database import deadlines
from app.store.database.connections import db
from app.store.database.errors import StoreUnavailable

_writer = threading.Lock()

TURN_POLL_S = 0.002


@contextmanager
def turn_to_write(unless: Callable[[], bool] = lambda: False) -> Iterator[None]:
    """SQLite has one writer at a time and lets the others poll with growing pauses, so a busy process
    starves a quiet one: the HANDLER. Our threads queue up for a lock, and our processes for a file's.

    `unless` is asked when no other thread writes any more: there may be nothing left to do.
    """
    if db.engine.dialect.name != "sqlite":
        yield
        return
    ends = deadlines.deadline()
    if not _writer.acquire(timeout=max(0.0, ends - time.monotonic())):
        raise StoreUnavailable("the database is locked")
    try:
        if unless():
            yield
            return
        # Who writes much would find its turn free again before any other process looks. So it has to
        # queue up at the first lock like everybody else, while who is next waits at the second one.
        with _locked_file("next", ends) as upcoming, _locked_file("turn", ends):
            upcoming.close()
            yield
    finally:
        _writer.release()


@contextmanager
def _locked_file(suffix: str, ends: float) -> Iterator[IO[bytes]]:
    with _opened(Path(f"{db.engine.url.database}.{suffix}")) as file:
        while not _is_locked(file):
            if time.monotonic() > ends:
                raise StoreUnavailable("the database is locked")
            time.sleep(TURN_POLL_S)
        yield file


def _opened(path: Path) -> IO[bytes]:
    try:
        return open(path, "ab", opener=private_files.opener)
    except OSError as error:  # no file handle is left, or no disk
        raise StoreUnavailable(f"no file can be opened ({type(error).__name__})") from error


def _is_locked(file: IO[bytes]) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
