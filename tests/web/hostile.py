"""Calls that nobody honest makes, over every route there is, by people who may do little or nothing.

`scripts/hostile.py` makes ten thousand of them, the suite some hundred. The routes are those of the
application, so a new one is attacked without a word here.
"""

from __future__ import annotations

import io
import json
import logging
import random
import socket
import string
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

import sqlalchemy as sa
from flask import Flask
from werkzeug.routing import Rule

from app.store.database import db, statement
from app.store.portals import portals
from sandbox.client import PortalSandbox
from sandbox.processes import PROJECT
from tests.worlds.product import ENVIRONMENT, product
from tests.worlds.visitor import Visitor

TEXT, NUMBER, SENDER = "canary in a text", "+4915119283746", "CANARYSENDER"
# What anybody may add to, within bounds that tests of their own hold.
_ANYBODYS = {"portal_events", "rest_calls", "parked_reports"}
# How many calls to the portal we may make, and when one of its users opened the app: its employee does.
_PASSING = {"bucket_level", "bucket_at", "opened_at", "looked_at"}
_SESSION_LASTS = 100  # calls
_METHODS = ("GET", "POST", "HEAD", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "PROPFIND")
_ODD = (
    "",
    "0",
    "-1",
    "1e9",
    "9" * 40,
    "../../etc/passwd",
    "..%2f..%2fapp",
    "%00",
    "\x00",
    "'; DROP TABLE messages; --",
    "1 OR 1=1",
    "{{7*7}}",
    "<script>alert(1)</script>",
    "=1+1",
    "\r\nX-Injected: 1",
    "\ud7ff\uffff",
    "ÄÖ" * 300,
    "a" * 20_000,
    "٣٤",
)
_TYPES = (
    "application/x-www-form-urlencoded",
    "application/x-www-form-urlencoded; charset=utf-16",
    "application/x-www-form-urlencoded; charset=nonsense",
    "application/json",
    "text/xml",
    "multipart/form-data; boundary=x",
    "multipart/form-data",
    "application/octet-stream",
    "\N{SNOWMAN}".encode().decode("latin-1"),
    "",
)


@dataclass
class Outcome:
    """What must be nothing: `broken` (answered 500), `told` (canaries), `changed` (tables), `called`."""

    calls: int = 0
    routes: int = 0
    answers: Counter[int] = field(default_factory=Counter)
    broken: list[str] = field(default_factory=list)
    told: list[str] = field(default_factory=list)
    changed: list[str] = field(default_factory=list)
    called: int = 0

    @property
    def is_clean(self) -> bool:
        return not (self.broken or self.told or self.changed or self.called)

    def lines(self) -> Iterator[str]:
        answers = ", ".join(f"{status}: {count}" for status, count in sorted(self.answers.items()))
        yield f"{self.calls} hostile calls over {self.routes} routes ({answers})"
        yield f"{len(self.changed)} accepted, {len(self.broken)} answered 500"
        yield f"{len(self.told)} canaries found, {self.called} connections to the canary's listener"
        for line in (self.broken + self.told + self.changed)[:30]:
            yield f"  {line}"


@contextmanager
def besieged(folder: Path, seed: int) -> Iterator[Siege]:
    """Two portals of one installation; the second one has everything worth having."""
    command = [sys.executable, "-m", "sandbox", "portal", "--state-dir", str(folder / "portal")]
    (folder / "portal").mkdir()
    written, stderr = io.StringIO(), sys.stderr
    handlers, level = list(logging.getLogger().handlers), logging.getLogger().level
    with (
        subprocess.Popen(command, cwd=PROJECT, stdout=subprocess.PIPE, text=True) as process,
        _Listener() as listener,
    ):
        assert process.stdout is not None
        said = json.loads(process.stdout.readline())
        places = [url.rpartition("//")[2] for url in (said["portal_url"], said["auth_url"])]
        variables = {
            "B24_OAUTH_SERVERS": said["auth_url"],
            "PRIVATE_HOSTS": ",".join(f"portal:{place}" for place in places),
            "DEMO_GATEWAY": "full",
            "LOG_LEVEL": "DEBUG",
        }
        sys.stderr = written
        try:
            with product(folder, **variables) as app, PortalSandbox(said["portal_url"]) as sandbox:
                sandbox.register_app(
                    ENVIRONMENT["B24_CLIENT_ID"], ENVIRONMENT["B24_CLIENT_SECRET"], "http://127.0.0.1:9"
                )
                yield Siege(app, sandbox, listener, written, seed)
        finally:
            sys.stderr = stderr
            logging.getLogger().handlers, logging.getLogger().level = handlers, level
            process.terminate()


