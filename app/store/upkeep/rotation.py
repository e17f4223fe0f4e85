"""New keys for old: seals every secret with the first of ENCRYPTION_KEYS, while everything runs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa

from app.domain.audit import Action
from app.store import audit
from app.store.database import AnyRow, statement, writing
from app.store.database.secrets import secret_box
from app.store.tables import (
    bulk_chunks,
    bulk_jobs,
    credentials,
    gateway_accounts,
    messages,
    old_secrets,
    portal_events,
    portals,
)

BATCH = 200

# Table, sealed columns, and the column with the keyed hash of one of them.
_SEALED: tuple[tuple[sa.Table, tuple[str, ...], Mapping[str, str]], ...] = (
    (portals, ("handler_secret",), {"handler_secret": "handler_hash"}),
    (credentials, ("access_token", "refresh_token"), {}),
    (gateway_accounts, ("secrets", "report_secret"), {"report_secret": "report_hash"}),
    (old_secrets, ("secret",), {"secret": "hash"}),
    (messages, ("author_token", "held_token"), {}),
    (portal_events, ("payload",), {}),
    (bulk_chunks, ("payload",), {}),
)


def rotate_keys() -> dict[str, int]:
    """Seal and hash everything anew; returns how many rows of each table changed.

    An application_token is kept as a hash alone and cannot be hashed anew: after the old key is gone, the
    next call that carries it is held for a moment, verified, and its token is kept again.

    Raises:
        SecretUnreadable: a value that no key opens; what came before it is done, and may be repeated.
    """
    audit.note(Action.KEYS_ROTATED, None)
    return {table.name: _rotate_table(table, columns, hashes) for table, columns, hashes in _SEALED}


def _rotate_table(table: sa.Table, columns: tuple[str, ...], hashes: Mapping[str, str]) -> int:
    changed, after = 0, 0
    while rows := _batch(table, columns, after):
        with writing() as connection:
            for row in rows:
                # A value that somebody wrote meanwhile is sealed with the first key already: leave it.
                unchanged = [table.c[name] == row._mapping[name] for name in columns]
                changed += connection.execute(
                    sa.update(table)
                    .where(table.c.id == row.id, *unchanged)
                    .values(**_anew(row, columns, hashes))
                ).rowcount
        after = rows[-1].id
    return changed


def _batch(table: sa.Table, columns: tuple[str, ...], after: int) -> list[AnyRow]:
    named = [table.c[name] for name in columns]
    query = sa.select(table.c.id, *named, portals.c.member_id.label("owner"))
    if table is portal_events:  # may belong to a portal that has no row yet
        query = sa.select(table.c.id, *named, table.c.member_id.label("owner"))
    elif table is bulk_chunks:
        query = query.join(bulk_jobs, bulk_jobs.c.id == table.c.job_id)
        query = query.join(portals, portals.c.id == bulk_jobs.c.portal_id)
    elif table is not portals:
        query = query.join(portals, portals.c.id == table.c.portal_id)
    filled = sa.or_(*(column != "" for column in named))
    query = query.where(filled, table.c.id > after).order_by(table.c.id).limit(BATCH)
    with statement() as connection:
        return list(connection.execute(query).all())


def _anew(row: AnyRow, columns: tuple[str, ...], hashes: Mapping[str, str]) -> dict[str, Any]:
    box = secret_box()
    values: dict[str, Any] = {}
    for name in columns:
        plain = box.open(row.owner, row._mapping[name])
        values[name] = box.seal(row.owner, plain)
        if name in hashes and plain:
            values[hashes[name]] = box.hashes(plain)[0]
    return values
