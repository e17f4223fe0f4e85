"""The database: what every other room of the store says `from app.store.database import ...` for."""

from __future__ import annotations

from app.store.database.clock import utcnow
from app.store.database.columns import AnyRow, BigId, UtcDateTime
from app.store.database.connections import (
    UNLIMITED,
    database_is_down,
    db,
    engine_options,
    is_behind_pooler,
    is_sqlite,
    migrate,
    prepare_engine,
)
from app.store.database.errors import StoreRefused, StoreUnavailable
from app.store.database.transactions import (
    connecting,
    overwrite_deleted,
    single_write,
    snapshot,
    statement,
    writing,
    writing_in_turn,
)
from app.store.database.turns import turn_to_write
from app.store.database.upserts import insert_of, insert_or_ignore, upsert

__all__ = [
    "UNLIMITED",
    "AnyRow",
    "BigId",
    "StoreRefused",
    "StoreUnavailable",
    "UtcDateTime",
    "connecting",
    "database_is_down",
    "db",
    "engine_options",
    "insert_of",
    "insert_or_ignore",
    "is_behind_pooler",
    "is_sqlite",
    "migrate",
    "overwrite_deleted",
    "prepare_engine",
    "single_write",
    "snapshot",
    "statement",
    "turn_to_write",
    "upsert",
    "utcnow",
    "writing",
    "writing_in_turn",
]
