"""The database: engines, transactions, time, and the one column type that both dialects share."""

from __future__ import annotations

import fcntl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import IO, Any
from weakref import WeakKeyDictionary

import sqlalchemy as sa
from flask_migrate import Migrate
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy.dialects.postgresql import insert as postgresql_insert
from sqlalchemy.dialects.sqlite import insert as sqlite_insert
from sqlalchemy.engine import Connection, Dialect, Engine

from app import private_files
from app.config import Config
from app.store.database import deadlines, pooling
from app.store.database.watchdog import Down, Watch

NAMES = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "fk": "fk_%(table_name)s_%(column_0_name)s",
    "pk": "pk_%(table_name)s",
}

db = SQLAlchemy(metadata=sa.MetaData(naming_convention=NAMES))
migrate = Migrate(db=db, render_as_batch=True, directory=str(Path(__file__).parents[3] / "migrations"))

# 64 bits everywhere; SQLite numbers rows by itself only in a column called INTEGER.
BigId = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


AnyRow = sa.Row[*tuple[Any, ...]]


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


CLOCK_ERROR_LIMIT_S = 0.5
CLOCK_DRIFT = 1e-4  # how far two machines' clocks part in a second, at worst


class _DatabaseClock:
    """PostgreSQL's clock, carried on by this machine's monotonic one between two connections.

    Leases of workers on several machines are compared with each other, so all go by one clock, and a
    machine whose own clock is wrong or jumps does no harm. SQLite has but one machine: its own clock.
    """

    def __init__(self) -> None:
        self._anchor: tuple[datetime, float, float] | None = None  # a time, our ticks then, its error

    def now(self) -> datetime:
        anchor = self._anchor
        if anchor is None:
            return datetime.now(UTC)
        at, ticks, _ = anchor
        return at + timedelta(seconds=time.monotonic() - ticks)

    def set_by(self, connection: Any) -> None:
        """Ask what time it is. The answer took some time itself, so the quickest one of late tells it best:
        processes whose clocks differ by more than a hint takes would find rows not due yet."""
        for _ in range(2):  # the first one may be slow for being the first
            before = time.monotonic()
            at = connection.execute("SELECT clock_timestamp()").fetchone()[0]
            after = time.monotonic()
            error_s = (after - before) / 2
            if error_s < min(CLOCK_ERROR_LIMIT_S, self._error_s(after)):
                self._anchor = (at.astimezone(UTC), before + error_s, error_s)

    def _error_s(self, ticks: float) -> float:
        """How wrong the clock may be by now."""
        if self._anchor is None:
            return float("inf")
        _, then, error_s = self._anchor
        return error_s + (ticks - then) * CLOCK_DRIFT

    def forget(self) -> None:
        self._anchor = None


_clock = _DatabaseClock()


def utcnow() -> datetime:
    """The time that rows go by: the database's where it has a clock of its own."""
    return _clock.now()


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
_writer = threading.Lock()
TURN_POLL_S = 0.002
OVERWRITE_TRIES = 10


def prepare_engine(engine: Engine) -> None:
    """SQLite: durable commits, foreign keys, and transactions that take the write lock at once.

    A transaction that reads first and writes later is refused by SQLite when another wrote in between,
    without waiting; BEGIN IMMEDIATE makes it wait its turn instead.
    """
    _clock.forget()
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
            _clock.set_by(connection)
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


def _watched(connection: Connection) -> Any:
    found = _watches.get(connection.engine)
    return found.over(connection.connection.dbapi_connection) if found is not None else nullcontext()


def _check_alive() -> None:
    found = _watches.get(db.engine)
    if found is not None:
        found.check()


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
        _watched(connection),
        connection.begin(),
    ):
        yield connection


def is_sqlite() -> bool:
    return db.engine.dialect.name == "sqlite"


@contextmanager
def single_write() -> Iterator[Connection]:
    """One statement that writes and commits by itself; errors are those of `writing`."""
    with turn_to_write(), statement() as connection:
        yield connection


@contextmanager
def turn_to_write(unless: Callable[[], bool] = lambda: False) -> Iterator[None]:
    """SQLite has one writer at a time and lets the others poll with growing pauses, so a busy process
    starves a quiet one: the HANDLER. Our threads queue up for a lock, and our processes for a file's.

    `unless` is asked when no other thread writes any more: there may be nothing left to do.
    """
    if db.engine.dialect.name != "sqlite":
        yield
        return
    ends = deadlines.deadline()
    if not _writer.acquire(timeout=max(0.0, ends - time.monotonic())):
        raise StoreUnavailable("the database is locked")
    try:
        if unless():
            yield
            return
        # Who writes much would find its turn free again before any other process looks. So it has to
        # queue up at the first lock like everybody else, while who is next waits at the second one.
        with _locked_file("next", ends) as upcoming, _locked_file("turn", ends):
            upcoming.close()
            yield
    finally:
        _writer.release()


@contextmanager
def _locked_file(suffix: str, ends: float) -> Iterator[IO[bytes]]:
    with _opened(Path(f"{db.engine.url.database}.{suffix}")) as file:
        while not _is_locked(file):
            if time.monotonic() > ends:
                raise StoreUnavailable("the database is locked")
            time.sleep(TURN_POLL_S)
        yield file


def _opened(path: Path) -> IO[bytes]:
    try:
        return open(path, "ab", opener=private_files.opener)
    except OSError as error:  # no file handle is left, or no disk
        raise StoreUnavailable(f"no file can be opened ({type(error).__name__})") from error


def _is_locked(file: IO[bytes]) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


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
    with _translated(), db.engine.connect() as raw, _watched(raw):
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
    with _translated(), db.engine.connect() as raw, _watched(raw):
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
        _check_alive()
        yield
    except sa.exc.TimeoutError as error:
        raise StoreUnavailable(type(error).__name__) from error
    except sa.exc.DBAPIError as error:
        if not _is_refusal(error):
            lost = error.connection_invalidated
            raise StoreUnavailable(_name_of(error), is_lost_connection=lost) from error
        raise StoreRefused(_name_of(error)) from error
    except (Down, sa.exc.DisconnectionError) as error:
        raise StoreUnavailable(str(error)) from error


def _is_refusal(error: sa.exc.DBAPIError) -> bool:
    if getattr(error.orig, "sqlite_errorname", "") == "SQLITE_ERROR":  # no such column, no such table
        return True
    down = (sa.exc.OperationalError, sa.exc.InterfaceError, sa.exc.InternalError)
    return not (isinstance(error, down) or error.connection_invalidated)


def _name_of(error: sa.exc.DBAPIError) -> str:
    """The error by its class and code. Its own words may quote a value of the row."""
    code = getattr(error.orig, "sqlstate", None) or getattr(error.orig, "sqlite_errorname", None)
    return f"{type(error.orig).__name__} {code}" if code else type(error.orig).__name__


def insert_or_ignore(connection: Connection, table: sa.Table, *keys: str) -> Any:
    """`INSERT ... ON CONFLICT (keys) DO NOTHING` in the dialect at hand; without keys, on any conflict."""
    return upsert(connection, table).on_conflict_do_nothing(index_elements=list(keys) or None)


def upsert(connection: Connection, table: sa.Table) -> Any:
    """`INSERT` in the dialect at hand, which can be told what to do on a conflict."""
    return insert_of(connection.dialect.name, table)


def insert_of(dialect: str, table: sa.Table) -> Any:
    """The same for a statement that is made once and kept."""
    return (sqlite_insert if dialect == "sqlite" else postgresql_insert)(table)
