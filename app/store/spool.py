"""The spool: HANDLER calls in a file while the database is down, for operators who chose that.

One file per process, each line sealed and on the disk before the call is answered. Whoever holds a file's
lock may append to it or work it off; the lock of a process that died is free, so the next one finishes it.
Working off twice does no harm: a message is stored once per portal and id.
"""

from __future__ import annotations

import base64
import fcntl
import json
import logging
import os
import secrets
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from app.store.database import StoreUnavailable
from app.store.secrets import SecretUnreadable, secret_box

log = logging.getLogger(__name__)

LIMIT_BYTES = 64 * 1024 * 1024  # of one process: an address that nobody knows can be spooled, too
_OWNER = "spool"


@dataclass(frozen=True, repr=False)
class SpooledCall:
    """One HANDLER call as it came: the secret of its address, the body, and when."""

    secret: str
    body: bytes
    at: datetime


class Spool:
    """The files of one folder. Thread-safe; made anew after a fork."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lock = threading.Lock()
        self._file: int | None = None
        self._path = folder
        self._pid = 0

    def add(self, call: SpooledCall) -> None:
        """Keep one call; it is on the disk when this returns.

        Raises:
            StoreUnavailable: it could not be written whole; nothing of it is kept.
        """
        data = {
            "secret": call.secret,
            "body": base64.b64encode(call.body).decode(),
            "at": call.at.isoformat(),
        }
        line = secret_box().seal(_OWNER, json.dumps(data)).encode() + b"\n"
        with self._lock:
            try:
                self._append(line)
            except OSError as error:
                raise StoreUnavailable(f"the spool cannot be written ({type(error).__name__})") from error

    def _append(self, line: bytes) -> None:
        file = self._own_file()
        end = os.fstat(file).st_size
        if end + len(line) > LIMIT_BYTES:
            raise OSError("the spool has reached its limit")
        try:
            written = os.write(file, line)
            if written != len(line):  # the disk is full
                raise OSError("the line was not written whole")
            os.fsync(file)
        except OSError:
            with suppress(OSError):
                os.ftruncate(file, end)
            raise

    def _own_file(self) -> int:
        if self._file is None or self._pid != os.getpid():
            self._folder.mkdir(parents=True, exist_ok=True)
            self._path = self._folder / f"{secrets.token_hex(8)}.spool"
            self._file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
            self._pid = os.getpid()
            fcntl.flock(self._file, fcntl.LOCK_EX)
            folder = os.open(self._folder, os.O_RDONLY)
            try:
                os.fsync(folder)  # the name of the file has to survive, too
            finally:
                os.close(folder)
        return self._file

    def work_off(self, take: Callable[[SpooledCall], None]) -> int:
        """Hand every kept call to `take`; returns how many. What raises StoreUnavailable is kept."""
        done = 0
        with self._lock:
            if self._file is not None and self._pid == os.getpid():
                done += _replay(self._path, take)
                os.ftruncate(self._file, 0)
        for path in sorted(self._folder.glob("*.spool")):
            if path != self._path or self._pid != os.getpid():
                done += self._work_off_orphan(path, take)
        return done

    def _work_off_orphan(self, path: Path, take: Callable[[SpooledCall], None]) -> int:
        with suppress(FileNotFoundError), path.open("rb") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return 0  # its process lives and does that itself
            done = _replay(path, take)
            path.unlink(missing_ok=True)
            return done
        return 0


def count_kept(folder: Path) -> int:
    """How many calls wait in the files of a folder. What is in them can be told by working them off only."""
    return sum(path.read_bytes().count(b"\n") for path in folder.glob("*.spool"))


def _replay(path: Path, take: Callable[[SpooledCall], None]) -> int:
    done = 0
    for call in _calls(path):
        take(call)
        done += 1
    return done


def _calls(path: Path) -> Iterator[SpooledCall]:
    for line in path.read_bytes().splitlines(keepends=True):
        try:
            if not line.endswith(b"\n"):
                raise ValueError("torn")
            data = json.loads(secret_box().open(_OWNER, line.decode().strip()))
        except (ValueError, SecretUnreadable):
            # The process died while it wrote, so this call was never answered 200.
            log.warning("unreadable line in the spool", extra={"file": path.name})
            continue
        yield SpooledCall(data["secret"], base64.b64decode(data["body"]), datetime.fromisoformat(data["at"]))
