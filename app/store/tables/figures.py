"""The tables of what is counted and what went wrong."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from sqlalchemy import Column, ForeignKey, Index, Integer, String, text

from app.store.database import BigId, UtcDateTime, db
from app.store.tables.columns import moment, of_portal, row_id


def _counts(name: str, *keys: Column[Any], sums: tuple[str, ...] = ("count",)) -> sa.Table:
    """Sums by portal and quarter of an hour, in UTC: every time zone's days begin with one."""
    return sa.Table(
        name,
        db.metadata,
        Column("portal_id", ForeignKey("portals.id", ondelete="CASCADE"), primary_key=True),
        Column("quarter", UtcDateTime, primary_key=True),
        *keys,
        *(Column(each, sa.BigInteger, nullable=False) for each in sums),
    )


# Statistics outlive the messages that they are of; a portal's go with the portal.
message_counts = _counts(
    "message_counts",
    Column("status", String(12), primary_key=True),
    Column("account_id", BigId, primary_key=True, autoincrement=False),  # 0: of no account
    Column("reason", String(40), primary_key=True),
    sums=("count", "segments"),
)

# One row for each sender and one for each kind of author: few, and never one for each person.
split_counts = _counts(
    "split_counts",
    Column("split", String(8), primary_key=True),  # sender or author
    Column("value", String(128), primary_key=True),
    sums=("count", "segments", "delivered", "failed"),
)

delivery_counts = _counts("delivery_counts", Column("tenths", sa.BigInteger, primary_key=True))

cost_counts = _counts("cost_counts", Column("cost", String(40), primary_key=True))

# Troubles that last, and what people were told of them. One that ended is kept for a while.
incidents = sa.Table(
    "incidents",
    db.metadata,
    row_id(),
    of_portal(),
    Column("kind", String(12), nullable=False),
    Column("cause", String(20), nullable=False),  # may change while it lasts
    moment("began_at"),
    Column("opened_at", UtcDateTime),  # it lasted long enough to be told
    Column("away_since", UtcDateTime),
    Column("ended_at", UtcDateTime),
    # The notice that people still have to get: of its beginning, of its end, or none.
    Column("notice", String(8), nullable=False, server_default=""),
    Column("notice_due_at", UtcDateTime),
    Column("notice_tries", Integer, nullable=False, server_default="0"),
    Column("told", sa.JSON, nullable=False),  # the users who got that notice
    Index(
        "ix_incidents_open",
        "portal_id",
        "kind",
        unique=True,
        postgresql_where=text("ended_at IS NULL"),
        sqlite_where=text("ended_at IS NULL"),
    ),
    Index("ix_incidents_notice_due_at", "notice_due_at"),
    sqlite_autoincrement=True,
)
