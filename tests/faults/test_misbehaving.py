"""A gateway that answers madly costs its own messages an honest status, and nobody else anything."""

from __future__ import annotations

import gzip
import json
import socket
import tracemalloc
import zlib
from collections.abc import Iterator
from contextlib import suppress

import pytest

from app.gateway_accounts import connect
from app.gateways.kit.peer import Handler, Peer, answer, drip
from app.store.accounts import accounts
from app.store.accounts.accounts import Account
from app.transport import ANSWER_LIMIT_BYTES
from sandbox.client import PortalSandbox
from tests.worlds.faults import FaultWorld, fault_world

_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
_HUGE = 64 * 1024 * 1024
_MEMORY = 32 * 1024 * 1024  # of the whole submission; a page of a chat needs more


class _Flood:
    """Endless bytes, and how many of them somebody took."""

    def __init__(self) -> None:
        self.sent = 0

    def __call__(self, sock: socket.socket) -> None:
        with suppress(OSError):
            sock.sendall(_HEAD + b"Content-Length: %d\r\n\r\n" % _HUGE)
            while self.sent < _HUGE:
                sock.sendall(b"x" * 65536)
                self.sent += 65536


def _bomb() -> bytes:
    """A megabyte that unpacks to a gigabyte."""
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    return b"".join([*(packer.compress(bytes(1024 * 1024)) for _ in range(1024)), packer.flush()])


_FLOOD = _Flood()
# How it answers, and what its message is then. Only a redirect says that nothing was taken.
_ANSWERS: dict[str, tuple[Handler, str]] = {
    "64 MB": (_FLOOD, "unknown"),
    "a byte at a time": (drip(_HEAD + b"Content-Length: 900\r\n\r\n" + b" " * 900, 0.02), "unknown"),
    "a redirect": (answer("", "302 Found", Location="http://127.0.0.1:1/elsewhere"), "queued"),
    "a redirect that keeps the method": (answer("", "307 Moved", Location="/again"), "queued"),
    "a compressed bomb": (answer(_bomb(), Content_Encoding="gzip"), "unknown"),
    "bombs in a bomb": (answer(gzip.compress(_bomb()), Content_Encoding="gzip, gzip"), "unknown"),
    "a page": (answer("<!doctype html><p>Maintenance</p>", Content_Type="text/html"), "unknown"),
    "half of a JSON": (answer('{"id": "1', Content_Type="application/json"), "unknown"),
    "deep JSON": (answer("[" * 200_000, Content_Type="application/json"), "unknown"),
}


@pytest.fixture(scope="module")
def world() -> Iterator[FaultWorld]:
    with fault_world() as started:
        yield started


def _connect_mad(world: FaultWorld, peer: Peer) -> Account:
    adapter = world.services.gateways.get("http")
    assert adapter is not None
    settings = {
        "url": f"{peer.url}/send",
        "template": json.dumps({"to": "{to}", "text": "{text}"}),
        "id_path": "id",
        "report_status_path": "status",
        "report_id_path": "id",
    }
    row = world.world.row_of(world.portal)
    return connect(row, adapter, settings, allow_private=True, now=world.world.now())


@pytest.fixture(scope="module")
def other(world: FaultWorld) -> PortalSandbox:
    """A portal whose gateway is well."""
    return world.another_portal(key="well", reports=True)


@pytest.mark.parametrize("kind", _ANSWERS)
def test_a_mad_answer_is_an_honest_status_and_costs_nobody_else_anything(
    world: FaultWorld, other: PortalSandbox, kind: str
) -> None:
    handler, status = _ANSWERS[kind]
    number = f"+4915199{list(_ANSWERS).index(kind):06}"
    with Peer(handler) as peer:
        mad = _connect_mad(world, peer)
        mine, others = world.send(to=number), [world.send(portal=other) for _ in range(3)]
        submissions = world.gateway.ledger()["submissions"]
        tracemalloc.start()
        world.work()
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        calls = sum(number.encode() in request for request in peer.requests)  # of this message alone
        row = world.row(mine)

        assert row.status == status
        assert calls == 1
        assert peak < _MEMORY
        assert _FLOOD.sent < 16 * ANSWER_LIMIT_BYTES  # what the sockets' own buffers hold

    # The neighbour: each of its messages was called out once, and nothing of the account changed.
    assert [world.row(each, other).status for each in others] == ["delivered"] * 3
    assert world.gateway.ledger()["submissions"] - submissions == 3
    (account,) = accounts.of_portal(world.world.row_of(other).id)
    assert account.id != mad.id
    assert (account.stopped_since, account.is_silent) == (None, False)
