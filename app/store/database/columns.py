"""Column types that both dialects share, and how constraints are named."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Dialect

NAMES = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "fk": "fk_%(table_name)s_%(column_0_name)s",
    "pk": "pk_%(table_name)s",
}

# 64 bits everywhere; SQLite numbers rows by itself only in a column called INTEGER.
BigId = sa.BigInteger().with_variant(sa.Integer(), "sqlite")

AnyRow = sa.Row[*tuple[Any, ...]]


class UtcDateTime(sa.TypeDecorator[datetime]):
    """An aware datetime in UTC. SQLite keeps it as text whose order is the order of time."""

    impl = sa.DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None or dialect.name != "sqlite":
            return value
        return value.astimezone(UTC).replace(tzinfo=None)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None or value.tzinfo is not None:
            return value
        return value.replace(tzinfo=UTC)
