"""A new release takes over what the one before the drained queue left, while messages come in.

The same with the old release's own processes, from its commit: `scripts/takeover.py`.
"""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa
from flask_migrate import downgrade, stamp, upgrade

from app.store.database import db, statement, writing
from tests.worlds.claiming import claim_one
from tests.worlds.faults import FaultWorld, fault_world

BEFORE_THE_QUEUE = "0015"  # the last schema in which every message had a turn of its own


pytestmark = pytest.mark.slow


@pytest.fixture
def world() -> Iterator[FaultWorld]:
    with fault_world() as world:
        yield world


def test_messages_in_every_state_survive_the_upgrade_once_each(world: FaultWorld) -> None:
    account = world.connect(can="repeats")
    sent, told = world.send(), world.send()
    world.work(1)
    world.gateway.behave("sandbox-key", next=1, answer="reset")
    unknown = world.send()
    world.work(1)
    world.gateway.behave("sandbox-key", next=1, answer="unavailable")
    refused = world.send()
    world.work(1)
    world.report(told, "DELIVRD")
    world.work(1)
    reported = world.send()
    world.work(1)
    world.report(reported, "UNDELIV")  # and the portal has not heard of it
    queued, paced, lost = (world.send() for _ in range(3))
    now = world.services.now()
    claim_one(account, world.row(lost).id, now=now, timing=world.services.timing)  # and its worker dies
    handed_over = [world.send() for _ in range(8)]
    before = {each: world.status(each)[0] for each in (sent, told, unknown, refused, reported)}
    assert before == {
        sent: "sent",
        told: "delivered",
        unknown: "unknown",
        refused: "queued",
        reported: "undelivered",
    }
    rows = _taken_out(handed_over)

    stamp()  # the world made its tables without migrations
    downgrade(revision=BEFORE_THE_QUEUE)
    with writing() as connection:
        wait = {"at": _as_stored(now + timedelta(seconds=20)), "id": paced}
        turn = "UPDATE messages SET slot_at = :at, due_at = :at WHERE message_id = :id"
        connection.execute(sa.text(turn), wait)
        pace = "UPDATE gateway_accounts SET rate_per_s = 5, next_slot_at = :at"
        connection.execute(sa.text(pace), {"at": wait["at"]})
    handler = threading.Thread(target=_hand_over, args=(str(db.engine.url.database), rows))
    handler.start()
    upgrade()
    handler.join()
    world.world.engine.hints.clear()  # they are lost with the old release
    world.later(1)
    assert [world.taken(each) for each in (queued, paced)] == [[], []]  # the pace that was learned is kept
    world.later(120, steps=12)

    everything = [sent, told, unknown, refused, reported, queued, paced, lost, *handed_over]
    assert {each: len(world.taken(each)) for each in everything} == dict.fromkeys(everything, 1)
    for message_id in everything:
        if message_id not in (told, reported):
            world.report(message_id, "DELIVRD")
    world.later(5)
    expected = {each: ["undelivered" if each == reported else "delivered"] for each in everything}
    assert {each: world.told(each) for each in everything} == expected


def _taken_out(message_ids: Sequence[str]) -> list[Mapping[str, Any]]:
    """The rows of these messages, which nobody has handed over yet."""
    found = sa.text("SELECT * FROM messages WHERE message_id IN :ids").bindparams(
        sa.bindparam("ids", list(message_ids), expanding=True)
    )
    with statement() as connection:
        rows = [dict(row._mapping) for row in connection.execute(found)]
    gone = sa.text("DELETE FROM messages WHERE message_id IN :ids")
    with writing() as connection:
        connection.execute(gone.bindparams(sa.bindparam("ids", list(message_ids), expanding=True)))
    return rows


def _hand_over(file: str, rows: Sequence[Mapping[str, Any]]) -> None:
    """As the HANDLER of the release before: it knows the columns of its own schema."""
    with closing(sqlite3.connect(file, timeout=30, isolation_level=None)) as connection:
        known = {name for _, name, *_ in connection.execute("PRAGMA table_info(messages)")} - {"id", "lane"}
        for row in rows:
            values = {name: value for name, value in row.items() if name in known}
            marks = ", ".join(f":{name}" for name in values)
            connection.execute(f"INSERT INTO messages ({', '.join(values)}) VALUES ({marks})", values)
            time.sleep(0.02)


def _as_stored(at: Any) -> str:
    return str(at.replace(tzinfo=None).isoformat(" ", "microseconds"))
