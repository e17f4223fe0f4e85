"""The tables of our own work."""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy import Column, Float, ForeignKey, Index, String

from app.store.database import UtcDateTime, db
from app.store.tables.columns import moment, row_id

# Who did what. Without a portal: a deed of the operator's over all of them, or of one that is erased.
audit_log = sa.Table(
    "audit_log",
    db.metadata,
    row_id(),
    Column("portal_id", ForeignKey("portals.id", ondelete="CASCADE")),
    moment("at"),
    Column("who", String(10), nullable=False),
    Column("name", String(128), nullable=False, server_default=""),
    Column("address", String(45), nullable=False, server_default=""),
    Column("action", String(40), nullable=False),
    Column("about", String(128), nullable=False, server_default=""),
    Column("before", sa.JSON, nullable=False),
    Column("after", sa.JSON, nullable=False),
    Index("ix_audit_log_portal_id_id", "portal_id", "id"),
    Index("ix_audit_log_at", "at"),
    sqlite_autoincrement=True,
)

# Processes that take work, each as it last said; and machines that are to take none.
instances = sa.Table(
    "instances",
    db.metadata,
    Column("name", String(200), primary_key=True),
    Column("kind", String(10), nullable=False),
    Column("host", String(128), nullable=False),
    Column("version", String(40), nullable=False),
    Column("state", String(10), nullable=False),
    moment("started_at"),
    moment("seen_at"),
)

drained_hosts = sa.Table(
    "drained_hosts",
    db.metadata,
    Column("host", String(128), primary_key=True),
    moment("since"),
)

job_runs = sa.Table(
    "job_runs",
    db.metadata,
    Column("name", String(40), primary_key=True),
    Column("lease_until", UtcDateTime),
    Column("last_run_at", UtcDateTime),
)

# What the workers have counted for /metrics, summed over all of them.
worker_counts = sa.Table(
    "worker_counts",
    db.metadata,
    Column("name", String(80), primary_key=True),
    Column("labels", String(200), primary_key=True),  # JSON list of pairs, sorted
    Column("value", Float, nullable=False),
)
