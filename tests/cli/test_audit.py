"""The audit log of the operator's commands: none that changes something is without its row."""

from __future__ import annotations

import json
import os
import pwd
import socket
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import Result
from flask import Flask

from app import cli
from app.domain.audit import Action, Who
from app.jobs import sweep
from app.services import services
from app.store import audit, instances
from app.store.audit import Entry
from app.store.database import utcnow, writing
from app.store.instances import Instance
from app.store.portals import senders
from app.store.tables import audit_log
from app.store.tables import messages as rows
from tests.cli.test_commands import MEMBER, a_message, run, run_json
from tests.worlds.product import a_portal, product

OTHER, NUMBER = "b" * 32, "+4915112345678"
ME = f"{pwd.getpwuid(os.getuid()).pw_name}@{socket.gethostname()}"
READS = {
    "audit list", "bulk list", "bulk show", "dead list", "doctor", "gateways accounts",
    "gateways list", "messages follow",
    "portals calls", "portals errors", "portals events", "portals list", "portals show", "senders list",
    "smpp", "statistics check", "status", "worker", "workers list",
}  # fmt: skip
# What an operator types -> what has to be written down, whether or not Bitrix24 is reached.
DEEDS = {
    "gateways set": (Action.GATEWAY_CONNECTED, [MEMBER, "demo"]),
    "gateways renew-address": (Action.ADDRESS_RENEWED, [MEMBER]),
    "keys rotate": (Action.KEYS_ROTATED, []),
    "messages list": (Action.NUMBER_SHOWN, [MEMBER]),
    "messages show": (Action.NUMBER_SHOWN, [MEMBER, "m1"]),
    "messages resend": (Action.MESSAGE_SENT_AGAIN, [MEMBER, "failed"]),
    "messages resolve": (Action.MESSAGE_RESOLVED, [MEMBER, "unknown", "failed"]),
    "messages restored": (Action.MESSAGES_DOUBTED, []),
    "dead retry": (Action.MESSAGE_SENT_AGAIN, ["--all", "--force"]),
    "dead end": (Action.MESSAGE_ENDED, [MEMBER, "dead"]),
    "workers drain": (Action.HOST_DRAINED, ["here"]),
    "workers continue": (Action.HOST_CONTINUED, ["here"]),
    "bulk start": (Action.BULK_STARTED, ["cancel", MEMBER, "--status", "queued", "--yes"]),
    "bulk stop": (Action.BULK_STOPPED, [MEMBER, "1"]),
    "bulk file": (Action.EXPORT_FETCHED, [MEMBER, "1"]),
    "messages cancel": (Action.MESSAGE_ENDED, [MEMBER, "m1"]),
    "portals pause": (Action.PORTAL_PAUSED, [MEMBER, "--why", f"ask {NUMBER}"]),
    "portals continue": (Action.PORTAL_CONTINUED, [MEMBER]),
    "portals end-sessions": (Action.SESSIONS_ENDED, [MEMBER]),
    "purge": (Action.MESSAGES_PURGED, []),
    "senders add": (Action.SENDER_ADDED, [MEMBER, "NEW"]),
    "senders change": (Action.SENDER_CHANGED, [MEMBER, "sms_2", "--originator", "OTHER"]),
    "senders remove": (Action.SENDER_REMOVED, [MEMBER, "sms_2"]),
    "senders renew-address": (Action.ADDRESS_RENEWED, [MEMBER]),
    "senders reconcile": (Action.SENDERS_REGISTERED, [MEMBER]),
    "erase number": (Action.NUMBER_ERASED, [MEMBER, NUMBER, "--yes"]),
    "erase portal": (Action.PORTAL_ERASED, [MEMBER, "--yes", "--force"]),
}

AFTER = {
    "gateways renew-address": ("gateways", "set", MEMBER, "demo"),
    "portals continue": ("portals", "pause", MEMBER),
    "workers continue": ("workers", "drain", "here"),
    "bulk stop": ("bulk", "start", "cancel", MEMBER, "--yes"),
    "bulk file": ("bulk", "start", "export", MEMBER),
}


@pytest.fixture
def app(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Flask]:
    with product(tmp_path) as app:
        monkeypatch.setattr("app.cli.erase.STILL_KNOWN_S", 0.0)
        portal = a_portal()
        for message_id, values in (
            ("m1", {}),
            ("failed", {"status": "failed", "work": "closed", "reason": "refused", "due_at": None}),
            ("unknown", {"status": "unknown", "work": "waiting", "reason": "unknown"}),
            ("dead", {"status": "failed", "work": "closed", "reason": "dead_letter", "due_at": None}),
        ):
            a_message(message_id, recipient=NUMBER)
            if values:
                with writing() as connection:
                    mine = rows.c.message_id == message_id
                    connection.execute(rows.update().where(mine).values(**values))
        texts: dict[str, Any] = {"originator": "ACME", "name": {}, "description": {}}
        instances.say(Instance("worker here:1", "worker", "here", "1", "working", utcnow(), utcnow()))
        senders.ensure_first(portal.id)
        senders.add(portal.id, **texts, now=utcnow())
        yield app


