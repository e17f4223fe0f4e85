"""The database: engines, transactions, time, and the one column type that both dialects share."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from flask_migrate import Migrate
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy.dialects.postgresql import insert as postgresql_insert
from sqlalchemy.dialects.sqlite import insert as sqlite_insert
from sqlalchemy.engine import Connection, Dialect, Engine

from app.config import Config

NAMES = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "fk": "fk_%(table_name)s_%(column_0_name)s",
    "pk": "pk_%(table_name)s",
}

db = SQLAlchemy(metadata=sa.MetaData(naming_convention=NAMES))
migrate = Migrate(db=db, render_as_batch=True, directory=str(Path(__file__).parents[2] / "migrations"))

# 64 bits everywhere; SQLite numbers rows by itself only in a column called INTEGER.
BigId = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


AnyRow = sa.Row[*tuple[Any, ...]]


class StoreUnavailable(Exception):
    """The database does not answer or cannot write. Nothing was stored; try again later."""


class UtcDateTime(sa.TypeDecorator[datetime]):
    """An aware datetime in UTC. SQLite keeps it as text whose order is the order of time."""

    impl = sa.DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None or dialect.name != "sqlite":
            return value
        return value.astimezone(UTC).replace(tzinfo=None)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None or value.tzinfo is not None:
            return value
        return value.replace(tzinfo=UTC)


def utcnow() -> datetime:
    return datetime.now(UTC)


def engine_options(config: Config) -> dict[str, Any]:
    """Pools that fail fast: a request that waits for a connection is a request that Bitrix24 gives up."""
    if config.is_sqlite:
        # One connection per thread at work; a busy database is waited for, see `_prepare_sqlite`.
        return {"pool_size": 24, "max_overflow": 0, "pool_timeout": 2, "connect_args": {"timeout": 5}}
    return {
        "pool_size": config.worker_threads,
        "max_overflow": 4,
        "pool_timeout": 2,
        "pool_recycle": 300,
        "pool_pre_ping": True,
        "connect_args": {
            "connect_timeout": 2,
            "keepalives_idle": 10,
            "tcp_user_timeout": 5000,
            "options": "-c statement_timeout=5000 -c lock_timeout=2000",
        },
    }


def prepare_engine(engine: Engine) -> None:
    """SQLite: durable commits, foreign keys, and transactions that take the write lock at once.

    A transaction that reads first and writes later is refused by SQLite when another wrote in between,
    without waiting; BEGIN IMMEDIATE makes it wait its turn instead.
    """
    if engine.dialect.name != "sqlite":
        return

    @sa.event.listens_for(engine, "connect")
    def _prepare_sqlite(connection: Any, _record: Any) -> None:
        connection.isolation_level = None
        for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", "busy_timeout=5000"):
            connection.execute(f"PRAGMA {pragma}")

    @sa.event.listens_for(engine, "begin")
    def _begin_immediate(connection: Connection) -> None:
        if connection.get_execution_options().get("isolation_level") != "AUTOCOMMIT":
            connection.exec_driver_sql("BEGIN IMMEDIATE")


@contextmanager
def writing() -> Iterator[Connection]:
    """One transaction; committed at the end of the block, rolled back by an exception.

    Raises:
        StoreUnavailable: the database is down, full, read-only or locked for too long.
    """
    with _translated(), db.engine.begin() as connection:
        yield connection


@contextmanager
def statement() -> Iterator[Connection]:
    """Statements that each commit by themselves: reads, and the single write of the hot path."""
    with _translated(), db.engine.connect() as raw:
        yield raw.execution_options(isolation_level="AUTOCOMMIT")


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except (sa.exc.OperationalError, sa.exc.InterfaceError, sa.exc.TimeoutError) as error:
        raise StoreUnavailable(type(error.__cause__ or error).__name__) from error
    except sa.exc.InternalError as error:  # PostgreSQL after a failover: the old primary only reads
        raise StoreUnavailable(type(error.__cause__ or error).__name__) from error


def insert_or_ignore(connection: Connection, table: sa.Table, *keys: str) -> Any:
    """`INSERT ... ON CONFLICT (keys) DO NOTHING` in the dialect at hand."""
    insert = sqlite_insert if connection.dialect.name == "sqlite" else postgresql_insert
    return insert(table).on_conflict_do_nothing(index_elements=list(keys))
