"""What is wrong with the database, in one line that says what to do: for the operator's commands."""

from __future__ import annotations

import sqlalchemy as sa
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from flask import current_app

from app import redaction
from app.store.database import StoreUnavailable, statement

UPGRADE = "run `flask --app app db upgrade`"

# What servers, poolers and libraries say when nobody gets in -> what to do about it.
_CURES = (
    ("password authentication failed", "check user and password in DATABASE_URL"),
    ("no password supplied", "DATABASE_URL has no password"),
    ("pg_hba.conf", "the server does not let this user in from here, or only with TLS: add ?sslmode=require"),
    ("server does not support ssl", "take sslmode out of DATABASE_URL"),
    ("certificate", "check sslmode and sslrootcert in DATABASE_URL"),
    ("role", "check the user in DATABASE_URL"),
    ("does not exist", "create the database, or check its name in DATABASE_URL"),
    ("startup parameter", "a pooler refuses our settings: see docs/operations.md"),
    ("too many", "raise max_connections, or run fewer processes and threads"),
    ("remaining connection slots", "raise max_connections, or run fewer processes and threads"),
    ("could not translate host name", "check the host in DATABASE_URL"),
    ("failed to resolve host", "check the host in DATABASE_URL"),
    ("connection refused", "start the server, or check host and port in DATABASE_URL"),
    ("no connection in time", "start the server, or check host, port and firewall"),
    ("unable to open database file", "check the folder of DATABASE_URL and its rights"),
    ("readonly database", "the file or its folder cannot be written"),
    ("not a database", "the file of DATABASE_URL is something else"),
    ("disk is full", "make room"),
    ("malformed", "the file is damaged: restore it from a backup"),
)


def schema_problem() -> str:
    """Empty when the tables are those of this release. Raises StoreUnavailable."""
    with statement() as connection:
        if not sa.inspect(connection).has_table("alembic_version"):
            return f"it has no tables: {UPGRADE}"
        current = MigrationContext.configure(connection).get_current_revision()
    if current == head_revision():
        return ""
    if current not in {script.revision for script in _scripts().walk_revisions()}:
        return f"its schema {current} is of another release: start that one, or restore a backup"
    return f"its schema {current} is older than this release: {UPGRADE}"


def head_revision() -> str | None:
    return _scripts().get_current_head()


def _scripts() -> ScriptDirectory:
    return ScriptDirectory(current_app.extensions["migrate"].directory)


def explain(error: StoreUnavailable) -> str:
    """The database's own reason and the cure. Where it answers, an old schema is the likeliest reason."""
    words = _words(error)
    for said, cure in _CURES:
        if said in words.lower():
            return f"{words}; {cure}"
    try:
        if problem := schema_problem():
            return problem
    except StoreUnavailable:
        pass
    return words


def _words(error: BaseException) -> str:
    """The first line of what the driver says when it gets no connection. Other words may quote a row."""
    cause = error.__cause__
    while cause is not None and not isinstance(cause, sa.exc.DBAPIError):
        cause = cause.__cause__
    said = cause.orig if isinstance(cause, sa.exc.DBAPIError) else None
    first = next((line.strip() for line in str(said).splitlines() if line.strip()), "") if said else ""
    is_about_a_row = isinstance(cause, sa.exc.IntegrityError | sa.exc.DataError)
    return redaction.hide(first)[:300] if first and not is_about_a_row else str(error)
