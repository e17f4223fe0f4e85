"""`Stack`, tried with a product and doubles of a few lines: what it starts, says, restarts and ends."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sandbox import processes
from sandbox.processes import PROJECT, ProcessFailed, process_tree
from sandbox.stack import Stack

pytestmark = pytest.mark.slow

_PRODUCT = """
import json, os, pathlib, sys, threading, time
import click
from flask import Flask, jsonify

def create_app():
    app = Flask(__name__)
    file = pathlib.Path(os.environ["DATABASE_URL"].removeprefix("sqlite:///"))
    app.add_url_rule("/healthz", "healthz", lambda: "alive")
    app.add_url_rule("/readyz", "readyz", lambda: ("tables?", 200 if file.exists() else 503))
    app.add_url_rule("/env", "env", lambda: jsonify(dict(os.environ)))

    @app.cli.group()
    def db(): pass

    @db.command()
    def upgrade():
        if os.environ.get("BREAK") == "upgrade":
            sys.exit("SECRET_KEY is not set: it wants a random text")
        file.touch()

    @app.cli.command()
    def worker():
        if os.environ.get("BREAK") == "worker":
            sys.exit("the engine is broken")
        threading.Thread(target=time.sleep, args=(600,)).start()

    @app.cli.command()
    @click.argument("words", nargs=-1)
    @click.option("--json", "as_json", is_flag=True)
    def echo(words, as_json):
        print(json.dumps({"words": words, "url": os.environ["PUBLIC_URL"]}) if as_json else " ".join(words))

    return app
"""

_DOUBLES = """
import http.server, json, sys
name, options = sys.argv[1], dict(zip(sys.argv[2::2], sys.argv[3::2]))

class Handler(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        open(options["--state-dir"] + "/app.json", "wb").write(body)
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"{}")

port = int(options.get("--portal-port") or options.get("--port"))
server = http.server.ThreadingHTTPServer(("127.0.0.1", port), Handler)
url = f"http://127.0.0.1:{server.server_port}"
print("starting")
print(json.dumps({f"{name}_url": url, "auth_url": "http://127.0.0.1:1"}), flush=True)
server.serve_forever()
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    folder = tmp_path / "a project"
    for name, text in (("app/__init__.py", _PRODUCT), ("sandbox/__main__.py", _DOUBLES)):
        path = folder / name
        path.parent.mkdir(parents=True)
        path.write_text(text)
    for name in ("gunicorn.conf.py", "app/redaction.py"):  # the server is the product's own
        shutil.copy(PROJECT / name, folder / name)
    shutil.copytree(PROJECT / "app/serving", folder / "app/serving")
    return folder


def _get_json(url: str) -> Any:
    with urllib.request.urlopen(url, timeout=5) as answer:
        return json.load(answer)


