"""the queue in its order"""

from __future__ import annotations

import sqlalchemy as sa

from migrations import online

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None

QUEUED = "work = 'queued'"


def upgrade() -> None:
    online.create_index(
        "ix_messages_queue",
        "messages",
        ["portal_id", "lane", "due_at"],
        postgresql_where=sa.text(QUEUED),
        sqlite_where=sa.text(QUEUED),
    )


def downgrade() -> None:
    online.drop_index("ix_messages_queue", "messages")
