"""One commit for all who waited for their turn, each with its own outcome."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import pytest
import sqlalchemy as sa
from flask import Flask
from sqlalchemy.engine import Connection

from app.store.database import StoreUnavailable, db, statement, turn_to_write
from app.store.database.deadlines import within
from app.store.database.together import Together
from tests.worlds.product import product


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Flask]:
    with product(tmp_path_factory.mktemp("together")) as made:
        yield made


@pytest.fixture
def table(app: Flask) -> Iterator[sa.Table]:
    made = sa.Table("texts", sa.MetaData(), sa.Column("text", sa.String, sa.CheckConstraint("text <> 'bad'")))
    made.create(db.engine)
    yield made
    made.drop(db.engine)


@pytest.fixture
def commits(app: Flask) -> Iterator[list[str]]:
    """Grows with each transaction that is committed."""
    seen: list[str] = []

    def note(_: Connection) -> None:
        seen.append("commit")

    sa.event.listen(db.engine, "commit", note)
    yield seen
    sa.event.remove(db.engine, "commit", note)


class Crowd:
    """Threads that all write while somebody else has the turn, and go on when it is given back."""

    def __init__(self, app: Flask, table: sa.Table) -> None:
        self._app = app
        self._table = table
        self.together = Together(self._insert)

    def _insert(self, connection: Connection, text: str) -> str:
        connection.execute(sa.insert(self._table).values(text=text))
        return f"{text} stored"

    def _write(self, text: str, seconds: float) -> str:
        with self._app.app_context(), within(seconds):
            return self.together.write(text)

    def write(self, *texts: str, seconds: float = 20.0, turn_s: float = 0.0) -> list[Future[str]]:
        with ThreadPoolExecutor(len(texts)) as threads, turn_to_write():
            calls = [threads.submit(self._write, text, seconds) for text in texts]
            while len(self.together._waiting) < len(texts):
                threading.Event().wait(0.005)
            time.sleep(turn_s)
        return calls

    def stored(self) -> list[str]:
        with statement() as connection:
            return sorted(connection.scalars(sa.select(self._table.c.text)))


def test_all_who_waited_are_stored_by_one_commit(app: Flask, table: sa.Table, commits: list[str]) -> None:
    crowd, texts = Crowd(app, table), [str(number) for number in range(12)]

    calls = crowd.write(*texts)

    assert [call.result() for call in calls] == [f"{text} stored" for text in texts]
    assert crowd.stored() == sorted(texts)
    assert len(commits) == 1


def test_who_is_alone_does_not_wait_for_company(app: Flask, table: sa.Table, commits: list[str]) -> None:
    crowd = Crowd(app, table)

    assert crowd.together.write("first") == "first stored"
    assert crowd.together.write("second") == "second stored"
    assert len(commits) == 2


def test_one_that_cannot_be_stored_spoils_no_other(app: Flask, table: sa.Table) -> None:
    crowd = Crowd(app, table)

    calls = crowd.write("one", "bad", "two", "three")

    bad = calls.pop(1)
    assert [call.result() for call in calls] == ["one stored", "two stored", "three stored"]
    assert isinstance(bad.exception(), StoreUnavailable)
    assert crowd.stored() == ["one", "three", "two"]


def test_nothing_is_stored_after_its_caller_heard_that_it_was_not(app: Flask, table: sa.Table) -> None:
    crowd = Crowd(app, table)

    [late] = crowd.write("late", seconds=0.05, turn_s=0.4)
    crowd.together.write("next")

    assert isinstance(late.exception(), StoreUnavailable)
    assert crowd.stored() == ["next"]
