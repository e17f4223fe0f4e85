"""What goes wrong with a database, named by what to do next."""

from __future__ import annotations

import sqlalchemy as sa


class StoreUnavailable(Exception):
    """The database does not answer or cannot write. Nothing was stored; try again later.

    `is_lost_connection`: only this connection was dead; the next one may do.
    """

    def __init__(self, why: str, *, is_lost_connection: bool = False) -> None:
        super().__init__(why)
        self.is_lost_connection = is_lost_connection


class StoreRefused(StoreUnavailable):
    """The database answers, and not to this statement: another schema, a missing grant, a pooler's own word.

    Other statements may do. It is nothing that the caller of a request can help, so it hears the same.
    """


def is_refusal(error: sa.exc.DBAPIError) -> bool:
    if getattr(error.orig, "sqlite_errorname", "") == "SQLITE_ERROR":  # no such column, no such table
        return True
    down = (sa.exc.OperationalError, sa.exc.InterfaceError, sa.exc.InternalError)
    return not (isinstance(error, down) or error.connection_invalidated)


def name_of(error: sa.exc.DBAPIError) -> str:
    """The error by its class and code. Its own words may quote a value of the row."""
    code = getattr(error.orig, "sqlstate", None) or getattr(error.orig, "sqlite_errorname", None)
    return f"{type(error.orig).__name__} {code}" if code else type(error.orig).__name__