def _commands(group: click.Group, before: str = "") -> Iterator[str]:
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from _commands(command, f"{before}{name} ")
        else:
            yield before + name


def test_every_command_reads_or_is_among_the_deeds_above() -> None:
    ours = set(_commands(click.Group(commands={str(each.name): each for each in cli.COMMANDS})))

    assert ours - READS - set(DEEDS) == set(), "say in DEEDS what it writes down, or that it reads"


@pytest.mark.parametrize("command", sorted(DEEDS))
def test_no_deed_of_a_command_is_without_its_row(app: Flask, command: str) -> None:
    action, args = DEEDS[command]
    if command in AFTER:
        run(app, *AFTER[command])
    if command == "bulk file":
        services().engine._jobs["bulk"](1)  # what the worker does with it

    result = run(app, *command.split(), *args)

    row = audit.everywhere(audit.Filters(action=action), limit=1)[0]
    assert (row.who, row.name) == (Who.OPERATOR, ME), result.output
    assert NUMBER[1:] not in str(row)


def test_whatever_comes_after_a_command_is_not_the_operators(app: Flask) -> None:
    run(app, "portals", "list")

    assert not audit.is_a_person()


def test_the_log_is_narrowed_and_turned(app: Flask) -> None:
    a_portal(OTHER)
    run(app, "portals", "end-sessions", MEMBER)
    run(app, "portals", "end-sessions", OTHER)
    run(app, "keys", "rotate")

    def listed(*args: str) -> list[tuple[str, str]]:
        return [(row["action"], row["member_id"]) for row in run_json(app, "audit", "list", *args)]

    ended = [("sessions.ended", OTHER), ("sessions.ended", MEMBER)]
    assert listed("--action", "sessions") == ended
    assert listed("--who", "operator") == [("server.keys_rotated", ""), *ended]
    assert listed(MEMBER, "--who", "operator") == ended[1:]
    assert listed("--name", "nobody@nowhere") == []
    assert listed("--until", "2020-01-01") == []
    newest = run_json(app, "audit", "list", "--limit", "1")[0]
    assert listed("--who", "operator", "--before", str(newest["id"])) == ended
    assert "sessions.ended" in run(app, "audit", "list").stdout


def test_an_erased_portal_leaves_one_row_without_its_name(app: Flask) -> None:
    run(app, "erase", "portal", MEMBER, "--yes", "--force")

    (row,) = run_json(app, "audit", "list", MEMBER)

    assert row["action"] == "portal.erased"
    assert row["member_id"] == ""
    assert MEMBER not in json.dumps(row)
    assert all(entry.member_id == "" for entry in audit.everywhere(limit=99))


def test_a_dry_run_and_a_refusal_leave_no_row(app: Flask) -> None:
    before = audit.everywhere(limit=99)

    refused = [
        run(app, "messages", "resend", MEMBER, "m1"),
        run(app, "senders", "remove", MEMBER, "sms_9"),
        run(app, "gateways", "set", MEMBER, "http"),
    ]
    run(app, "purge", "--dry-run")

    assert [result.exit_code for result in refused] == [1, 1, 1]
    assert audit.everywhere(limit=99) == before


def test_a_deed_that_fails_takes_its_row_along(app: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both are one transaction: what breaks between them leaves neither."""
    real = audit.record

    def broken(*args: Any, **facts: Any) -> None:
        real(*args, **facts)
        raise RuntimeError("after the row")

    monkeypatch.setattr(audit, "record", broken)
    result: Result = run(app, "senders", "remove", MEMBER, "sms_2")

    assert isinstance(result.exception, RuntimeError)
    assert audit.everywhere(audit.Filters(action="sender.removed"), limit=1) == []
    assert [s.code for s in senders.of_portal(1) if not s.is_removed] == ["sms", "sms_2"]


# --- kept for a year


def _aged(entry: Entry, age: timedelta) -> None:
    with writing() as connection:
        mine = audit_log.c.id == entry.id
        connection.execute(audit_log.update().where(mine).values(at=utcnow() - age))


def test_a_row_is_kept_for_a_year_and_longer_than_the_messages(app: Flask) -> None:
    for _ in range(2):
        run(app, "portals", "end-sessions", MEMBER)
    new, old = audit.everywhere(audit.Filters(action="sessions"), limit=2)
    _aged(new, timedelta(days=364))
    _aged(old, timedelta(days=366))

    sweep.sweep(services())

    assert [row.id for row in audit.everywhere(audit.Filters(action="sessions"), limit=9)] == [new.id]


def test_an_erasure_of_a_number_goes_through_the_log_too(app: Flask) -> None:
    run(app, "senders", "change", MEMBER, "sms_2", "--name", f"Call 0151 12345678 or {NUMBER}")
    assert "12345678" in str(audit.everywhere(audit.Filters(action="sender.changed"), limit=1))

    run(app, "erase", "number", MEMBER, NUMBER, "--yes")

    assert "12345678" not in str(audit.everywhere(limit=99))
