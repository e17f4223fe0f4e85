"""What benchmarks share: the product on either database, many messages in it, and shares of their figures."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from app.domain.portals import Portal
from app.store.database import utcnow, writing
from app.store.tables import messages
from tests.product import product
from tests.services import Postgres, ServiceMissing

DATABASES = ("SQLite", "PostgreSQL")
_CHUNK = 5_000


@contextmanager
def product_on(database: str) -> Iterator[str]:
    """The product in this process, on a fresh database; yields the database's URL."""
    with tempfile.TemporaryDirectory(prefix="sms-bench-") as folder:
        if database == "SQLite":
            with product(Path(folder)):
                yield f"sqlite:///{folder}/app.db"
            return
        try:
            cluster = Postgres()
        except ServiceMissing as missing:
            sys.exit(str(missing))
        with cluster:
            url = cluster.create_database()
            with product(Path(folder), DATABASE_URL=url):
                yield url


def fill(portal: Portal, count: int, *, prefix: str = "m", **values: Any) -> None:
    """Store so many delivered messages of now, with other values where some are given."""
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
        rows = [{**row, "message_id": f"{prefix}-{n}"} for n in range(start, min(start + _CHUNK, count))]
        with writing() as connection:
            connection.execute(sa.insert(messages), rows)


def share_of(values: Sequence[float], share: float) -> float:
    """The value that this share of the sorted ones does not reach."""
    return round(values[min(len(values) - 1, int(len(values) * share))], 1)
