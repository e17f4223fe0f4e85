"""What an operator can do wrong is said in one line, by every command that meets it."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result
from cryptography.fernet import Fernet
from flask_migrate import upgrade

from app import create_app
from app.config import load_config
from tests.worlds.product import ENVIRONMENT, a_portal, product

MEMBER = "a" * 32
COMMANDS = (
    ("portals", "list"),
    ("portals", "show", MEMBER),
    ("portals", "calls", MEMBER),
    ("messages", "list", MEMBER),
    ("messages", "show", MEMBER, "m1"),
    ("senders", "list", MEMBER),
    ("senders", "reconcile"),
    ("gateways", "set", MEMBER, "demo"),
    ("gateways", "renew-address", MEMBER),
    ("keys", "rotate"),
    ("erase", "portal", MEMBER, "--yes"),
)


def run(url: str, *args: str, **environment: str) -> Result:
    app = create_app(load_config({**ENVIRONMENT, **environment, "DATABASE_URL": url}))
    with app.app_context():
        return app.test_cli_runner().invoke(args=args)


def the_line(result: Result) -> str:
    assert result.exit_code == 1, (result.output, result.exception)
    assert isinstance(result.exception, SystemExit)
    (line,) = result.stderr.splitlines()
    return line


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_a_database_without_tables_is_said_by_every_command(tmp_path: Path, command: tuple[str, ...]) -> None:
    said = the_line(run(f"sqlite:///{tmp_path}/app.db", *command))

    assert said == "database: it has no tables: run `flask --app app db upgrade`"


def _older(path: Path) -> None:
    app = create_app(load_config({**ENVIRONMENT, "DATABASE_URL": f"sqlite:///{path}"}))
    with app.app_context():
        upgrade(revision="0005")


def _of_another_release(path: Path) -> None:
    with product(path.parent):
        pass
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
        connection.execute("ALTER TABLE portals RENAME COLUMN domain TO host")


def _something_else(path: Path) -> None:
    path.write_bytes(b"no database at all" * 100)


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (_older, "its schema 0005 is older than this release: run `flask --app app db upgrade`"),
        (_of_another_release, "its schema 9999 is of another release: start that one, or restore a backup"),
        (_something_else, "file is not a database; the file of DATABASE_URL is something else"),
    ],
)
def test_a_spoiled_file_is_named_with_its_cure(
    tmp_path: Path, spoil: Callable[[Path], None], said: str
) -> None:
    spoil(tmp_path / "app.db")

    url = f"sqlite:///{tmp_path}/app.db"

    assert the_line(run(url, "portals", "list")) == f"database: {said}"
    found = run(url, "doctor")
    assert f"FAIL database: {said}" in found.stdout
    assert found.exit_code == 1


def test_a_file_that_cannot_be_made_stops_the_start(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    with pytest.raises(SystemExit) as stopped:
        run(f"sqlite:///{tmp_path}/file/app.db", "portals", "list")

    assert str(stopped.value).startswith(
        f"configuration: DATABASE_URL: the file {tmp_path}/file/app.db cannot"
    )


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            ("/{name}", "/nowhere"),
            'database "nowhere" does not exist; create the database, or check its name',
        ),
        (("{user}@", "nobody:x@"), "check user and password in DATABASE_URL"),
        (("{user}@", "postgres@"), "no password supplied; DATABASE_URL has no password"),
        (("{place}", "127.0.0.1:1"), "start the server, or check host and port in DATABASE_URL"),
        (("/{name}", "/{name}?sslmode=require"), "but SSL was required; take sslmode out of DATABASE_URL"),
    ],
    ids=["name", "user", "password", "port", "tls"],
)
def test_a_server_that_lets_nobody_in_is_quoted(
    postgres_url: str, change: tuple[str, str], said: str
) -> None:
    head, _, name = postgres_url.rpartition("/")
    user = head.partition("://")[2].partition("@")[0]
    old = change[0].format(name=name, user=user, place=head.rpartition("@")[2])
    url = postgres_url.replace(old, change[1].format(name=name, user=user, place=""))
    assert url != postgres_url

    for command in (("portals", "list"), ("db", "upgrade")):
        line = the_line(run(url, *command))
        assert line.startswith("database: ")
        assert said in line


def test_a_key_that_is_missing_is_said(tmp_path: Path) -> None:
    with product(tmp_path):
        a_portal()
        url = f"sqlite:///{tmp_path}/app.db"

    for command in (("senders", "renew-address", MEMBER), ("keys", "rotate")):
        line = the_line(run(url, *command, ENCRYPTION_KEYS=Fernet.generate_key().decode()))
        assert "put the key that sealed it back into ENCRYPTION_KEYS" in line
