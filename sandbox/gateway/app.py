"""The gateway's HTTP side: the API for customers under /v1, the controls under /sandbox."""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import struct
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Any
from urllib.parse import parse_qsl, unquote

from sandbox.gateway.behaviour import Account, Accounts, Behaviour, BehaviourInvalid
from sandbox.gateway.ledger import Ledger, Message
from sandbox.gateway.reports import Job, ReportSender, plan
from sandbox.serving import ABORT_KEY

_REASONS = {
    200: "OK",
    202: "Accepted",
    302: "Found",
    400: "Bad Request",
    401: "Unauthorized",
    402: "Payment Required",
    404: "Not Found",
    405: "Method Not Allowed",
    429: "Too Many Requests",
    500: "Internal Server Error",
    502: "Bad Gateway",
    503: "Service Unavailable",
    504: "Gateway Timeout",
}
_PAGE = 1_000
_FIELDS = ("to", "text", "from", "reference", "callback")
_HTML = "<!doctype html><title>Maintenance</title><p>Please come back later.</p>"

Environ = dict[str, Any]
Answer = tuple[int, Any, dict[str, str]]


class _NoAnswer(Exception):
    """The connection was dealt with; nothing more goes out on it."""


class GatewayApp:
    """The WSGI application."""

    def __init__(self, ledger: Ledger, *, report_threads: int = 8) -> None:
        self.ledger = ledger
        self.accounts = Accounts()
        self.reports = ReportSender(ledger, report_threads)

    def close(self) -> None:
        self.reports.close()

    def __call__(self, environ: Environ, start_response: Callable[..., Any]) -> Iterable[bytes]:
        try:
            status, content, headers = self._route(environ)
        except _NoAnswer:
            return []
        except BehaviourInvalid as error:
            status, content, headers = 400, {"error": {"code": "behaviour", "text": str(error)}}, {}
        body = content.encode() if isinstance(content, str) else json.dumps(content).encode()
        kind = "text/html; charset=utf-8" if isinstance(content, str) else "application/json"
        start_response(_status_line(status), [("Content-Type", kind), *headers.items()])
        return [body]

    def _route(self, environ: Environ) -> Answer:
        method, path = environ["REQUEST_METHOD"], environ["PATH_INFO"]
        if path == "/v1/messages" and method in ("GET", "POST"):
            return self._submit(environ)
        if path.startswith("/v1/"):
            return self._read_api(environ, path)
        if path.startswith("/sandbox/"):
            return self._control(method, path, environ)
        return _error(404, "not_found", "There is no such page.")

    # --- the customers' API

    def _account(self, environ: Environ) -> Account | None:
        scheme, _, key = environ.get("HTTP_AUTHORIZATION", "").partition(" ")
        key = key.strip() if scheme.lower() == "bearer" else environ.get("HTTP_X_API_KEY", "")
        key = key or dict(parse_qsl(environ.get("QUERY_STRING", ""))).get("key", "")
        return self.accounts.get(key)

    def _submit(self, environ: Environ) -> Answer:
        account = self._account(environ)
        if account is None:
            return _error(401, "unauthorized", "The key is not known.")
        try:
            entry = _entry(environ)
        except ValueError:
            return _error(400, "malformed", "The body is neither a JSON object nor a form.")
        if not entry["to"] or not entry["text"]:
            return _error(400, "1002", "A message needs to and text.")
        key = f"{entry['to']}:{entry['text']}"
        attempt = self.ledger.next_attempt(account.key, entry["to"], entry["text"])
        behaviour = account.choose(entry["to"], key, attempt, time.monotonic())
        if account.credit == 0 and behaviour.takes_message:
            behaviour = Behaviour(answer="no_money")
        if behaviour.latency_s:
            time.sleep(behaviour.latency_s)
        return self._act(account, entry, behaviour, environ)

    def _act(self, account: Account, entry: dict[str, str], behaviour: Behaviour, environ: Environ) -> Answer:
        message, is_new = self.ledger.record_submission(
            account.key,
            entry,
            behaviour.answer,
            take=behaviour.takes_message,
            deduplicate=behaviour.deduplicate,
        )
        if message is not None and is_new:
            if account.credit is not None:
                account.credit = max(account.credit - 1, 0)
            self._report(message, behaviour)
        if behaviour.kill_pid > 1:
            with suppress(ProcessLookupError):
                os.kill(behaviour.kill_pid, signal.SIGKILL)
        return _answer(behaviour, message, environ)

    def _report(self, message: Message, behaviour: Behaviour) -> None:
        if not message.callback:
            return
        reports = behaviour.reports
        planned = [(delay_s, Job(message, word, reports)) for delay_s, word in plan(message, behaviour)]
        if reports.early and planned:
            self.reports.send_now(planned.pop(0)[1])
        self.reports.schedule(planned)

    def _read_api(self, environ: Environ, path: str) -> Answer:
        account = self._account(environ)
        if account is None:
            return _error(401, "unauthorized", "The key is not known.")
        if path == "/v1/balance":
            credit = 1_000_000 if account.credit is None else account.credit
            return 200, {"balance": f"{credit}.00", "currency": "EUR"}, {}
        kind, _, name = path.removeprefix("/v1/").partition("/")
        message = None
        if kind == "messages":
            message = self.ledger.find(name)
        elif kind == "references":
            message = self.ledger.find_reference(account.key, unquote(name))
        if message is None or message.account != account.key:
            return _error(404, "not_found", "There is no such message.")
        return (
            200,
            {"id": message.id, "reference": message.reference, "status": message.final or "ACCEPTED"},
            {},
        )

    # --- the controls

    def _control(self, method: str, path: str, environ: Environ) -> Answer:
        match (method, path.removeprefix("/sandbox/")):
            case ("GET", "ledger"):
                return 200, {**self.ledger.summary(), "reports_waiting": self.reports.waiting}, {}
            case ("GET", "messages"):
                return self._list_messages(dict(parse_qsl(environ["QUERY_STRING"])))
            case ("GET", "behaviour"):
                return 200, {"accounts": [account.as_json() for account in self.accounts.all()]}, {}
            case ("POST", "behaviour"):
                return self._set_behaviour(_json_object(environ))
            case ("POST", "accounts"):
                return self._set_account(_json_object(environ))
            case ("POST", "report"):
                return self._send_report(_json_object(environ))
            case ("POST", "reset"):
                return self._reset(_json_object(environ))
        return _error(404, "not_found", "There is no such control.")

    def _list_messages(self, query: dict[str, str]) -> Answer:
        if "reference" in query:
            found = [
                message
                for account in self.accounts.all()
                if (message := self.ledger.find_reference(account.key, query["reference"]))
            ]
            return 200, {"messages": [message.as_json() for message in found], "next": None}, {}
        after, limit = int(query.get("after", 0)), int(query.get("limit", _PAGE))
        page = self.ledger.page(after, limit)
        wanted = [message for message in page if query.get("to") in (None, message.to)]
        following = after + len(page) if len(page) == limit else None
        return 200, {"messages": [message.as_json() for message in wanted], "next": following}, {}

    def _set_behaviour(self, order: dict[str, Any]) -> Answer:
        unknown = set(order) - {"account", "suffix", "next", "behaviour"}
        if unknown:
            raise BehaviourInvalid(f"no such fields: {', '.join(sorted(unknown))}")
        changes = order.get("behaviour", {})
        accounts = [self.accounts.make(order["account"])] if order.get("account") else self.accounts.all()
        for account in accounts:
            try:
                if order.get("next"):
                    account.add_next(int(order["next"]), changes)
                elif order.get("suffix"):
                    account.set_suffix(str(order["suffix"]), changes)
                else:
                    account.set_base(changes)
            except (TypeError, ValueError, AttributeError) as error:
                raise BehaviourInvalid(str(error)) from error
        return 200, {"ok": True}, {}

    def _set_account(self, order: dict[str, Any]) -> Answer:
        account = self.accounts.make(str(order["key"]))
        if "credit" in order:
            account.credit = None if order["credit"] is None else int(order["credit"])
        return 200, account.as_json(), {}

    def _send_report(self, order: dict[str, Any]) -> Answer:
        """Send one more word about a message, now: a late or a contradicting report."""
        message = self.ledger.find(str(order.get("id", "")))
        if message is None or not message.callback:
            return _error(404, "not_found", "There is no such message, or it has no callback.")
        account = self.accounts.make(message.account)
        self.reports.send_now(Job(message, str(order["status"]), account.base.reports))
        return 200, {"answer": message.sent[-1][1]}, {}

    def _reset(self, order: dict[str, Any]) -> Answer:
        for account in self.accounts.all():
            account.reset()
        if not order.get("keep_ledger"):
            self.reports.forget()
            self.ledger.clear()
        return 200, {"ok": True}, {}


