"""A sandbox portal and gateway for a peer, and processes that listen on a port and end with the benchmark."""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from sandbox.client import PortalSandbox
from sandbox.gateway_client import GatewayClient
from sandbox.processes import PROJECT, Process, free_port

_INHERITED = ("PATH", "HOME", "LANG", "LC_ALL", "TZ", "TMPDIR")


@dataclass(frozen=True)
class Doubles:
    portal_url: str
    gateway_url: str
    parts: dict[str, int]  # pids

    @property
    def portal(self) -> PortalSandbox:
        return PortalSandbox(self.portal_url)

    @property
    def gateway(self) -> GatewayClient:
        return GatewayClient(self.gateway_url)


@contextmanager
def doubles(folder: Path) -> Iterator[Doubles]:
    portal_port, gateway_port = free_port(), free_port()
    sandbox = ["{python}", "-m", "sandbox"]
    portal = [*sandbox, "portal", "--portal-port", str(portal_port)]
    gateway = [*sandbox, "gateway", "--port", str(gateway_port)]
    with (
        own_process("portal", portal, folder=folder, port=portal_port) as one,
        own_process("gateway", gateway, folder=folder, port=gateway_port) as other,
    ):
        yield Doubles(
            f"http://localhost:{portal_port}",
            f"http://127.0.0.1:{gateway_port}",
            {"portal": one.pid, "gateway": other.pid},
        )


@contextmanager
def own_process(
    name: str,
    command: list[str],
    *,
    folder: Path,
    port: int,
    python: str = sys.executable,
    env: Mapping[str, str] | None = None,
) -> Iterator[Process]:
    """A process that is ready when it listens on the port; 0: as soon as it runs."""
    inherited = {each: os.environ[each] for each in _INHERITED if each in os.environ}
    process = Process(
        name,
        [word.replace("{python}", python) for word in command],
        log=folder / f"{name}.log",
        env={**inherited, "PYTHONUNBUFFERED": "1", "NO_PROXY": "*", **(env or {})},
        cwd=PROJECT,
        is_ready=(lambda _: _listens(port)) if port else None,
    )
    process.start()
    try:
        process.wait_ready()
        yield process
    finally:
        process.kill()


def _listens(port: int) -> bool:
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
        return True
    return False
