"""What a call to somebody else's server means, whatever that server does."""

from __future__ import annotations

import gzip
import ipaddress
import json
import logging
import socket
import threading
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from email.utils import formatdate
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.gateways.kit.peer import Handler, Peer, answer, close, drip, hang, reset, say
from app.transport import (
    AddressRefused,
    HttpAnswer,
    HttpClient,
    NoAnswer,
    NotSent,
    TransportError,
    addresses,
    check_header,
    check_url,
    is_public,
)
from app.transport.connections import IDLE_LIMIT_S
from tests.worlds.certificates import self_signed, server_tls


@pytest.fixture(scope="module")
def http() -> HttpClient:
    return HttpClient(allow_private=True, timeout_s=5)


@pytest.fixture(scope="module")
def public_http() -> HttpClient:
    return HttpClient()


def _unused_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


# --- what is sent


def test_json_goes_out_with_its_headers(http: HttpClient) -> None:
    with Peer(answer('{"id": "7"}', "202 Accepted")) as peer:
        got = http.request(
            "POST",
            f"{peer.url}/a b".replace(" ", "%20"),
            json={"text": "Привет\x00"},
            headers={"Authorization": "Bearer k"},
        )

    assert (got.status, got.ok, got.json()) == (202, True, {"id": "7"})
    assert peer.request.startswith(b"POST /a%20b HTTP/1.1\r\n")
    assert peer.header("Host") == f"127.0.0.1:{peer.port}"
    assert peer.header("Content-Type") == "application/json"
    assert peer.header("Authorization") == "Bearer k"
    assert json.loads(peer.body) == {"text": "Привет\x00"}


def test_form_and_basic_sign_in(http: HttpClient) -> None:
    with Peer(answer()) as peer:
        http.request("POST", f"{peer.url}/x", data={"To": "+49", "Body": "a&b"}, auth=("u", "pä"))

    assert peer.body == b"To=%2B49&Body=a%26b"
    assert peer.header("Content-Type") == "application/x-www-form-urlencoded"
    assert peer.header("Authorization") == "Basic dTpww6Q="


def test_params_join_the_query_that_is_there(http: HttpClient) -> None:
    with Peer(answer()) as peer:
        http.request("GET", f"{peer.url}?key=a%2Bb", params={"text": "ü +"})

    assert peer.request.startswith(b"GET /?key=a%2Bb&text=%C3%BC+%2B HTTP/1.1\r\n")


def test_redirects_are_answers(http: HttpClient) -> None:
    with Peer(answer(b"", "302 Found", Location="http://127.0.0.1:1/")) as peer:
        got = http.request("POST", peer.url, data={"a": "b"})

    assert (got.status, len(peer.requests)) == (302, 1)


