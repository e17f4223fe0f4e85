"""find the rows that are not counted by sender and author"""

from __future__ import annotations

import sqlalchemy as sa

from migrations import online

revision = "0024"
down_revision = "0023"
branch_labels = None
depends_on = None

NOT_SPLIT = "split_as <> status || ' ' || CAST(segments AS TEXT)"


def upgrade() -> None:
    online.create_index(
        "ix_messages_not_split",
        "messages",
        ["portal_id"],
        postgresql_where=sa.text(NOT_SPLIT),
        sqlite_where=sa.text(NOT_SPLIT),
    )


def downgrade() -> None:
    online.drop_index("ix_messages_not_split", "messages")
