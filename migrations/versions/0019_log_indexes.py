"""the log by number and by author"""

from __future__ import annotations

import sqlalchemy as sa

from migrations import online

revision = "0019"
down_revision = "0018"
branch_labels = None
depends_on = None

HAS_AUTHOR = sa.text("author_id <> ''")


def upgrade() -> None:
    online.create_index("ix_messages_recipient", "messages", ["portal_id", "recipient", "received_at", "id"])
    online.create_index(
        "ix_messages_author",
        "messages",
        ["portal_id", "author_id", "received_at", "id"],
        postgresql_where=HAS_AUTHOR,
        sqlite_where=HAS_AUTHOR,
    )


def downgrade() -> None:
    online.drop_index("ix_messages_author", "messages")
    online.drop_index("ix_messages_recipient", "messages")
