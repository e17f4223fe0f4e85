"""Periodic jobs: every consumer schedules them, the row decides who runs."""

from __future__ import annotations

from datetime import datetime, timedelta

import sqlalchemy as sa

from app.store.database import insert_or_ignore, statement, writing
from app.store.tables import job_runs

CLOCKS_DIFFER = timedelta(minutes=1)


def claim(name: str, *, now: datetime, every_s: float, lease_s: float) -> datetime | None:
    """The right to run the job now, to be given back to `release`; None when it is not due, or somebody else
    is at it.

    A last run in the future, or a lease longer than any that is given, was written by a clock that was ahead,
    and counts as none: the job would rest until that time comes. Clocks that differ a little do no harm.
    """
    until = now + timedelta(seconds=lease_s)
    lease, last = job_runs.c.lease_until, job_runs.c.last_run_at
    with writing() as connection:
        connection.execute(insert_or_ignore(connection, job_runs, "name").values(name=name))
        claimed = connection.execute(
            sa.update(job_runs)
            .where(
                job_runs.c.name == name,
                sa.or_(lease.is_(None), lease <= now, lease > until + CLOCKS_DIFFER),
                sa.or_(last.is_(None), last <= now - timedelta(seconds=every_s), last > now + CLOCKS_DIFFER),
            )
            .values(lease_until=until, last_run_at=now)
        ).rowcount
    return until if claimed else None


def release(name: str, lease: datetime) -> None:
    """Give back one's own right: whoever took over from somebody slow keeps theirs."""
    with writing() as connection:
        connection.execute(
            sa.update(job_runs)
            .where(job_runs.c.name == name, job_runs.c.lease_until == lease)
            .values(lease_until=None)
        )


def last_runs() -> dict[str, datetime]:
    with statement() as connection:
        rows = connection.execute(
            sa.select(job_runs.c.name, job_runs.c.last_run_at).where(job_runs.c.last_run_at.is_not(None))
        )
        return {row.name: row.last_run_at for row in rows}
