"""Periodic jobs: every consumer schedules them, the row decides who runs."""

from __future__ import annotations

from collections.abc import Mapping
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


SETUP = "setup "  # begins the names that are no jobs, see `note_setup`
SETUP_KEPT = timedelta(days=1)


def note_setup(fingerprints: Mapping[str, str], *, now: datetime) -> None:
    """A worker runs with these: whoever runs with others has the wrong ones."""
    names = sorted(f"{SETUP}{name} {digest}" for name, digest in fingerprints.items())
    with writing() as connection:
        for name in names:
            connection.execute(insert_or_ignore(connection, job_runs, "name").values(name=name))
            connection.execute(sa.update(job_runs).where(job_runs.c.name == name).values(last_run_at=now))
        is_old = sa.and_(job_runs.c.name.startswith(SETUP), job_runs.c.last_run_at < now - SETUP_KEPT)
        connection.execute(sa.delete(job_runs).where(is_old))


def other_setups(fingerprints: Mapping[str, str], *, since: datetime) -> list[str]:
    """What a worker that ran lately has in other values than these."""
    with statement() as connection:
        query = sa.select(job_runs.c.name).where(
            job_runs.c.name.startswith(SETUP), job_runs.c.last_run_at >= since
        )
        found = [name.removeprefix(SETUP).rpartition(" ") for name in connection.scalars(query)]
    return sorted({name for name, _, digest in found if fingerprints.get(name, digest) != digest})


def last_runs() -> dict[str, datetime]:
    with statement() as connection:
        rows = connection.execute(
            sa.select(job_runs.c.name, job_runs.c.last_run_at).where(job_runs.c.last_run_at.is_not(None))
        )
        return {row.name: row.last_run_at for row in rows}
