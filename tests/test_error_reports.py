"""Error reports: the trace goes out, and nothing that came with a request."""

from __future__ import annotations

import gzip
import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
import sentry_sdk

from app import error_reports


class Sentry(HTTPServer):
    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Take)
        self.bodies: list[bytes] = []
        self.dsn = f"http://key@127.0.0.1:{self.server_port}/1"

    @property
    def text(self) -> str:
        return b"".join(self.bodies).decode()


class _Take(BaseHTTPRequestHandler):
    server: Sentry

    def do_POST(self) -> None:
        self.server.bodies.append(gzip.decompress(self.rfile.read(int(self.headers["Content-Length"]))))
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def serving_sentry() -> Iterator[Sentry]:
    server = Sentry()
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    sentry_sdk.init()
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def sentry() -> Iterator[Sentry]:
    with serving_sentry() as server:
        yield server


def test_a_logged_error_is_reported_without_local_variables(sentry: Sentry) -> None:
    error_reports.set_up(sentry.dsn)

    try:
        hidden = "".join(["can", "ary"])
        raise RuntimeError(f"it broke after {len(hidden)} letters")
    except RuntimeError:
        logging.getLogger("app.test").exception("job failed")
    sentry_sdk.flush(timeout=5)

    sent = b"".join(sentry.bodies)
    assert b"job failed" in sent
    assert b"RuntimeError" in sent
    assert b"canary" not in sent
