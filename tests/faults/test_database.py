"""Faults of the database and of the engine, by their numbers in docs/reliability.md."""

from __future__ import annotations

import logging
import os
import resource
import secrets
import socket
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from datetime import timedelta
from pathlib import Path
from typing import Any, TextIO
from urllib.parse import urlencode

import pytest
import sentry_sdk
from flask import Flask
from flask.testing import FlaskClient

from app.engine import BREAK_S, Engine
from app.jobs.sweep import sweep
from app.services import services
from app.store import database as database_room
from app.store import job_runs
from app.store.accounts import accounts
from app.store.database import clock, connections, database_is_down, pooling, utcnow
from app.store.messages import acceptance, claims, messages
from app.store.portals import portals
from app.transport import HttpClient, NotSent
from app.web.operator import metrics
from sandbox.databases import MovingAddress, Postgres, ServiceMissing
from tests.worlds.faults import locked_sqlite
from tests.worlds.product import a_portal, product

FAST_S = 2.0


@pytest.fixture(scope="module")
def cluster() -> Iterator[Postgres]:
    """A PostgreSQL that these tests may stop, pause and lock."""
    with _new_cluster() as made:
        yield made


def _new_cluster() -> Postgres:
    try:
        return Postgres()
    except ServiceMissing as missing:
        pytest.skip(str(missing))


class Lateness:
    """How much later than asked for this machine wakes a thread, summed up: no fault of our code."""

    NAP_S = 0.01

    def __init__(self) -> None:
        self.total_s = 0.0
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._nap, daemon=True)

    def __enter__(self) -> Lateness:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over.set()
        self._thread.join()

    def _nap(self) -> None:
        while not self._is_over.is_set():
            began = time.monotonic()
            time.sleep(self.NAP_S)
            self.total_s += time.monotonic() - began - self.NAP_S


class Handler:
    """The HANDLER of one portal, called as its queue does."""

    def __init__(self, app: Flask) -> None:
        self.app = app
        self.portal = a_portal()
        self.address = f"/sms/{portals.handler_secret(self.portal.id)}"
        self._client: FlaskClient = app.test_client()

    def post(self, message_id: str, text: str = "hello") -> tuple[int, float]:
        """The answer's status, and how long it took beyond what the busy machine was late at everything."""
        with Lateness() as lateness:
            began = time.monotonic()
            status = self.status_of(message_id, text)
            took_s = time.monotonic() - began
        return status, took_s - lateness.total_s

    def status_of(self, message_id: str, text: str = "hello") -> int:
        """The answer's status alone: no thread of ours is needed to get it."""
        body = {
            "message_id": message_id,
            "message_to": "+4915112345678",
            "message_body": text,
            "type": "SMS",
            "code": "sms",
        }
        answer = self._client.post(
            self.address, data=urlencode(body), content_type="application/x-www-form-urlencoded"
        )
        return answer.status_code

    def ready(self) -> int:
        return self._client.get("/readyz").status_code

    def until_200(self, prefix: str, limit_s: float = 10.0) -> float:
        """Seconds until the HANDLER takes messages again."""
        began = time.monotonic()
        while self.post(f"{prefix}-{time.monotonic()}")[0] != 200:
            assert time.monotonic() - began < limit_s
            time.sleep(0.05)
        return time.monotonic() - began

    @contextmanager
    def under_load(self) -> Iterator[list[str]]:
        """Four callers at once for as long as the block; yields the ids that were answered 200."""
        taken: list[str] = []
        stopping = threading.Event()

        def send() -> None:
            number = 0
            while not stopping.is_set():
                number += 1
                name = f"load-{threading.get_ident()}-{number}"
                if self.post(name)[0] == 200:
                    taken.append(name)

        senders = [threading.Thread(target=send) for _ in range(4)]
        for sender in senders:
            sender.start()
        try:
            yield taken
        finally:
            stopping.set()
            for sender in senders:
                sender.join()

    def has(self, message_id: str) -> bool:
        return messages.find(self.portal.id, message_id) is not None


@pytest.fixture
def on_postgresql(cluster: Postgres, tmp_path: Path) -> Iterator[Handler]:
    with product(tmp_path, DATABASE_URL=cluster.create_database()) as app:
        app.extensions["services"].engine.hint = lambda *_, **__: True
        yield Handler(app)


def why_not_stored(caplog: pytest.LogCaptureFixture) -> list[str]:
    """What the database said, each time that the HANDLER could not store a message."""
    event = "message not stored by the database"
    return [vars(record)["why"] for record in caplog.records if record.getMessage() == event]


