"""INSERT with a word on conflicts, in the dialect at hand."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert as postgresql_insert
from sqlalchemy.dialects.sqlite import insert as sqlite_insert
from sqlalchemy.engine import Connection


def insert_or_ignore(connection: Connection, table: sa.Table, *keys: str) -> Any:
    """`INSERT ... ON CONFLICT (keys) DO NOTHING` in the dialect at hand; without keys, on any conflict."""
    return upsert(connection, table).on_conflict_do_nothing(index_elements=list(keys) or None)


def upsert(connection: Connection, table: sa.Table) -> Any:
    """`INSERT` in the dialect at hand, which can be told what to do on a conflict."""
    return insert_of(connection.dialect.name, table)


def insert_of(dialect: str, table: sa.Table) -> Any:
    """The same for a statement that is made once and kept."""
    return (sqlite_insert if dialect == "sqlite" else postgresql_insert)(table)
