"""Runs migrations on the application's own engine; `flask --app app db upgrade` comes here."""

from __future__ import annotations

from typing import Any

from alembic import context
from flask import current_app

import app.store.tables  # noqa: F401 - fills the metadata that autogenerate compares with
from app.store.database import UtcDateTime, db


def render_item(kind: str, item: Any, _autogen: Any) -> str | bool:
    """A migration must outlive our classes: it names plain column types."""
    if kind == "type" and isinstance(item, UtcDateTime):
        return "sa.DateTime(timezone=True)"
    return False


def run() -> None:
    options = current_app.extensions["migrate"].configure_args
    with db.engine.connect() as connection:
        is_postgresql = connection.dialect.name == "postgresql"
        context.configure(
            connection=connection, target_metadata=db.metadata, render_item=render_item, **options
        )
        with context.begin_transaction():
            if is_postgresql:
                # A migration may take its time, but must not make everybody wait for its locks,
                # and two releases at once must not both run it.
                connection.exec_driver_sql("SET LOCAL statement_timeout = 0")
                connection.exec_driver_sql("SELECT pg_advisory_xact_lock(7305117)")
            context.run_migrations()


run()