@contextmanager
def patience_of_sqlite() -> Iterator[list[int]]:
    """How long each connection that is used in the block would wait for a lock, in milliseconds."""
    asked: list[int] = []

    def note(connection: sqlite3.Connection, *_: object) -> None:
        asked.append(connection.execute("PRAGMA busy_timeout").fetchone()[0])

    engine = database_room.db.engine
    connections.sa.event.listen(engine, "checkout", note)
    yield asked
    connections.sa.event.remove(engine, "checkout", note)


def _until(is_so: Callable[[], bool]) -> None:
    while not is_so():  # the test's own limit ends it
        time.sleep(0.01)


@pytest.fixture
def on_sqlite(tmp_path: Path) -> Iterator[Handler]:
    with product(tmp_path) as app:
        yield Handler(app)


@pytest.mark.slow
def test_fault_03_a_stopped_database_is_503_and_comes_back(cluster: Postgres, on_postgresql: Handler) -> None:
    assert on_postgresql.post("before")[0] == 200
    cluster.stop("immediate")

    answers = [on_postgresql.post(f"during-{number}") for number in range(5)]
    is_ready = on_postgresql.ready()
    cluster.start()
    back_s = on_postgresql.until_200("after")

    assert {status for status, _ in answers} == {503}
    assert max(seconds for _, seconds in answers) < FAST_S
    assert is_ready == 503
    assert back_s < 5
    assert on_postgresql.ready() == 200
    assert on_postgresql.has("before")
    assert not any(on_postgresql.has(f"during-{number}") for number in range(5))


@pytest.mark.slow
def test_fault_03_a_paused_database_is_503_within_two_seconds_for_everybody(
    cluster: Postgres, on_postgresql: Handler
) -> None:
    on_postgresql.post("before")
    time.sleep(connections.FRESH_S + 0.1)
    answers: list[tuple[int, float]] = []
    cluster.pause()
    try:
        callers = [
            threading.Thread(target=lambda n=number: answers.append(on_postgresql.post(f"paused-{n}")))
            for number in range(12)
        ]
        for caller in callers:
            caller.start()
        for caller in callers:
            caller.join()
        is_ready = on_postgresql.ready()
        _, known_s = on_postgresql.post("known")
    finally:
        cluster.resume()
    back_s = on_postgresql.until_200("after")

    assert known_s < 1.0  # found dead once, it is not waited for again
    assert {status for status, _ in answers} == {503}
    assert max(seconds for _, seconds in answers) < FAST_S
    assert is_ready == 503
    assert back_s < 5


@pytest.mark.slow
def test_fault_03_a_connection_that_died_at_rest_costs_no_message(
    cluster: Postgres, on_postgresql: Handler, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "FRESH_S", 60.0)  # the pool does not ask whether it lives
    on_postgresql.post("before")

    cluster.restart("immediate")

    assert on_postgresql.post("after")[0] == 200


@pytest.mark.slow
def test_fault_04_what_was_answered_200_survives_a_killed_database(
    cluster: Postgres, on_postgresql: Handler
) -> None:
    with on_postgresql.under_load() as taken:
        for _ in range(4):
            time.sleep(0.3)
            cluster.kill()
            cluster.start()
        on_postgresql.until_200("end")

    assert len(taken) > 20
    assert [name for name in taken if not on_postgresql.has(name)] == []


@pytest.mark.slow
def test_fault_06_a_database_that_only_reads_is_503_until_it_writes_again(
    cluster: Postgres, on_postgresql: Handler
) -> None:
    on_postgresql.post("before")
    _only_reads(cluster)

    answers = [on_postgresql.post(f"read-only-{number}") for number in range(3)]
    with cluster.connect() as connection:
        connection.execute("SET default_transaction_read_only = off")
        connection.execute("ALTER SYSTEM RESET default_transaction_read_only")
        connection.execute("SELECT pg_reload_conf()")
    back_s = on_postgresql.until_200("after")

    assert {status for status, _ in answers} == {503}
    assert back_s < 5


def _only_reads(cluster: Postgres) -> None:
    with cluster.connect() as connection:
        connection.execute("ALTER SYSTEM SET default_transaction_read_only = on")
        connection.execute("SELECT pg_reload_conf()")
    time.sleep(0.3)


