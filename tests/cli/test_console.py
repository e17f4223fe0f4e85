"""The operator's console: all portals in one statement, one portal paused, dead letters seen to."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from flask import Flask

from app.domain.messages import Reason, Work
from app.jobs.messages.submit import submit_messages
from app.services import services
from app.store import instances
from app.store.accounts import accounts
from app.store.database import db, utcnow, writing
from app.store.figures import counts, fleet, operations
from app.store.instances import Instance
from app.store.messages import claims, messages
from app.store.messages.log import page
from app.store.portals import portals
from app.store.tables import messages as rows
from app.store.tables import portals as portal_rows
from tests.cli.test_commands import MEMBER, a_message, run, run_json
from tests.worlds.product import a_portal, product

OTHER = "b" * 32


@pytest.fixture
def app(tmp_path: Path) -> Iterator[Flask]:
    with product(tmp_path, DEMO_GATEWAY="full") as app:
        a_portal()
        yield app


def _set(message_id: str, **values: Any) -> None:
    with writing() as connection:
        connection.execute(rows.update().where(rows.c.message_id == message_id).values(**values))


@contextmanager
def counted() -> Iterator[list[str]]:
    """The statements of the block."""
    seen: list[str] = []

    def note(_connection: Any, _cursor: Any, text: str, *_: Any) -> None:
        seen.append(text)

    sa.event.listen(db.engine, "before_cursor_execute", note)
    try:
        yield seen
    finally:
        sa.event.remove(db.engine, "before_cursor_execute", note)


# --- all portals


def test_portals_are_listed_by_the_same_few_statements_however_many_there_are(app: Flask) -> None:
    with counted() as for_one:
        run_json(app, "portals", "list")
    for number in range(20):
        a_portal(f"{number:032x}")

    with counted() as for_many:
        listed = run_json(app, "portals", "list")

    assert len(listed) == 21
    assert len(for_many) == len(for_one) <= 4


def test_a_portal_is_listed_with_what_its_messages_say(app: Flask) -> None:
    a_message("m1")
    a_message("m2")
    a_message("m3")
    _set("m2", due_at=utcnow() - timedelta(hours=1))
    _set("m3", status="failed", work="closed", reason="refused", due_at=None, push_due_at=utcnow())
    counts.fold(now=utcnow() + counts.SETTLED)

    (facts,) = run_json(app, "portals", "list")

    assert facts["backlog"] == {"queued": 2, "to_tell": 1}
    assert facts["oldest_due_s"] >= 3600
    assert facts["last_day"] == {"messages": 3, "failed": 1, "failed_share": 0.3333}
    assert facts["last_handler_call_at"] is not None
    assert facts == run_json(app, "portals", "show", MEMBER) | {
        name: facts[name] for name in ("token_age_s", "oldest_due_s")
    }


@pytest.mark.parametrize(
    ("args", "found"),
    [
        ((), [MEMBER, OTHER]),
        (("--limit", "1"), [MEMBER]),
        (("--limit", "1", "--offset", "1"), [OTHER]),
        (("--state", "active"), [OTHER]),
        (("--state", "active", "--state", "new"), [MEMBER, OTHER]),
        (("--search", "BBBB"), [OTHER]),
        (("--search", "portal.example"), [MEMBER, OTHER]),
        (("--gateway", "demo"), [OTHER]),
        (("--paused",), [OTHER]),
        (("--sort", "backlog"), [OTHER, MEMBER]),
        (("--sort", "oldest"), [OTHER, MEMBER]),
        (("--sort", "silent"), [MEMBER, OTHER]),
        (("--sort", "failures"), [MEMBER, OTHER]),
        (("--sort", "token"), [MEMBER, OTHER]),
    ],
)
def test_the_list_is_narrowed_sorted_and_turned(app: Flask, args: tuple[str, ...], found: list[str]) -> None:
    portal = a_portal(OTHER)
    a_message("m1")
    with writing() as connection:
        mine = rows.c.message_id == "m1"
        connection.execute(rows.update().where(mine).values(portal_id=portal.id))
        is_other = portal_rows.c.member_id == OTHER
        connection.execute(portal_rows.update().where(is_other).values(state="active"))
    run(app, "gateways", "set", OTHER, "demo")
    run(app, "portals", "pause", OTHER)

    assert [each["member_id"] for each in run_json(app, "portals", "list", *args)] == found


# --- one portal paused


def _row(message_id: str = "m1") -> Any:
    found = messages.find(1, message_id)
    assert found is not None
    return found


def _submit() -> None:
    submit_messages(services(), 1)


def test_a_paused_portals_messages_wait_with_a_reason_and_go_out_afterwards(app: Flask) -> None:
    run(app, "gateways", "set", MEMBER, "demo")
    run_json(app, "portals", "pause", MEMBER, "--why", "We are looking into an incident.")
    a_message("m1")

    _submit()

    held = _row()
    assert (held.work, held.reason) == (Work.QUEUED, Reason.PAUSED)
    assert held.reason_text == "We are looking into an incident."
    assert held.due_at > utcnow() + timedelta(minutes=10)
    assert run_json(app, "portals", "show", MEMBER)["paused_why"] == "We are looking into an incident."

    run_json(app, "portals", "continue", MEMBER)
    _submit()

    assert _row().attempts == 1
    assert _row().reason == ""


def test_a_paused_message_that_gets_too_old_ends_as_failed_all_the_same(app: Flask) -> None:
    run(app, "gateways", "set", MEMBER, "demo")
    run(app, "portals", "pause", MEMBER)
    a_message("m1")
    _submit()
    _set("m1", expires_at=utcnow(), due_at=utcnow())

    _submit()

    ended = _row()
    assert (ended.work, ended.status, ended.reason) == (Work.CLOSED, "failed", Reason.EXPIRED)


def test_a_pause_that_ends_while_messages_are_being_held_leaves_none_behind(
    app: Flask, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker read that the portal is paused; the pause ends; then it holds what it took."""
    run(app, "gateways", "set", MEMBER, "demo")
    run(app, "portals", "pause", MEMBER)
    a_message("m1")
    take = claims.take

    def late(*args: Any, **more: Any) -> Any:
        if portals.by_id(1).is_paused:
            run(app, "portals", "continue", MEMBER)
        return take(*args, **more)

    monkeypatch.setattr(claims, "take", late)

    _submit()

    assert _row().attempts == 1


