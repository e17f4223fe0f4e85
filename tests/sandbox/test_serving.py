from __future__ import annotations

import http.client
import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from sandbox.serving import ABORT_KEY, Server


def application(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    path = environ["PATH_INFO"]
    if path == "/abort":
        environ[ABORT_KEY]()
        return []
    if path == "/slow":
        time.sleep(0.3)
    if path == "/bug":
        raise RuntimeError("a bug of the application")
    body = environ["wsgi.input"].read()
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [f"{environ['REQUEST_METHOD']} {path} {environ['QUERY_STRING']} ".encode(), body]


@pytest.fixture
def server() -> Iterator[Server]:
    running = Server(application).start()
    yield running
    running.stop()


@pytest.fixture
def ask(server: Server) -> Iterator[Callable[..., tuple[int, bytes]]]:
    """Requests over one connection."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=5)

    def request(method: str, path: str, body: Any = None, headers: Any = None) -> tuple[int, bytes]:
        connection.request(method, path, body=body, headers=headers or {})
        response = connection.getresponse()
        return response.status, response.read()

    request.connection = connection  # type: ignore[attr-defined]
    yield request
    connection.close()


def test_connection_carries_many_requests(ask: Any) -> None:
    assert ask("POST", "/a%20b?x=1", b"body") == (200, b"POST /a b x=1 body")
    own_port = ask.connection.sock.getsockname()[1]

    assert ask("HEAD", "/head") == (200, b"")
    assert ask("GET", "/again") == (200, b"GET /again  ")
    assert ask.connection.sock.getsockname()[1] == own_port


def test_chunked_body_is_read(ask: Any) -> None:
    assert ask("POST", "/c", iter([b"one ", b"two"]))[1] == b"POST /c  one two"


def test_abort_drops_the_connection_without_an_answer(ask: Any) -> None:
    with pytest.raises((http.client.RemoteDisconnected, ConnectionResetError)):
        ask("GET", "/abort")


def test_bug_is_a_500_and_the_server_lives(ask: Any, capfd: pytest.CaptureFixture[str]) -> None:
    assert ask("GET", "/bug")[0] == 500
    assert ask("GET", "/next")[0] == 200
    assert "a bug of the application" in capfd.readouterr().err


def test_junk_is_a_400(server: Server) -> None:
    with socket.create_connection(("127.0.0.1", server.port), timeout=5) as raw:
        raw.sendall(b"what is this\r\n\r\n")

        assert raw.recv(100).startswith(b"HTTP/1.1 400")


def test_stop_lets_a_running_request_finish_and_closes_idle_connections() -> None:
    server = Server(application).start()
    answers: list[bytes] = []

    def slow() -> None:
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=5)
        connection.request("GET", "/slow")
        answers.append(connection.getresponse().read())
        connection.close()

    idle = socket.create_connection(("127.0.0.1", server.port), timeout=5)
    thread = threading.Thread(target=slow)
    thread.start()
    time.sleep(0.1)

    server.stop()
    thread.join()

    assert answers == [b"GET /slow  "]
    assert idle.recv(1) == b""
    idle.close()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", server.port), timeout=1)
