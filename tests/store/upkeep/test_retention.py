"""What is removed when its time is over, and what stays whatever its age."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from flask import Flask

from app.domain.messages import Author, HandedMessage, Message
from app.domain.portals import Portal
from app.engine import Engine
from app.jobs import retention as retention_job
from app.jobs import sweep
from app.services import Services, services
from app.store.database import db, statement, utcnow, writing
from app.store.figures import counts
from app.store.messages import acceptance, by_hand, log, messages
from app.store.messages.rows import add_event
from app.store.portals import portals
from app.store.tables import attempts, job_runs, message_events, parts, split_counts
from app.store.tables import messages as rows
from app.store.tables import portals as portal_rows
from app.store.upkeep import retention
from tests.worlds.fields import set_message
from tests.worlds.portals import HintList
from tests.worlds.product import a_portal, product

OTHER = "b" * 32
TEXT = "Your code is 4711"


@pytest.fixture(scope="module")
def product_app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Flask]:
    with product(tmp_path_factory.mktemp("product")) as app:
        yield app


@pytest.fixture
def app(product_app: Flask) -> Iterator[Flask]:
    yield product_app
    with writing() as connection:
        connection.execute(portal_rows.delete())
        connection.execute(job_runs.delete())


def _keep(portal: Portal, **days: int) -> Portal:
    known = portals.by_id(portal.id)
    portals.save_settings(portal.id, replace(known.settings, **days), version=known.settings_version)
    return portals.by_id(portal.id)


def _message(portal: Portal, message_id: str, *, days: float, **values: Any) -> int:
    """A message of so many days ago, at its end and told unless `values` say otherwise."""
    handler = portals.for_test_message(portal.id)
    assert handler is not None
    incoming = HandedMessage(
        message_id=message_id,
        recipient="+4915112345678",
        text=TEXT,
        sender_code="sms",
        bindings=({"OWNER_ID": "7", "OWNER_TYPE_ID": "3"},),
        extra={"note": "more"},
    )
    accepted = acceptance.accept(
        handler, incoming, now=utcnow() - timedelta(days=days), timing=services().timing
    )
    assert accepted.row_id is not None
    ended = {"work": "closed", "status": "delivered", "told": "delivered", "due_at": None}
    with writing() as connection:
        connection.execute(rows.update().where(rows.c.id == accepted.row_id).values(**{**ended, **values}))
        attempt_id = connection.scalar(
            attempts.insert()
            .values(
                message_row_id=accepted.row_id,
                number=1,
                account_id=1,
                gateway="demo",
                reference=f"ref-{accepted.row_id}",
                calls=1,
                started_at=utcnow(),
                exchanges='{"asked": "what carried it"}\n',
            )
            .returning(attempts.c.id)
        )
        connection.execute(
            parts.insert().values(
                attempt_id=attempt_id, account_id=1, gateway_message_id="g1", status="delivered"
            )
        )
        add_event(connection, accepted.row_id, utcnow(), "submitting")
    return accepted.row_id


def _row(portal: Portal, row_id: int) -> Message | None:
    return messages.by_row(portal.id, row_id)


def _text(portal: Portal, row_id: int) -> str | None:
    found = _row(portal, row_id)
    return found.text if found else None


def _purge(app: Flask, *options: str) -> Any:
    result = app.test_cli_runner().invoke(args=["purge", *options, "--json"])
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def _count(table: sa.Table) -> int:
    with statement() as connection:
        return connection.scalar(sa.select(sa.func.count()).select_from(table)) or 0


def test_texts_go_after_their_days_and_rows_after_theirs(app: Flask) -> None:
    portal = _keep(a_portal(), text_days=30, row_days=180)
    young, middle, old = (_message(portal, f"m{days}", days=days) for days in (29, 31, 181))

    done = _purge(app)

    assert (done["texts"], done["messages"]) == (1, 1)
    assert _text(portal, young) == TEXT
    assert _row(portal, old) is None
    kept = _row(portal, middle)
    assert kept is not None
    assert (kept.text, kept.bindings) == ("", ())
    assert (kept.recipient, kept.status, kept.message_id) == ("+4915112345678", "delivered", "m31")
    assert _count(attempts) == _count(parts) == _count(message_events) == 2  # they went with their row
    assert (_purge(app)["texts"], _purge(app)["messages"]) == (0, 0)


def test_the_author_stays_with_a_message_that_lost_its_text(app: Flask) -> None:
    portal = _keep(a_portal(), text_days=30, row_days=180)
    mine = _message(portal, "mine", days=31)
    set_message(mine, author_id="7", module_id="crm")

    assert _purge(app)["texts"] == 1

    own = log.find(portal.id, log.Filters(author_id="7"), limit=10).messages
    assert [(message.message_id, message.text, message.author) for message in own] == [
        ("mine", "", Author.PERSON)
    ]


def test_a_status_that_comes_after_the_text_went_moves_the_same_authors_counts(app: Flask) -> None:
    portal = _keep(a_portal(), text_days=30, row_days=180)
    mine = _message(portal, "mine", days=31)
    set_message(mine, author_id="7", module_id="crm", status="sent")
    counts.fold(now=utcnow())
    assert _purge(app)["texts"] == 1
    set_message(mine, status="delivered")
    counts.fold(now=utcnow())

    with statement() as connection:
        split = connection.execute(
            sa.select(split_counts).where(
                split_counts.c.split == "author", split_counts.c.portal_id == portal.id
            )
        ).all()
    assert [(row.value, row.count, row.delivered) for row in split] == [("person", 1, 1)]


def test_with_a_text_go_the_calls_that_carried_it(app: Flask) -> None:
    portal = _keep(a_portal(), text_days=3, row_days=30)
    old, young = (_message(portal, name, days=days) for name, days in (("old", 4), ("young", 2)))

    _purge(app)

    with writing() as connection:
        found = connection.execute(sa.select(attempts.c.message_row_id, attempts.c.exchanges)).all()
    assert {row.message_row_id: bool(row.exchanges) for row in found} == {old: False, young: True}


def test_a_dry_run_counts_the_same_and_removes_nothing(app: Flask) -> None:
    portal = _keep(a_portal(), text_days=30, row_days=180)
    for days in (29, 31, 32, 181):
        _message(portal, f"m{days}", days=days)

    counted = _purge(app, "--dry-run")

    assert _count(rows) == 4
    done = _purge(app)
    assert (counted["texts"], counted["messages"]) == (2, 1) == (done["texts"], done["messages"])
    assert counted["portals"] == done["portals"]


def test_each_portal_has_its_own_days(app: Flask) -> None:
    one, other = _keep(a_portal(), text_days=1), _keep(a_portal(OTHER), text_days=60)
    ours, theirs = _message(one, "m", days=10), _message(other, "m", days=10)

    done = _purge(app)

    assert done["portals"] == [{"member_id": one.member_id, "texts": 1, "messages": 0}]
    assert (_text(one, ours), _text(other, theirs)) == ("", TEXT)


@pytest.mark.parametrize(
    "unfinished",
    [
        {"work": "queued", "status": "queued", "due_at": utcnow()},
        {"work": "held", "status": "queued", "due_at": utcnow()},
        {"work": "submitting", "status": "queued", "due_at": utcnow()},
        {"work": "waiting", "status": "sent", "due_at": utcnow()},
        {"work": "waiting", "status": "unknown", "due_at": utcnow()},
        {"push_due_at": utcnow()},
    ],
    ids=["queued", "held", "submitting", "sent", "unknown", "to be told"],
)
def test_what_is_not_at_its_end_is_never_touched(app: Flask, unfinished: dict[str, Any]) -> None:
    portal = _keep(a_portal(), text_days=0, row_days=7)
    row_id = _message(portal, "m1", days=400, **unfinished)
    after = _message(portal, "m2", days=399)

    _purge(app)

    assert _text(portal, row_id) == TEXT
    assert _row(portal, after) is None  # what comes behind it is removed all the same


def test_more_than_one_batch_goes(app: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.store.upkeep.retention.BATCH", 3)
    portal = _keep(a_portal(), text_days=1, row_days=30)
    for number in range(8):
        _message(portal, f"old{number}", days=40)
        _message(portal, f"new{number}", days=20)

    done = _purge(app)

    assert (done["texts"], done["messages"]) == (8, 8)


def test_a_repeat_of_the_call_is_still_known_and_nothing_can_be_sent_again(app: Flask) -> None:
    portal = _keep(a_portal(), text_days=0)
    row_id = _message(portal, "m1", days=1, status="failed", told="failed")
    _purge(app)
    handler = portals.for_test_message(portal.id)
    assert handler is not None
    again = HandedMessage(message_id="m1", recipient="+4915112345678", text=TEXT, sender_code="sms")

    repeat = acceptance.accept(handler, again, now=utcnow(), timing=services().timing)
    resent = app.test_cli_runner().invoke(args=["messages", "resend", portal.member_id, "m1"])

    assert (repeat.row_id, repeat.is_repeat, repeat.is_conflict) == (None, True, False)
    assert resent.exit_code == 1
    assert "was removed" in resent.stderr
    seen = messages.by_row(portal.id, row_id)
    assert seen is not None
    assert not by_hand.resend(seen, now=utcnow(), timing=services().timing)


def test_a_removed_text_is_in_no_file(app: Flask) -> None:
    database = Path(str(db.engine.url.database))
    portal = _keep(a_portal(), text_days=0)
    _message(portal, "m1", days=1)
    files = [database, database.with_name(f"{database.name}-wal")]
    assert any(TEXT.encode() in file.read_bytes() for file in files)

    _purge(app)

    assert not any(TEXT.encode() in file.read_bytes() for file in files)


def test_postgresql_is_purged_alike(tmp_path: Path, postgres_url: str) -> None:
    with product(tmp_path, DATABASE_URL=postgres_url) as app:
        portal = _keep(a_portal(), text_days=0, row_days=180)
        kept = _message(portal, "young", days=1)
        _message(portal, "old", days=181)
        assert retention.with_texts_at_end() == [portal.id]
        counted = _purge(app, "--dry-run")
        done = _purge(app)

        assert (counted["texts"], counted["messages"]) == (1, 1) == (done["texts"], done["messages"])
        assert _text(portal, kept) == ""
        assert retention.with_texts_at_end() == []


# --- the clock's own work


@pytest.fixture
def wired(app: Flask) -> Services:
    """The product's parts with hints that wait until a test performs them."""
    engine = HintList()
    engine._app = app
    found = replace(services(), engine=engine)
    for name, job in {
        "purge": retention_job.purge_from,
        "purge_portal": retention_job.purge_portal,
    }.items():
        engine.register(name, lambda key, job=job: job(found, key))
    return found


