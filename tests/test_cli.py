"""The operator's commands: data as JSON, and failures that say why and what to do."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from cryptography.fernet import Fernet
from flask import Flask

from app.domain.messages import IncomingMessage
from app.services import services
from app.store import accounts, messages, portals, tokens
from app.store.database import utcnow
from tests.product import a_portal, product

MEMBER = "a" * 32


@pytest.fixture
def app(tmp_path: Path) -> Iterator[Flask]:
    with product(tmp_path) as app:
        yield app


def run(app: Flask, *args: str) -> Result:
    return app.test_cli_runner().invoke(args=args)


def run_json(app: Flask, *args: str) -> Any:
    result = run(app, *args, "--json")
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def a_message(message_id: str = "m1", *, recipient: str = "+4915112345678") -> None:
    portal = portals.by_member(MEMBER)
    assert portal is not None
    handler_portal = portals.by_handler_secret(portals.handler_secret(portal.id))
    assert handler_portal is not None
    incoming = IncomingMessage(message_id=message_id, recipient=recipient, text="Hello", sender_code="sms")
    messages.accept(handler_portal, incoming, now=utcnow(), timing=services().timing)


def test_portals_are_listed_with_what_an_operator_asks_for(app: Flask) -> None:
    assert run_json(app, "portals", "list") == []
    a_portal()

    (facts,) = run_json(app, "portals", "list")

    assert facts["member_id"] == MEMBER
    assert facts["state"] == "new"
    assert facts["gateway"] is None
    assert facts["token_age_s"] >= 0
    assert facts["backlog"] == {"to_tell": 0}
    assert "access" not in json.dumps(run_json(app, "portals", "show", MEMBER))


def test_a_portal_that_is_not_there_is_named(app: Flask) -> None:
    for command in (["portals", "show"], ["messages", "list"], ["senders", "reconcile"]):
        result = run(app, *command, "b" * 32)

        assert result.exit_code == 1
        assert "b" * 32 in result.stderr
        assert result.stdout == ""


def test_gateways_are_listed_with_their_settings(app: Flask) -> None:
    found = {gateway["slug"]: gateway for gateway in run_json(app, "gateways", "list")}

    assert {"demo", "http", "twilio"} <= set(found)
    assert "url" in [field["name"] for field in found["http"]["fields"]]


def test_connecting_a_gateway_prints_the_report_url_and_keeps_it(app: Flask) -> None:
    a_portal()

    first = run_json(app, "gateways", "set", MEMBER, "http", "url=https://gateway.example.com/send")
    second = run_json(app, "gateways", "set", MEMBER, "http", "url=https://gateway.example.com/v2")

    assert first["report_url"].startswith("https://sms.example.com/reports/http/")
    assert second["report_url"] == first["report_url"]
    assert run_json(app, "portals", "show", MEMBER)["gateway"] == "http"


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["pigeon"], "no gateway is called pigeon"),
        (["http"], "url"),
        (["http", "url=ftp://x"], "url"),
        (["http", "url=https://gateway.example.com", "colour=red"], "colour"),
        (["http", "url"], "KEY=VALUE"),
    ],
)
def test_settings_that_cannot_work_are_named_and_nothing_is_stored(
    app: Flask, args: list[str], said: str
) -> None:
    a_portal()

    result = run(app, "gateways", "set", MEMBER, *args)

    assert result.exit_code == 1
    assert said in result.stderr
    assert run_json(app, "portals", "show", MEMBER)["gateway"] is None


def test_messages_are_listed_and_shown(app: Flask) -> None:
    a_portal()
    a_message("m1")
    a_message("m2", recipient="+4915112345679")

    listed = run_json(app, "messages", "list", MEMBER, "--limit", "1")
    shown = run_json(app, "messages", "show", MEMBER, "m1")

    assert [(m["message_id"], m["status"], m["recipient"]) for m in listed] == [
        ("m2", "queued", "+4915112345679")
    ]
    assert run_json(app, "messages", "list", MEMBER, "--status", "failed") == []
    assert {
        "message_id", "portal", "recipient", "text", "status", "gateway", "gateway_message_id", "segments",
        "encoding", "attempts", "received_at", "pushed_status", "events",
    } <= set(shown)  # fmt: skip
    assert [event["event"] for event in shown["events"]] == ["received"]


def test_a_message_on_its_way_is_not_sent_again(app: Flask) -> None:
    a_portal()
    a_message("m1")

    result = run(app, "messages", "resend", MEMBER, "m1")

    assert result.exit_code == 1
    assert "on its way" in result.stderr


def test_doctor_names_what_is_wrong_and_says_what_to_do(app: Flask) -> None:
    result = run(app, "doctor", "--json")

    checks = {check["check"]: check for check in json.loads(result.stdout)}
    assert result.exit_code == 1  # no worker is running here, and no authorization server is reached
    assert checks["database"]["ok"]
    assert checks["keys"]["ok"]
    assert "start `flask --app app worker`" in checks["worker"]["problem"]


def test_doctor_finds_a_missing_key(tmp_path: Path) -> None:
    other = "vQ0k0kKfYb0M1m4j3l2o5p6q7r8s9t0u1v2w3x4y5z4="
    with product(tmp_path) as app:
        a_portal()
        run_json(app, "gateways", "set", MEMBER, "http", "url=https://gateway.example.com/send")
    with product(tmp_path, ENCRYPTION_KEYS=other) as app:
        checks = {check["check"]: check for check in json.loads(run(app, "doctor", "--json").stdout)}

    assert "ENCRYPTION_KEYS" in checks["keys"]["problem"]


def test_after_a_rotation_the_new_key_alone_opens_everything(tmp_path: Path) -> None:
    old, new = (Fernet.generate_key().decode() for _ in range(2))
    with product(tmp_path, ENCRYPTION_KEYS=old) as app:
        portal = a_portal()
        url = run_json(app, "gateways", "set", MEMBER, "http", "url=https://x.example.com", "secret=s3cret")
        handler = portals.handler_secret(portal.id)

    with product(tmp_path, ENCRYPTION_KEYS=f"{new},{old}") as app:
        changed = run_json(app, "keys", "rotate")
    with product(tmp_path, ENCRYPTION_KEYS=new):
        found = portals.by_handler_secret(handler)
        account = accounts.default_of(portal.id)
        credential = tokens.service(portal.id)

    assert changed["portals"] == changed["credentials"] == changed["gateway_accounts"] == 1
    assert found is not None and found.id == portal.id
    assert account is not None and account.settings["secret"] == "s3cret"
    assert url["report_url"].endswith(account.report_secret)
    assert credential is not None and credential.tokens.refresh_token == "refresh"


def test_a_rotation_without_the_old_key_says_so(tmp_path: Path) -> None:
    with product(tmp_path):
        a_portal()
    with product(tmp_path, ENCRYPTION_KEYS=Fernet.generate_key().decode()) as app:
        result = run(app, "keys", "rotate")

    assert result.exit_code == 1
    assert "ENCRYPTION_KEYS" in result.stderr
