"""The worker of the web process: who may hold what, and that every request arrives as it was sent."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import pytest

from sandbox.processes import Process
from tests.serving.conftest import Serve

pytestmark = pytest.mark.timeout(60)

PATIENCE_S = 15.0  # below the deadline of an unfinished request: what it ends shall not pass for an answer

# Says what it got; what people open hangs until the test is over.
_APPLICATION = """
import time

def application(environ, start_response):
    if environ["PATH_INFO"].startswith("/app"):
        time.sleep(60)
    length = environ.get("CONTENT_LENGTH")
    is_chunked = environ.get("HTTP_TRANSFER_ENCODING") == "chunked"
    body = environ["wsgi.input"].read() if is_chunked else environ["wsgi.input"].read(int(length or 0))
    said = f"{environ['REQUEST_METHOD']} {environ['PATH_INFO']} {len(body)} {body[:20].decode()};".encode()
    print("served", said.decode(), flush=True)
    start_response("200 OK", [("Content-Length", str(len(said)))])
    return [said]
"""


@pytest.fixture
def web(serve: Serve) -> tuple[Process, int]:
    return serve(application=_APPLICATION)


@contextmanager
def _connected(port: int) -> Iterator[socket.socket]:
    with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_S) as sock:
        yield sock


def _post(path: str, body: bytes, *headers: str) -> bytes:
    head = [f"POST {path} HTTP/1.1", "Host: x", f"Content-Length: {len(body)}", *headers]
    return "\r\n".join(head).encode() + b"\r\n\r\n" + body


def _answer(sock: socket.socket, ends: bytes = b";") -> bytes:
    """What comes until `ends`, or until the connection is closed."""
    answer = b""
    while ends not in answer and (part := sock.recv(65536)):
        answer += part
    return answer


def _asked(port: int, request: bytes) -> bytes:
    with _connected(port) as sock:
        sock.sendall(request)
        return _answer(sock)


def test_unfinished_requests_hold_no_thread(web: tuple[Process, int]) -> None:
    _, port = web
    with ExitStack() as crowd:
        for number in range(120):
            sock = crowd.enter_context(_connected(port))
            unfinished = _post("/sms/x", b"a" * 1000) if number % 2 else b"POST /sms/x HTTP/1.1\r\nHo"
            sock.sendall(unfinished[:-990] if number % 2 else unfinished)

        answers = [_asked(port, _post("/sms/x", b"text")) for _ in range(20)]

    assert all(b"200 OK" in answer and b"POST /sms/x 4 text;" in answer for answer in answers)


def test_what_people_open_holds_no_thread_of_what_machines_call(web: tuple[Process, int]) -> None:
    _, port = web
    with ExitStack() as crowd:
        for number in range(40):
            crowd.enter_context(_connected(port)).sendall(_post(f"/app?{number}", b"x"))

        answers = [_asked(port, _post(path, b"t")) for path in ("/sms/x", "/reports/a/b", "/events") * 10]

    assert all(b"200 OK" in answer for answer in answers)


_ONE_AT_A_TIME = """
import pathlib, time

def application(environ, start_response):
    path = environ["PATH_INFO"]
    if path == "/sms/greedy":
        while not pathlib.Path("go").exists():
            time.sleep(0.01)
    print("served", path, flush=True)
    start_response("200 OK", [("Content-Length", "3")])
    return [b"ok;"]
"""


def test_who_calls_many_times_at_once_holds_up_nobody_elses_address(serve: Serve, tmp_path: Path) -> None:
    process, port = serve(application=_ONE_AT_A_TIME, settings="threads = 1")
    with ExitStack() as crowd:
        greedy = [crowd.enter_context(_connected(port)) for _ in range(20)]
        for sock in greedy:
            sock.sendall(_post("/sms/greedy", b"x"))
        other = crowd.enter_context(_connected(port))
        other.sendall(_post("/sms/other", b"x"))
        for _ in range(3):  # people have threads of their own; by then all the others are read
            assert b"200 OK" in _asked(port, _post("/ui/page", b"x"))
        (tmp_path / "go").touch()

        assert all(b"200 OK" in _answer(sock) for sock in (other, *greedy))

    served = [line.split()[1] for line in process.output().splitlines() if line.startswith("served /sms/")]
    assert len(served) == 21
    assert served.index("/sms/other") <= 2


def test_too_many_waiting_people_are_told_so_at_once(serve: Serve) -> None:
    few = "import app.serving.worker as worker\nworker.PEOPLE_THREADS, worker.WAITING_LIMIT = 1, 2"
    _, port = serve(application=_APPLICATION, settings=few)
    with ExitStack() as crowd:
        for _ in range(3):
            crowd.enter_context(_connected(port)).sendall(_post("/app", b"x"))

        answer = _asked(port, _post("/app", b"x"))

    assert answer.startswith(b"HTTP/1.1 503")
    assert b"Retry-After" in answer


def test_a_connection_that_its_client_keeps_open_holds_nobody_up(web: tuple[Process, int]) -> None:
    """The server closes, the client does not: gunicorn's own worker waits for that in its only loop."""
    _, port = web
    with ExitStack() as crowd:
        for _ in range(40):  # two seconds each would be more than this test has
            sock = crowd.enter_context(_connected(port))
            sock.sendall(_post("/sms/x", b"text", "Connection: close"))
            assert b"200 OK" in _answer(sock)


