"""The tests' own PostgreSQL and Redis: what chaos tests count on."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
import redis

from sandbox import processes
from sandbox.databases import Postgres, Redis
from sandbox.processes import PROJECT, PortTaken, Process, process_tree


@pytest.fixture(scope="module")
def own_postgres() -> Iterator[Postgres]:
    with Postgres() as service:
        yield service


@pytest.fixture
def own_redis() -> Iterator[Redis]:
    with Redis(durable=True) as service:
        yield service


def test_a_test_gets_an_empty_database(postgres_url: str) -> None:
    with psycopg.connect(postgres_url.replace("+psycopg", "")) as connection:
        assert connection.execute("SELECT count(*) FROM pg_class WHERE relname = 't'").fetchone() == (0,)
        connection.execute("CREATE TABLE t (n int)")
        assert connection.execute("SHOW timezone").fetchone() == ("UTC",)


test_the_next_test_gets_another_one = test_a_test_gets_an_empty_database


def test_postgres_keeps_commits_and_address_when_killed(own_postgres: Postgres) -> None:
    port = own_postgres.port
    with own_postgres.connect() as connection:
        connection.execute("CREATE TABLE IF NOT EXISTS kept (n int)")
        connection.execute("INSERT INTO kept VALUES (1)")
    own_postgres.kill()
    assert not process_tree(own_postgres.process.pid)
    with pytest.raises(psycopg.OperationalError):
        own_postgres.connect()
    own_postgres.start()
    own_postgres.restart("immediate")
    assert own_postgres.port == port
    with own_postgres.connect() as connection:
        assert connection.execute("SELECT n FROM kept").fetchall() == [(1,)]


def test_a_paused_postgres_takes_connections_and_says_nothing(own_postgres: Postgres) -> None:
    with own_postgres.connect() as connection:
        own_postgres.pause()
        try:
            sock = socket.create_connection(("127.0.0.1", own_postgres.port))
            with sock, pytest.raises(TimeoutError):
                sock.settimeout(0.2)
                sock.sendall(b"\0\0\0\x08\x04\xd2\x16\x2f")  # "do you speak TLS?"
                sock.recv(1)
        finally:
            own_postgres.resume()
        assert connection.execute("SELECT 1").fetchone() == (1,)


def test_a_wiped_postgres_has_no_databases_of_ours(own_postgres: Postgres) -> None:
    url = own_postgres.create_database()
    own_postgres.wipe()
    with pytest.raises(psycopg.OperationalError, match="does not exist"):
        psycopg.connect(url.replace("+psycopg", ""))


def test_postgres_takes_another_port_when_one_is_taken(
    own_postgres: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    free = processes.free_port()
    ports = iter([own_postgres.port, free])
    monkeypatch.setattr(processes, "free_port", lambda: next(ports))
    with Postgres() as second:
        assert second.port == free
        second.connect().close()


def test_a_test_gets_an_empty_redis(redis_url: str) -> None:
    with redis.Redis.from_url(redis_url) as client:
        assert client.dbsize() == 0
        client.set("a", "1")


test_the_next_test_gets_an_empty_redis = test_a_test_gets_an_empty_redis


def test_a_durable_redis_survives_a_kill_and_can_be_wiped(own_redis: Redis) -> None:
    with own_redis.connect() as client:
        client.set("a", "1")
        own_redis.kill()
        own_redis.start()
        assert client.get("a") == b"1"
        own_redis.wipe()
        own_redis.restart()
        assert client.get("a") is None


def test_redis_takes_another_port_when_one_is_taken(
    own_redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    free = processes.free_port()
    ports = iter([own_redis.port, own_redis.port, free])
    monkeypatch.setattr(processes, "free_port", lambda: next(ports))
    with Redis() as second:
        assert second.port == free


def test_somebody_who_never_finds_a_port_hears_of_it(
    own_redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processes, "free_port", lambda: own_redis.port)
    second = Redis()
    with pytest.raises(PortTaken, match="Something else has its port"):
        second.start()
    second.close()


_OWNER = """
import json, sys, threading, time
from sandbox.databases import Postgres, Redis
services = [Postgres(), Redis()]
# From a thread that ends: what it started must live on.
thread = threading.Thread(target=lambda: [service.start() for service in services])
thread.start()
thread.join()
time.sleep(0.1)
services[0].connect().close()
print(json.dumps([[s.process.pid, str(s.dir)] for s in services]), flush=True)
time.sleep(60)
"""


def _wait_until(is_true: Callable[[], Any], timeout_s: float = 10) -> None:
    deadline = time.monotonic() + timeout_s
    while not is_true():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.mark.parametrize("number", [9, 15])
def test_everything_ends_with_its_owner(number: int) -> None:
    owner = subprocess.Popen([sys.executable, "-c", _OWNER], stdout=subprocess.PIPE, cwd=PROJECT)
    with owner:
        assert owner.stdout is not None
        started = json.loads(owner.stdout.readline())
        assert all(process_tree(pid) for pid, _ in started)
        os.kill(owner.pid, number)
    _wait_until(lambda: not any(process_tree(pid) or Path(folder).exists() for pid, folder in started))


def _process(tmp_path: Path, *command: str, **options: Any) -> Process:
    return Process("thing", list(command), log=tmp_path / "thing.log", env={"PATH": os.defpath}, **options)


def test_a_process_that_ends_at_once_shows_its_log(tmp_path: Path) -> None:
    process = _process(tmp_path, "sh", "-c", "echo first; echo last words; exit 3", is_ready=lambda _: False)
    process.start()
    with pytest.raises(processes.ProcessFailed, match=r"(?s)thing ended with code 3.*last words.*KEEP=1"):
        process.wait_ready()
    assert not process.is_running
    process.kill()


def test_a_process_that_is_never_ready_is_given_up(tmp_path: Path) -> None:
    process = _process(tmp_path, "sleep", "60", is_ready=lambda _: False)
    process.start()
    with pytest.raises(processes.ProcessFailed, match=r"not ready after 0\.1 s"):
        process.wait_ready(timeout_s=0.1)
    process.kill()
    assert process.returncode == -9


def test_killing_a_process_takes_its_children_along(tmp_path: Path) -> None:
    process = _process(tmp_path, "sh", "-c", "sleep 60 & setsid sleep 60 & echo up; wait")
    process.start()
    _wait_until(lambda: len(process.children()) == 2)
    children = process.children()
    process.kill()
    _wait_until(lambda: not any(process_tree(pid) for pid in children), timeout_s=2)


def test_a_process_that_does_not_listen_is_killed(tmp_path: Path) -> None:
    process = _process(
        tmp_path, "sh", "-c", "trap '' TERM; echo up; sleep 60", is_ready=lambda p: "up" in p.output()
    )
    process.start()
    process.wait_ready()
    process.terminate(timeout_s=0.1)
    assert not process.is_running
    process.start()  # and can be started again, with output of its own
    process.wait_ready()
    assert process.output() == "up\n"
    assert (tmp_path / "thing.log").read_text() == "up\nup\n"
    process.kill()
