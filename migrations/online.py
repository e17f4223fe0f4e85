"""Indexes of tables in use, built and dropped while others read and write.

On PostgreSQL a plain CREATE INDEX locks the table's writers out for as long as it takes, and a message that
the HANDLER cannot store is lost. CONCURRENTLY does it beside them, outside any transaction; so a migration
that calls this does nothing that could not be repeated, because a run that was cut short begins anew.
SQLite has one writer at a time anyway: there the whole migration stays one transaction.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from alembic import op


@contextmanager
def _beside_others() -> Iterator[None]:
    with op.get_context().autocommit_block():
        # It waits for every open transaction, and nobody waits for it.
        op.execute("SET lock_timeout = 0")
        yield
        op.execute("RESET lock_timeout")


def create_index(name: str, table: str, columns: Sequence[str], **options: Any) -> None:
    """`op.create_index` for a table that exists; what an earlier try left of it is replaced."""
    if op.get_context().dialect.name != "postgresql":
        op.create_index(name, table, columns, if_not_exists=True, **options)
        return
    with _beside_others():
        op.drop_index(name, table_name=table, if_exists=True, postgresql_concurrently=True)
        op.create_index(name, table, columns, postgresql_concurrently=True, **options)


def drop_index(name: str, table: str) -> None:
    """`op.drop_index` for a table that stays."""
    if op.get_context().dialect.name != "postgresql":
        op.drop_index(name, table_name=table, if_exists=True)
        return
    with _beside_others():
        op.drop_index(name, table_name=table, if_exists=True, postgresql_concurrently=True)
