"""Leases: one holder at a time of what a row stands for, on any number of machines.

A lease is two columns of that row, `<what>_lease` and `<what>_lease_until`. Its token is the fence: whoever
writes for the holder names it, and finds nothing when the lease went to another one meanwhile.
"""

from __future__ import annotations

import secrets as random_source
from datetime import datetime, timedelta

import sqlalchemy as sa

from app.store.database import writing

# One that is longer than any is of a clock that was ahead, and counts as none.
AT_MOST = timedelta(minutes=10)


def take(
    table: sa.Table,
    row_id: int,
    what: str,
    *,
    now: datetime,
    lease_s: float,
    only: tuple[sa.ColumnElement[bool], ...] = (),
) -> str | None:
    """The token; None while another one holds it, or a condition in `only` is not met."""
    token = random_source.token_hex(16)
    with writing() as connection:
        taken = connection.execute(
            sa.update(table)
            .where(table.c.id == row_id, is_free(table, what, now), *only)
            .values({f"{what}_lease": token, f"{what}_lease_until": now + timedelta(seconds=lease_s)})
        ).rowcount
    return token if taken else None


def keep(table: sa.Table, row_id: int, what: str, token: str, *, until: datetime) -> bool:
    """Hold on to it; False when it was lost meanwhile."""
    with writing() as connection:
        return bool(
            connection.execute(
                sa.update(table)
                .where(table.c.id == row_id, table.c[f"{what}_lease"] == token)
                .values({f"{what}_lease_until": until})
            ).rowcount
        )


def release(
    table: sa.Table, row_id: int, what: str, token: str, *, free_at: datetime | None = None, **more: object
) -> None:
    """Give it back; nobody gets it before `free_at`. `more` is written as long as it is ours."""
    with writing() as connection:
        connection.execute(
            sa.update(table)
            .where(table.c.id == row_id, table.c[f"{what}_lease"] == token)
            .values({f"{what}_lease_until": free_at, f"{what}_lease": None, **more})
        )


def is_free(table: sa.Table, what: str, now: datetime) -> sa.ColumnElement[bool]:
    """Nobody holds it."""
    until = table.c[f"{what}_lease_until"]
    return sa.or_(until.is_(None), until <= now, until > now + AT_MOST)