def test_an_unfinished_request_has_a_deadline(serve: Serve) -> None:
    hurried = "import app.serving.worker as worker\nworker.READ_S = 0.2"
    process, port = serve(application=_APPLICATION, settings=hurried)
    with _connected(port) as sock:
        sock.sendall(_post("/sms/x", b"half")[:-2])
        answer = _answer(sock)

    assert answer.startswith(b"HTTP/1.1 408")
    assert "served" not in process.output()


def test_a_request_that_breaks_off_is_not_served(web: tuple[Process, int]) -> None:
    process, port = web
    with _connected(port) as sock:
        sock.sendall(_post("/sms/x", b"half a message")[:-5])
        sock.shutdown(socket.SHUT_WR)
        assert _answer(sock) == b""

    assert b"200 OK" in _asked(port, _post("/sms/x", b"whole"))
    assert "half" not in process.output()


def test_when_unread_bytes_are_too_many_the_largest_request_goes(serve: Serve) -> None:
    tight = "import app.serving.worker as worker\nworker.UNREAD_LIMIT = 500_000"
    _, port = serve(application=_APPLICATION, settings=tight)
    with ExitStack() as crowd:
        large = crowd.enter_context(_connected(port))
        small = crowd.enter_context(_connected(port))
        small.sendall(_post("/sms/small", b"b" * 2000)[:-1])
        with suppress(ConnectionError):  # closed with bytes of ours unread
            large.sendall(_post("/sms/large", b"a" * 600_000)[:-1])
            assert large.recv(1) == b""
        small.sendall(b"b")
        assert b"200 OK" in _answer(small)


def test_when_all_places_are_taken_the_oldest_unfinished_goes(serve: Serve) -> None:
    _, port = serve(application=_APPLICATION, settings="worker_connections = 30")
    with ExitStack() as crowd:
        for _ in range(100):
            crowd.enter_context(_connected(port)).sendall(_post("/sms/x", b"half")[:-2])

        assert b"200 OK" in _asked(port, _post("/sms/x", b"text"))


_IN_CHUNKS = b"POST /sms/x HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
_CHUNKED = _IN_CHUNKS + b"5;a=b\r\nhello\r\n3\r\n\r\n0\r\n0\r\nX-Sum: 1\r\n\r\n"


@pytest.mark.parametrize(
    ("request_bytes", "said"),
    [
        (b"GET /sms/x?a=b HTTP/1.1\r\nHost: x\r\n\r\n", b"GET /sms/x 0 ;"),
        (b"\r\nGET /sms/x HTTP/1.1\r\nHost: x\r\n\r\n", b"GET /sms/x 0 ;"),
        (_post("/sms/x", b"hello"), b"POST /sms/x 5 hello;"),
        (_CHUNKED, b"POST /sms/x 8 hello\r\n0;"),
    ],
    ids=["no body", "an empty line before it", "with a length", "in chunks"],
)
def test_a_request_may_come_byte_by_byte_and_two_at_once(
    web: tuple[Process, int], request_bytes: bytes, said: bytes
) -> None:
    _, port = web
    with _connected(port) as sock:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for byte in request_bytes:
            sock.sendall(bytes([byte]))
        assert _answer(sock).endswith(said)
        sock.sendall(request_bytes * 2)  # on the same connection, one behind the other
        both = _answer(sock)
        while both.count(said) < 2:
            part = _answer(sock)
            assert part
            both += part


def test_a_client_that_waits_for_a_word_before_the_body_gets_it(web: tuple[Process, int]) -> None:
    _, port = web
    whole = _post("/reports/a/b", b"body", "Expect: 100-continue")
    with _connected(port) as sock:
        sock.sendall(whole[:-4])
        assert sock.recv(100).startswith(b"HTTP/1.1 100 Continue")
        sock.sendall(whole[-4:])
        assert b"POST /reports/a/b 4 body;" in _answer(sock)


@pytest.mark.parametrize("how", ["with a length", "in chunks"])
def test_a_body_over_every_limit_is_left_to_the_application_and_ends_the_connection(
    serve: Serve, how: str
) -> None:
    small = "import app.serving.incoming as incoming\nincoming.BODY_LIMIT = 1000"
    process, port = serve(application=_APPLICATION, settings=small)
    chunk = b"100\r\n" + b"a" * 256 + b"\r\n"
    long = _post("/sms/x", b"a" * 2000) if how == "with a length" else _IN_CHUNKS + chunk * 8
    with _connected(port) as sock:
        sock.sendall(long[:1500])
        while sock.recv(65536):
            pass  # until it is closed

    assert b"200 OK" in _asked(port, _post("/sms/x", b"next"))
    assert process.output().count("next") == 1


@pytest.mark.parametrize(
    "odd",
    [
        b"GET /sms/x\n\n",
        b"GET /sms/x HTTP/1.1\r\nA: " + b"a" * 70_000,
        b"POST /sms/x HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"POST /sms/x HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n" + b"1" * 9000,
        b"POST /sms/x HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
        b"POST /sms/x HTTP/1.1\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    ],
    ids=["bare line feeds", "endless head", "junk chunk", "endless chunk line", "two lengths", "both"],
)
def test_what_is_no_request_is_refused_at_once(web: tuple[Process, int], odd: bytes) -> None:
    process, port = web
    with _connected(port) as sock:
        sock.sendall(odd)
        answer = _answer(sock)

    assert answer[:10] in (b"HTTP/1.1 4", b"HTTP/1.1 5", b"")
    assert "served" not in process.output() or b"chunked" in odd


def test_tls_belongs_to_the_proxy(serve: Serve) -> None:
    with pytest.raises(Exception, match="end at the proxy"):
        serve("--proxy-protocol", "auto")
