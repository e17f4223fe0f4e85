"""Runs migrations on the application's own engine; `flask --app app db upgrade` comes here."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from alembic import context
from flask import current_app
from sqlalchemy.engine import Connection

import app.store.tables  # noqa: F401 - fills the metadata that autogenerate compares with
from app.cli.one_line import told_once
from app.cli.output import fail
from app.store.database import (
    UNLIMITED,
    StoreUnavailable,
    UtcDateTime,
    connecting,
    db,
    is_behind_pooler,
)
from app.store.database.trouble import explain

ONE_AT_A_TIME = 7305117  # the number of the lock
LOOK_EVERY_S = 0.5


def render_item(kind: str, item: Any, _autogen: Any) -> str | bool:
    """A migration must outlive our classes: it names plain column types."""
    if kind == "type" and isinstance(item, UtcDateTime):
        return "sa.DateTime(timezone=True)"
    return False


def run() -> None:
    """Each migration is a transaction of its own, so that one may leave it to build an index."""
    options = current_app.extensions["migrate"].configure_args
    with _connected() as connection:
        alone = _alone_on_postgresql if connection.dialect.name == "postgresql" else _alone_on_sqlite
        with alone(connection):
            context.configure(
                connection=connection,
                target_metadata=db.metadata,
                render_item=render_item,
                transaction_per_migration=True,
                **options,
            )
            with context.begin_transaction():
                context.run_migrations()


def _connected() -> Connection:
    """A connection; or the end of the command, with one line that says why there is none."""
    try:
        with connecting(), told_once():
            return db.engine.connect().execution_options(**{UNLIMITED: True})
    except StoreUnavailable as error:
        fail(f"database: {explain(error)}")


@contextmanager
def _alone_on_postgresql(connection: Connection) -> Iterator[None]:
    """A migration may take its time, but must not make everybody wait for its locks, and two releases at once
    must not both run it. The lock belongs to a transaction beside the migrations: behind a pooler that of a
    session would stay there for ever. It is asked for again and again instead of waited for: building an
    index waits for whoever waits inside of a statement, and not for who idles in a transaction.
    """
    raw: Any = connection.connection.dbapi_connection
    if not is_behind_pooler():
        raw.autocommit = True
        raw.execute("SET statement_timeout = 0")
        raw.autocommit = False
    try:
        with _lock_of_its_own():
            yield
    finally:
        connection.invalidate()  # and with it the settings


@contextmanager
def _lock_of_its_own() -> Iterator[None]:
    # Without a parameter: with one, PostgreSQL would keep its snapshot, and building an index wait for that.
    wanted = f"SELECT pg_try_advisory_xact_lock({ONE_AT_A_TIME})"
    with db.engine.connect() as beside:
        while not beside.exec_driver_sql(wanted).scalar():
            beside.rollback()
            time.sleep(LOOK_EVERY_S)
        try:
            yield
        finally:
            beside.rollback()


@contextmanager
def _alone_on_sqlite(connection: Connection) -> Iterator[None]:
    """A table made anew is dropped under its old name, which must not take along what refers to its rows."""
    raw: Any = connection.connection.dbapi_connection
    raw.execute("PRAGMA foreign_keys=OFF")
    try:
        yield
    finally:
        connection.rollback()
        raw.execute("PRAGMA foreign_keys=ON")


run()