# --- reading


def _json_object(environ: Environ) -> dict[str, Any]:
    raw = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
    parsed = json.loads(raw) if raw else {}
    if not isinstance(parsed, dict):
        raise BehaviourInvalid("the body must be a JSON object")
    return parsed


def _entry(environ: Environ) -> dict[str, str]:
    if environ["REQUEST_METHOD"] == "GET":
        given = dict(parse_qsl(environ.get("QUERY_STRING", ""), keep_blank_values=True))
        return {name: given.get(name, "") for name in _FIELDS}
    raw: bytes = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
    if "json" in environ.get("CONTENT_TYPE", ""):
        given = json.loads(raw)
        if not isinstance(given, dict):
            raise ValueError
    else:
        given = dict(parse_qsl(raw.decode("utf-8"), keep_blank_values=True))
    return {name: str(given.get(name) or "") for name in _FIELDS}


# --- answering


def _status_line(status: int) -> str:
    return f"{status} {_REASONS.get(status, 'Odd')}"


def _error(status: int, code: str, text: str, headers: dict[str, str] | None = None) -> Answer:
    return status, {"error": {"code": code, "text": text}}, headers or {}


def _answer(behaviour: Behaviour, message: Message | None, environ: Environ) -> Answer:
    accepted = {"id": message.id if message else None, "status": "ACCEPTED"}
    wait = {"Retry-After": behaviour.retry_after} if behaviour.retry_after else {}
    match behaviour.answer:
        case "accept":
            return 202, accepted, {}
        case "no_id":
            return 202, {"status": "ACCEPTED"}, {}
        case "html":
            return 200, _HTML, {}
        case "huge":
            return 200, "x" * 2_000_000, {}
        case "error_after" | "error_before":
            return _error(behaviour.status or 500, "internal", "Something broke.")
        case "unavailable":
            return _error(503, "unavailable", "Come back later.", wait)
        case "rate_limit":
            return _error(429, "too_fast", "Too many requests.", wait)
        case "unauthorized":
            return _error(401, "unauthorized", "The key is not known.")
        case "no_money":
            return _error(402, "no_money", "The account has no money left.")
        case "reject":
            return _error(behaviour.status or 400, behaviour.code, "The message is refused.")
        case "redirect":
            return _error(302, "moved", "Go there.", {"Location": behaviour.location})
    _misbehave(behaviour, accepted, environ)
    raise _NoAnswer


