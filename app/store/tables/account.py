"""The table of gateway accounts."""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy import Boolean, Column, Index, Integer, String, Text

from app.store.database import UtcDateTime, db
from app.store.tables.columns import moment, of_portal, row_id

gateway_accounts = sa.Table(
    "gateway_accounts",
    db.metadata,
    row_id(),
    of_portal(),
    Column("slug", String(40), nullable=False),
    Column("label", String(80), nullable=False),
    Column("settings", sa.JSON, nullable=False),
    Column("secrets", Text, nullable=False),  # sealed JSON of the secret settings
    Column("is_default", Boolean, nullable=False),
    Column("report_secret", Text, nullable=False),
    Column("report_hash", String(64), nullable=False, unique=True),
    Column("checked_at", UtcDateTime),
    Column("check_text", Text, nullable=False, server_default=""),
    # Stopped: the account cannot send (wrong key, no money). A probe finds out when it can.
    Column("circuit_open_since", UtcDateTime),
    Column("circuit_reason", Text, nullable=False, server_default=""),
    Column("probe_at", UtcDateTime),
    # Messages that the account was refused for, with none taken in between; enough of them stop it.
    Column("failures", Integer, nullable=False, server_default="0"),  # how many
    Column("refused_rows", sa.JSON, nullable=False, server_default="[]"),
    # Silent: calls in a row without a sensible answer; over the limit one call at a time goes out.
    Column("bad_calls", Integer, nullable=False, server_default="0"),
    Column("paused_until", UtcDateTime),
    # The pace, once the gateway found us too fast, and what it was at last.
    Column("rate_per_s", sa.Float),
    Column("slowed_at", UtcDateTime),
    Column("next_slot_at", UtcDateTime),
    # One worker at a time hands over its messages.
    Column("line_lease_until", UtcDateTime),  # of the process that keeps its line, where it needs one
    Column("line_lease", String(32)),
    Column("drain_lease_until", UtcDateTime),
    Column("drain_lease", String(32)),
    Column("last_report_at", UtcDateTime),
    # The regular check. One that fails leaves what the admin was told by their own check as it is.
    Column("next_check_at", UtcDateTime),
    Column("failed_checks", Integer, nullable=False, server_default="0"),  # in a row
    Column("failed_check_text", Text, nullable=False, server_default=""),
    Column("version", Integer, nullable=False, server_default="1"),
    Column("retired_at", UtcDateTime),  # replaced or removed; its messages and reports still find it
    moment("created_at"),
    Index("ix_gateway_accounts_probe_at", "probe_at"),
    Index("ix_gateway_accounts_next_check_at", "next_check_at"),
    sqlite_autoincrement=True,
)
