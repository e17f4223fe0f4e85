"""The operator's commands: data as JSON, and failures that say why and what to do."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import click
import pytest
from click.testing import Result
from cryptography.fernet import Fernet
from flask import Flask

from app import cli
from app.domain.messages import HandedMessage
from app.services import services
from app.store.accounts import accounts
from app.store.database import utcnow
from app.store.messages import acceptance
from app.store.portals import portals, tokens
from tests.worlds.product import a_portal, product

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
    incoming = HandedMessage(message_id=message_id, recipient=recipient, text="Hello", sender_code="sms")
    acceptance.accept(handler_portal, incoming, now=utcnow(), timing=services().timing)


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

    url = "url=https://gateway.example.com/send"
    first = run_json(app, "gateways", "set", MEMBER, "http", url)
    second = run_json(app, "gateways", "set", MEMBER, "http", url, "originator=ACME")
    moved = run_json(app, "gateways", "set", MEMBER, "http", "url=https://other.example.com/send")

    assert first["report_url"].startswith("https://sms.example.com/reports/http/")
    assert second["report_url"] == first["report_url"]
    assert moved["report_url"] != first["report_url"]  # another account, and the old one still hears its own
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


HTTP = ("gateways", "set", MEMBER, "http")
SEND = "url=https://gateway.example.com/send"


def stored(name: str) -> str:
    portal = portals.by_member(MEMBER)
    assert portal is not None
    account = accounts.default_of(portal.id)
    assert account is not None
    return account.settings[name]


def test_a_secret_comes_from_a_file_or_from_standard_input(app: Flask, tmp_path: Path) -> None:
    a_portal()
    kept = tmp_path / "key"
    kept.write_text("from the file\n")

    run_json(app, *HTTP, SEND, f"secret=@{kept}", "originator=@@home")
    from_file = stored("secret")
    typed = app.test_cli_runner().invoke(args=[*HTTP, SEND, "secret=@-"], input="from the input\n")

    assert from_file == "from the file"
    assert typed.exit_code == 0
    assert stored("secret") == "from the input"
    missing = run(app, *HTTP, SEND, f"secret=@{tmp_path}/nowhere")
    assert missing.exit_code == 1
    assert (
        missing.stderr.strip()
        == f"secret: the file {tmp_path}/nowhere cannot be read: No such file or directory"
    )


@pytest.mark.parametrize(
    "changed",
    [
        "url=https://stranger.example/send",
        "url=https://gateway.example.com:8443/send",
        "url=http://gateway.example.com/send",
        "check_url=https://stranger.example/balance",
    ],
)
def test_a_stored_secret_does_not_follow_an_address_elsewhere(tmp_path: Path, changed: str) -> None:
    with product(tmp_path, ALLOW_PRIVATE_NETWORK="1") as app:
        a_portal()
        run_json(app, *HTTP, SEND, "auth=bearer", "secret=K7canary", 'headers={"X-Key": "K7canary"}')

        result = run(app, *HTTP, SEND, "auth=bearer", changed)

        assert result.exit_code == 1
        assert "secret: “Secret” was saved for another address: enter it again." in result.stderr
        assert "headers: “Headers” was saved for another address: enter it again." in result.stderr
        assert (stored("url"), stored("secret")) == ("https://gateway.example.com/send", "K7canary")
        again = (SEND, "auth=bearer", changed, "secret=another", 'headers={"X-Key": "another"}')
        assert run(app, *HTTP, *again).exit_code == 0
        assert stored("secret") == "another"


def test_a_stored_secret_stays_with_another_path_of_its_address(app: Flask) -> None:
    a_portal()
    run_json(app, *HTTP, SEND, "auth=bearer", "secret=K7canary")

    run_json(app, *HTTP, "url=https://GATEWAY.example.com:443/v2", "auth=bearer")

    assert stored("secret") == "K7canary"


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


def test_what_is_for_development_only_is_said_at_the_start_and_by_doctor(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with product(
        tmp_path, ALLOW_PRIVATE_NETWORK="1", GATEWAY_HOSTS="smsc=http://127.0.0.1:9,pigeon=http://127.0.0.1:9"
    ) as app:
        started = capsys.readouterr().err
        said = run(app, "doctor").stdout

    for line in (started, said):
        assert "ALLOW_PRIVATE_NETWORK=1: administrators of every portal" in line
        assert "GATEWAY_HOSTS: messages of smsc, pigeon go to doubles" in line
        assert "GATEWAY_HOSTS: no gateway is called pigeon" in line


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


# --- secrets and the list of processes


def test_no_command_wants_a_secret_as_an_argument() -> None:
    """All that take one are `gateways set`, whose values may come from a file or from standard input."""

    def walk(command: click.Command, name: str) -> Iterator[tuple[str, str]]:
        if isinstance(command, click.Group):
            for each, inner in command.commands.items():
                yield from walk(inner, f"{name} {each}".strip())
        yield from ((name, str(each.name)) for each in command.params)

    secret = re.compile(r"token|secret|passw|key|credential")
    found = [each for command in cli.COMMANDS for each in walk(command, str(command.name))]

    assert [each for each in found if secret.search(each[1])] == []


@pytest.mark.parametrize(("is_a_person", "said"), [(True, "secret: everybody on this machine"), (False, "")])
def test_a_person_who_types_a_secret_is_told_who_sees_it(
    app: Flask, monkeypatch: pytest.MonkeyPatch, is_a_person: bool, said: str
) -> None:
    a_portal()
    terminal = SimpleNamespace(stderr=SimpleNamespace(isatty=lambda: is_a_person), stdin=sys.stdin)
    monkeypatch.setattr("app.cli.gateways.sys", terminal)

    typed = run(app, *HTTP, SEND, "secret=K7canary")
    hidden = run(app, *HTTP, SEND, "secret=@/dev/null")

    assert typed.stderr.startswith(said)
    assert bool(typed.stderr) is is_a_person
    assert "everybody" not in hidden.stderr
