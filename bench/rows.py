"""Many messages in the product's tables, for benchmarks of what grows."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from app.domain.portals import Portal
from app.store.database import is_sqlite, utcnow, writing
from app.store.database.deadlines import within
from app.store.tables import attempts, messages

_CHUNK = 100_000
PATIENCE_S = 3600.0


def fill(portal: Portal, count: int, *, prefix: str = "m", **values: Any) -> None:
    """Store so many delivered messages of now, with other values where some are given; one that is a function
    makes each row's own, of its number."""
    now = utcnow()
    row = {
        "portal_id": portal.id,
        "origin": "portal",
        "bindings": [],
        "extra": {},
        "recipient": "+4915112345678",
        "text": "hello",
        "body_hash": "0" * 64,
        "sender_code": "sms",
        "received_at": now,
        "expires_at": now + timedelta(days=1),
        "status": "delivered",
        "work": "closed",
        **values,
    }
    for start in range(0, count, _CHUNK):
        numbers = _numbers(start, min(start + _CHUNK, count))
        made = [
            value(numbers.c.n) if callable(value) else sa.literal(value, messages.c[name].type)
            for name, value in row.items()
        ]
        ids = sa.literal(f"{prefix}-").concat(sa.cast(numbers.c.n, sa.String))
        rows = sa.select(*made, ids).select_from(numbers)
        with bulk_writing() as connection:
            connection.execute(sa.insert(messages).from_select([*row, "message_id"], rows))


@contextmanager
def bulk_writing() -> Iterator[Connection]:
    """A transaction that may take longer than any of the product's own may."""
    with within(PATIENCE_S), writing() as connection:
        if not is_sqlite():
            connection.execute(sa.text("SET LOCAL statement_timeout = 0"))
        yield connection


@contextmanager
def without_indexes() -> Iterator[None]:
    """Messages and attempts get theirs when all rows are there: sorted once, and not at each row."""
    gone = [index for table in (messages, attempts) for index in table.indexes]
    with bulk_writing() as connection:
        for index in gone:
            index.drop(connection)
    try:
        yield
    finally:
        for index in gone:
            with bulk_writing() as connection:
                if not is_sqlite():
                    connection.execute(sa.text("SET LOCAL maintenance_work_mem = '1GB'"))
                index.create(connection)


def _numbers(first: int, end: int) -> sa.CTE:
    """Counted by the database: a million rows do not travel there one by one."""
    numbers = sa.select(sa.literal(first).label("n")).cte("numbers", recursive=True)
    return numbers.union_all(sa.select(numbers.c.n + 1).where(numbers.c.n < end - 1))
