"""PRIVATE_HOSTS: who may be called beyond the open internet, and who never."""

from __future__ import annotations

import socket
from collections.abc import Callable, Sequence

import pytest

from app.config import load_config
from app.gateways.kit.peer import Peer, answer
from app.transport import AddressRefused, HttpClient, NotSent, check_url
from app.wiring import reach_of
from tests.worlds.product import ENVIRONMENT

LOOPBACK = ("127.0.0.1",)


def client(
    kind: str = "gateway",
    resolver: Callable[[str, int], Sequence[str]] = lambda *_: LOOPBACK,
    **environment: str,
) -> HttpClient:
    """The product's client for gateways or portals, as the operator's variables make it."""
    config = load_config({**ENVIRONMENT, **environment})
    return HttpClient(reach=reach_of(config, kind), resolver=resolver, timeout_s=5)


def closed_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


@pytest.mark.parametrize(
    "entry",
    [
        "gateway:kannel.internal:{port}",
        "gateway:kannel.internal",
        "gateway:KANNEL.internal:{port}",
        "gateway:127.0.0.0/8:{port}",
        "portal:10.0.0.1, gateway:127.0.0.1",
        "gateway:::1,gateway:127.0.0.0/8",
    ],
)
def test_a_listed_host_may_be_private_and_plain_at_its_port(entry: str) -> None:
    with Peer(answer()) as peer:
        got = client(PRIVATE_HOSTS=entry.format(port=peer.port)).request(
            "GET", f"http://kannel.internal:{peer.port}/send"
        )

    assert got.ok
    assert peer.header("Host") == f"kannel.internal:{peer.port}"


@pytest.mark.parametrize(
    "entry",
    [
        "",
        "portal:kannel.internal:{port}",  # for the other kind
        "gateway:kannel.internal:{other}",
        "gateway:other.internal:{port}",
        "gateway:10.0.0.0/8:{port}",
        "gateway:127.0.0.0/8:{other}",
    ],
)
def test_everybody_else_is_refused_before_a_connection_is_made(entry: str) -> None:
    with Peer(answer()) as peer, pytest.raises(AddressRefused, match="PRIVATE_HOSTS"):
        client(PRIVATE_HOSTS=entry.format(port=peer.port, other=peer.port + 1)).request(
            "GET", f"http://kannel.internal:{peer.port}/send"
        )

    assert peer.connections == 0


def test_a_host_listed_at_one_port_is_private_at_the_others() -> None:
    """Also at the usual one, where the spelling alone is no reason to refuse."""
    with pytest.raises(AddressRefused, match="private"):
        client(PRIVATE_HOSTS="gateway:kannel.internal:8080").request("GET", "https://kannel.internal/")


def test_a_listed_network_opens_no_port_and_no_plain_http_of_others() -> None:
    found = client(PRIVATE_HOSTS="gateway:10.0.0.0/8", resolver=lambda *_: ["93.184.216.34"])

    with pytest.raises(AddressRefused, match="usual port"):
        found.request("GET", "http://vendor.example/")


def test_one_private_address_among_the_answers_is_enough_to_refuse() -> None:
    found = client(PRIVATE_HOSTS="gateway:10.0.0.1", resolver=lambda *_: ["10.0.0.1", "10.0.0.2"])

    with pytest.raises(AddressRefused):
        found.request("GET", "https://vendor.example/")


@pytest.mark.parametrize(
    "address",
    [
        "169.254.169.254",
        "fe80::1",
        "::ffff:169.254.169.254",
        "64:ff9b::a9fe:a9fe",
        "2002:a9fe:a9fe::1",
        "fd00:ec2::254",
        "100.100.100.200",
    ],
)
@pytest.mark.parametrize(
    "environment", [{"ALLOW_PRIVATE_NETWORK": "1"}, {"PRIVATE_HOSTS": "gateway:0.0.0.0/0,gateway:[::/0]"}]
)
def test_where_clouds_keep_their_secrets_nobody_ever_calls(address: str, environment: dict[str, str]) -> None:
    found = client(resolver=lambda *_: [address], **environment)

    with pytest.raises(AddressRefused, match="never called"):
        found.request("GET", "http://metadata.example/")


@pytest.mark.parametrize(
    "variables",
    [
        {"DATABASE_URL": "postgresql://user:secret@127.0.0.1:{port}/name"},
        {"DATABASE_URL": "postgresql://user@db.internal:{port}/name"},
        {"DATABASE_URL": "postgresql://user@127.0.0.9,localhost:{port}/name"},
        {"DATABASE_URL": "postgresql:///name?host=/var/run/postgresql&port={port}"},
        {"REDIS_URL": "redis://:secret@localhost:{port}/0"},
        {"REDIS_URL": "rediss://db.internal:{port}"},
    ],
)
@pytest.mark.parametrize("named", ["127.0.0.1", "localhost", "127.8.9.10", "0.0.0.0", "db.internal"])
def test_our_own_database_and_redis_are_out_of_reach(variables: dict[str, str], named: str) -> None:
    with Peer(answer()) as peer:
        own = {name: value.format(port=peer.port) for name, value in variables.items()}
        with pytest.raises(AddressRefused, match="never called"):
            client(ALLOW_PRIVATE_NETWORK="1", **own).request("GET", f"http://{named}:{peer.port}/")

    assert peer.connections == 0


def test_another_port_of_the_databases_host_can_be_allowed() -> None:
    port = closed_port()

    with pytest.raises(NotSent, match="refused"):
        client(
            DATABASE_URL="postgresql://user@localhost/name", PRIVATE_HOSTS=f"gateway:localhost:{port}"
        ).request("GET", f"http://localhost:{port}/")


def test_a_form_takes_what_the_client_will_call() -> None:
    listed = client(PRIVATE_HOSTS="gateway:kannel.internal:13013").reach

    assert check_url("http://kannel.internal:13013/cgi-bin/sendsms", reach=listed) == ""
    assert "PRIVATE_HOSTS" in check_url("http://kannel.internal:13014/", reach=listed)
    assert "PRIVATE_HOSTS" in check_url("http://vendor.example/", reach=listed)