def test_the_product_lives_between_the_doubles(
    stack: Callable[..., Stack], project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SENTRY_DSN", "https://of-the-callers-shell.example")
    running = stack(project=project, web_workers=2, worker_processes=2, env={"TIMING": "lease_s=3"})

    env = _get_json(f"{running.public_url}/env")
    assert env["PUBLIC_URL"] == running.web_url
    assert env["B24_OAUTH_SERVERS"] == running.auth_url
    assert (env["TIMING"], env["ALLOW_PRIVATE_NETWORK"], env["REDIS_URL"]) == ("lease_s=3", "1", "")
    assert "SENTRY_DSN" not in env
    while len(running.web.children()) < 2:  # ready is ready with the first of them
        time.sleep(0.05)
    assert len(running.workers) == 2

    introduced = json.loads((running.dir / "portal" / "app.json").read_text())
    assert introduced == {
        "client_id": env["B24_CLIENT_ID"],
        "client_secret": env["B24_CLIENT_SECRET"],
        "app_url": running.public_url,
    }
    assert running.flask("echo", "a", "b") == {"words": ["a", "b"], "url": running.public_url}
    assert running.run_flask("echo", "a") == "a\n"
    with pytest.raises(ProcessFailed, match=r"(?s)flask no-such ended with code 2.*No such command"):
        running.run_flask("no-such")


def test_every_process_comes_back_to_its_address(stack: Callable[..., Stack], project: Path) -> None:
    running = stack(project=project)
    before = (running.portal_url, running.gateway_url, running.public_url)
    for process in running.processes:
        process.kill()
        assert not process.is_running
        process.start()
        process.wait_ready()
    running.register()
    assert before == (running.portal_url, running.gateway_url, running.public_url)
    assert _get_json(f"{before[2]}/env")["PUBLIC_URL"] == before[2]
    running.web.restart()
    running.worker.terminate()
    assert not running.worker.is_running


def test_taken_ports_are_left_to_their_owners(
    stack: Callable[..., Stack], project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = stack(project=project)
    web, gateway = (int(url.rpartition(":")[2]) for url in (first.web_url, first.gateway_url))
    free = processes.free_port
    # The portal and its auth server, the gateway; the upgrade, then web: the first of each kind is taken.
    ports = iter([free(), free(), gateway, free(), free(), free(), free(), web, free()])
    monkeypatch.setattr(processes, "free_port", lambda: next(ports))
    second = stack(project=project)
    assert second.gateway_url != first.gateway_url
    assert second.web_url != first.web_url
    assert _get_json(f"{second.web_url}/env")["DATABASE_URL"] == second.env["DATABASE_URL"]
    assert len(second.processes) == 4


@pytest.mark.parametrize(
    ("broken", "said"),
    [("upgrade", "SECRET_KEY is not set"), ("worker", "the engine is broken")],
)
def test_what_does_not_start_is_shown_and_the_rest_ended(project: Path, broken: str, said: str) -> None:
    stack = Stack(project=project, env={"BREAK": broken})
    with pytest.raises(ProcessFailed, match=said):
        stack.start()
    assert not stack.processes
    assert not process_tree(stack.portal.pid)
    assert not stack.portal.log.exists()


def test_a_given_folder_stays_with_its_keys(project: Path, tmp_path: Path) -> None:
    options: dict[str, Any] = {"project": project, "base_dir": tmp_path / "kept here"}
    with Stack(**options) as first:
        keys = first.env["ENCRYPTION_KEYS"]
    with Stack(**options) as second:
        assert second.env["ENCRYPTION_KEYS"] == keys
    assert (tmp_path / "kept here" / "keys.json").stat().st_mode & 0o077 == 0


def test_a_failed_run_is_kept_when_asked_for(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("KEEP", "1")
    with pytest.raises(ZeroDivisionError), Stack(project=project) as stack:
        folder = stack.dir
        raise ZeroDivisionError
    assert f"kept: {folder}" in capsys.readouterr().err
    assert (folder / "web.log").exists()
    with Stack(project=project, base_dir=folder):
        pass
    subprocess.run(["rm", "-rf", folder], check=True)


_OWNER = """
import sys, time
from pathlib import Path
from sandbox.stack import Stack
with Stack(project=Path(sys.argv[1])) as stack:
    print(stack.dir, *(process.pid for process in stack.processes), flush=True)
    time.sleep(60)
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_the_stack_ends_with_its_owner(project: Path, number: signal.Signals) -> None:
    owner = subprocess.Popen(
        [sys.executable, "-c", _OWNER, str(project)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        cwd=PROJECT,
        text=True,
    )
    with owner:
        assert owner.stdout is not None
        folder, *pids = owner.stdout.readline().split()
        assert len(pids) == 4
        os.kill(owner.pid, number)
    deadline = time.monotonic() + 10
    while any(process_tree(int(pid)) for pid in pids) or Path(folder).exists():
        assert time.monotonic() < deadline
        time.sleep(0.02)
