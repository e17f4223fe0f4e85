"""Self-hosted portals: hosts in any alphabet, plain http, proxies, private addresses."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from werkzeug.test import TestResponse

from app.bitrix.oauth import OAuth
from app.bitrix.opener import OpenerCheck
from app.gateways.kit.peer import Peer, answer
from app.services import Services
from app.transport import HttpClient
from app.wiring import reach_of
from tests.worlds.certificates import self_signed, server_tls
from tests.worlds.product import ENVIRONMENT, product

MEMBER = "b" * 32
EMPLOYEE = {"result": {"ID": "7", "ADMIN": False, "NAME": "Ann", "LAST_NAME": "Other"}}


def _vouching(client_endpoint: str) -> Any:
    """An authorization server that knows every token as an employee's of the portal at this address."""
    install = {
        "member_id": MEMBER,
        "domain": "box",
        "client_endpoint": client_endpoint,
        "status": "L",
        "version": 1,
    }
    result = {"client_id": ENVIRONMENT["B24_CLIENT_ID"], "user_id": "7", "install": install}
    return answer(json.dumps({"result": result}))


def _profile() -> Any:
    return answer(json.dumps(EMPLOYEE))


def _open(app: Flask, path: str = "/app") -> TestResponse:
    posted = {"member_id": MEMBER, "AUTH_ID": "access", "REFRESH_ID": "refresh", "AUTH_EXPIRES": "3600"}
    return app.test_client(use_cookies=False).post(path, query_string={"LANG": "en"}, data=posted)


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Every host name leads to the loopback; the list has those that were looked up."""
    asked: list[str] = []

    def look_up(host: Any, port: int, *_: Any, **__: Any) -> Any:
        asked.append(str(host))
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port))]

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    yield asked


@pytest.mark.parametrize("path", ["/install", "/app"])
def test_a_portal_whose_host_is_not_ascii_is_called_and_framed_by_its_ascii_name(
    tmp_path: Path, names: list[str], path: str
) -> None:
    with (
        Peer(_profile()) as portal,
        Peer(_vouching(f"http://портал.рф:{portal.port}/rest/")) as auth,
        product(tmp_path, ALLOW_PRIVATE_NETWORK="1", B24_OAUTH_SERVERS=auth.url) as app,
    ):
        page = _open(app, path)

    assert page.status_code == 200
    policy = page.headers["Content-Security-Policy"]
    assert f"frame-ancestors http://xn--80awhdgm.xn--p1ai:{portal.port}" in policy
    assert portal.header("Host") == f"xn--80awhdgm.xn--p1ai:{portal.port}"
    assert set(names) == {"xn--80awhdgm.xn--p1ai"}


# --- a proxy in front that sends plain http to https


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return self_signed(tmp_path_factory.mktemp("tls"), "box.example")


def _trusting(app: Flask, certificate: Path) -> None:
    """The product with a certificate of the test among those that it trusts."""
    wired: Services = app.extensions["services"]
    http = HttpClient(reach=reach_of(wired.config, "portal"), ca_file=str(certificate), timeout_s=5)
    oauth = OAuth(
        http,
        client_id=wired.config.client_id,
        client_secret=wired.config.client_secret,
        servers=wired.config.oauth_servers,
        timeout_s=5,
    )
    openers = OpenerCheck(http, oauth, timeout_s=5)
    app.extensions["services"] = replace(wired, http=http, oauth=oauth, openers=openers)


@pytest.mark.usefixtures("names")
def test_a_redirect_to_https_of_the_same_host_is_followed_once(tmp_path: Path, certificate: Path) -> None:
    with (
        Peer(_profile(), tls=server_tls(certificate)) as secure,
        Peer(answer("", "301 Moved", Location=f"https://box.example:{secure.port}/rest/profile")) as plain,
        Peer(_vouching(f"http://box.example:{plain.port}/rest/")) as auth,
        product(tmp_path, ALLOW_PRIVATE_NETWORK="1", B24_OAUTH_SERVERS=auth.url) as app,
    ):
        _trusting(app, certificate)
        page = _open(app)

    assert page.status_code == 200, page.text
    assert "This app is for administrators" in page.text
    assert secure.request.startswith(b"POST /rest/profile HTTP/1.1\r\n")
    assert json.loads(secure.body)["auth"] == "access"
    assert len(plain.requests) == 1


@pytest.mark.usefixtures("names")
@pytest.mark.parametrize(
    "location",
    [
        "https://stranger.example:{port}/rest/profile",
        "https://box.example:{port}/login",
        "http://box.example:{port}/rest/profile",
        "https://box.example:{port}@stranger.example/rest/profile",
        "https://[/rest/profile",
        "/rest/profile",
        "",
    ],
)
def test_no_other_redirect_is_followed(tmp_path: Path, certificate: Path, location: str) -> None:
    with (
        Peer(_profile(), tls=server_tls(certificate)) as elsewhere,
        Peer(answer("", "301 Moved", Location=location.format(port=elsewhere.port))) as plain,
        Peer(_vouching(f"http://box.example:{plain.port}/rest/")) as auth,
        product(tmp_path, ALLOW_PRIVATE_NETWORK="1", B24_OAUTH_SERVERS=auth.url) as app,
    ):
        _trusting(app, certificate)
        page = _open(app)

    assert page.status_code == 503
    assert (elsewhere.connections, len(plain.requests)) == (0, 1)


# --- what the page says where the portal is not called


@pytest.mark.usefixtures("names")
@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_portal_that_is_not_listed_is_told_what_its_operator_has_to_list(
    tmp_path: Path, scheme: str
) -> None:
    with Peer(_profile()) as portal, Peer(_vouching(f"{scheme}://box.example:{portal.port}/rest/")) as auth:
        listed = f"portal:127.0.0.1:{auth.port}"
        with product(tmp_path, PRIVATE_HOSTS=listed, B24_OAUTH_SERVERS=auth.url) as app:
            page = _open(app)

    assert page.status_code == 403
    assert f"add portal:box.example:{portal.port} to PRIVATE_HOSTS" in page.text
    assert portal.connections == 0


@pytest.mark.usefixtures("names")
def test_a_listed_portal_is_called_in_the_clear_at_its_own_port(tmp_path: Path) -> None:
    with Peer(_profile()) as portal, Peer(_vouching(f"http://box.example:{portal.port}/rest/")) as auth:
        listed = f"portal:127.0.0.1:{auth.port},portal:box.example:{portal.port}"
        with product(tmp_path, PRIVATE_HOSTS=listed, B24_OAUTH_SERVERS=auth.url) as app:
            page = _open(app)

    assert page.status_code == 200
    assert len(portal.requests) == 1


@pytest.mark.usefixtures("names")
def test_a_page_says_that_the_portals_certificate_is_not_trusted(tmp_path: Path, certificate: Path) -> None:
    with (
        Peer(_profile(), tls=server_tls(certificate)) as portal,
        Peer(_vouching(f"https://box.example:{portal.port}/rest/")) as auth,
        product(tmp_path, ALLOW_PRIVATE_NETWORK="1", B24_OAUTH_SERVERS=auth.url) as app,
    ):
        page = _open(app)

    assert page.status_code == 503
    assert "certificate is not valid for this host" in page.text.replace("&#39;", "'")


def test_a_portal_that_names_plain_http_at_the_usual_port_is_called_over_tls(
    tmp_path: Path, certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[str, int]] = []

    def look_up(host: Any, port: int, *_: Any, **__: Any) -> Any:
        asked.append((str(host), port))
        raise socket.gaierror(socket.EAI_NONAME, "nobody")

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    with Peer(_vouching("http://box.example/rest/")) as auth:
        listed = f"portal:127.0.0.1:{auth.port}"
        with product(tmp_path, PRIVATE_HOSTS=listed, B24_OAUTH_SERVERS=auth.url) as app:
            page = _open(app)

    assert asked == [("box.example", 443)]
    assert page.status_code == 403
    assert "add portal:box.example:80 to PRIVATE_HOSTS" in page.text
