"""Messages that wait for their gateway wait for their own."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa
from flask import Flask

from app.domain.messages import HandedMessage, Message, Reason
from app.domain.portals import Portal
from app.services import services
from app.store.database import utcnow, writing
from app.store.messages import acceptance, messages, telling
from app.store.portals import portals
from app.store.tables import messages as rows
from tests.worlds.product import a_portal, product


@pytest.fixture(autouse=True)
def app(tmp_path: Path) -> Iterator[Flask]:
    with product(tmp_path) as app:
        yield app


def _waiting(portal: Portal, until: datetime) -> int:
    handler = portals.for_test_message(portal.id)
    assert handler is not None
    incoming = HandedMessage("m1", "+4915112345678", "Hello", "sms")
    row_id = acceptance.accept(handler, incoming, now=utcnow(), timing=services().timing).row_id
    assert row_id is not None
    with writing() as connection:
        held = {"due_at": until, "reason": Reason.NO_GATEWAY.value}
        connection.execute(sa.update(rows).where(rows.c.id == row_id).values(held))
    return row_id


def _row(portal: Portal, row_id: int) -> Message:
    found = messages.by_row(portal.id, row_id)
    assert found is not None
    return found


def test_waking_one_account_wakes_nobody_elses_messages() -> None:
    mine, theirs = a_portal("a" * 32), a_portal("b" * 32)
    until, now = utcnow() + timedelta(hours=5), utcnow()
    waiting = {portal.id: _waiting(portal, until) for portal in (mine, theirs)}

    messages.wake_account(None, mine.id, now=now)

    assert _row(mine, waiting[mine.id]).due_at == now
    assert _row(theirs, waiting[theirs.id]).due_at == until


def test_a_message_deleted_meanwhile_takes_nothing_from_the_rest_of_its_batch() -> None:
    """The portal heard both words; what we know of the one that is left is kept."""
    portal, now = a_portal(), utcnow()
    kept, gone = (_failed(portal, name, now) for name in ("kept", "gone"))
    due = telling.due_pushes(portal.id, now=now, limit=10)
    with writing() as connection:
        connection.execute(sa.delete(rows).where(rows.c.id == gone))
    telling.record_told(due, now=now, timing=services().timing)

    assert {push.row_id for push in due} == {kept, gone}
    assert _row(portal, kept).told == "failed"


def _failed(portal: Portal, name: str, now: datetime) -> int:
    handler = portals.for_test_message(portal.id)
    assert handler is not None
    incoming = HandedMessage(name, "+4915112345678", "Hello", "sms")
    row_id = acceptance.accept(handler, incoming, now=now, timing=services().timing).row_id
    assert row_id is not None
    failed = {"origin": "portal", "status": "failed", "work": "closed", "push_due_at": now}
    with writing() as connection:
        connection.execute(sa.update(rows).where(rows.c.id == row_id).values(failed))
    return row_id


def test_a_backlog_of_very_many_is_counted_as_far_as_it_is_due_first(monkeypatch: pytest.MonkeyPatch) -> None:
    """A million messages may wait for their reports, and the monitoring asks every few seconds."""
    portal, now = a_portal(), utcnow()
    handler = portals.for_test_message(portal.id)
    assert handler is not None
    for number in range(6):
        incoming = HandedMessage(f"m{number}", "+4915112345678", "Hello", "sms")
        acceptance.accept(handler, incoming, now=now, timing=services().timing)
    with writing() as connection:
        later = {"work": "waiting", "due_at": now + timedelta(days=1), "push_due_at": now}
        of_four = rows.c.message_id.in_([f"m{number}" for number in range(4)])
        connection.execute(sa.update(rows).where(of_four).values(later))

    assert messages.backlog(portal.id) == {"queued": 2, "waiting": 4, "to_tell": 4}
    monkeypatch.setattr(messages, "COUNTED_AT_MOST", 3)
    assert messages.backlog(portal.id) == messages.backlog() == {"queued": 2, "waiting": 1, "to_tell": 3}
