"""The spool: HANDLER calls in files while the database does not take them.

Each line is sealed and on the disk before its call is answered. A process appends to a file of its own, under
a lock; a file without a lock is nobody's, and whoever finds it works it off. Working off twice does no harm:
a message is stored once per portal and id.
"""

from __future__ import annotations

import base64
import fcntl
import json
import logging
import os
import secrets
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import IO

from app.store.database import StoreRefused, StoreUnavailable
from app.store.database.secrets import SecretUnreadable, secret_box

log = logging.getLogger(__name__)

LIMIT_BYTES = 256 * 1024 * 1024  # of the folder: an address that nobody knows can be spooled, too
REFUSED_LIMIT = 50  # lines in a row that cannot be taken: then the rest waits as well
REFUSED_PAUSE_S = 15.0
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
        self._others_bytes = 0
        self._pid = 0
        self._not_before = 0.0

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
        self._keep(secret_box().seal(_OWNER, json.dumps(data)).encode() + b"\n")

    def _keep(self, lines: bytes) -> None:
        with self._lock:
            try:
                self._append(lines)
            except OSError as error:
                raise StoreUnavailable(f"the spool cannot be written ({type(error).__name__})") from error

    def _append(self, lines: bytes) -> None:
        file = self._own_file()
        end = os.fstat(file).st_size
        if self._others_bytes + end + len(lines) > LIMIT_BYTES:
            raise OSError("the spool has reached its limit")
        try:
            written = os.write(file, lines)
            if written != len(lines):  # the disk is full
                raise OSError("not everything was written")
            os.fsync(file)
        except OSError:
            with suppress(OSError):
                os.ftruncate(file, end)
            raise

    def _own_file(self) -> int:
        if self._file is not None and self._pid == os.getpid():
            if os.fstat(self._file).st_nlink:
                return self._file
            os.close(self._file)  # somebody removed it
        self._file = self._new_file()
        self._pid = os.getpid()
        return self._file

    def _new_file(self) -> int:
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._others_bytes = sum(path.stat().st_size for path in _files(self._folder))
        name = self._folder / secrets.token_hex(8)
        # It gets the name by which others look for it with its lock, or they could take it for nobody's.
        new = name.with_suffix(".new")
        file = os.open(new, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        fcntl.flock(file, fcntl.LOCK_EX)
        new.rename(name.with_suffix(".spool"))
        folder = os.open(self._folder, os.O_RDONLY)
        try:
            os.fsync(folder)  # the name of the file has to survive, too
        finally:
            os.close(folder)
        return file

    def work_off(self, take: Callable[[SpooledCall], None]) -> int:
        """Hand every kept call to `take`; returns how many were taken.

        What raises StoreRefused is kept for later, and the others go on.

        Raises:
            StoreUnavailable: of `take`; this call and those behind it are kept.
        """
        if time.monotonic() < self._not_before:
            return 0
        done = self._work_off_files(take)
        if time.monotonic() < self._not_before:
            return done
        self._let_go()
        return done + self._work_off_files(take)

    def _let_go(self) -> None:
        """Give our own file up, so that it can be worked off while others are added to a new one."""
        with self._lock:
            if self._file is not None and self._pid == os.getpid():
                os.close(self._file)
                self._file = None

    def _work_off_files(self, take: Callable[[SpooledCall], None]) -> int:
        return sum(self._work_off_file(path, take) for path in _files(self._folder))

    def _work_off_file(self, path: Path, take: Callable[[SpooledCall], None]) -> int:
        with suppress(FileNotFoundError), path.open("rb") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return 0  # its process lives, or another one works it off
            if not path.exists():
                return 0  # somebody was faster
            done, refused = self._replay(file, take)
            if refused:
                self._keep(b"".join(refused))  # twice for a moment, which does no harm
            path.unlink(missing_ok=True)
            return done
        return 0

    def _replay(self, file: IO[bytes], take: Callable[[SpooledCall], None]) -> tuple[int, list[bytes]]:
        """How many were taken, and the lines that are not done with."""
        done = 0
        refused: list[bytes] = []
        why = ""
        for line in file:
            if not line.endswith(b"\n"):
                # The process died while it wrote, so this call was never answered 200.
                log.warning("half a line in the spool")
                continue
            try:
                take(_opened(line))
                done += 1
            except (StoreRefused, SecretUnreadable) as error:
                self._not_before = time.monotonic() + REFUSED_PAUSE_S
                why = str(error)
                refused.append(line)
                if len(refused) >= REFUSED_LIMIT:
                    raise StoreUnavailable(f"nothing of the spool is taken: {why}") from error
        if refused:
            log.error("spooled calls not taken", extra={"calls": len(refused), "why": why})
        return done, refused


def count_kept(folder: Path) -> int:
    """How many calls wait in the files of a folder. What is in them can be told by working them off only."""
    return sum(path.read_bytes().count(b"\n") for path in _files(folder))


def _files(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.spool"))


def _opened(line: bytes) -> SpooledCall:
    data = json.loads(secret_box().open(_OWNER, line.decode("ascii", errors="replace").strip()))
    return SpooledCall(data["secret"], base64.b64decode(data["body"]), datetime.fromisoformat(data["at"]))
