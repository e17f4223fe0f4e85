"""gunicorn.conf.py: what the server writes down about requests that carry secrets."""

from __future__ import annotations

import os
import socket
import urllib.error
import urllib.request

import pytest

from tests.serving.conftest import Serve


def _send(port: int, request: str) -> bytes:
    with socket.create_connection(("127.0.0.1", port), timeout=5) as sock:
        sock.sendall(request.replace("\n", "\r\n").encode() + b"\r\n\r\n")
        return sock.recv(1000)


_REQUESTS = (
    (
        "GET /sms/Canary1?a=Canary2 HTTP/1.0\nReferer: http://x/sms/Canary3\nAuthorization: Basic Q2FuYXJ5",
        b"200",
    ),
    ("POST /sms/Canary4/broken?a=Canary5 HTTP/1.0", b"500"),
    ("GET /reports/acme/Canary6 /x HTTP/1.0", b"400"),
    ("G:T /reports/acme/Canary7 HTTP/1.0", b"400"),
    ("GET /sms/Canary8 HTTP/9.9", b"505"),
    ("POST /sms/Canary9 HTTP/1.1\nContent-Length: x", b"400"),
)


@pytest.mark.parametrize(
    "options",
    [
        (),
        ("--access-logfile", "-"),
        (
            "--access-logfile",
            "-",
            "--access-logformat",
            "%(r)s %(U)s %(q)s %(f)s %({raw_uri}e)s %({referer}i)s",
        ),
        ("--access-logfile", "-", "--log-level", "debug"),
    ],
    ids=["default", "access log", "own format", "debug"],
)
def test_the_log_has_no_secret(serve: Serve, options: tuple[str, ...]) -> None:
    process, port = serve(*options)
    for request, _ in _REQUESTS:
        assert _send(port, request).startswith(b"HTTP/1")
    process.terminate()
    log = process.output()
    assert "Canary" not in log
    assert "RuntimeError" in log  # what went wrong is still told
    assert ("/sms" in log.replace("/sms/***", "")) == ("--access-logfile" in options)


def test_two_servers_of_one_user_do_not_meet(serve: Serve) -> None:
    """gunicorn's control socket has one path per user by default."""
    for process, port in (serve(), serve()):
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=5) as answer:
            assert answer.read() == b"ok"
        assert "ontrol socket" not in process.output()


def test_it_ends_soon_while_a_client_keeps_its_connection(serve: Serve) -> None:
    process, port = serve()
    with socket.create_connection(("127.0.0.1", port), timeout=5) as sock:
        sock.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        assert sock.recv(1000).startswith(b"HTTP/1.1 200")
        os.kill(process.pid, 15)
        assert process.wait(5) == 0