def test_environment_and_cookies_have_no_say(http: HttpClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")

    with Peer(answer(Set_Cookie="a=b")) as peer:
        http.request("GET", peer.url)
        http.request("GET", peer.url)

    assert len(peer.requests) == 2
    assert b"Cookie" not in peer.requests[1]


@pytest.mark.parametrize(
    ("name", "value"),
    [("X-A", "b\r\nX-C: d"), ("X\nA", "b"), ("X-A", "Ж"), ("", "b"), ("Host", "b"), ("Content-Length", "3")],
)
def test_headers_that_break_out_are_never_sent(http: HttpClient, name: str, value: str) -> None:
    with Peer(answer()) as peer, pytest.raises(NotSent):
        http.request("GET", peer.url, headers={name: value})

    assert peer.connections == 0
    assert check_header(name, value)


def test_what_cannot_be_written_is_not_sent(http: HttpClient) -> None:
    with Peer(answer()) as peer:
        with pytest.raises(NotSent):
            http.request("POST", peer.url, data={"a": "\ud800"})
        with pytest.raises(NotSent):
            http.request("POST", peer.url, json={"a": object()})

    assert peer.connections == 0


# --- surely not sent


def test_refused_connection(http: HttpClient) -> None:
    with pytest.raises(NotSent, match="refused"):
        http.request("POST", f"http://127.0.0.1:{_unused_port()}/")


def test_unknown_host() -> None:
    def nobody(host: str, port: int) -> list[str]:
        raise socket.gaierror

    with pytest.raises(NotSent, match="does not exist"):
        HttpClient(resolver=nobody).request("GET", "https://nobody.example/")


def test_slow_name_server() -> None:
    given_up = threading.Event()

    def slow(host: str, port: int) -> list[str]:
        return ["127.0.0.1"] if given_up.wait(10) else ["192.0.2.1"]

    with pytest.raises(NotSent, match="in time"):
        HttpClient(resolver=slow, connect_timeout_s=0.1).request("GET", "https://slow.example/")
    given_up.set()


def test_silent_name_servers_hold_a_bounded_number_of_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(addresses, "LOOK_UPS_AT_ONCE", 3)
    answer, asked = threading.Event(), []

    def silent(host: str, port: int) -> list[str]:
        asked.append(host)
        answer.wait(10)
        return []

    client = HttpClient(resolver=silent, connect_timeout_s=0.05)
    for host in ("one", "two", "three", "one", "one"):  # who wants the same name waits for the same thread
        with pytest.raises(NotSent, match="in time"):
            client.request("GET", f"https://{host}.example/")
    with pytest.raises(NotSent, match="too many"):
        client.request("GET", "https://four.example/")
    assert asked == ["one.example", "two.example", "three.example"]

    answer.set()
    while addresses._running:
        time.sleep(0.01)
    with pytest.raises(NotSent, match="does not exist"):
        client.request("GET", "https://four.example/")


def test_connection_that_nobody_takes(http: HttpClient) -> None:
    # A full listen queue answers nothing, like a filtered port.
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        waiting = [socket.socket() for _ in range(3)]
        for sock in waiting:
            sock.setblocking(False)
            sock.connect_ex(listener.getsockname())
        with pytest.raises(NotSent, match="timed out"):
            http.request("GET", f"http://127.0.0.1:{listener.getsockname()[1]}/", timeout_s=0.3)
        for sock in waiting:
            sock.close()


def test_server_without_tls(http: HttpClient) -> None:
    with Peer(close, greeting=b"220 hello\r\n") as peer, pytest.raises(NotSent, match="TLS"):
        http.request("GET", f"https://127.0.0.1:{peer.port}/", timeout_s=2)


def test_no_time_left(http: HttpClient) -> None:
    with Peer(answer()) as peer, pytest.raises(NotSent, match="no time"):
        http.request("GET", peer.url, deadline=time.monotonic() - 1)

    assert peer.connections == 0


# --- nobody knows

_HEAD = b"HTTP/1.1 200 OK\r\n"
_BROKEN: dict[str, Handler] = {
    "hang": hang,
    "close": close,
    "reset": reset,
    "not http": say(b"220 mail.example ESMTP\r\n"),
    "half a head": say(_HEAD + b"Content-"),
    "truncated": say(_HEAD + b'Content-Length: 100\r\n\r\n{"id":'),
    "half a chunk": say(_HEAD + b"Transfer-Encoding: chunked\r\n\r\n64\r\n{"),
    "missing last chunk": say(_HEAD + b"Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n"),
    "odd chunk": say(_HEAD + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n{}\r\n"),
    "broken gzip": answer(b"not gzip", Content_Encoding="gzip"),
    "endless headers": say(_HEAD + b"X-A: b\r\n" * 500 + b"\r\n"),
    "slow head": drip(_HEAD + b"X: " + b"a" * 200, 0.02),
    "slow body": drip(_HEAD + b"Content-Length: 200\r\n\r\n" + b"a" * 200, 0.02),
    "only continue": drip(b"HTTP/1.1 100 Continue\r\n\r\n" * 20, 0.005),
    "too long": answer(b"a" * 2000),
    "too long unpacked": answer(gzip.compress(b"a" * 2000), Content_Encoding="gzip"),
}


_SLOW = {"hang", "slow head", "slow body", "only continue"}


@pytest.mark.parametrize("fault", _BROKEN)
def test_no_complete_answer_leaves_the_outcome_open(http: HttpClient, fault: str) -> None:
    started = time.monotonic()
    timeout_s = 0.3 if fault in _SLOW else 5.0

    with Peer(_BROKEN[fault]) as peer, pytest.raises(NoAnswer):
        http.request("POST", peer.url, data={"a": "b"}, timeout_s=timeout_s, limit_bytes=1000)

    assert time.monotonic() - started < 3
    assert len(peer.requests) == 1  # and nothing was repeated


def test_deadline_beats_the_timeout(http: HttpClient) -> None:
    started = time.monotonic()

    with Peer(hang) as peer, pytest.raises(NoAnswer, match="in time"):
        http.request("GET", peer.url, timeout_s=5, deadline=started + 0.2)

    assert time.monotonic() - started < 4


# --- connections


def test_connections_are_used_again(http: HttpClient) -> None:
    with Peer(answer(keep=True)) as peer:
        for _ in range(5):
            http.request("POST", f"{peer.url}/keep", data={"a": "b"})

    assert (peer.connections, len(peer.requests)) == (1, 5)


def test_connection_closed_while_idle_is_noticed_before_use(http: HttpClient) -> None:
    with Peer(answer(keep=True)) as peer:
        for _ in range(3):
            http.request("POST", peer.url, data={"a": "b"})  # it promises to keep it, and closes
            time.sleep(0.05)

    assert peer.connections == 3


def test_connection_that_dies_with_the_request_on_it_is_not_repeated(http: HttpClient) -> None:
    with Peer(answer(keep=True), close) as peer:
        http.request("POST", f"{peer.url}/keep", data={"a": "b"})
        with pytest.raises(NoAnswer):
            http.request("POST", f"{peer.url}/keep", data={"a": "b"})

    assert (peer.connections, len(peer.requests)) == (1, 2)


def test_connection_is_not_used_after_a_pause(http: HttpClient, monkeypatch: pytest.MonkeyPatch) -> None:
    with Peer(answer(keep=True)) as peer:
        http.request("GET", f"{peer.url}/keep")
        monkeypatch.setattr("app.transport.connections.IDLE_LIMIT_S", -1.0)
        http.request("GET", f"{peer.url}/keep")

    assert IDLE_LIMIT_S < 5
    assert peer.connections == 2


def test_slow_call_leaves_the_next_one_its_own_time(http: HttpClient) -> None:
    with Peer(drip(_HEAD + b"Content-Length: 2\r\n\r\n{}", 0.01), answer(keep=True)) as peer:
        http.request("GET", f"{peer.url}/keep", timeout_s=2)
        got = http.request("GET", f"{peer.url}/keep", timeout_s=2)

    assert (got.status, peer.connections) == (200, 1)


def test_many_threads_share_a_client(http: HttpClient) -> None:
    answers: list[int] = []

    with Peer(answer(keep=True)) as peer:

        def call() -> None:
            for _ in range(10):
                answers.append(http.request("POST", f"{peer.url}/keep", json={}).status)

        threads = [threading.Thread(target=call) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    assert answers == [200] * 80
    assert peer.connections <= 8


# --- addresses

_PRIVATE = [
    *("0.0.0.0", "10.1.2.3", "100.64.0.1", "127.0.0.1", "169.254.169.254", "172.16.0.1", "192.168.0.1"),
    *("192.0.0.8", "192.0.2.1", "198.18.0.1", "224.0.0.1", "240.0.0.1", "255.255.255.255", "192.88.99.1"),
    *("::", "::1", "fe80::1", "fe80::1%1", "fc00::1", "fd12::1", "ff02::1", "fec0::1", "2001:db8::1"),
    *("::ffff:127.0.0.1", "::ffff:10.0.0.1", "::7f00:1", "64:ff9b::a00:1", "2002:7f00:1::", "2001::1"),
    *("100::1", "64:ff9b:1::1"),
]


@pytest.mark.parametrize("address", _PRIVATE)
def test_addresses_that_are_not_public(address: str) -> None:
    assert not is_public(ipaddress.ip_address(address))


@pytest.mark.parametrize("address", ["8.8.8.8", "2a00:1450::1", "::ffff:8.8.8.8", "64:ff9b::808:808"])
def test_addresses_that_are_public(address: str) -> None:
    assert is_public(ipaddress.ip_address(address))


@pytest.mark.parametrize(
    "url",
    [
        "https://127.0.0.1:{port}/",
        "http://127.0.0.1:{port}/",
        "https://127.1:{port}/",
        "https://0177.0.0.1:{port}/",
        "https://2130706433:{port}/",
        "https://0x7f000001:{port}/",
        "https://0x7f.0.0.1:{port}/",
        "https://１２７.0.0.1:{port}/",
        "https://[::1]:{port}/",
        "https://[::ffff:127.0.0.1]:{port}/",
        "https://localhost:{port}/",
        "https://localhost.:{port}/",
        "https://api.example.com:{port}/",
        "https://good.example@127.0.0.1:{port}/",
        "https://127.0.0.1:{port}\\@good.example/",
        "https://127.0.0.1:{port}\r\nX: y/",
        "https://good.example /",
        "https://[::1%25lo]:{port}/",
        "file:///etc/passwd",
        "gopher://127.0.0.1:{port}/",
        "//127.0.0.1:{port}/",
        "https://",
        "https://127.0.0.1:99999/",
        "https://[:/",
        "",
    ],
)
def test_no_spelling_reaches_the_loopback(public_http: HttpClient, url: str) -> None:
    with Peer(answer()) as peer, pytest.raises(AddressRefused) as caught:
        public_http.request("GET", url.format(port=peer.port))

    assert peer.connections == 0
    assert str(peer.port) not in str(caught.value)


@pytest.mark.parametrize("host", ["127.0.0.1", "[::1]", "[::ffff:127.0.0.1]", "10.0.0.1", "169.254.169.254"])
def test_addresses_are_checked_on_the_usual_port_too(public_http: HttpClient, host: str) -> None:
    with pytest.raises(AddressRefused, match="private"):
        public_http.request("GET", f"https://{host}/")


def test_a_name_is_resolved_once_and_every_address_is_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    opened: list[str] = []
    answers = [["8.8.8.8"], ["8.8.8.8", "127.0.0.1"], ["127.0.0.1"]]

    def rebinding(host: str, port: int) -> list[str]:
        asked.append(host)
        return answers[len(asked) - 1]

    def no_connection(address: str, port: int, timeout_s: float) -> socket.socket:
        opened.append(address)
        raise ConnectionRefusedError

    monkeypatch.setattr("app.transport.addresses._connect", no_connection)
    http = HttpClient(resolver=rebinding)

    with pytest.raises(NotSent, match="refused"):
        http.request("GET", "https://rebind.example/")
    for _ in range(2):
        with pytest.raises(AddressRefused):
            http.request("GET", "https://rebind.example/")

    assert opened == ["8.8.8.8"]
    assert asked == ["rebind.example"] * 3


def test_next_address_is_tried_when_one_is_dead() -> None:
    with Peer(answer()) as peer:
        http = HttpClient(allow_private=True, resolver=lambda host, port: ["::1", "127.0.0.1"])
        assert http.request("GET", f"http://two.example:{peer.port}/").ok
        assert peer.header("Host") == f"two.example:{peer.port}"


def test_spelling_of_urls_for_forms() -> None:
    assert check_url("https://api.example.com/v1?key=a", allow_private=False) == ""
    assert check_url("https://bücher.example/", allow_private=False) == ""
    assert check_url("http://127.0.0.1:8080/", allow_private=True) == ""
    assert check_url("http://api.example.com/", allow_private=False).endswith(".")
    assert "control" in check_url("https://api.example.com/v1\n", allow_private=True)
    assert "space" in check_url("https://api.example.com/a b", allow_private=True)
    assert "spelling" in check_url("https://0x7f000001/", allow_private=True)
    assert "spelling" in check_url("https://2130706433/", allow_private=True)
    assert "https" in check_url("ftp://api.example.com/", allow_private=True)
    assert "user name" in check_url("https://a:b@api.example.com/", allow_private=True)


@given(st.text())
def test_any_text_is_a_url_or_refused(text: str) -> None:
    for url in (text, f"https://{text}/", f"https://a.example/{text}"):
        assert isinstance(check_url(url, allow_private=True), str)


def test_slow_connect_leaves_time_for_writing() -> None:
    def slow(host: str, port: int) -> list[str]:
        time.sleep(0.4)
        return ["127.0.0.1"]

    with socket.create_server(("127.0.0.1", 0)) as listener:
        received: list[int] = []

        def read_late() -> None:
            sock, _ = listener.accept()
            with sock:
                time.sleep(0.4)
                while sum(received) < 16_000_000:
                    received.append(len(sock.recv(1_000_000)))
                sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")

        threading.Thread(target=read_late, daemon=True).start()
        http = HttpClient(allow_private=True, connect_timeout_s=0.7, resolver=slow)
        url = f"http://slow.example:{listener.getsockname()[1]}/"
        assert http.request("POST", url, data=b"a" * 16_000_000).ok


# --- TLS


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A key and its own certificate for gateway.example, in one file."""
    return self_signed(tmp_path_factory.mktemp("tls"), "gateway.example")


def test_checked_address_keeps_name_and_certificate(certificate: Path) -> None:
    names: list[str] = []
    http = HttpClient(allow_private=True, ca_file=str(certificate), resolver=lambda host, port: ["127.0.0.1"])

    with Peer(answer(), tls=server_tls(certificate, names)) as peer:
        got = http.request("GET", f"https://gateway.example:{peer.port}/")
        host = peer.header("Host")
        with pytest.raises(NotSent, match="certificate"):
            http.request("GET", f"https://other.example:{peer.port}/")
        with pytest.raises(NotSent, match="certificate"):
            HttpClient(allow_private=True, resolver=lambda host, port: ["127.0.0.1"]).request(
                "GET", f"https://gateway.example:{peer.port}/"
            )

    assert (got.status, host) == (200, f"gateway.example:{peer.port}")
    assert names == ["gateway.example", "other.example", "gateway.example"]
    assert len(peer.requests) == 1


def test_deadline_holds_within_tls(certificate: Path) -> None:
    http = HttpClient(allow_private=True, ca_file=str(certificate), resolver=lambda host, port: ["127.0.0.1"])
    slow = drip(_HEAD + b"Content-Length: 200\r\n\r\n" + b"a" * 200, 0.02)
    started = time.monotonic()

    with Peer(slow, tls=server_tls(certificate, [])) as peer, pytest.raises(NoAnswer, match="in time"):
        http.request("GET", f"https://gateway.example:{peer.port}/", timeout_s=0.5)

    assert time.monotonic() - started < 3


# --- Retry-After


def _with(**headers: str) -> HttpAnswer:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return HttpAnswer(429, named, b"", received_at=1_000_000)


@pytest.mark.parametrize(
    ("value", "pause_s"),
    [
        ("7", 7),
        (" 0 ", 0),
        ("1.5", 1.5),
        ("99999999999999999999", 3600),
        (formatdate(1_000_030, usegmt=True), 30),
        (formatdate(999_000, usegmt=True), 0),
        (formatdate(9_000_000, usegmt=True), 3600),
        ("-5", None),
        ("soon", None),
        ("", None),
        ("Wed, 99 Foo 2020 25:00:00 GMT", None),
        ("nan", None),
        ("inf", None),
    ],
)
def test_retry_after(value: str, pause_s: float | None) -> None:
    assert _with(Retry_After=value).retry_after_s == pause_s
    assert _with(retry_after=value).retry_after_s == pause_s


def test_retry_after_as_a_date_is_told_by_the_servers_own_clock() -> None:
    headers = {"Retry_After": formatdate(5_000_060, usegmt=True), "Date": formatdate(5_000_000, usegmt=True)}
    assert _with(**headers).retry_after_s == 60


@given(st.text())
def test_retry_after_takes_any_text(value: str) -> None:
    pause_s = _with(Retry_After=value).retry_after_s
    assert pause_s is None or 0 <= pause_s <= 3600


# --- nothing leaks

_CANARY = "canary7531"


@pytest.mark.parametrize(
    "fault", ["refused", "tls", "hang", "reset", "truncated", "loopback", "odd", "header"]
)
def test_failures_never_tell_what_was_sent(
    http: HttpClient, fault: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    calls: dict[str, Callable[[Peer], str]] = {
        "refused": lambda peer: f"http://127.0.0.1:{_unused_port()}/{_CANARY}",
        "tls": lambda peer: f"https://127.0.0.1:{peer.port}/{_CANARY}",
        "loopback": lambda peer: f"https://127.0.0.1/{_CANARY}?{_CANARY}",
        "odd": lambda peer: f"https://{_CANARY}.0x7f/",
    }
    handler = _BROKEN.get(fault, hang)
    client = HttpClient() if fault == "loopback" else http
    value = f"{_CANARY}\n" if fault == "header" else _CANARY

    with Peer(handler) as peer, pytest.raises(TransportError) as caught:
        url = calls.get(fault, lambda peer: f"{peer.url}/{_CANARY}?{_CANARY}")(peer)
        client.request("POST", url, data={"k": _CANARY}, headers={"X-Key": value}, timeout_s=0.2)

    error = caught.value
    assert error.__context__ is None
    assert error.__cause__ is None
    assert _CANARY not in "".join(traceback.format_exception_only(error)) + repr(error)
    assert _CANARY not in caplog.text
    assert "127.0.0.1" not in str(error)


def test_odd_headers_are_not_logged_with_the_url(http: HttpClient, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    odd = say(_HEAD + b"Content-Type: multipart/mixed; boundary=x\r\nbad header\r\nX: y\r\n\r\n{}")

    with Peer(odd) as peer, suppress(NoAnswer):
        http.request("GET", f"{peer.url}/{_CANARY}?{_CANARY}", timeout_s=0.3)

    assert _CANARY not in caplog.text
