"""One portal process for all tests here, a fresh portal for each, and an application that only listens."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from sandbox.client import PortalSandbox
from sandbox.serving import Server
from tests.sandbox.stage import CLIENT_ID, CLIENT_SECRET, Listener, Stage

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def listener() -> Iterator[Listener]:
    application = Listener()
    server = Server(application).start()
    application.url = f"http://127.0.0.1:{server.port}"
    yield application
    server.stop(grace_s=0.2)


@pytest.fixture(scope="session")
def process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """The addresses of a running portal process, and where its ledger file is."""
    state_dir = tmp_path_factory.mktemp("portal")
    command = [sys.executable, "-m", "sandbox", "portal", "--state-dir", str(state_dir)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as running:
        assert running.stdout is not None
        yield {**json.loads(running.stdout.readline()), "state_dir": str(state_dir)}
        running.terminate()
        assert running.wait(timeout=10) == 0


@pytest.fixture
def sandbox(process: dict[str, str], listener: Listener) -> Iterator[PortalSandbox]:
    """The control API with our application registered; global switches are put back afterwards."""
    listener.status, listener.delay_s, listener.page = 200, 0.0, ""
    with PortalSandbox(process["portal_url"]) as client:
        client.register_app(CLIENT_ID, CLIENT_SECRET, listener.url, name="Example SMS")
        yield client
        client.clear_faults()
        client.post("/sandbox/clock", portal=None, reset=True)


@pytest.fixture
def stage(sandbox: PortalSandbox, process: dict[str, str], listener: Listener) -> Stage:
    """A new portal, its application installed but not finished, no sender yet, quick races."""
    info = sandbox.create_portals()[0]
    portal = sandbox.on(info["portal"])
    portal.configure(races={"sent_delay_s": 0.05, "id_delay_s": 0.15})
    return Stage(portal, process["auth_url"], listener, info, portal.install())


@pytest.fixture
def live(stage: Stage) -> Stage:
    """A portal whose application is finished, with the sender `sms`."""
    stage.add_sender()
    stage.sandbox.finish()
    return stage
