"""How long whatever is asked of the database may take: less where somebody waits for the answer."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from contextvars import ContextVar

PATIENCE_S = 10.0  # of work that nobody waits for; above the server's own limit of a statement

_deadline: ContextVar[float | None] = ContextVar("database deadline", default=None)


@contextlib.contextmanager
def within(seconds: float) -> Iterator[None]:
    """Everything asked of the database in this block ends after so long, with an answer or an error."""
    token = _deadline.set(time.monotonic() + seconds)
    try:
        yield
    finally:
        _deadline.reset(token)


def deadline() -> float:
    """Of `time.monotonic()`."""
    asked = _deadline.get()
    return asked if asked is not None else time.monotonic() + PATIENCE_S


def is_hurried() -> bool:
    """Whether somebody waits for the answer."""
    return _deadline.get() is not None
