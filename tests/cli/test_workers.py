"""A machine is drained: what is open ends, nothing more is taken, and it begins anew when it may."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from flask import Flask

from app.store import audit, instances
from app.store.database import utcnow
from app.store.instances import Instance, State
from tests.cli.test_commands import run, run_json
from tests.worlds.product import ENVIRONMENT, product

HERE = socket.gethostname()
PATIENCE_S = 60


def _says(host: str, state: State = "working") -> bool:
    now = utcnow()
    return instances.say(Instance(f"worker {host}:1", "worker", host, "1", state, now, now))


@pytest.fixture
def app(tmp_path: Path) -> Any:
    with product(tmp_path) as app:
        yield app


def test_a_drained_machine_takes_no_work_until_it_is_told_to_go_on(app: Flask) -> None:
    assert _says("one") is False

    run_json(app, "workers", "drain", "one")

    assert _says("one", "drained") is True
    assert _says("other") is False
    listed = {each["host"]: each for each in run_json(app, "workers", "list")}
    assert (listed["one"]["state"], listed["one"]["host_is_drained"]) == ("drained", True)
    assert listed["other"]["host_is_drained"] is False
    run_json(app, "workers", "continue", "one")
    assert _says("one") is False
    assert [row.action for row in audit.everywhere(audit.Filters(action="server"), limit=9)] == [
        "server.continued",
        "server.drained",
    ]


def test_a_machine_that_nobody_knows_is_named_with_those_that_there_are(app: Flask) -> None:
    _says("one")

    assert run(app, "workers", "drain", "two").stderr == "no worker runs on two; they run on: one\n"
    assert run(app, "workers", "continue", "one").stderr == "one is not drained\n"


def test_the_web_of_a_drained_machine_is_not_ready(app: Flask) -> None:
    client = app.test_client()
    assert client.get("/readyz").status_code == 200
    _says(HERE)

    run(app, "workers", "drain", HERE)

    assert (client.get("/readyz").status_code, client.get("/readyz").text) == (
        503,
        "drained by the operator\n",
    )
    assert client.get("/healthz").status_code == 200


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_a_worker_rests_and_begins_anew_in_the_same_process(app: Flask, tmp_path: Path) -> None:
    environment = {
        **os.environ,
        **ENVIRONMENT,
        "DATABASE_URL": f"sqlite:///{tmp_path}/app.db",
        "TIMING": "sweep_s=0.3",
    }
    command = [sys.executable, "-m", "flask", "--app", "app", "worker"]
    with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE) as worker:
        try:
            first = _wait_for("working")
            run_json(app, "workers", "drain", HERE)
            _wait_for("drained")
            assert worker.poll() is None

            run_json(app, "workers", "continue", HERE)

            again = _wait_for("working", lambda each: each["started_at"] > first["started_at"])
            assert again["name"] == first["name"]
            assert worker.poll() is None
        finally:
            worker.send_signal(signal.SIGTERM)
            assert worker.wait(timeout=PATIENCE_S) == 0
    assert instances.all_instances() == []


def _wait_for(state: str, which: Callable[[dict[str, Any]], bool] = lambda _each: True) -> dict[str, Any]:
    ends = time.monotonic() + PATIENCE_S
    while time.monotonic() < ends:
        found: list[dict[str, Any]] = [vars(each) for each in instances.all_instances()]
        for each in found:
            if each["state"] == state and which(each):
                return each
        time.sleep(0.1)
    raise AssertionError(json.dumps(found, default=str))


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_a_worker_without_a_database_does_not_rest_but_says_so(tmp_path: Path) -> None:
    environment = {
        **os.environ,
        **ENVIRONMENT,
        "DATABASE_URL": f"sqlite:///{tmp_path}/empty.db",
        "TIMING": "sweep_s=0.3",
    }
    command = [sys.executable, "-m", "flask", "--app", "app", "worker"]
    with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True) as worker:
        assert worker.stderr is not None
        said = next(line for line in worker.stderr if "not swept" in line)
        worker.kill()
        worker.stderr.read()

    assert "run `flask --app app db upgrade`" in said
