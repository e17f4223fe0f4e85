"""The operator does to many messages what the pages do, by the same rules."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from flask import Flask

from app import wiring
from app.services import services
from app.store.bulk import jobs
from app.store.messages import messages
from app.store.portals import portals
from tests.cli.test_commands import MEMBER, a_message, run, run_json
from tests.worlds.fields import set_message
from tests.worlds.product import a_portal, product


@pytest.fixture
def app(tmp_path: Path) -> Iterator[Flask]:
    with product(tmp_path) as app:
        a_portal()
        for number in range(3):
            a_message(f"m{number}")
            _set(f"m{number}", status="failed", work="closed", reason="refused", due_at=None)
        yield app


def _portal_id() -> int:
    portal = portals.by_member(MEMBER)
    assert portal is not None
    return portal.id


def _set(message_id: str, **values: object) -> None:
    message = messages.find(_portal_id(), message_id)
    assert message is not None
    set_message(message.id, **values)


def _status(message_id: str) -> str:
    message = messages.find(_portal_id(), message_id)
    assert message is not None
    return message.status.value


def _work() -> None:
    while jobs.under_way(_portal_id()):
        wiring.JOBS["bulk"](services(), _portal_id())


def test_what_is_counted_is_asked_and_then_done(app: Flask) -> None:
    tried = run_json(app, "bulk", "start", "again", MEMBER, "--status", "failed", "--dry-run")
    _work()
    assert (tried["state"], tried["counted"], _status("m0")) == ("asked", {"yes": 3}, "failed")
    refused = app.test_cli_runner().invoke(args=["bulk", "start", "again", MEMBER], input="n\n")
    _work()
    assert (refused.exit_code, _status("m0")) == (1, "failed")

    begun = run_json(app, "bulk", "start", "again", MEMBER, "--message-id", "m0", "--yes")
    _work()

    assert run_json(app, "bulk", "show", MEMBER, str(begun["job"]))["results"] == {"done": 1}
    assert (_status("m0"), _status("m1")) == ("queued", "failed")


def test_what_may_arrive_twice_wants_its_own_word(app: Flask) -> None:
    _set("m0", status="delivered")

    refused = run(app, "bulk", "start", "again", MEMBER, "--status", "delivered", "--yes")
    run_json(app, "bulk", "start", "again", MEMBER, "--status", "delivered", "--yes", "--may-arrive-twice")
    _work()

    assert refused.exit_code == 1 and "--may-arrive-twice" in refused.stderr
    assert _status("m0") == "queued"


def test_an_export_is_printed_and_listed(app: Flask) -> None:
    begun = run_json(app, "bulk", "start", "export", MEMBER)
    assert run(app, "bulk", "file", MEMBER, str(begun["job"])).exit_code == 1
    _work()

    printed = run(app, "bulk", "file", MEMBER, str(begun["job"]))

    assert printed.stdout.count("\n") == 4
    assert [job["state"] for job in run_json(app, "bulk", "list", MEMBER)] == ["done"]


def test_a_job_is_stopped(app: Flask) -> None:
    begun = run_json(app, "bulk", "start", "again", MEMBER, "--yes")

    assert run_json(app, "bulk", "stop", MEMBER, str(begun["job"]))["state"] == "stopped"
    assert run(app, "bulk", "stop", MEMBER, str(begun["job"])).exit_code == 1
    _work()
    assert _status("m0") == "failed"


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (("show", MEMBER, "77"), "bulk list"),
        (("start", "again", "nobody", "--yes"), "no portal"),
        (("start", "again", MEMBER, "--message-id", "m9", "--yes"), "no message m9"),
        (("start", "again", MEMBER, "--gateway", "acme", "--yes"), "no account at acme"),
        (("start", "cancel", MEMBER, "--yes"), "none of them is fit"),
        (("start", "again", MEMBER, "--message-id", "m0", "--status", "failed"), "in common"),
    ],
    ids=["no job", "no portal", "no message", "no gateway", "nothing to do", "both"],
)
def test_a_command_that_cannot_work_says_why(app: Flask, args: tuple[str, ...], said: str) -> None:
    result = run(app, "bulk", *args)

    assert result.exit_code != 0
    assert said in result.stderr


def test_a_message_that_waits_is_cancelled(app: Flask) -> None:
    a_message("waits")

    assert run_json(app, "messages", "cancel", MEMBER, "waits")["cancelled"]
    assert _status("waits") == "failed"
    assert run(app, "messages", "cancel", MEMBER, "waits").exit_code == 1