def test_without_a_gateway_a_pause_ends_alike(app: Flask) -> None:
    run(app, "portals", "pause", MEMBER)
    a_message("m1")
    _submit()
    assert _row().reason == Reason.PAUSED

    run(app, "portals", "continue", MEMBER)
    _submit()

    assert _row().reason == Reason.NO_GATEWAY


def test_what_is_so_already_is_refused(app: Flask) -> None:
    refused = run(app, "portals", "continue", MEMBER)
    run(app, "portals", "pause", MEMBER)

    assert "this portal is not paused" in refused.stderr
    assert run(app, "portals", "pause", MEMBER).exit_code == 1


def test_other_portals_go_on(app: Flask) -> None:
    portal = a_portal(OTHER)
    run(app, "gateways", "set", OTHER, "demo")
    run(app, "portals", "pause", MEMBER)
    a_message("m1")
    _set("m1", portal_id=portal.id)

    submit_messages(services(), portal.id)

    assert page(portal.id, limit=1)[0].attempts == 1
    assert accounts.default_of(portal.id) is not None


# --- dead letters


@pytest.fixture
def dead(app: Flask) -> Flask:
    for message_id, values in {
        "d1": {"status": "failed", "work": "closed", "due_at": None},
        "d2": {"status": "unknown", "work": "waiting"},
        "fine": {"reason": ""},
    }.items():
        a_message(message_id)
        _set(message_id, **{"reason": "dead_letter", "reason_text": "KeyError", **values})
    return app


def test_dead_letters_are_listed_with_the_fault(dead: Flask) -> None:
    found = run_json(dead, "dead", "list")

    assert [(each["message_id"], each["why"]) for each in found] == [("d1", "KeyError"), ("d2", "KeyError")]
    assert found[0]["to_number"] == "+49***78"
    assert run_json(dead, "dead", "list", MEMBER) == found


