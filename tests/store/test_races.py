"""Two at once, in the one database that lets them: PostgreSQL. Each test holds both of them after their first
look at the rows that they are about to write, as long as nothing but a lock keeps them apart.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from flask import Flask

from app.domain.portals import Opener, Portal, TokenPair
from app.domain.retry import Timing
from app.store.accounts import accounts
from app.store.database import db, statement, utcnow
from app.store.messages import telling
from app.store.portals import tokens
from app.store.tables import credentials, gateway_accounts, messages
from tests.worlds.product import a_portal, product

pytestmark = pytest.mark.slow
BOTH_S = 1.0  # so long the first one waits for the second; a lock makes it wait in vain


@pytest.fixture
def app(tmp_path: Path, postgres_url: str) -> Iterator[Flask]:
    with product(tmp_path, DATABASE_URL=postgres_url) as made:
        yield made


@contextmanager
def together_after(beginning: str) -> Iterator[None]:
    """Who has run a statement that begins so waits for the other one to have run it."""
    meeting = threading.Barrier(2)

    def wait(_connection: Any, _cursor: Any, text: str, *_more: Any) -> None:
        if text.startswith(beginning):
            with suppress(threading.BrokenBarrierError):
                meeting.wait(BOTH_S)

    sa.event.listen(db.engine, "after_cursor_execute", wait)
    yield
    sa.event.remove(db.engine, "after_cursor_execute", wait)


def both(app: Flask, *deeds: Callable[[], Any]) -> None:
    def run(deed: Callable[[], Any]) -> None:
        with app.app_context():
            deed()

    with ThreadPoolExecutor(len(deeds)) as threads:
        list(threads.map(run, deeds))


def admin(portal: Portal, user_id: str) -> Opener:
    return Opener(
        member_id=portal.member_id,
        user_id=user_id,
        is_admin=True,
        domain=portal.domain,
        client_endpoint=portal.client_endpoint,
        oauth_server=portal.oauth_server,
        app_status="F",
        app_version="1",
        tokens=TokenPair(f"access {user_id}", f"refresh {user_id}", utcnow()),
    )


def speaking(portal: Portal) -> list[str]:
    with statement() as connection:
        return list(
            connection.scalars(
                sa.select(credentials.c.user_id).where(
                    credentials.c.portal_id == portal.id, credentials.c.is_service
                )
            )
        )


@pytest.mark.parametrize("users", [("2", "3"), ("2", "2")], ids=["two", "the same twice"])
def test_of_two_administrators_who_come_at_once_one_speaks_for_the_portal(
    app: Flask, users: tuple[str, str]
) -> None:
    portal = a_portal(is_admin=False)  # no tokens yet

    with together_after("SELECT credentials.expires_at"):
        both(app, *(lambda who=who: tokens.keep(portal, admin(portal, who), now=utcnow()) for who in users))

    assert len(speaking(portal)) == 1


def test_the_last_two_tokens_that_break_at_once_leave_one_that_speaks(app: Flask) -> None:
    """Each of them finds the other one still good, and hands over to it."""
    portal = a_portal(user_id="1")
    tokens.keep(portal, admin(portal, "2"), now=utcnow())
    found = tokens.all_of(portal.id)

    with together_after("UPDATE credentials SET broken"):
        both(app, *(lambda one=one: tokens.mark_broken(one, "INVALID_GRANT", now=utcnow()) for one in found))

    assert len(speaking(portal)) == 1
    assert not tokens.has_working(portal.id)


def test_of_two_gateways_that_are_connected_first_and_at_once_one_is_the_default(app: Flask) -> None:
    portal = a_portal()

    def connect(slug: str) -> None:
        accounts.connect(portal.id, portal.member_id, slug, label=slug, public={}, secrets={}, now=utcnow())

    with together_after("UPDATE gateway_accounts SET is_default"):
        both(app, lambda: connect("demo"), lambda: connect("http"))

    with statement() as connection:
        count = sa.select(sa.func.count()).where(gateway_accounts.c.is_default)
        assert connection.scalar(count) == 1


def test_one_who_writes_many_rows_locks_them_in_the_order_of_their_ids(app: Flask) -> None:
    """Whoever has the first of them and comes for the second finds it free, wherever the rows lie."""
    portal, now, late = a_portal(), utcnow(), utcnow() - timedelta(days=60)
    row = {
        **dict.fromkeys(("origin", "sender_code", "recipient", "text", "body_hash"), "x"),
        "portal_id": portal.id,
        "bindings": [],
        "extra": {},
        "status": "failed",
        "work": "closed",
        "received_at": late,
        "expires_at": late,
    }
    with db.engine.begin() as connection:
        for row_id, due_at in ((1002, late - timedelta(days=1)), (1001, late)):
            values = {**row, "id": row_id, "message_id": str(row_id), "push_due_at": due_at}
            connection.execute(messages.insert().values(values))
    one = sa.select(messages.c.id).with_for_update()
    with ThreadPoolExecutor(1) as pool, db.engine.connect() as teller, teller.begin():

        def drop() -> int:
            with app.app_context():
                return telling.drop_stale(now=now, timing=Timing())

        teller.execute(one.where(messages.c.id == 1001))
        dropped = pool.submit(drop)
        waits_for_us = "NOT granted AND pg_backend_pid() = ANY(pg_blocking_pids(pid))"
        waiting = sa.text(f"SELECT count(*) FROM pg_locks WHERE {waits_for_us}")
        while not teller.scalar(waiting):
            time.sleep(0.01)
        teller.execute(one.where(messages.c.id == 1002))
        teller.commit()

        assert dropped.result() == 2
