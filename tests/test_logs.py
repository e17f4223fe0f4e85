"""Log lines and error reports: every secret, text and number that a line could quote is hidden in it."""

from __future__ import annotations

import io
import json
import logging
import secrets
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sentry_sdk
from flask import Flask, request
from sqlalchemy.engine import Engine as Database

from app import logs
from app.services import services
from app.store.portals import portals
from app.web.admin.frame import sessions
from tests.test_error_reports import Sentry, serving_sentry
from tests.worlds.product import ENVIRONMENT, a_portal, product


@pytest.fixture
def lines() -> Iterator[io.StringIO]:
    """What the handler of `logs.set_up` writes."""
    root = logging.getLogger()
    kept, level = list(root.handlers), root.level
    written = io.StringIO()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "stderr", written)
        logs.set_up("DEBUG", secrets=["the-operator's-own"])
        yield written
    root.handlers, root.level = kept, level


def parsed(written: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in written.getvalue().splitlines()]


@pytest.mark.parametrize("logger", ["app", "app.store", "gunicorn.error", "huey", "urllib3.connectionpool"])
@pytest.mark.parametrize(
    ("text", "canary"),
    [
        ("Exception on /sms/K7canary [POST]", "K7canary"),
        ("https://sms.example.com/base/reports/twilio/K7canary/r1?x=1", "K7canary"),
        ("GET %2Fsms%2FK7canary HTTP/1.1", "K7canary"),
        ("/REPORTS/http/K7canary", "K7canary"),
        ("https://oauth.bitrix.info/oauth/token/?client_secret=K7canary&refresh_token=x", "K7canary"),
        ("postgresql+psycopg://user:K7canary@host/name", "K7canary"),
        ("Authorization: Bearer K7canary.x", "K7canary"),
        ("{'Authorization': 'Basic Y2FuYXJ5Og=='}", "Y2FuYXJ5"),
        ("('AUTH_ID', 'K7canary')", "K7canary"),
        ("auth%5Baccess_token%5D=K7canary&x=1", "K7canary"),
        ("auth[application_token]=K7canary", "K7canary"),
        ('{"api_key": "K7canary \\" and more"}', "K7canary"),
        ("password: K7canary", "K7canary"),
        ("message_body=K7canary+and+more&message_to=1", "K7canary"),
        ("KeyError: '+4915112345678'", "15112345"),
        ("message_to=%2B4915112345678", "15112345"),
        ("it was the-operator's-own", "operator's"),
        (f"no row for {'aB3' * 11}", "aB3aB3"),
        (f"no row for {'0a' * 35}", "0a0a"),
    ],
)
def test_a_line_hides_it_whatever_logger_writes_it(
    lines: io.StringIO, logger: str, text: str, canary: str
) -> None:
    try:
        raise ValueError(text)
    except ValueError as error:
        logging.getLogger(logger).error(
            "it broke: %s", text, extra={"why": str(error), "more": {"in": [text]}}
        )
        logging.getLogger(logger).exception(text)

    assert len(parsed(lines)) == 2
    assert canary not in lines.getvalue()
    assert "Traceback" in lines.getvalue()


def test_what_an_operator_needs_stays_readable(lines: io.StringIO) -> None:
    member_id = "0123456789abcdef0123456789abcdef"

    logging.getLogger("app").warning(
        "event refused by app/web/calls/events.py",
        extra={
            "install": 7,
            "member_id": member_id,
            "message_id": "aB3" * 11,
            "code": "ERROR_UNEXPECTED_ANSWER",
        },
    )

    (line,) = parsed(lines)
    assert line["event"] == "event refused by app/web/calls/events.py"
    assert (line["install"], line["member_id"], line["message_id"]) == (7, member_id, "aB3" * 11)
    assert line["code"] == "ERROR_UNEXPECTED_ANSWER"


def test_a_field_never_takes_the_lines_own_place(lines: io.StringIO) -> None:
    logging.getLogger("app").warning(
        "event refused", extra={"event": "ONAPPINSTALL", "level": "none", "ts": 0, "room": "mine"}
    )

    (line,) = parsed(lines)
    assert (line["event"], line["level"], line["room"]) == ("event refused", "warning", "app")
    assert (line["event_"], line["level_"], line["ts_"], line["room_"]) == ("ONAPPINSTALL", "none", 0, "mine")


def test_a_line_that_cannot_be_written_is_not_printed_raw(lines: io.StringIO) -> None:
    (ours,) = (handler for handler in logging.getLogger().handlers if isinstance(handler, logs.Lines))

    ours.handle(logging.makeLogRecord({"name": "app", "msg": "%d numbers", "args": ("K7canary",)}))

    (line,) = parsed(lines)
    assert (line["event"], line["why"]) == ("a log line could not be written", "TypeError")