def test_a_dead_letter_is_sent_again_when_somebody_takes_the_risk(dead: Flask) -> None:
    careful = run(dead, "dead", "retry", MEMBER, "d1")
    run_json(dead, "dead", "retry", MEMBER, "d1", "--force")

    assert careful.exit_code == 1
    assert "it may be out already: use --force" in careful.stdout
    assert (_row("d1").work, _row("d1").is_resend) == (Work.QUEUED, True)
    assert [each["message_id"] for each in run_json(dead, "dead", "list")] == ["d2"]


def test_dead_letters_that_were_ended_alarm_nobody_any_more(dead: Flask) -> None:
    assert operations.attention() == {"unknown": 1, "dead_letter": 2}

    run_json(dead, "dead", "end", "--all")

    assert run_json(dead, "dead", "list") == []
    assert operations.attention() == {"unknown": 0, "dead_letter": 0}
    for message_id in ("d1", "d2"):
        ended = _row(message_id)
        assert (ended.work, ended.status, ended.reason) == (Work.CLOSED, "failed", Reason.DEAD_ENDED)
    assert _row("fine").reason == ""


def test_what_is_no_dead_letter_is_not_ended(dead: Flask) -> None:
    result = run(dead, "dead", "end", MEMBER, "fine")

    assert result.exit_code == 1
    assert "has no dead letter fine" in result.stderr
    assert run(dead, "dead", "end").exit_code == 2


# --- everything at one glance


def test_the_status_sums_up_all_portals(app: Flask) -> None:
    a_portal(OTHER)
    a_message("m1")
    a_message("m2")
    _set("m1", due_at=utcnow() - timedelta(hours=1))
    _set("m2", status="failed", work="closed", reason="dead_letter", due_at=None)
    counts.fold(now=utcnow() + counts.SETTLED)
    run(app, "portals", "pause", OTHER)
    now = utcnow()
    for host, seen_at in (("one", now), ("two", now - timedelta(minutes=5))):
        instances.say(Instance(f"worker {host}:1", "worker", host, "1", "working", now, seen_at))

    found = run_json(app, "status")

    assert (found["portals"], found["paused"]) == ({"new": 2}, 1)
    assert found["backlog"] == {"queued": 1, "to_tell": 0}
    assert found["oldest_due_s"] >= 3600
    assert found["last_day"] == {"messages": 2, "failed": 1, "failed_share": 0.5}
    assert found["attention"] == {"unknown": 0, "dead_letter": 1}
    assert found["workers"] == {"working": 1, "silent": 1}
    assert found["oldest_token_age_s"] >= 0
    assert found["last_handler_call_at"] is not None
    assert "portals: 2 new" in run(app, "status").stdout


def test_postgresql_answers_alike(tmp_path: Path, postgres_url: str) -> None:
    with product(tmp_path, DATABASE_URL=postgres_url) as app:
        a_portal()
        a_message("m1")
        run(app, "gateways", "set", MEMBER, "demo")
        run(app, "portals", "pause", MEMBER, "--why", "later")
        for sort in fleet.SORTS:
            (facts,) = run_json(app, "portals", "list", "--sort", sort, "--search", "AAAA", "--paused")
            assert facts["backlog"] == {"queued": 1, "to_tell": 0}
        run_json(app, "portals", "continue", MEMBER)
        instances.say(Instance("worker one:1", "worker", "one", "1", "working", utcnow(), utcnow()))
        run_json(app, "workers", "drain", "one")
        _set("m1", status="failed", work="closed", reason="dead_letter", due_at=None)
        run_json(app, "dead", "end", "--all")
        found = run_json(app, "status")

        assert found["workers"] == {"working": 1}
        assert found["attention"] == {"unknown": 0, "dead_letter": 0}
        assert {row["action"] for row in run_json(app, "audit", "list", "--who", "operator")} == {
            "gateway.connected",
            "portal.paused",
            "portal.continued",
            "server.drained",
            "message.ended",
        }
