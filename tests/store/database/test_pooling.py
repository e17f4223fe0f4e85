"""PostgreSQL behind PgBouncer: nothing is lost, and what limits a statement survives the pooler."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa
from flask import Flask

from app.services import services
from app.store.database import db, is_behind_pooler, statement, writing
from app.store.messages import messages
from app.store.portals import portals
from sandbox.databases import PgBouncer, Postgres, ServiceMissing
from tests.worlds.product import a_portal, product

pytestmark = pytest.mark.slow

# Debian's defaults refuse what a connection says of itself; many operators let it be ignored.
MODES = {
    "session, refusing": ("session", {}),
    "session, ignoring": ("session", {"ignore_startup_parameters": "options"}),
    "transaction, refusing": ("transaction", {}),
    "transaction, ignoring": ("transaction", {"ignore_startup_parameters": "options"}),
}


@pytest.fixture(params=MODES.values(), ids=MODES)
def pooled(
    request: pytest.FixtureRequest, postgres: Postgres, postgres_url: str, tmp_path: Path
) -> Iterator[Flask]:
    """The product whose every connection goes through a pooler of two sessions, migrations included."""
    mode, settings = request.param
    few = {"default_pool_size": "2"} if mode == "transaction" else {"default_pool_size": "40"}
    try:
        bouncer = PgBouncer(postgres, mode, **settings, **few)
    except ServiceMissing as missing:
        pytest.skip(str(missing))
    with bouncer, product(tmp_path, DATABASE_URL=bouncer.url(postgres_url)) as app:
        yield app


def test_sixty_messages_at_once_are_sixty_rows(pooled: Flask) -> None:
    portal = a_portal()
    path = f"/sms/{portals.handler_secret(portal.id)}"
    answers: list[int] = []

    def send(caller: int) -> None:
        for number in range(10):
            form = {
                "message_id": f"{caller}-{number}",
                "message_to": "+4915112345678",
                "message_body": "through a pooler",
                "code": "sms",
            }
            answers.append(pooled.test_client().post(path, data=form).status_code)

    callers = [threading.Thread(target=send, args=(caller,)) for caller in range(6)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()

    assert is_behind_pooler()
    assert answers == [200] * 60
    assert services().config.spool_dir is None  # nothing took another way
    stored = [messages.find(portal.id, f"{c}-{n}") for c in range(6) for n in range(10)]
    assert all(stored)


@pytest.mark.parametrize("way", [statement, writing])
def test_no_statement_takes_longer_than_its_limit(pooled: Flask, way: object) -> None:
    limits = sa.text("SELECT current_setting('statement_timeout'), current_setting('lock_timeout')")

    for _ in range(5):  # in a session of the server that others have used meanwhile
        with writing() as other:
            other.execute(sa.text("SELECT 1"))
        with way() as connection:  # type: ignore[operator]
            assert tuple(connection.execute(limits).one()) == ("5s", "1500ms")


def test_nothing_stays_in_a_session_that_others_will_have(pooled: Flask, postgres: Postgres) -> None:
    with writing() as connection:
        connection.execute(sa.text("SELECT 1"))

    with db.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as bare:
        left = bare.execute(sa.text("SELECT current_setting('statement_timeout')")).scalar()
        prepared = bare.execute(sa.text("SELECT count(*) FROM pg_prepared_statements")).scalar()
    with postgres.connect() as beside:
        locks = beside.execute("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'").fetchone()

    assert (left, prepared) == ("0", 0)
    assert locks == (0,)  # the lock of the migrations


def test_without_a_pooler_the_limits_are_the_connections_own(postgres_url: str, tmp_path: Path) -> None:
    with product(tmp_path, DATABASE_URL=postgres_url), statement() as connection:
        assert not is_behind_pooler()
        assert connection.execute(sa.text("SELECT current_setting('statement_timeout')")).scalar() == "5s"