def _perform(engine: Engine) -> list[str]:
    assert isinstance(engine, HintList)
    waiting = [hint for hint in engine.hints if hint[0].startswith("purge")]
    engine.hints.clear()
    for name, key, _delay in waiting:
        engine.perform(name, key)
    return [name for name, _key, _delay in waiting]


def test_the_sweeper_purges_every_hour(wired: Services) -> None:
    portal = _keep(a_portal(), text_days=1)
    row_id = _message(portal, "m1", days=2)

    sweep.sweep(wired)

    assert _perform(wired.engine) == ["purge"]
    assert _text(portal, row_id) == ""


def test_a_portal_that_keeps_no_text_waits_a_minute_at_most(wired: Services) -> None:
    sweep.sweep(wired)
    _perform(wired.engine)
    portal, other = _keep(a_portal(), text_days=0), _keep(a_portal(OTHER), text_days=1)
    row_id, kept = _message(portal, "m1", days=0), _message(other, "m1", days=0)

    sweep.sweep(replace(wired, now=lambda: utcnow() + timedelta(seconds=61)))

    assert _perform(wired.engine) == ["purge_portal"]
    assert (_text(portal, row_id), _text(other, kept)) == ("", TEXT)


def test_a_long_purge_goes_on_where_it_stopped(wired: Services, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retention_job, "ROUND_S", 0.0)
    monkeypatch.setattr("app.store.upkeep.retention.BATCH", 2)
    portal = _keep(a_portal(), text_days=1)
    for number in range(5):
        _message(portal, f"m{number}", days=2)
    sweep.sweep(wired)

    rounds = 0
    while _perform(wired.engine):
        rounds += 1

    assert rounds > 2
    with db.engine.connect() as connection:
        assert connection.execute(sa.select(rows.c.id).where(rows.c.text != "")).all() == []
