"""The one file that knows the job engine (Huey). It carries hints: "look at this row now".

The rows own the work, so a hint may be lost, late or doubled, and an engine that is down loses nothing:
the sweeper finds every due row.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from flask import Flask
from huey import PriorityRedisHuey, SqliteHuey
from huey.consumer import Consumer
from huey.storage import SqliteStorage
from redis import ConnectionPool
from redis.sentinel import Sentinel, SentinelConnectionPool

from app.config import SENTINEL_SCHEMES, Config
from app.private_files import make_private
from app.signed_hints import SignedHints

log = logging.getLogger(__name__)

Job = Callable[[int], None]
Failed = Callable[[str, int, Exception], None]
PRIORITY_NORMAL = 5
PRIORITY_SINGLE = 10
BREAK_S = 2.0  # after a failure, do not make the next callers wait for a dead engine
HINT_WITHIN_S = 0.25  # the HANDLER waits for this
ASIDE_LIMIT = 500  # jobs that wait for a thread
CALLS = 128  # outward calls that one process has open for all owners together
OWNERS_LIMIT = 200  # owners that one process drains at once
OWNERS_END_WITHIN_S = 25.0
SAME_MOMENT_S = (
    0.02  # a drainer looks once more after this, so a hint so shortly after another one is not needed
)
PLANNED_LIMIT = 20_000
LISTEN_S = 1.0  # how long a consumer waits for a hint before it looks around
CONSUMER_WITHIN_S = 3 * LISTEN_S
LOOK_EVERY_S = 0.015


class _HealingSqliteStorage(SqliteStorage):  # type: ignore[misc]
    """Huey's SQLite storage, for a file that may be deleted under it: then it begins a new one.

    Hints need no fsync: whatever is lost with them, the sweeper finds. Whoever waits for one looks at the
    file's log of changes, which costs less than a question, and so at rest next to nothing.
    """

    blocking = True  # for Huey: `dequeue` waits by itself

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._inode: int | None = None
        self._conn: Any = None
        super().__init__(*args, **kwargs)

    def _create_connection(self) -> Any:
        make_private(Path(self.filename))
        connection = super()._create_connection()
        connection.execute("pragma synchronous=normal")
        self._inode = self._present_inode()
        for statement in self.ddl:
            connection.execute(statement)
        return connection

    def _present_inode(self) -> int | None:
        try:
            return Path(self.filename).stat().st_ino
        except FileNotFoundError:
            return None

    def dequeue(self) -> Any:
        ends = time.monotonic() + LISTEN_S
        while True:
            seen = self._last_change()
            found = super().dequeue()
            if found is not None:
                return found
            while self._last_change() == seen:
                if time.monotonic() > ends:
                    return None
                time.sleep(LOOK_EVERY_S)

    def _last_change(self) -> tuple[int, int] | None:
        try:
            status = Path(f"{self.filename}-wal").stat()
        except OSError:
            return None
        return status.st_mtime_ns, status.st_size

    @property
    def conn(self) -> Any:
        if self._conn is not None and self._present_inode() != self._inode:
            self._conn.close()
            self._conn = None
            for leftover in ("-wal", "-shm"):  # of the deleted file; they would spoil the new one
                if self._present_inode() is None:
                    Path(f"{self.filename}{leftover}").unlink(missing_ok=True)
        return super().conn


def _pool(url: str, within_s: float) -> ConnectionPool:
    patience: dict[str, Any] = {
        "socket_timeout": within_s,
        "socket_connect_timeout": min(1.0, within_s),
    }
    if not url.startswith(SENTINEL_SCHEMES):
        return ConnectionPool.from_url(url, **patience)
    return _pool_behind_sentinels(url, patience)


def _pool_behind_sentinels(url: str, patience: dict[str, Any]) -> ConnectionPool:
    """`redis+sentinel://user:password@host:port,host:port/service/number`: whoever the sentinels call the
    primary at the moment. User and password are the server's, and `rediss+sentinel` speaks TLS to it; a
    `sentinel_password` in the query is the sentinels' own."""
    parts = urlsplit(url)
    service, _, number = parts.path.strip("/").partition("/")
    places = [place.rpartition(":") for place in parts.netloc.rpartition("@")[2].split(",")]
    hosts = [(host or port, int(port) if host else 26379) for host, _, port in places]
    own_password = parse_qs(parts.query).get("sentinel_password", [None])[0]
    access: dict[str, Any] = {
        "username": unquote(parts.username) if parts.username else None,
        "password": unquote(parts.password) if parts.password else None,
        "db": int(number or 0),
        "ssl": parts.scheme == SENTINEL_SCHEMES[1],
    }
    sentinel = Sentinel(  # type: ignore[no-untyped-call]
        hosts, sentinel_kwargs={**patience, "password": own_password}, **patience
    )
    return SentinelConnectionPool(  # type: ignore[no-untyped-call]
        service, sentinel, **patience, **access
    )