def _misbehave(behaviour: Behaviour, accepted: dict[str, Any], environ: Environ) -> None:
    """The faults that no WSGI answer can express; they write to the connection itself."""
    sock = _socket_of(environ)
    body = json.dumps(accepted).encode()
    head = b"HTTP/1.1 202 Accepted\r\nContent-Type: application/json\r\nConnection: close\r\n"
    head += b"Content-Length: %d\r\n\r\n" % len(body)
    with suppress(OSError):
        match behaviour.answer:
            case "hang" | "hang_before":
                _wait_while_open(sock, behaviour.hang_s)
            case "truncated":
                sock.sendall(head + body[: len(body) // 2])
            case "slow":
                sock.sendall(head)
                _drip(sock, body, behaviour.slow_s)
            case "slow_head":
                _drip(sock, head + body, behaviour.slow_s)
            case "reset" | "reset_before":
                _reset_connection(sock)
    environ[ABORT_KEY]()


def _socket_of(environ: Environ) -> socket.socket:
    # The server hands out the way to drop a connection as a method of that connection.
    sock: socket.socket = environ[ABORT_KEY].__self__.sock
    return sock


def _wait_while_open(sock: socket.socket, seconds: float) -> None:
    """Say nothing until the time is over or the caller has hung up."""
    poll = select.poll()
    poll.register(sock, select.POLLIN | select.POLLRDHUP)
    poll.poll(seconds * 1000)


def _drip(sock: socket.socket, data: bytes, seconds: float) -> None:
    for position in range(len(data)):
        sock.sendall(data[position : position + 1])
        time.sleep(seconds / len(data))


def _reset_connection(sock: socket.socket) -> None:
    # Closing with unsent time zero sends RST in place of FIN; the descriptor has to go at once for that.
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    os.close(sock.detach())
