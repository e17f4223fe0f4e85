"""Connections: pools that fail fast, SQLite made durable, PostgreSQL watched."""

from __future__ import annotations

import time
from contextlib import nullcontext
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

import sqlalchemy as sa
from flask_migrate import Migrate
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy.engine import Connection, Dialect, Engine

from app.config import Config
from app.store.database import deadlines, fence, pooling
from app.store.database.clock import database_clock
from app.store.database.columns import NAMES
from app.store.database.watchdog import Watch

db = SQLAlchemy(metadata=sa.MetaData(naming_convention=NAMES))

migrate = Migrate(db=db, render_as_batch=True, directory=str(Path(__file__).parents[3] / "migrations"))


def engine_options(config: Config) -> dict[str, Any]:
    """Pools that fail fast: a request that waits for a connection is a request that Bitrix24 gives up.

    Errors name no parameters: a trace in a log must not have a number or a text in it.
    """
    if config.is_sqlite:
        # One connection per thread at work; a busy database is waited for, see `_prepare_sqlite`.
        return {
            "pool_size": 32,
            "max_overflow": 0,
            "pool_timeout": 1.2,
            "hide_parameters": True,
            "connect_args": {"timeout": 5},
        }
    return {
        "hide_parameters": True,
        "pool_size": config.worker_threads,
        "max_overflow": 12,  # a web process has up to 26 threads at work, and the spool's
        "pool_timeout": 1.2,
        "pool_recycle": 300,
        "connect_args": {
            "connect_timeout": 2,
            "keepalives_idle": 10,
            "tcp_user_timeout": 5000,
            # After a failover the old primary still answers, and only reads.
            "target_session_attrs": "read-write",
            "options": " ".join(f"-c {name}={value}" for name, value in pooling.LIMITS.items()),
        },
    }


_watches: WeakKeyDictionary[Engine, Watch] = WeakKeyDictionary()

_poolers: WeakKeyDictionary[Engine, pooling.Pooler] = WeakKeyDictionary()

UNLIMITED = "unlimited"  # an option of connections whose statements may take their time: migrations

FRESH_S = 0.5  # a connection that was used so lately is not asked whether it lives

BUSY_MS = 8000  # SQLite: how long a writer waits for its turn, and when somebody waits for the answer

BUSY_HURRIED_MS = 1500

READ_ONLY = "25006"


def prepare_engine(engine: Engine) -> None:
    """SQLite: durable commits, foreign keys, and transactions that take the write lock at once.

    A transaction that reads first and writes later is refused by SQLite when another wrote in between,
    without waiting; BEGIN IMMEDIATE makes it wait its turn instead.
    """
    database_clock.forget()
    fence.prepare(engine)
    if engine.dialect.name != "sqlite":
        _prepare_postgresql(engine)
        return

    @sa.event.listens_for(engine, "connect")
    def _prepare_sqlite(connection: Any, _record: Any) -> None:
        connection.isolation_level = None
        # Deleted content is overwritten with zeros: erased must mean erased.
        for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", "secure_delete=ON"):
            connection.execute(f"PRAGMA {pragma}")

    @sa.event.listens_for(engine, "checkout")
    def _set_patience(connection: Any, record: Any, _proxy: Any) -> None:
        wanted = BUSY_HURRIED_MS if deadlines.is_hurried() else BUSY_MS
        if record.info.get("busy_ms") != wanted:
            connection.execute(f"PRAGMA busy_timeout={wanted}")
            record.info["busy_ms"] = wanted

    @sa.event.listens_for(engine, "begin")
    def _begin_immediate(connection: Connection) -> None:
        if connection.get_execution_options().get("isolation_level") != "AUTOCOMMIT":
            connection.exec_driver_sql("BEGIN IMMEDIATE")


def _prepare_postgresql(engine: Engine) -> None:
    """Connections that are watched, and asked whether they live after a while of rest."""
    dialect = engine.dialect
    watched = _watches[engine] = Watch()
    _poolers[engine] = pooler = pooling.Pooler()

    @sa.event.listens_for(engine, "begin")
    def _limit(connection: Connection) -> None:
        options = connection.get_execution_options()
        if (
            pooler.is_between
            and options.get("isolation_level") != "AUTOCOMMIT"
            and not options.get(UNLIMITED)
        ):
            connection.exec_driver_sql(pooling.LIMIT_THIS_TRANSACTION)

    @sa.event.listens_for(engine, "do_connect")
    def _connect(_dialect: Dialect, _record: Any, args: Any, params: Any) -> Any:
        connection = watched.connect(lambda: pooler.connect(dialect.connect, *args, **params))
        with watched.over(connection):
            connection.autocommit = True
            database_clock.set_by(connection)
            connection.autocommit = False
        return connection

    @sa.event.listens_for(engine, "checkout")
    def _ask(connection: Any, record: Any, _proxy: Any) -> None:
        if time.monotonic() - record.info.get("used_at", 0.0) < FRESH_S:
            return
        try:
            with watched.over(connection):
                dialect.do_ping(connection)
        except Exception as error:
            raise sa.exc.InvalidatePoolError("the connection is dead") from error

    @sa.event.listens_for(engine, "handle_error")
    def _leave(context: sa.engine.ExceptionContext) -> None:
        # The old primary after a failover: none of the connections to it is worth keeping.
        if getattr(context.original_exception, "sqlstate", "") == READ_ONLY:
            context.is_disconnect = True

    @sa.event.listens_for(engine, "checkin")
    def _note_use(_connection: Any, record: Any) -> None:
        record.info["used_at"] = time.monotonic()


def is_behind_pooler() -> bool:
    """Whether a pooler stands before the database: a session of ours may be another one there each time."""
    found = _poolers.get(db.engine)
    return found is not None and found.is_between


def database_is_down() -> bool:
    """Whether this process found the database dead and waits for it to come back."""
    found = _watches.get(db.engine)
    return found is not None and found.is_down


def watched(connection: Connection) -> Any:
    found = _watches.get(connection.engine)
    return found.over(connection.connection.dbapi_connection) if found is not None else nullcontext()


def check_alive() -> None:
    found = _watches.get(db.engine)
    if found is not None:
        found.check()


def is_sqlite() -> bool:
    return db.engine.dialect.name == "sqlite"
