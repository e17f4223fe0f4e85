"""Nothing that an operator can do wrong is a traceback: what a command may meet is said in one line."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import Any

import click

from app.cli.operator import the_operator
from app.cli.output import fail
from app.store import audit
from app.store.database import StoreUnavailable
from app.store.database.secrets import SecretUnreadable
from app.store.database.trouble import explain

LASTING = ("worker", "smpp")  # nobody's doing, and they have a log of their own


@contextmanager
def told_once() -> Iterator[None]:
    """A command says itself what these would write into the log of a server."""
    loggers = [logging.getLogger(name) for name in ("app.store.database.watchdog", "app.engine")]
    for logger in loggers:
        logger.disabled = True
    try:
        yield
    finally:
        for logger in loggers:
            logger.disabled = False


def say_in_one_line(command: click.Command) -> None:
    """Wrap a command, or all commands of a group."""
    if isinstance(command, click.Group):
        for inner in command.commands.values():
            say_in_one_line(inner)
    if command.callback is not None and not hasattr(command.callback, "says_in_one_line"):
        command.callback = _wrapped(command.callback, is_lasting=command.name in LASTING)


def _wrapped(callback: Callable[..., Any], *, is_lasting: bool) -> Callable[..., Any]:
    @wraps(callback)
    def run(*args: Any, **options: Any) -> Any:
        try:
            if is_lasting:
                return callback(*args, **options)
            with told_once(), audit.acting_as(the_operator()):
                return callback(*args, **options)
        except StoreUnavailable as error:
            fail(f"database: {explain(error)}")
        except SecretUnreadable as error:
            fail(f"keys: {error}; put the key that sealed it back into ENCRYPTION_KEYS")
        except OSError as error:
            fail(f"{error.filename or 'this machine'}: {error.strerror or type(error).__name__}")

    run.says_in_one_line = True  # type: ignore[attr-defined]
    return run