@pytest.mark.slow
@pytest.mark.parametrize("old_server", ["dead", "reads only"])
def test_fault_06_after_a_failover_the_other_server_has_every_message(
    tmp_path: Path, old_server: str
) -> None:
    with (
        _new_cluster() as primary,
        primary.standby() as standby,
        MovingAddress(primary.port) as address,
        product(tmp_path, DATABASE_URL=primary.create_database(at_port=address.port)) as app,
    ):
        handler = Handler(app)
        with handler.under_load() as taken:
            time.sleep(1)
            if old_server == "dead":
                primary.kill()
            else:
                _only_reads(primary)
            address.lead_to(standby.port, cut_old=old_server == "dead")
            only_reads = [handler.post(f"too-early-{number}") for number in range(3)]
            standby.promote()
            back_s = handler.until_200("after")
            before = len(taken)
            time.sleep(0.5)

        assert {status for status, _ in only_reads} == {503}
        assert max(seconds for _, seconds in only_reads) < FAST_S
        assert back_s < 10
        assert len(taken) > before > 5
        assert [name for name in taken if not handler.has(name)] == []


@pytest.mark.slow
def test_fault_05_a_full_disk_of_postgresql_is_503_and_heals(
    cluster: Postgres, on_postgresql: Handler
) -> None:
    on_postgresql.post("before")
    cluster.limit_files(17 * 2**20)  # its log of changes has files of 16 MB, and must go on
    answers = []
    for number in range(200):
        answers.append(on_postgresql.post(f"full-{number}", text=secrets.token_hex(200_000))[0])
        if answers[-1] != 200:
            break
    cluster.limit_files(None)

    assert answers == [200] * (len(answers) - 1) + [503]
    assert len(answers) > 10
    assert [on_postgresql.has(f"full-{number}") for number in range(len(answers))] == [
        answer == 200 for answer in answers
    ]
    assert on_postgresql.until_200("after") < 5


@pytest.mark.slow
def test_fault_07_a_lock_that_somebody_holds_is_503_in_time(
    cluster: Postgres, on_postgresql: Handler, caplog: pytest.LogCaptureFixture
) -> None:
    """The server itself ends the wait by the limit that it was told, not by a statement's longer one."""
    on_postgresql.post("before")
    name = on_postgresql.app.config["SQLALCHEMY_DATABASE_URI"].rpartition("/")[2]

    with cluster.connect(name) as connection, connection.transaction():
        connection.execute("LOCK TABLE messages")
        status = on_postgresql.status_of("locked")

    assert (status, why_not_stored(caplog)) == (503, ["LockNotAvailable 55P03"])
    assert int(pooling.LIMITS["lock_timeout"]) < FAST_S * 1000
    on_postgresql.until_200("after")


@pytest.mark.slow
def test_fault_57_leases_go_by_the_clock_of_the_database(
    cluster: Postgres, on_postgresql: Handler, monkeypatch: pytest.MonkeyPatch
) -> None:
    class TenMinutesAhead(clock.datetime):  # type: ignore[misc,valid-type]
        @classmethod
        def now(cls, tz: object = None) -> object:  # type: ignore[override]
            return super().now(tz) + timedelta(minutes=10)  # type: ignore[arg-type]

    on_postgresql.post("before")  # a connection tells the time
    true_time = utcnow()
    monkeypatch.setattr(clock, "datetime", TenMinutesAhead)

    assert job_runs.claim("skewed", now=utcnow(), every_s=0, lease_s=60)
    assert abs(utcnow() - true_time) < timedelta(seconds=30)
    assert not job_runs.claim("skewed", now=true_time, every_s=0, lease_s=60)


@pytest.mark.parametrize("slow_s", [0.3, 0.8])
def test_fault_57_a_slow_answer_does_not_set_the_clock(on_postgresql: Handler, slow_s: float) -> None:
    """Two processes whose clocks are apart find each other's messages not due yet."""
    on_postgresql.post("before")
    before = _behind_the_database()

    with database_room.db.engine.connect() as connection:
        raw = connection.connection.dbapi_connection
        clock.database_clock.set_by(_Late(raw, slow_s))

    assert abs(_behind_the_database() - before) < slow_s / 4


class _Late:
    """A connection whose answers take long on their way back."""

    def __init__(self, connection: Any, seconds: float) -> None:
        self._connection, self._seconds = connection, seconds

    def execute(self, query: str) -> Any:
        found = self._connection.execute(query)
        time.sleep(self._seconds)
        return found


