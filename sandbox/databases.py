"""A PostgreSQL and a Redis of the tests' own: on loopback, on a free port, gone with the run that began them.

Chaos tests may kill, pause, restart and wipe them; the address stays the same meanwhile.
"""

from __future__ import annotations

import os
import pwd
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Literal, Self

import psycopg
import redis

from sandbox.processes import Process, ProcessFailed, guard, on_free_port, process_tree


class ServiceMissing(Exception):
    """The program is not installed; the text says what is missing and who installs it."""


class MovingAddress:
    """A TCP address whose server can be changed, as an operator moves one after a failover."""

    def __init__(self, port: int) -> None:
        self._target = port
        self._open: set[socket.socket] = set()
        self._lock = threading.Lock()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]

    def __enter__(self) -> Self:
        threading.Thread(target=self._listen, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.lead_to(0)

    def lead_to(self, port: int, *, cut_old: bool = True) -> None:
        """New connections go there; those to the old server end, or go on."""
        with self._lock:
            self._target = port
            if not cut_old:
                return
            ending, self._open = self._open, set()
        for end in ending:
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def _listen(self) -> None:
        with suppress(OSError):  # closed
            while True:
                client, _ = self._listener.accept()
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with client, suppress(OSError), socket.create_connection(("127.0.0.1", self._target)) as server:
            with self._lock:
                self._open |= {client, server}
            back = threading.Thread(target=_pump, args=(server, client), daemon=True)
            back.start()
            _pump(client, server)
            back.join()


def _pump(source: socket.socket, sink: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(65_536):
            sink.sendall(data)
    for end in (source, sink):
        with suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)


class _Service:
    """What the two have in common: a folder, a process, a port for life."""

    name: str
    process: Process
    port: int

    def __init__(self) -> None:
        # A short path right below /tmp, for TMPDIR may lie where the postgres user cannot go.
        self.dir = Path(tempfile.mkdtemp(prefix=f"sms-{self.name}-", dir="/tmp"))
        guard().add("folder", self.dir)
        self._env = {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C.UTF-8", "TZ": "UTC"}

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def start(self) -> None:
        """Start and wait until it answers; the first start chooses the port, later ones keep it."""
        if hasattr(self, "process"):
            self.process.start()
            self.process.wait_ready()
        else:
            self.port = on_free_port(self._start_on_port)

    def _start_on_port(self, port: int) -> None:
        self.port = port
        process = self._make_process(port)
        try:
            process.start()
            process.wait_ready()
        except BaseException:
            process.kill()
            raise
        self.process = process

    def _make_process(self, port: int) -> Process:
        raise NotImplementedError

    def kill(self) -> None:
        """SIGKILL to all of it. What was not on disk in its own view is lost."""
        self.process.kill()

    def pause(self) -> None:
        """Nobody answers any more, and connections stay open."""
        self.process.pause()

    def resume(self) -> None:
        self.process.resume()

    def close(self) -> None:
        """End it for good and remove its files."""
        if hasattr(self, "process"):
            self.process.kill()
        shutil.rmtree(self.dir, ignore_errors=True)
        guard().remove("folder", self.dir)


class Postgres(_Service):
    """A PostgreSQL cluster. `durable` waits for the disk as in production; without, it is quicker.

    A killed cluster keeps what it committed either way: only a dead machine would tell the difference.
    """

    name = "postgres"
    _started = "ready to accept connections"

    def __init__(self, *, durable: bool = False, settings: dict[str, str] | None = None) -> None:
        self._bin = _postgres_programs()
        super().__init__()
        self._data = self.dir / "data"
        self._password = secrets.token_hex(16)
        on_or_off = "on" if durable else "off"
        self._settings = {
            "listen_addresses": "127.0.0.1",
            "unix_socket_directories": "",
            "max_connections": "200",
            "shared_buffers": "64MB",
            "fsync": on_or_off,
            "full_page_writes": on_or_off,
            "synchronous_commit": "on",
            "timezone": "UTC",
            "log_timezone": "UTC",
            **(settings or {}),
        }
        try:
            self._create_cluster()
        except BaseException:
            self.close()
            raise

    def stop(self, mode: Literal["smart", "fast", "immediate"] = "fast") -> None:
        """End it as `pg_ctl stop` does; "immediate" leaves the recovery to the next start."""
        numbers = {"smart": signal.SIGTERM, "fast": signal.SIGINT, "immediate": signal.SIGQUIT}
        self.process.terminate(timeout_s=30, number=numbers[mode])

    def restart(self, mode: Literal["smart", "fast", "immediate"] = "fast") -> None:
        self.stop(mode)
        self.start()

    def wipe(self) -> None:
        """Drop all databases that were created here."""
        with self.connect() as connection:
            names = connection.execute("SELECT datname FROM pg_database WHERE NOT datistemplate").fetchall()
        for (name,) in names:
            if name != "postgres":
                self.drop_database(name)

    def url(self, database: str = "postgres", *, at_port: int | None = None) -> str:
        """As SQLAlchemy wants it."""
        return f"postgresql+psycopg://postgres:{self._password}@127.0.0.1:{at_port or self.port}/{database}"

    def connect(self, database: str = "postgres") -> psycopg.Connection:
        """A connection of the superuser, in autocommit mode."""
        return psycopg.connect(self.url(database).replace("+psycopg", ""), autocommit=True, connect_timeout=5)

    def create_database(self, template: str = "template0", *, at_port: int | None = None) -> str:
        """A new empty database, or a copy of `template`; returns its URL, or the one through another port."""
        name = f"test_{secrets.token_hex(6)}"
        with self.connect() as connection:
            connection.execute(f"CREATE DATABASE {name} TEMPLATE {template}")
        return self.url(name, at_port=at_port)

    def drop_database(self, name_or_url: str) -> None:
        """Drop it, and end whoever is connected."""
        name = name_or_url.rpartition("/")[2]
        with self.connect() as connection:
            connection.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")

    def dump(self, database_url: str) -> Path:
        """A backup as docs/backup.md makes one; the file goes with the cluster."""
        file = self.dir / f"{secrets.token_hex(6)}.dump"
        database = database_url.replace("+psycopg", "")
        self._run("pg_dump", "--format=custom", f"--file={file}", database)
        return file

    def restore(self, file: Path) -> str:
        """A new database with what the backup has; returns its URL."""
        url = self.create_database()
        self._run(
            "pg_restore", "--clean", "--if-exists", f"--dbname={url.replace('+psycopg', '')}", str(file)
        )
        return url

    def standby(self) -> Standby:
        """A copy that follows this cluster. From its start on a commit waits until both have it."""
        return Standby(self)

    def limit_files(self, size: int | None) -> None:
        """No file may grow beyond so many bytes, as on a disk that is full; None takes the limit away."""
        for pid in process_tree(self.process.pid):
            limit = f"--fsize={size or 'unlimited'}:unlimited"
            subprocess.run([*_as_postgres(), "prlimit", limit, "--pid", str(pid)], check=True)

    def _create_cluster(self) -> None:
        password_file = self.dir / "password"
        password_file.write_text(self._password)
        _give_to_postgres(self.dir, password_file)
        self._run(
            "initdb",
            *("--pgdata", str(self._data), "--username", "postgres", "--pwfile", str(password_file)),
            *("--auth", "scram-sha-256", "--encoding", "UTF8", "--locale", "C.UTF-8"),
            *("--no-sync", "--no-instructions"),
        )

    def _run(self, program: str, *options: str) -> None:
        done = subprocess.run(
            [*_as_postgres(), str(self._bin / program), *options],
            cwd=self.dir,
            env=self._env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=120,
            check=False,
        )
        if done.returncode:
            raise ProcessFailed(f"{program} ended with code {done.returncode}:\n{done.stdout}")

    def _make_process(self, port: int) -> Process:
        options = [f"-c{name}={value}" for name, value in self._settings.items()]
        return Process(
            "PostgreSQL",
            [*_as_postgres(), str(self._bin / "postgres"), "-D", str(self._data), "-p", str(port), *options],
            log=self.dir / "postgres.log",
            env=self._env,
            cwd=self.dir,
            is_ready=lambda process: self._started in process.output(),
        )


class Standby(Postgres):
    """A cluster that follows another one until it is told to take its place."""

    _started = "started streaming WAL from primary"

    def __init__(self, primary: Postgres) -> None:
        self._primary = primary
        super().__init__()

    def start(self) -> None:
        super().start()
        with self._primary.connect() as connection:
            connection.execute("ALTER SYSTEM SET synchronous_standby_names = '*'")
            connection.execute("SELECT pg_reload_conf()")

    def promote(self) -> None:
        """It takes writes when this returns."""
        with self.connect() as connection:
            connection.execute("SELECT pg_promote()")

    def _create_cluster(self) -> None:
        self._password = self._primary._password  # users are copied, too
        _give_to_postgres(self.dir)
        source = self._primary.url().replace("+psycopg", "")
        self._run(
            "pg_basebackup",
            *("--dbname", source, "--pgdata", str(self._data), "--write-recovery-conf"),
            *("--checkpoint", "fast", "--no-sync"),
        )


class PgBouncer(_Service):
    """A pooler before a cluster, as Debian's package configures it but for `settings`."""

    name = "pgbouncer"

    def __init__(self, before: Postgres, pool_mode: str = "session", **settings: str) -> None:
        self._program = shutil.which("pgbouncer", path=f"{os.environ.get('PATH', os.defpath)}:/usr/sbin")
        if self._program is None:
            raise ServiceMissing("pgbouncer is not installed; scripts/prerequisites does it")
        super().__init__()
        self._before = before
        self._settings = {"pool_mode": pool_mode, **settings}

    def url(self, database_url: str) -> str:
        """The same database through the pooler."""
        return database_url.replace(f":{self._before.port}/", f":{self.port}/")

    def _make_process(self, port: int) -> Process:
        config = self.dir / "pgbouncer.ini"
        users = self.dir / "users"
        users.write_text(f'"postgres" "{self._before._password}"\n')
        lines = [
            "[databases]",
            f"* = host=127.0.0.1 port={self._before.port}",
            "[pgbouncer]",
            "listen_addr = 127.0.0.1",
            f"listen_port = {port}",
            "unix_socket_dir =",
            "auth_type = scram-sha-256",
            f"auth_file = {users}",
            *(f"{name} = {value}" for name, value in self._settings.items()),
        ]
        config.write_text("\n".join(lines) + "\n")
        _give_to_postgres(self.dir, config, users)
        return Process(
            "PgBouncer",
            [*_as_postgres(), str(self._program), str(config)],
            log=self.dir / "pgbouncer.log",
            env=self._env,
            cwd=self.dir,
            is_ready=lambda process: "process up" in process.output(),
        )


class Redis(_Service):
    """A Redis. `durable` writes every command to its append-only file before it answers."""

    name = "redis"

    def __init__(self, *, durable: bool = False) -> None:
        self._program = shutil.which("redis-server")
        if self._program is None:
            raise ServiceMissing("redis-server is not installed; scripts/prerequisites does it")
        super().__init__()
        self._durable = durable

    def stop(self) -> None:
        """End it politely."""
        self.process.terminate()

    def restart(self) -> None:
        self.stop()
        self.start()

    def wipe(self) -> None:
        """Forget everything, in all its numbered databases."""
        with self.connect() as client:
            client.flushall()

    def url(self, number: int = 0) -> str:
        return f"redis://127.0.0.1:{self.port}/{number}"

    def connect(self, number: int = 0) -> redis.Redis:
        return redis.Redis.from_url(self.url(number), socket_timeout=5)

    def _make_process(self, port: int) -> Process:
        assert self._program is not None
        return Process(
            "Redis",
            [
                *(self._program, "--bind", "127.0.0.1", "--port", str(port), "--dir", str(self.dir)),
                *("--save", "", "--appendonly", "yes" if self._durable else "no", "--appendfsync", "always"),
            ],
            log=self.dir / "redis.log",
            env=self._env,
            cwd=self.dir,
            is_ready=lambda process: "Ready to accept connections" in process.output(),
        )


class RedisSentinel(_Service):
    """One sentinel over one Redis, which it calls `service`."""

    name = "sentinel"

    def __init__(self, over: Redis, service: str = "sms") -> None:
        super().__init__()
        self._over = over
        self._service = service

    def url(self, number: int = 0) -> str:
        return f"redis+sentinel://127.0.0.1:{self.port}/{self._service}/{number}"

    def _make_process(self, port: int) -> Process:
        assert self._over._program is not None
        config = self.dir / "sentinel.conf"
        config.write_text(f"sentinel monitor {self._service} 127.0.0.1 {self._over.port} 1\n")
        return Process(
            "Sentinel",
            [
                *(self._over._program, str(config), "--sentinel"),
                *("--bind", "127.0.0.1", "--port", str(port), "--dir", str(self.dir)),
            ],
            log=self.dir / "sentinel.log",
            env=self._env,
            cwd=self.dir,
            is_ready=lambda process: "+monitor master" in process.output(),
        )


def _postgres_programs() -> Path:
    """The folder with initdb and postgres, of the newest version that is installed."""
    found = [path.parent for path in Path("/usr/lib/postgresql").glob("*/bin/postgres")]
    if not found:
        on_path = shutil.which("postgres")
        if on_path is None:
            raise ServiceMissing("PostgreSQL is not installed; scripts/prerequisites does it")
        return Path(on_path).resolve().parent
    return max(found, key=lambda folder: int(folder.parent.name))


def _give_to_postgres(*paths: Path) -> None:
    if os.geteuid() == 0:
        owner = pwd.getpwnam("postgres")
        for path in paths:
            os.chown(path, owner.pw_uid, owner.pw_gid)


def _as_postgres() -> list[str]:
    """PostgreSQL refuses to run as root."""
    if os.geteuid() != 0:
        return []
    return ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups", "--"]
