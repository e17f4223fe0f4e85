"""Columns that many tables have."""

from __future__ import annotations

from sqlalchemy import Column, ForeignKey

from app.store.database import BigId, UtcDateTime


def row_id() -> Column[int]:
    """The row's number. Each table with one says `sqlite_autoincrement`: SQLite would use the number of a
    deleted row again, and every late write that goes by it would meet a stranger's row."""
    return Column("id", BigId, primary_key=True)


def of_portal() -> Column[int]:
    return Column("portal_id", ForeignKey("portals.id", ondelete="CASCADE"), nullable=False)


def moment(name: str) -> Column[object]:
    return Column(name, UtcDateTime, nullable=False)
