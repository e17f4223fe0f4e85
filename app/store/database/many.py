"""Many rows in one statement, whose text is always the same: they travel as one document of JSON.

A statement for each row cost twice the processor time, here and in PostgreSQL, and putting one together anew
each time as much again.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from functools import cache
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from app.store.database import AnyRow

Values = Mapping[str, Any]
Names = tuple[str, ...]  # of our own columns: nothing that came from outside gets into a statement's text


def insert_many(
    connection: Connection,
    table: sa.Table,
    rows: Sequence[Values],
    *,
    ignore_on: Names = (),
    returning: Names = (),
) -> Sequence[AnyRow]:
    """Insert rows that all have the same columns; `ignore_on`: those that are there already by these."""
    if not rows:
        return []
    dialect = connection.dialect.name
    text = _insert(dialect, table, tuple(rows[0]), ignore_on, returning)
    made = connection.exec_driver_sql(text, (_document(dialect, rows),))
    return made.all() if returning else []


def update_many(connection: Connection, table: sa.Table, rows: Sequence[Values]) -> None:
    """Write columns of rows by their `id`; all name the same columns. Where others may write the same rows,
    lock them in the order of their ids before: this takes them in an order of its own."""
    if rows:
        dialect = connection.dialect.name
        text = _update(dialect, table, tuple(rows[0]))
        connection.exec_driver_sql(text, (_document(dialect, rows),))


def _document(dialect: str, rows: Sequence[Values]) -> str:
    as_text = _sqlite_time if dialect == "sqlite" else datetime.isoformat
    return json.dumps(rows, default=as_text, ensure_ascii=False)


def _sqlite_time(at: datetime) -> str:
    """As SQLAlchemy writes it there."""
    return at.astimezone(UTC).replace(tzinfo=None).isoformat(" ", "microseconds")


@cache
def _insert(
    dialect: str,
    table: sa.Table,
    names: Names,
    ignore_on: Names,
    returning: Names,
) -> str:
    columns = ", ".join(map(_quoted, names))
    text = f"INSERT INTO {table.name} ({columns}) SELECT {columns} FROM {_source(dialect, table, names)}"  # noqa: S608
    if ignore_on:  # without the condition SQLite would read on as if the tables were joined
        text += f" WHERE true ON CONFLICT ({', '.join(map(_quoted, ignore_on))}) DO NOTHING"
    if returning:
        text += f" RETURNING {', '.join(map(_quoted, returning))}"
    return text


@cache
def _update(dialect: str, table: sa.Table, names: Names) -> str:
    written = ", ".join(f"{_quoted(name)} = v.{_quoted(name)}" for name in names if name != "id")
    source = _source(dialect, table, names)
    return f"UPDATE {table.name} SET {written} FROM {source} WHERE {table.name}.id = v.id"  # noqa: S608


def _source(dialect: str, table: sa.Table, names: Names) -> str:
    """The document as a table `v`."""
    if dialect == "sqlite":
        taken = ", ".join(f"json_extract(value, '$.{name}') AS {_quoted(name)}" for name in names)
        return f"(SELECT {taken} FROM json_each(?)) AS v"  # noqa: S608
    typed = ", ".join(f"{_quoted(name)} {_kind(table.c[name])}" for name in names)
    return f"json_to_recordset(%s::json) AS v({typed})"


def _kind(column: sa.Column[Any]) -> str:
    return next(name for kind, name in _KINDS if isinstance(column.type, kind))


_KINDS: tuple[tuple[type, str], ...] = (
    (sa.TypeDecorator, "timestamptz"),
    (sa.Boolean, "boolean"),
    (sa.BigInteger, "bigint"),
    (sa.Integer, "integer"),
    (sa.JSON, "json"),
    (sa.String, "text"),
)


def _quoted(name: str) -> str:
    return f'"{name}"'
