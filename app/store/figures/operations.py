"""Whether the database is fit, and figures over all portals."""

from __future__ import annotations

from datetime import datetime, timedelta

import sqlalchemy as sa

from app.domain.portals import PortalState
from app.domain.retry import BAD_CALLS_TO_PAUSE
from app.store.database import db, statement, utcnow, writing
from app.store.database.trouble import schema_problem
from app.store.job_runs import last_runs
from app.store.tables import gateway_accounts, job_runs, messages, portals


def problem() -> str:
    """Why this process must not get traffic, empty when it may. Its write finds a read-only database."""
    if problem := schema_problem():
        return problem
    with writing() as connection:
        connection.execute(sa.update(job_runs).where(job_runs.c.name == "readyz").values(lease_until=None))
    return ""


def connections_of_a_process() -> int:
    """How many connections one of our processes may open."""
    pool = db.engine.pool
    return pool.size() + pool._max_overflow if isinstance(pool, sa.QueuePool) else 1


def connections_allowed() -> int | None:
    """How many the server lets in; None where there is no server."""
    if db.engine.dialect.name == "sqlite":
        return None
    with statement() as connection:
        most, kept = (
            int(connection.exec_driver_sql(f"SHOW {name}").scalar_one())
            for name in ("max_connections", "superuser_reserved_connections")
        )
    return most - kept


def oldest_due_s(now: datetime) -> float:
    with statement() as connection:
        oldest = connection.scalar(sa.select(sa.func.min(messages.c.due_at)))
    return max(0.0, (now - oldest).total_seconds()) if oldest else 0.0


def last_handler_call_at() -> datetime | None:
    """When a portal last handed over a message; tests of ours do not count. Silence is a fault for a sender
    that calls once and never again."""
    newest = (
        sa.select(messages.c.received_at)
        .where(messages.c.origin == "portal")
        .order_by(messages.c.id.desc())
        .limit(1)
    )
    with statement() as connection:
        found: datetime | None = connection.scalar(newest)
    return found


def has_portal_since(moment: datetime) -> bool:
    """Whether a portal has had the app, and been well, since before then."""
    query = sa.select(sa.literal(1)).where(
        portals.c.state == PortalState.ACTIVE, portals.c.installed_at < moment
    )
    with statement() as connection:
        return connection.scalar(query.limit(1)) is not None


def portals_by_state() -> dict[str, int]:
    with statement() as connection:
        rows = connection.execute(sa.select(portals.c.state, sa.func.count()).group_by(portals.c.state))
        return {str(state): int(count) for state, count in rows}


def attention() -> dict[str, int]:
    """What somebody should look at: open questions, and messages that our own errors ended."""
    needs = sa.or_(messages.c.status == "unknown", messages.c.reason == "dead_letter")
    with statement() as connection:
        rows = connection.execute(
            sa.select(messages.c.status, messages.c.reason, sa.func.count())
            .where(needs)
            .group_by(messages.c.status, messages.c.reason)
        ).all()
    return {
        "unknown": sum(count for status, _, count in rows if status == "unknown"),
        "dead_letter": sum(count for _, reason, count in rows if reason == "dead_letter"),
    }


def accounts_by_trouble() -> dict[str, int]:
    """How many gateway accounts are stopped (key or money), silent (no answer), or slowed."""
    columns = gateway_accounts.c
    with statement() as connection:
        row = connection.execute(
            sa.select(
                sa.func.count(columns.circuit_open_since),
                sa.func.count(sa.case((columns.bad_calls >= BAD_CALLS_TO_PAUSE, 1))),
                sa.func.count(columns.rate_per_s),
            )
        ).one()
    return dict(zip(("stopped", "silent", "slowed"), row, strict=True))


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