def test_a_thread_that_breaks_ends_in_the_log(lines: io.StringIO, monkeypatch: pytest.MonkeyPatch) -> None:
    def work() -> None:
        raise RuntimeError("no answer from /sms/K7canary")

    monkeypatch.setattr(threading, "excepthook", threading.__excepthook__)
    monkeypatch.setattr(sys, "stderr", lines)
    logs.set_up("INFO")

    thread = threading.Thread(target=work, name="aside")
    thread.start()
    thread.join()

    (line,) = parsed(lines)
    assert (line["event"], line["thread_name"]) == ("a thread ended by an exception", "aside")
    assert "RuntimeError" in line["trace"]
    assert "K7canary" not in lines.getvalue()


# --- every route's error path, of the real application

CANARY_TEXT = "canarytext"
CANARY_NUMBER = "+4915112345678"


@pytest.fixture
def broken(tmp_path: Path, lines: io.StringIO) -> Iterator[tuple[Flask, Sentry, io.StringIO]]:
    """The application over a database that fails in a way nobody foresaw, quoting the whole request."""
    with serving_sentry() as sentry, product(tmp_path, SENTRY_DSN=sentry.dsn) as app:
        a_portal()
        yield app, sentry, lines


def _quote_everything(*_: Any, **__: Any) -> Any:
    form = request.form.to_dict()
    raise RuntimeError(f"{request.url} {dict(request.headers)} {form} {request.get_data(as_text=True)}")


def test_no_error_path_of_any_route_tells_a_secret(
    broken: tuple[Flask, Sentry, io.StringIO], monkeypatch: pytest.MonkeyPatch
) -> None:
    app, sentry, lines = broken
    canaries = {
        name: secrets.token_urlsafe(24) for name in ("path", "query", "access", "refresh", "application")
    }
    portal = portals.by_id(1)
    canaries["session"] = sessions.issue(sessions.Session(portal, "1", "en", "UTC", is_admin=True))
    form = {
        "member_id": portal.member_id,
        "AUTH_ID": canaries["access"],
        "REFRESH_ID": canaries["refresh"],
        "APPLICATION_TOKEN": canaries["application"],
        "auth[access_token]": canaries["access"],
        "auth[application_token]": canaries["application"],
        "auth[member_id]": portal.member_id,
        "event": "ONAPPUPDATE",
        "message_id": "m1",
        "message_to": CANARY_NUMBER,
        "message_body": CANARY_TEXT,
    }
    monkeypatch.setattr(Database, "connect", _quote_everything)
    client = app.test_client(use_cookies=False)
    broke = []
    for rule in app.url_map.iter_rules():
        arguments = {name: "demo" if name == "gateway" else canaries["path"] for name in rule.arguments}
        with app.test_request_context():
            path = str(
                app.url_for(
                    rule.endpoint, **{n: 1 if n in _numbers(rule) else a for n, a in arguments.items()}
                )
            )
        for method in (rule.methods or set()) & {"GET", "POST"}:
            answer = client.open(
                path,
                method=method,
                query_string={"auth": canaries["query"]},
                data=form if method == "POST" else None,
                headers={
                    "Authorization": f"Bearer {canaries['session']}",
                    "HX-Request": "true",
                    "Sec-Fetch-Site": "same-origin",
                },
            )
            if answer.status_code == 500:
                broke.append(rule.rule)
            assert not [
                name for name, value in canaries.items() if name != "session" and value in answer.text
            ]
    sentry_sdk.flush(timeout=10)
    told = lines.getvalue() + sentry.text

    assert {"/sms/<secret>", "/reports/<gateway>/<secret>", "/events", "/install", "/app"} <= set(broke)
    assert len(broke) > 20
    assert lines.getvalue().count("Exception on") == len(broke)
    assert "RuntimeError" in sentry.text
    found = {name for name, value in canaries.items() if value in told}
    assert found == set()
    assert CANARY_TEXT not in told
    assert CANARY_NUMBER.removeprefix("+49")[:9] not in told
    assert not [
        name for name in ("SECRET_KEY", "ENCRYPTION_KEYS", "B24_CLIENT_SECRET") if ENVIRONMENT[name] in told
    ]


def _numbers(rule: Any) -> set[str]:
    return {
        name for name, converter in rule._converters.items() if type(converter).__name__ == "IntegerConverter"
    }


def test_no_job_tells_a_secret(broken: tuple[Flask, Sentry, io.StringIO]) -> None:
    _, sentry, lines = broken
    canary = secrets.token_urlsafe(24)

    def job(_: int) -> None:
        raise RuntimeError(f"https://oauth.example/?refresh_token={canary} and /sms/{canary}")

    services().engine.register("broken", job)

    services().engine.perform("broken", 1)
    sentry_sdk.flush(timeout=10)

    assert "job failed" in lines.getvalue() and "job failed" in sentry.text
    assert canary not in lines.getvalue() + sentry.text
