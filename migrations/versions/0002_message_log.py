"""message log: indexes in the order of time

Building them takes some seconds for each million messages. On PostgreSQL everything goes on meanwhile; on
SQLite nothing can be stored, and what the HANDLER gets then is spooled.
"""

from __future__ import annotations

import sqlalchemy as sa

from migrations import online

revision = "0002"
down_revision = "0002a"
branch_labels = None
depends_on = None


def upgrade() -> None:
    online.create_index(
        "ix_messages_log",
        "messages",
        ["portal_id", "received_at", "id", "recipient", "account_id", "sender_code"],
        unique=False,
    )
    online.create_index(
        "ix_messages_log_by_status",
        "messages",
        [
            *("portal_id", "status", "received_at", "id"),
            *("recipient", "account_id", "sender_code", "segments", "delivery_ms"),
        ],
        unique=False,
    )
    online.drop_index("ix_messages_portal_id_id", "messages")
    online.create_index(
        "ix_attempts_cost",
        "attempts",
        ["account_id", "started_at", "cost"],
        unique=False,
        postgresql_where=sa.text("cost <> ''"),
        sqlite_where=sa.text("cost <> ''"),
    )


def downgrade() -> None:
    online.drop_index("ix_attempts_cost", "attempts")
    online.create_index("ix_messages_portal_id_id", "messages", ["portal_id", "id"], unique=False)
    online.drop_index("ix_messages_log_by_status", "messages")
    online.drop_index("ix_messages_log", "messages")
