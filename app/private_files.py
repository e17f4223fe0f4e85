"""Files that only their owner reads: they hold numbers, texts and sealed secrets."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

OWNER_ONLY = 0o600
_BESIDE = ("-wal", "-shm", "-journal")  # SQLite gives new ones the permissions of their database


def make_private(path: Path) -> None:
    """Create a file (and its folder) for its owner alone, or take others' rights to it away.

    A file that is there is not opened: closing it would drop SQLite's locks on it in this process.

    Raises:
        OSError: it cannot be created there.
    """
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with suppress(FileExistsError):
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, OWNER_ONLY))
    for file in (path, *(path.with_name(path.name + end) for end in _BESIDE)):
        with suppress(
            FileNotFoundError, PermissionError
        ):  # another owner's file has been given to us on purpose
            if file.stat().st_mode & 0o077:
                file.chmod(OWNER_ONLY)


def opener(path: str, flags: int) -> int:
    """For `open`: a file that it creates is its owner's alone."""
    return os.open(path, flags, OWNER_ONLY)