class Siege:
    """`run` makes the calls and compares."""

    def __init__(
        self, app: Flask, sandbox: PortalSandbox, listener: _Listener, log: io.StringIO, seed: int
    ) -> None:
        self._app, self._sandbox, self._listener, self._log = app, sandbox, listener, log
        self._dice = random.Random(seed)
        self._rules = sorted(app.url_map.iter_rules(), key=lambda rule: rule.rule)
        self._victim = self._inside()
        self._own = self._inside()
        self._message = self._victim.message(TEXT, to=NUMBER)
        self._victim.submit("/ui/gateway", **{"gateway": "demo", "set-originator": SENDER})
        self._handler_secret = portals.handler_secret(self._victim.portal.id)
        self._employee = Visitor(app, self._victim.sandbox)
        self._sessions = self._tokens()
        self._secrets = self._canaries()

    def run(self, calls: int) -> Outcome:
        """So many calls, each by somebody with no right to what it asks."""
        outcome = Outcome(routes=len(self._rules))
        before = self._rows()
        for number in range(calls):
            if number % _SESSION_LASTS == _SESSION_LASTS - 1:
                self._sessions = self._tokens()  # one of the routes ends them all
            rule = self._rules[number % len(self._rules)]
            path = self._path(rule)
            method = self._method(rule)
            how = self._how(method)
            answer = self._victim.send(method, path, **how)
            outcome.calls += 1
            outcome.answers[answer.status_code] += 1
            if answer.status_code == 500:
                outcome.broken.append(f"{method} {path[:200]} {str(how)[:400]}")
            told = str(answer.headers) + answer.get_data().decode("utf-8", "replace")
            outcome.told += [f"{name} by {method} {path[:200]}" for name in self._found(told)]
        outcome.told += [f"{name} in the log" for name in self._found(self._log.getvalue())]
        after = self._rows()
        outcome.changed = [table for table in before if before[table] != after[table]]
        outcome.called = self._listener.connections
        return outcome

    def _inside(self) -> Visitor:
        visitor = Visitor(self._app, self._sandbox.on(self._sandbox.create_portals()[0]["portal"]))
        visitor.come_in()
        return visitor

    # --- who calls

    def _tokens(self) -> list[str]:
        """Nobody; an employee of the victim; another portal's administrator; invented and mangled ones."""
        self._employee.open(user=5)
        self._own.open()
        right = self._victim.token
        payload, _, signature = right.rpartition(".")
        return [
            "",
            self._employee.token,
            self._employee.token,
            self._own.token,
            self._own.token,
            right[:-2] + ("AA" if right[-2:] != "AA" else "BB"),
            f"{payload}.",
            f"{self._own.token.rpartition('.')[0]}.{signature}",
            "e30.e30",
            "x" * 5_000,
        ]

    # --- what they ask for

    def _method(self, rule: Rule) -> str:
        """Mostly one that the route knows, for the others are refused before anything is read."""
        known = sorted((rule.methods or set()) - {"HEAD", "OPTIONS"})
        return self._dice.choice(known if self._dice.random() < 0.85 else _METHODS)

    def _path(self, rule: Rule) -> str:
        path = rule.rule
        for name in rule.arguments:
            likely = [str(self._message.id), "1", "2", "demo", "twilio", self._handler_secret[:-1]]
            value = self._dice.choice(likely if self._dice.random() < 0.7 else _ODD)
            converter = next(each for each in path.split("<")[1:] if each.split(">")[0].endswith(name))
            path = path.replace(f"<{converter.split('>')[0]}>", quote(value, safe="", errors="replace"))
        return path if path.startswith("/") else f"/{path}"

    def _how(self, method: str) -> dict[str, Any]:
        headers = {
            "Sec-Fetch-Site": self._dice.choice(
                ["same-origin"] * 6 + ["cross-site", "same-site", "none", "odd"]
            ),
            "HX-Request": self._dice.choice(["true", "", "false"]),
            "X-Forwarded-For": self._dice.choice(["127.0.0.1", "10.0.0.1, 8.8.8.8", "x" * 500, "::1%lo"]),
            "X-Forwarded-Proto": self._dice.choice(["https", "gopher"]),
            "Origin": self._dice.choice(["https://evil.example", "null", "https://sms.example.com"]),
        }
        token = self._dice.choice(self._sessions)
        if token:
            headers["Authorization"] = f"Bearer {token}"
        how: dict[str, Any] = {"headers": headers}
        if self._dice.random() < 0.5:
            how["query_string"] = self._fields()
        if method not in ("GET", "HEAD", "OPTIONS"):
            how |= self._body()
        return how

    def _body(self) -> dict[str, Any]:
        kind = self._dice.randrange(6)
        if kind <= 2:
            return {
                "data": {name: value.encode("utf-8", "replace") for name, value in self._fields().items()}
            }
        content_type = self._dice.choice(_TYPES)
        bodies: list[Callable[[], bytes]] = [
            lambda: self._dice.randbytes(self._dice.randrange(2_000)),
            lambda: json.dumps(self._fields()).encode(),
            lambda: b"[" * 30_000,
            lambda: b'{"a":' * 20_000,
            lambda: b"&".join(b"a%d=1" % number for number in range(3_000)),
            lambda: b"auth[member_id]" + b"[x]" * 5_000 + b"=1",
            lambda: b"message_to=%ff%fe&message_body=%",
            lambda: b"<?xml version='1.0'?><!DOCTYPE a [<!ENTITY b SYSTEM 'file:///etc/passwd'>]><a>&b;</a>",
            lambda: b"x" * 10_000_000 if self._dice.random() < 0.05 else b"x" * 300_000,
        ]
        return {"data": self._dice.choice(bodies)(), "content_type": content_type}

    def _fields(self) -> dict[str, str]:
        """The names that our routes read, with values that they should not believe."""
        names = self._dice.sample(sorted(_NAMES), k=self._dice.randrange(1, 12))
        return {name: self._value(name) for name in names}

    def _value(self, name: str) -> str:
        victim, listener = self._victim, self._listener.port
        places = [f"{host}:{listener}" for host in _LOOPBACKS]
        by_name = {
            "member_id": [victim.member_id, self._own.member_id],
            "auth[member_id]": [victim.member_id],
            "DOMAIN": places,
            "auth[domain]": places,
            "auth[client_endpoint]": [f"http://{place}/rest/" for place in places],
            "auth[server_endpoint]": [f"http://{place}/rest/" for place in places],
            "SERVER_ENDPOINT": [f"http://{place}/rest/" for place in places],
            "event": ["ONAPPUNINSTALL", "ONAPPINSTALL", "ONAPPUPDATE", "ONAPPPAYMENT", "ONAPPTEST"],
            "gateway": ["demo", "http", "twilio", "kannel", "smpp", "smsgate"],
            "deed": ["export", "again", "resolve", "cancel"],
        }
        if name.startswith("set-") and self._dice.random() < 0.6:
            return self._dice.choice([f"http://{place}/x" for place in places] + places)
        if name in by_name and self._dice.random() < 0.8:
            return self._dice.choice(by_name[name])
        return self._dice.choice(_ODD)

    # --- what came of it

    def _canaries(self) -> dict[str, str]:
        """What no answer to these people and no line of the log may hold."""
        return {
            "the text": TEXT,
            "the number": NUMBER[3:],
            "the sender": SENDER,
            "the key of sessions": ENVIRONMENT["SECRET_KEY"],
            "the sealing key": ENVIRONMENT["ENCRYPTION_KEYS"],
            "the client secret": ENVIRONMENT["B24_CLIENT_SECRET"],
            "the administrator's session": self._victim.token,
            "the HANDLER's address": self._handler_secret,
        }

    def _found(self, said: str) -> list[str]:
        return [name for name, value in self._secrets.items() if value in said]

    def _rows(self) -> dict[str, list[Any]]:
        """Everything of the victim's, and how many portals there are."""
        portal_id = self._victim.portal.id
        rows: dict[str, list[Any]] = {}
        with statement() as connection:
            for table in db.metadata.sorted_tables:
                if table.name in _ANYBODYS:
                    continue
                if "portal_id" in table.c:
                    where = table.c.portal_id == portal_id
                elif table.name == "portals":
                    where = table.c.id == portal_id
                else:
                    continue
                columns = [column for column in table.c if column.name not in _PASSING]
                query = sa.select(*columns).where(where).order_by(*table.primary_key.columns)
                rows[table.name] = [tuple(row) for row in connection.execute(query)]
            count = sa.select(sa.func.count()).select_from(db.metadata.tables["portals"])
            rows["number of portals"] = [connection.scalar(count)]
        return rows


