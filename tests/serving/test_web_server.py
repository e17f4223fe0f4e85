"""gunicorn.conf.py: what the server writes down about requests that carry secrets."""

from __future__ import annotations

import os
import socket
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from app.store.portals import portals
from sandbox.processes import PROJECT
from tests.serving.conftest import Serve
from tests.worlds.product import ENVIRONMENT, a_portal, product


def _send(port: int, request: str) -> bytes:
    # The product may still be loading on a busy machine: nobody asks how long an answer takes.
    with socket.create_connection(("127.0.0.1", port), timeout=60) as sock:
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


_FORM = "Host: x\nContent-Type: application/x-www-form-urlencoded"
_CHUNKED = f"POST {{path}} HTTP/1.1\n{_FORM}\nTransfer-Encoding: chunked"


_PRODUCT = """
import os, sys
sys.path.insert(0, {project!r})
os.environ.update({environment!r})
from app import create_app
application = create_app()
"""


def test_a_malformed_chunk_is_the_callers_fault(serve: Serve, tmp_path: Path) -> None:
    with product(tmp_path):
        secret = portals.handler_secret(a_portal().id)
    environment = {**ENVIRONMENT, "DATABASE_URL": f"sqlite:///{tmp_path}/app.db"}
    process, port = serve(application=_PRODUCT.format(project=str(PROJECT), environment=environment))

    for path in (f"/sms/{secret}", "/events", "/install", "/app"):
        for chunk in ("ZZ\na=b\n0", "5\nab\n0", "-1\na", "5;\x00\nabcde"):
            answer = _send(port, _CHUNKED.format(path=path) + f"\n\n{chunk}")
            assert answer.startswith(b"HTTP/1.1 400"), (path, chunk, answer)

    process.terminate()
    log = process.output()
    assert "Exception on" not in log
    assert "Traceback" not in log
    assert secret not in log