# What Redis and its client say -> what to do about it.
_CURES = (
    (("password", "auth", "noperm"), "check user and password in REDIS_URL"),
    (("refused", "timeout", "timed out"), "start the server, or check host and port in REDIS_URL"),
    (("name or service", "resolve", "getaddrinfo", "no address"), "check the host in REDIS_URL"),
    (("certificate", "ssl"), "rediss:// speaks TLS, redis:// does not: which one does the server want?"),
    (("db index", "invalid db"), "check the number at the end of REDIS_URL"),
    (("no master", "no sentinel", "master"), "check the service's name and the sentinels in REDIS_URL"),
    (("oom", "read only", "readonly"), "the server takes no writes: make room, or take its primary"),
)


def _only_logged(name: str, key: int, error: Exception) -> None:
    pass


class Engine:
    """Hints out, jobs in. One object per process, shared by its threads."""

    def __init__(self) -> None:
        self._jobs: dict[str, Job] = {}
        self._redis_url = ""
        self._broken_until = 0.0
        self._is_probing = False
        self._lock = threading.Lock()
        self.lost_hints = 0
        self.on_failure: Failed = _only_logged
        self._redis_url = ""
        self._owners: dict[tuple[str, int], bool] = {}  # at work here -> hinted meanwhile
        self._owner_jobs: set[str] = set()
        self._planned: dict[tuple[str, int], float] = {}  # hints of this process that still wait
        self.stopping = threading.Event()

    def init_app(self, app: Flask, config: Config) -> None:
        options: dict[str, Any] = {"results": False, "serializer": SignedHints(config.secret_keys)}
        self._app = app
        self._aside_waiting = 0
        self._aside = ThreadPoolExecutor(max_workers=config.worker_threads, thread_name_prefix="aside")
        self._redis_url = config.redis_url
        if config.redis_url:
            self.huey = PriorityRedisHuey(
                "sms",
                read_timeout=int(LISTEN_S),
                connection_pool=_pool(config.redis_url, HINT_WITHIN_S),
                **options,
            )
        else:
            self.huey = SqliteHuey(
                "sms",
                storage_class=_HealingSqliteStorage,
                filename=str(config.engine_file),
                timeout=1,
                **options,
            )
        self._task = self.huey.task(name="perform")(self.perform_aside)

    def register(self, name: str, job: Job, *, drains: bool = False) -> None:
        """`drains`: the job works off an owner, on a thread of its own, each owner on one at a time."""
        self._jobs[name] = job
        if drains:
            self._owner_jobs.add(name)

    @cached_property
    def calls(self) -> ThreadPoolExecutor:
        """Threads for the outward calls of all owners that are drained here."""
        return ThreadPoolExecutor(max_workers=CALLS, thread_name_prefix="call")

    def share_of_calls(self) -> int:
        """How many of these threads one owner may hold, so that all who are at work here have some."""
        return max(1, CALLS // max(1, len(self._owners)))

    def was_hinted(self, name: str, key: int) -> bool:
        """Whether somebody hinted at this owner while it is drained here; asking forgets it."""
        with self._lock:
            found = self._owners.get((name, key), False)
            if found:
                self._owners[(name, key)] = False
            return found

    def hint(self, name: str, key: int, *, delay_s: float = 0.0, priority: int = PRIORITY_NORMAL) -> bool:
        """Ask some worker to look at a row or an owner. False when the engine is down; nothing is lost.

        A hint at an owner is not given again while one of this process waits: by then all rows are found.
        """
        if name in self._owner_jobs and self._is_planned(name, key, delay_s):
            return True
        if not self._may_try():
            self.lost_hints += 1
            return False
        try:
            if delay_s > 0:
                self._task.schedule((name, key), delay=delay_s, priority=priority)
            else:
                self.huey.enqueue(self._task.s(name, key, priority=priority))
        except Exception as error:  # a hint is never worth an exception in its sender
            self._broken_until = time.monotonic() + BREAK_S
            self.lost_hints += 1
            log.warning("hint lost", extra={"job": name, "why": type(error).__name__})
            return False
        finally:
            self._is_probing = False
        self._broken_until = 0.0
        return True

    def _is_planned(self, name: str, key: int, delay_s: float) -> bool:
        now = time.monotonic()
        with self._lock:
            planned = self._planned.get((name, key), 0.0)
            if now - SAME_MOMENT_S < planned <= now + delay_s + SAME_MOMENT_S:
                return True
            if len(self._planned) > PLANNED_LIMIT:
                self._planned = {each: at for each, at in self._planned.items() if at > now}
            self._planned[(name, key)] = now + delay_s
            return False

    def _may_try(self) -> bool:
        """After a failure one caller at a time finds out whether the engine is back; nobody else waits."""
        if not self._broken_until:
            return True
        with self._lock:
            if time.monotonic() < self._broken_until or self._is_probing:
                return False
            self._is_probing = True
            return True

    def take_lost_hints(self) -> int:
        """How many hints were lost since the last time."""
        taken, self.lost_hints = self.lost_hints, 0
        return taken

    def pending(self) -> int | None:
        """How many hints wait; None when the engine is down."""
        try:
            return int(self.huey.pending_count())
        except Exception as error:
            log.warning("engine unreachable", extra={"why": type(error).__name__})
            return None

    def problem(self) -> str:
        """Why it does not work, in its own words with what to do; empty when it does."""
        try:
            self.huey.pending_count()
        except Exception as error:
            said = (str(error).splitlines() or [""])[0][:200] or type(error).__name__
            return f"{said}; {self._cure(said.lower())}"
        return ""

    def _cure(self, said: str) -> str:
        if not self._redis_url:
            return "the folder of the database must be one that we may write"
        if self._redis_url.startswith("rediss") and "time" in said:
            said = "ssl"  # a server without TLS does not answer to its greeting
        for words, cure in _CURES:
            if any(word in said for word in words):
                return cure
        return "check REDIS_URL and the server"

    def fingerprint(self) -> str:
        """Which engine this is: all processes of an installation have the same one. Empty when it is down."""
        if not self._redis_url:
            return "none"
        try:
            return str(self.huey.storage.conn.info("server")["run_id"])[:12]
        except Exception as error:
            log.warning("engine unreachable", extra={"why": type(error).__name__})
            return ""

    def perform(self, name: str, key: int) -> None:
        """Run one job here and now; its exceptions are logged and counted, its row stays due."""
        with self._app.app_context():
            try:
                self._jobs[name](key)
            except Exception as error:
                log.exception("job failed", extra={"job": name, "key": key})
                self._note(name, key, error)

    def perform_aside(self, name: str, key: int) -> None:
        """Run one job on a thread of its own, a few at a time: the listener must not wait for it, nor
        the sweeper while hints find no engine."""
        if name in self._owner_jobs:
            self._drain(name, key)
            return
        with self._lock:
            if self._aside_waiting >= ASIDE_LIMIT:
                return  # its row stays due
            self._aside_waiting += 1
        self._aside.submit(self._perform_aside, name, key)

    def _perform_aside(self, name: str, key: int) -> None:
        with self._lock:
            self._aside_waiting -= 1
        self.perform(name, key)

    def _note(self, name: str, key: int, error: Exception) -> None:
        try:
            self.on_failure(name, key, error)
        except Exception:
            log.exception("failure not counted", extra={"job": name, "key": key})

    def _drain(self, name: str, key: int) -> None:
        """Begin to drain an owner, or tell the thread that is at it."""
        with self._lock:
            if (name, key) in self._owners:
                self._owners[(name, key)] = True
                return
            if len(self._owners) >= OWNERS_LIMIT or self.stopping.is_set():
                return  # its rows stay due
            self._owners[(name, key)] = False
        try:
            threading.Thread(target=self._drain_until_done, args=(name, key), name=f"{name} {key}").start()
        except RuntimeError:  # no thread is left
            with self._lock:
                del self._owners[(name, key)]
            raise

    def _drain_until_done(self, name: str, key: int) -> None:
        goes_on = True
        while goes_on:
            self.perform(name, key)
            with self._lock:
                goes_on = self._owners[(name, key)] and not self.stopping.is_set()
                if goes_on:
                    self._owners[(name, key)] = False
                else:
                    del self._owners[(name, key)]

    def run_consumer(self, *, tick: Callable[[], None], every_s: float) -> None:
        """Work until SIGTERM or SIGINT; what was begun is finished. `tick` runs in its own thread."""
        if self._redis_url:  # a consumer waits for its next hint longer than anybody waits to give one
            storage = self.huey.storage
            storage.pool = storage.conn.connection_pool = _pool(self._redis_url, CONSUMER_WITHIN_S)
        consumer = Consumer(
            self.huey,
            workers=1,  # it only listens
            periodic=False,
            scheduler_interval=1,
            check_worker_health=True,
            shutdown_timeout=25,
            graceful_signal="TERM",
        )
        ticker = threading.Thread(target=self._tick_until, args=(tick, every_s), name="sweeper", daemon=True)
        ticker.start()
        try:
            consumer.run()
        finally:
            self.stopping.set()
            ticker.join(timeout=5)
            self._aside.shutdown(wait=True, cancel_futures=True)
            self._wait_for_owners()

    def _wait_for_owners(self) -> None:
        """Nothing new was begun since the signal; what is open is recorded."""
        ends = time.monotonic() + OWNERS_END_WITHIN_S
        while self._owners and time.monotonic() < ends:
            time.sleep(0.05)

    def _tick_until(self, tick: Callable[[], None], every_s: float) -> None:
        while True:
            with self._app.app_context():
                try:
                    tick()
                except Exception:
                    with suppress(MemoryError):  # this thread has to outlive everything
                        log.exception("sweep failed; it is tried again")
            if self.stopping.wait(every_s):
                return