_LOOPBACKS = (
    "127.0.0.1",
    "localhost",
    "127.1",
    "2130706433",
    "0x7f000001",
    "0177.0.0.1",
    "0.0.0.0",
    "[::1]",
    "[::ffff:127.0.0.1]",
    "[::ffff:7f00:1]",
    "user@127.0.0.1",
    "127.0.0.1.",
    "①②⑦.0.0.1",
)
_NAMES = {
    *(
        "member_id",
        "DOMAIN",
        "PROTOCOL",
        "LANG",
        "APP_SID",
        "AUTH_ID",
        "REFRESH_ID",
        "AUTH_EXPIRES",
        "status",
    ),
    *("PLACEMENT", "PLACEMENT_OPTIONS", "SERVER_ENDPOINT", "APPLICATION_TOKEN", "event", "ts", "event_id"),
    *("auth[member_id]", "auth[domain]", "auth[client_endpoint]", "auth[server_endpoint]"),
    *("auth[access_token]", "auth[refresh_token]", "auth[application_token]", "auth[expires_in]"),
    *(
        "data[VERSION]",
        "data[CLEAN]",
        "data[ACTIVE]",
        "message_id",
        "message_to",
        "message_body",
        "type",
        "code",
    ),
    *("gateway", "deed", "key", "page", "since", "until", "q", "sender", "author", "columns", "ids", "row"),
    *(
        "set-url",
        "set-host",
        "set-api_key",
        "set-base_url",
        "set-balance_url",
        "set-originator",
        "set-status_url",
    ),
    *(
        "file",
        "lang",
        "theme",
        "text",
        "to",
        "MessageSid",
        "MessageStatus",
        "id",
        "secret",
        "force",
        "outcome",
    ),
    *(f"x{letter}" for letter in string.ascii_lowercase[:4]),
}


class _Listener:
    """Counts who connects. Nobody may."""

    def __init__(self) -> None:
        self.connections = 0
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._socket.getsockname()[1]

    def __enter__(self) -> _Listener:
        threading.Thread(target=self._listen, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()

    def _listen(self) -> None:
        while True:
            try:
                caller, _ = self._socket.accept()
            except OSError:
                return
            self.connections += 1
            caller.close()
