"""The tables of bulk jobs."""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy import Boolean, Column, ForeignKey, Index, Integer, String, Text, text

from app.store.database import BigId, UtcDateTime, db
from app.store.tables.columns import moment, of_portal, row_id

# Literal, because SQLite uses a partial index only for a query that has its condition word for word.
BULK_UNDER_WAY = "state IN ('counting', 'waiting', 'running')"

# One deed for many messages: which ones, how far it is, what came of it. The result stays.
bulk_jobs = sa.Table(
    "bulk_jobs",
    db.metadata,
    row_id(),
    of_portal(),
    Column("key", String(40), nullable=False),  # of the form or the command that asked: two clicks, one job
    Column("deed", String(10), nullable=False),
    Column("state", String(10), nullable=False),
    # Who asked, and how they read: empty when it was a command.
    Column("user_id", String(20), nullable=False, server_default=""),
    Column("language", String(8), nullable=False, server_default=""),
    Column("time_zone", String(64), nullable=False, server_default=""),
    # Which messages: the filters, or their rows; of both none that is newer than `up_to`.
    Column("filters", sa.JSON, nullable=False),
    Column("chosen", sa.JSON, nullable=False),  # the filters as the page's address had them
    Column("row_ids", sa.JSON, nullable=False),
    Column("up_to", BigId, nullable=False),
    Column("event_up_to", BigId, nullable=False),  # what has a later step was changed since it was counted
    Column("is_sure", Boolean, nullable=False, server_default=sa.false()),  # they know of those that go twice
    Column("counted", sa.JSON, nullable=False),  # by verdict
    Column("results", sa.JSON, nullable=False),  # by outcome
    Column("examples", sa.JSON, nullable=False),  # some rows of each outcome
    Column("position_at", UtcDateTime),  # the last row that was counted, then the last one that was done
    Column("position_id", BigId),
    Column("is_stopping", Boolean, nullable=False, server_default=sa.false()),
    Column("faults", Integer, nullable=False, server_default="0"),  # in a row
    Column("work_lease_until", UtcDateTime),
    Column("work_lease", String(32)),
    # The file of an export.
    Column("chunks", Integer, nullable=False, server_default="0"),
    Column("file_bytes", sa.BigInteger, nullable=False, server_default="0"),  # as they are stored
    Column("file_until", UtcDateTime),
    moment("created_at"),
    Column("started_at", UtcDateTime),
    Column("ended_at", UtcDateTime),
    sa.UniqueConstraint("portal_id", "key"),
    Index(
        "ix_bulk_jobs_under_way",
        "portal_id",
        postgresql_where=text(BULK_UNDER_WAY),
        sqlite_where=text(BULK_UNDER_WAY),
    ),
    Index("ix_bulk_jobs_file_until", "file_until"),
    sqlite_autoincrement=True,
)

bulk_chunks = sa.Table(
    "bulk_chunks",
    db.metadata,
    row_id(),
    Column("job_id", ForeignKey("bulk_jobs.id", ondelete="CASCADE"), nullable=False),
    Column("number", Integer, nullable=False),
    Column("payload", Text, nullable=False),  # sealed, and compressed before
    sa.UniqueConstraint("job_id", "number"),
    sqlite_autoincrement=True,
)
