"""The sum of what all workers have counted, see `app.domain.counting`."""

from __future__ import annotations

import json
from collections.abc import Mapping

import sqlalchemy as sa

from app.domain.counting import Series
from app.store.database import statement, upsert, writing
from app.store.tables import worker_counts

_c = worker_counts.c


def add(counted: Mapping[Series, float]) -> None:
    """Add to the rows, in one commit and in one order, so that two workers never wait for each other."""
    if not counted:
        return
    rows = [
        {"name": series.name, "labels": json.dumps(series.labels), "value": float(value)}
        for series, value in sorted(counted.items())
    ]
    with writing() as connection:
        insert = upsert(connection, worker_counts)
        connection.execute(
            insert.on_conflict_do_update(
                index_elements=[_c.name, _c.labels], set_={"value": _c.value + insert.excluded.value}
            ),
            rows,
        )


def totals() -> dict[Series, float]:
    with statement() as connection:
        rows = connection.execute(sa.select(_c.name, _c.labels, _c.value).order_by(_c.name, _c.labels)).all()
    return {
        Series(row.name, tuple((str(key), str(value)) for key, value in json.loads(row.labels))): row.value
        for row in rows
    }
