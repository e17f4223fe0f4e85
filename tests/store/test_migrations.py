"""The migrations lead to the tables that the code works with, there and back, and stop nobody meanwhile."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.operations import Operations
from alembic.script import Script, ScriptDirectory
from flask_migrate import downgrade, upgrade

from app.store.database import db, utcnow
from app.store.portals import senders
from tests.worlds.product import a_portal, product

FOLDER = Path(__file__).parents[2] / "migrations"
EACH = sorted(ScriptDirectory(str(FOLDER)).walk_revisions(), key=lambda script: script.path)
# What a migration may do beside building an index: it is begun anew when it was cut short.
REPEATABLE = re.compile(
    r"BEGIN|COMMIT|(SET|RESET) lock_timeout|(CREATE|DROP) (UNIQUE )?INDEX CONCURRENTLY|UPDATE|--"
)


@pytest.mark.parametrize("dialect", ["sqlite", pytest.param("postgresql", marks=pytest.mark.slow)])
def test_the_migrated_schema_is_that_of_the_code(
    tmp_path: Path, dialect: str, request: pytest.FixtureRequest
) -> None:
    environment = {} if dialect == "sqlite" else {"DATABASE_URL": request.getfixturevalue("postgres_url")}
    with product(tmp_path, **environment):
        downgrade(revision="base")
        upgrade()
        with db.engine.connect() as connection:
            context = MigrationContext.configure(connection, opts={"compare_type": True})
            assert compare_metadata(context, db.metadata) == []


def test_sqlite_never_gives_the_number_of_a_deleted_row_to_another(tmp_path: Path) -> None:
    """Every late write goes by numbers. The rule holds for tables that are still to come as well."""
    with product(tmp_path), db.engine.connect() as connection:
        made = dict(
            connection.execute(sa.text("SELECT name, sql FROM sqlite_master WHERE type = 'table'")).all()
        )
    for table in db.metadata.sorted_tables:
        if "id" in table.c:
            assert table.dialect_options["sqlite"]["autoincrement"], f"{table.name}: sqlite_autoincrement"
            assert "AUTOINCREMENT" in made[table.name], f"a migration has to make {table.name} anew"


def test_tables_made_anew_keep_their_rows_and_what_refers_to_them(tmp_path: Path) -> None:
    with product(tmp_path):
        downgrade(revision="0005")
        with db.engine.begin() as connection:
            _add_portal_with_message(connection)
        upgrade()
        with db.engine.begin() as connection:
            assert connection.execute(sa.text("PRAGMA foreign_key_check")).all() == []
            assert connection.scalar(sa.text("PRAGMA foreign_keys")) == 1
            assert connection.execute(
                sa.text("SELECT id, message_row_id, reference FROM attempts")
            ).all() == [(9, 7, "ref")]
            connection.execute(sa.text("DELETE FROM portals"))
            assert connection.scalar(sa.text("SELECT count(*) FROM attempts")) == 0
            assert _insert(connection, "portals", {**PORTAL, "generation": 1}) == 6


PORTAL = {
    **dict.fromkeys(("domain", "client_endpoint", "oauth_server", "handler_secret", "handler_hash"), "x"),
    "member_id": "m",
    "state": "active",
    "settings": "{}",
    "registration": "{}",
    "created_at": "2026-01-01",
}


def _add_portal_with_message(connection: sa.Connection) -> None:
    _insert(connection, "portals", {"id": 5, **PORTAL})
    times = dict.fromkeys(("received_at", "expires_at"), "2026-01-01")
    words = dict.fromkeys(("message_id", "origin", "sender_code", "recipient", "text", "body_hash"), "x")
    state = {"status": "queued", "work": "queued", "bindings": "[]", "extra": "{}"}
    _insert(connection, "messages", {"id": 7, "portal_id": 5, **times, **words, **state})
    attempt = {"id": 9, "message_row_id": 7, "number": 1, "account_id": 1, "gateway": "demo", "calls": 1}
    _insert(connection, "attempts", {**attempt, "reference": "ref", "started_at": "2026-01-01"})


def _insert(connection: sa.Connection, table: str, values: dict[str, object]) -> int | None:
    names = ", ".join(values)
    marks = ", ".join(f":{name}" for name in values)
    return connection.execute(sa.text(f"INSERT INTO {table} ({names}) VALUES ({marks})"), values).lastrowid


@pytest.mark.parametrize("script", EACH, ids=lambda script: script.revision)
@pytest.mark.parametrize("way", ["upgrade", "downgrade"])
def test_no_migration_keeps_writers_from_a_table_while_it_builds_an_index(script: Script, way: str) -> None:
    """A message that cannot be stored is lost: Bitrix24 calls once."""
    statements = list(_statements_on_postgresql(script, way))
    made_here = {match[1] for s in statements if (match := re.match(r"CREATE TABLE (\w+)", s))}
    dropped_here = {match[1] for s in statements if (match := re.match(r"DROP TABLE (\w+)", s))}
    is_online = False
    for text in statements:
        if match := re.match(r"CREATE (?:UNIQUE )?INDEX (CONCURRENTLY )?\w+ ON (\w+)", text):
            assert match[1] or match[2] in made_here, f"use migrations/online.py: {text}"
        if match := re.match(r"DROP INDEX (CONCURRENTLY )?", text):
            assert match[1] or dropped_here, f"use migrations/online.py: {text}"
        is_online = is_online or " CONCURRENTLY " in text
    if is_online:
        once = [text for text in statements if not REPEATABLE.match(text)]
        assert once == [], "what cannot be repeated belongs into a migration of its own"


def _statements_on_postgresql(script: Script, way: str) -> Iterator[str]:
    output = io.StringIO()
    context = MigrationContext.configure(
        dialect_name="postgresql", opts={"as_sql": True, "output_buffer": output, "literal_binds": True}
    )
    with Operations.context(context), context.begin_transaction():
        getattr(script.module, way)()
    for text in output.getvalue().split(";\n"):
        if text.strip():
            yield " ".join(text.split())


def test_languages_that_a_portal_was_told_before_they_were_written_down_are_remembered(
    tmp_path: Path,
) -> None:
    with product(tmp_path):
        portal = a_portal()
        name = {"en": "Ours", "nl": "Onze"}
        senders.add(portal.id, originator="ACME", name=name, description={}, now=utcnow())
        with db.engine.begin() as connection:
            connection.execute(sa.text("UPDATE senders SET told_hash = 'before'"))
        downgrade(revision="0007")

        upgrade()

        (sender,) = senders.of_portal(portal.id)
        assert sorted(sender.told) == ["en", "nl"]
