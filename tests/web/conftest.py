"""One portal process for all tests here, a fresh portal for each, and the product in our own process."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from flask import Flask

from sandbox.client import PortalSandbox
from tests.worlds.product import ENVIRONMENT, product
from tests.worlds.visitor import Visitor

ROOT = Path(__file__).resolve().parents[2]
NOBODY = "http://127.0.0.1:9"  # the portal's own posts go nowhere: the tests post what it would


@pytest.fixture(scope="session")
def portal_process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """The addresses of a running sandbox portal."""
    state_dir = tmp_path_factory.mktemp("portal")
    command = [sys.executable, "-m", "sandbox", "portal", "--state-dir", str(state_dir)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as running:
        assert running.stdout is not None
        yield json.loads(running.stdout.readline())
        running.terminate()
        running.wait(timeout=10)


@pytest.fixture(scope="module")
def web(portal_process: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Flask]:
    """The product, which trusts the sandbox's authorization server."""
    variables = {
        "B24_OAUTH_SERVERS": portal_process["auth_url"],
        "ALLOW_PRIVATE_NETWORK": "1",
        "DEMO_GATEWAY": "full",
    }
    with product(tmp_path_factory.mktemp("product"), **variables) as app:
        yield app


@pytest.fixture
def sandbox(portal_process: dict[str, str]) -> Iterator[PortalSandbox]:
    with PortalSandbox(portal_process["portal_url"]) as client:
        client.register_app(ENVIRONMENT["B24_CLIENT_ID"], ENVIRONMENT["B24_CLIENT_SECRET"], NOBODY)
        yield client
        client.clear_faults()
        client.post("/sandbox/clock", portal=None, reset=True)


@pytest.fixture
def visitor(web: Flask, sandbox: PortalSandbox) -> Visitor:
    """The administrator of a new portal, where the application is being installed."""
    return Visitor(web, sandbox.on(sandbox.create_portals()[0]["portal"]))


@pytest.fixture
def stranger(web: Flask, sandbox: PortalSandbox) -> Visitor:
    """The administrator of another portal, installed and inside."""
    other = Visitor(web, sandbox.on(sandbox.create_portals()[0]["portal"]))
    other.come_in()
    return other


@pytest.fixture
def admin(visitor: Visitor) -> Visitor:
    """An administrator inside the application."""
    visitor.come_in()
    return visitor