def _behind_the_database() -> float:
    """By the quickest of some answers, as that tells the time best."""
    answers = []
    for _ in range(10):
        before = utcnow()
        with database_room.statement() as connection:
            at = connection.exec_driver_sql("SELECT clock_timestamp()").scalar_one()
        took = utcnow() - before
        answers.append((took, at - before - took / 2))
    return min(answers)[1].total_seconds()


# --- SQLite


def test_fault_07_a_locked_sqlite_is_503_in_time(on_sqlite: Handler, tmp_path: Path) -> None:
    on_sqlite.post("before")

    with locked_sqlite(tmp_path / "app.db"), patience_of_sqlite() as asked_ms:
        status = on_sqlite.status_of("locked")

    assert status == 503
    assert 0 < asked_ms[-1] < FAST_S * 1000
    assert on_sqlite.post("after")[0] == 200
    assert not on_sqlite.has("locked")


def test_fault_05_a_full_database_is_503_and_heals(on_sqlite: Handler) -> None:
    def limit_pages(limit: int) -> None:
        def set_limit(connection: sqlite3.Connection, *_: object) -> None:
            connection.execute(f"PRAGMA max_page_count={limit}")

        connections.sa.event.listen(engine, "checkout", set_limit)

    engine = database_room.db.engine
    on_sqlite.post("before")
    limit_pages(1)  # SQLite takes its present size
    answers = []
    for number in range(400):
        answers.append(on_sqlite.post(f"full-{number}")[0])
        if answers[-1] == 503:
            break
    is_ready_for_more = answers[-1]
    limit_pages(1_000_000)

    assert is_ready_for_more == 503
    assert not on_sqlite.has(f"full-{len(answers) - 1}")
    assert all(on_sqlite.has(f"full-{number}") for number in range(len(answers) - 1))
    assert on_sqlite.post("after")[0] == 200


@contextmanager
def no_file_handles() -> Iterator[None]:
    """This process may open nothing more; what is open stays so."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_fault_59_without_file_handles_is_503_and_heals(on_sqlite: Handler) -> None:
    on_sqlite.post("before")

    with no_file_handles():
        status, _ = on_sqlite.post("none left")

    assert status == 503
    assert not on_sqlite.has("none left")
    assert on_sqlite.post("after")[0] == 200


def test_fault_59_without_memory_is_503_and_heals(
    on_sqlite: Handler, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_memory(*_: object, **__: object) -> None:
        raise MemoryError

    with monkeypatch.context() as patch:
        patch.setattr(acceptance, "_row_for", no_memory)
        status, _ = on_sqlite.post("none left")

    assert status == 503
    assert not on_sqlite.has("none left")
    assert on_sqlite.post("after")[0] == 200


@pytest.mark.parametrize("counter", ["_handler_calls", "_handler_seconds"])
def test_fault_59_a_stored_message_is_answered_200_though_nothing_can_be_counted(
    on_sqlite: Handler, monkeypatch: pytest.MonkeyPatch, counter: str
) -> None:
    monkeypatch.setattr(metrics, counter, None)

    assert on_sqlite.post("not counted")[0] == 200
    assert on_sqlite.has("not counted")


def test_fault_59_without_threads_is_503_and_heals(
    on_postgresql: Handler, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_thread(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    on_postgresql.post("before")
    database_room.db.engine.dispose()
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", no_thread)
        answers = [on_postgresql.status_of(f"none left {number}") for number in range(3)]

    assert set(answers) == {503}
    assert on_postgresql.until_200("after") < FAST_S


def test_fault_59_a_call_without_a_file_handle_was_surely_not_sent() -> None:
    http = HttpClient(allow_private=True, timeout_s=2)

    with no_file_handles(), pytest.raises(NotSent):
        http.request("POST", "http://127.0.0.1:9/messages", json={})


# --- who reads what we log


@pytest.fixture
def black_hole() -> Iterator[socket.socket]:
    """It takes connections and never answers."""
    with socket.create_server(("127.0.0.1", 0), backlog=64) as listener:
        listener.setblocking(False)
        yield listener


def _port(listener: socket.socket) -> int:
    return int(listener.getsockname()[1])


def _callers(black_hole: socket.socket) -> int:
    """How often somebody tried it since the last time."""
    number = 0
    with suppress(BlockingIOError):
        while True:
            black_hole.accept()[0].close()
            number += 1
    return number


@contextmanager
def full_pipe() -> Iterator[TextIO]:
    """A pipe whose reader hangs: it takes nothing more."""
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    with suppress(BlockingIOError):
        while True:
            os.write(writing, b"x" * 4096)
    os.set_blocking(writing, True)
    with os.fdopen(writing, "w") as sink:
        yield sink
        os.close(reading)


def test_fault_64_a_log_that_nobody_reads_holds_up_no_message(tmp_path: Path) -> None:
    with product(tmp_path, LOG_LEVEL="INFO") as app:
        handler = Handler(app)
        with full_pipe() as sink, pytest.MonkeyPatch.context() as patch:
            (output,) = logging.getLogger().handlers[:1]
            patch.setattr(output, "stream", sink)
            answers = [handler.status_of(f"m-{number}") for number in range(5)]

    assert answers == [200] * 5  # whoever had waited for that pipe would never have come back
    assert output._lost > 0


def test_fault_64_error_reports_that_hang_hold_up_nobody(
    tmp_path: Path, black_hole: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever calls them waits for them: it must be another thread than the one that answers."""
    callers: list[threading.Thread] = []
    dial = socket.socket.connect

    def connect(sock: socket.socket, address: Any) -> None:
        if address[1:2] == (_port(black_hole),):
            callers.append(threading.current_thread())
        dial(sock, address)

    monkeypatch.setattr(socket.socket, "connect", connect)
    with product(tmp_path, SENTRY_DSN=f"http://key@127.0.0.1:{_port(black_hole)}/1") as app:
        handler = Handler(app)
        with locked_sqlite(tmp_path / "app.db"):
            answers = [handler.status_of(f"locked-{number}") for number in range(2)]
        answers.append(handler.status_of("after"))
        _until(lambda: bool(callers))
    sentry_sdk.init()  # who comes next reports nothing

    assert answers == [503, 503, 200]
    assert threading.current_thread() not in callers


