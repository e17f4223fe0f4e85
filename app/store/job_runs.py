"""Periodic jobs: every consumer schedules them, the row decides who runs."""

from __future__ import annotations

from datetime import datetime, timedelta

import sqlalchemy as sa

from app.store.database import insert_or_ignore, statement, writing
from app.store.tables import job_runs


def claim(name: str, *, now: datetime, every_s: float, lease_s: float) -> bool:
    """Whether this process runs the job now: it is due, and nobody else is at it."""
    with writing() as connection:
        connection.execute(insert_or_ignore(connection, job_runs, "name").values(name=name))
        return bool(
            connection.execute(
                sa.update(job_runs)
                .where(
                    job_runs.c.name == name,
                    sa.or_(job_runs.c.lease_until.is_(None), job_runs.c.lease_until <= now),
                    sa.or_(
                        job_runs.c.last_run_at.is_(None),
                        job_runs.c.last_run_at <= now - timedelta(seconds=every_s),
                    ),
                )
                .values(lease_until=now + timedelta(seconds=lease_s), last_run_at=now)
            ).rowcount
        )


def release(name: str) -> None:
    with writing() as connection:
        connection.execute(sa.update(job_runs).where(job_runs.c.name == name).values(lease_until=None))


def last_runs() -> dict[str, datetime]:
    with statement() as connection:
        rows = connection.execute(
            sa.select(job_runs.c.name, job_runs.c.last_run_at).where(job_runs.c.last_run_at.is_not(None))
        )
        return {row.name: row.last_run_at for row in rows}
