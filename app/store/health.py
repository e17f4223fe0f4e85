"""Whether the database is fit, and figures over all portals."""

from __future__ import annotations

from datetime import datetime, timedelta

import sqlalchemy as sa
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from flask import current_app

from app.store.database import statement, utcnow, writing
from app.store.job_runs import last_runs
from app.store.tables import job_runs, messages, portals


def problem() -> str:
    """Why this process must not get traffic, empty when it may. Its write finds a read-only database."""
    with writing() as connection:
        connection.execute(sa.update(job_runs).where(job_runs.c.name == "readyz").values(lease_until=None))
        current = MigrationContext.configure(connection).get_current_revision()
    if current != head_revision():
        return "the database schema is not this release's: run `flask --app app db upgrade`"
    return ""


def head_revision() -> str | None:
    directory = current_app.extensions["migrate"].directory
    return ScriptDirectory(directory).get_current_head()


def oldest_due_s(now: datetime) -> float:
    with statement() as connection:
        oldest = connection.scalar(sa.select(sa.func.min(messages.c.due_at)))
    return max(0.0, (now - oldest).total_seconds()) if oldest else 0.0


def portals_by_state() -> dict[str, int]:
    with statement() as connection:
        rows = connection.execute(sa.select(portals.c.state, sa.func.count()).group_by(portals.c.state))
        return {str(state): int(count) for state, count in rows}


def sweeper_is_alive(now: datetime, *, within: timedelta) -> bool:
    last = last_runs().get("sweep")
    return last is not None and now - last <= within


def database_time() -> datetime:
    """The database's own clock; SQLite has this machine's."""
    with statement() as connection:
        if connection.dialect.name == "sqlite":
            return utcnow()
        found: datetime = connection.execute(sa.select(sa.func.clock_timestamp())).scalar_one()
    return found
