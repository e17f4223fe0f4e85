"""PostgreSQL behind a pooler such as PgBouncer.

A pooler refuses or forgets what a connection says of itself at its start, and in its transaction mode each
transaction may run in another session of the server: what was set for a session, or prepared in it, is not
there any more, or is there for somebody else. Behind one we prepare nothing and set nothing but what ends
with its transaction. Whether there is one shows at the first connection: the limits have to arrive.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import closing
from typing import Any

import psycopg

log = logging.getLogger(__name__)

# No statement of ours runs so long that compiling it pays: with it the statistics took twice their time.
LIMITS = {"statement_timeout": "5000", "lock_timeout": "1500", "timezone": "UTC", "jit": "off"}
LIMIT_THIS_TRANSACTION = "SELECT " + ", ".join(
    f"set_config('{name}', '{value}', true)" for name, value in LIMITS.items()
)
_LIMIT_THAT_SHOWS = "SELECT setting FROM pg_settings WHERE name = 'lock_timeout'"


class Pooler:
    """Whether one stands between us and the server, and how to connect then. One per engine."""

    def __init__(self) -> None:
        self._is_between: bool | None = None

    @property
    def is_between(self) -> bool:
        return bool(self._is_between)

    def connect(self, dial: Callable[..., Any], *args: Any, **params: Any) -> Any:
        """A new connection; the first one finds out."""
        if self._is_between is None:
            self._is_between = not self._limits_arrive(dial, *args, **params)
            if self._is_between:
                log.warning("a pooler stands before the database: nothing is prepared or set in its sessions")
        if self._is_between:
            params = {name: value for name, value in params.items() if name != "options"}
            params["prepare_threshold"] = None
        return dial(*args, **params)

    def _limits_arrive(self, dial: Callable[..., Any], *args: Any, **params: Any) -> bool:
        try:
            made = dial(*args, **params)
        except psycopg.OperationalError as error:
            if "unsupported startup parameter" in str(error):
                return False
            raise
        with closing(made) as connection:
            connection.autocommit = True
            row = connection.execute(_LIMIT_THAT_SHOWS, prepare=False).fetchone()
            return bool(row and row[0] == LIMITS["lock_timeout"])
