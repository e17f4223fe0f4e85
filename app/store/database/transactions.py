"""Transactions and statements: the blocks in which everything is read and written."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from app.store.database.connections import check_alive, db, is_behind_pooler, is_sqlite, watched
from app.store.database.errors import StoreRefused, StoreUnavailable, is_refusal, name_of
from app.store.database.turns import turn_to_write
from app.store.database.watchdog import Down

OVERWRITE_TRIES = 10


@contextmanager
def writing() -> Iterator[Connection]:
    """One transaction; committed at the end of the block, rolled back by an exception.

    Raises:
        StoreUnavailable: the database is down, full, read-only or locked for too long.
        StoreRefused: it does not take the statement.
    """
    with turn_to_write(), writing_in_turn() as connection:
        yield connection


@contextmanager
def writing_in_turn() -> Iterator[Connection]:
    """The same for a thread whose turn it is already."""
    with (
        _translated(),
        db.engine.connect() as connection,
        watched(connection),
        connection.begin(),
    ):
        connection.info.pop(_AFTER, None)  # of a transaction that was rolled back
        yield connection
        after = connection.info.pop(_AFTER, ())
    for act in after:
        act()


_AFTER = "after the commit"


def after_commit(connection: Connection, act: Callable[[], None]) -> None:
    """Do this when what the transaction wrote is there, and not if it never is."""
    connection.info.setdefault(_AFTER, []).append(act)


@contextmanager
def single_write() -> Iterator[Connection]:
    """One statement that writes and commits by itself; errors are those of `writing`."""
    with turn_to_write(), statement() as connection:
        yield connection


def overwrite_deleted() -> None:
    """Fold SQLite's log of changes into the database and empty it: it still holds what was deleted.

    Waits for readers, and leaves it to the next call when they do not end.
    """
    if db.engine.dialect.name != "sqlite":
        return
    for _ in range(OVERWRITE_TRIES):
        with statement() as connection:
            is_busy = connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)").one()[0]
        if not is_busy:
            return
        time.sleep(0.2)


@contextmanager
def statement() -> Iterator[Connection]:
    """Statements that each commit by themselves: reads, and the single write of the hot path."""
    with _translated(), db.engine.connect() as raw, watched(raw):
        if is_behind_pooler():  # outside of a transaction nothing would limit how long a statement takes
            with raw.begin():
                yield raw
        else:
            yield raw.execution_options(isolation_level="AUTOCOMMIT")


@contextmanager
def connecting() -> Iterator[None]:
    """Around a connection that somebody makes by themselves, a migration: errors are those of `writing`."""
    with _translated():
        yield


@contextmanager
def snapshot() -> Iterator[Connection]:
    """Reads that all see the database as it was at one moment."""
    with _translated(), db.engine.connect() as raw, watched(raw):
        if is_sqlite():
            connection = raw.execution_options(isolation_level="AUTOCOMMIT")
            connection.exec_driver_sql("BEGIN")
            try:
                yield connection
            finally:
                connection.exec_driver_sql("ROLLBACK")
        else:
            yield raw.execution_options(isolation_level="REPEATABLE READ")


@contextmanager
def _translated() -> Iterator[None]:
    try:
        check_alive()
        yield
    except sa.exc.TimeoutError as error:
        raise StoreUnavailable(type(error).__name__) from error
    except sa.exc.DBAPIError as error:
        if not is_refusal(error):
            lost = error.connection_invalidated
            raise StoreUnavailable(name_of(error), is_lost_connection=lost) from error
        raise StoreRefused(name_of(error)) from error
    except (Down, sa.exc.DisconnectionError) as error:
        raise StoreUnavailable(str(error)) from error