# --- the engine


def test_fault_20_a_black_holed_redis_does_not_slow_the_handler(
    tmp_path: Path, black_hole: socket.socket
) -> None:
    began = time.monotonic()
    with product(tmp_path, REDIS_URL=f"redis://127.0.0.1:{_port(black_hole)}/0") as app:
        handler = Handler(app)
        answers = [handler.post(f"m-{number}") for number in range(20)]
    breaks = (time.monotonic() - began) // BREAK_S

    assert {status for status, _ in answers} == {200}
    assert max(seconds for _, seconds in answers) < FAST_S
    assert 1 <= _callers(black_hole) <= 1 + breaks  # one finds out for all, and again after each break


def test_fault_20_without_an_engine_the_sweeper_does_the_work_itself(
    tmp_path: Path, black_hole: socket.socket
) -> None:
    with product(
        tmp_path,
        REDIS_URL=f"redis://127.0.0.1:{_port(black_hole)}/0",
        TIMING="rehint_s=0.01",
        DEMO_GATEWAY="full",
    ) as app:
        handler = Handler(app)
        parts = services()
        accounts.connect(
            handler.portal.id,
            handler.portal.member_id,
            "demo",
            label="d",
            public={},
            secrets={},
            now=utcnow(),
        )
        handler.post("kept")
        time.sleep(0.02)
        sweep(parts)
        engine: Engine = parts.engine
        engine._aside.shutdown(wait=True)

        found = messages.find(handler.portal.id, "kept")

    assert found is not None
    assert found.status == "sent"


def test_fault_20_an_engine_file_that_is_deleted_begins_anew(on_sqlite: Handler, tmp_path: Path) -> None:
    engine = services().engine
    assert engine.hint("submit", 1)
    (tmp_path / "app.engine").unlink()

    assert on_sqlite.post("after")[0] == 200
    assert engine.hint("submit", 2)
    with closing(sqlite3.connect(tmp_path / "app.engine")) as another_process:
        assert another_process.execute("SELECT count(*) FROM task").fetchone()[0] > 0


def test_fault_60_one_portal_with_many_messages_does_not_come_first(on_sqlite: Handler) -> None:
    for number in range(60):
        on_sqlite.post(f"campaign-{number}")
    other = Handler.__new__(Handler)
    other.app, other.portal = on_sqlite.app, a_portal("b" * 32)
    other.address, other._client = f"/sms/{portals.handler_secret(other.portal.id)}", on_sqlite._client
    other.post("single")
    single = messages.find(other.portal.id, "single")
    assert single is not None

    found = claims.portals_with_due(utcnow() + timedelta(minutes=1), limit=2)

    assert other.portal.id in found
    assert not database_is_down()
