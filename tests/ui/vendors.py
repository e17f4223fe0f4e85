"""Three vendors: their doubles answer, and report to the address that they were told."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import requests

Fields = dict[str, Any]


@dataclass(frozen=True)
class Vendor:
    """`typed`: what a customer has at hand, by the label of its field. `answer`: the body for a call (method,
    path, fields), and the report that follows: its address and its body."""

    card: str
    typed: Mapping[str, str]
    answer: Callable[[str, str, Fields, Fields], tuple[Any, tuple[str, Any] | None]]


def _seven(method: str, path: str, fields: Fields, kept: Fields) -> tuple[Any, tuple[str, Any] | None]:
    if path.endswith("/balance"):
        return {"amount": 12.5, "currency": "EUR"}, None
    if path.endswith("/hooks"):
        if method == "POST":
            kept["url"] = fields["target_url"]
        hooks = [{"id": 7, "target_url": kept["url"]}] if "url" in kept else []
        return {"success": True, "id": 7, "hooks": hooks}, None
    report = {"webhook_event": "dlr", "data": {"msg_id": "71", "status": "DELIVERED"}}
    message = {"id": "71", "success": True, "parts": 1}
    return {"success": "100", "messages": [message]}, (kept["url"], report)


def _vonage(_: str, path: str, fields: Fields, kept: Fields) -> tuple[Any, tuple[str, Any] | None]:
    if path.endswith("get-balance"):
        return {"value": 10.28, "autoReload": False}, None
    report = {"messageId": "V1", "status": "delivered", "client-ref": fields["client-ref"]}
    part = {"status": "0", "message-id": "V1", "message-price": "0.0333"}
    return {"message-count": "1", "messages": [part]}, (fields["callback"], report)


def _telnyx(_: str, path: str, fields: Fields, kept: Fields) -> tuple[Any, tuple[str, Any] | None]:
    if path.endswith("/balance"):
        return {"data": {"balance": "300.00", "currency": "USD"}}, None
    payload = {"id": "T1", "to": [{"status": "delivered"}]}
    report = {"data": {"event_type": "message.finalized", "payload": payload}}
    return {"data": {"id": "T1", "to": [{"status": "queued"}]}}, (fields["webhook_url"], report)


VENDORS = {
    "seven": Vendor("seven.io", {"API key": "seven-key-1"}, _seven),
    "vonage": Vendor(
        "Vonage", {"API key": "abcd1234", "API secret": "vonage-secret", "Originator": "ACME"}, _vonage
    ),
    "telnyx": Vendor("Telnyx", {"API key": "KEY0123", "Originator": "+14155552671"}, _telnyx),
}


@contextmanager
def doubles() -> Iterator[str]:
    """All of them on the loopback; gives GATEWAY_HOSTS."""
    with ExitStack() as stack:
        hosts = {slug: stack.enter_context(_double(vendor)) for slug, vendor in VENDORS.items()}
        yield ",".join(f"{slug}={origin}" for slug, origin in hosts.items())


@contextmanager
def _double(vendor: Vendor) -> Iterator[str]:
    kept: Fields = {}

    class Handler(BaseHTTPRequestHandler):
        def _answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0))).decode()
            fields = json.loads(body) if body[:1] == "{" else dict(parse_qsl(body))
            said, report = vendor.answer(self.command, urlsplit(self.path).path, fields, kept)
            text = json.dumps(said).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)
            if report is not None:
                Thread(target=_report, args=report, daemon=True).start()

        do_GET = do_POST = do_DELETE = _answer

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


def _report(url: str, body: Any) -> None:
    time.sleep(0.5)  # the message is out for a moment, so that a person sees it
    requests.post(url, json=body, timeout=10)
