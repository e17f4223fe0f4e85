"""an index for the texts whose time is over"""

from __future__ import annotations

import sqlalchemy as sa

from migrations import online

revision = "0004"
down_revision = "0003a"
branch_labels = None
depends_on = None

TEXT_CAN_GO = "text <> '' AND work = 'closed' AND push_due_at IS NULL"


def upgrade() -> None:
    online.create_index(
        "ix_messages_text_can_go",
        "messages",
        ["portal_id", "received_at"],
        unique=False,
        postgresql_where=sa.text(TEXT_CAN_GO),
        sqlite_where=sa.text(TEXT_CAN_GO),
    )


def downgrade() -> None:
    online.drop_index("ix_messages_text_can_go", "messages")
