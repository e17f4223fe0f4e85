"""an index for the texts whose time is over"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

TEXT_CAN_GO = "text <> '' AND work = 'closed' AND push_due_at IS NULL"


def upgrade() -> None:
    op.create_index(
        "ix_messages_text_can_go",
        "messages",
        ["portal_id", "received_at"],
        unique=False,
        postgresql_where=sa.text(TEXT_CAN_GO),
        sqlite_where=sa.text(TEXT_CAN_GO),
    )


def downgrade() -> None:
    op.drop_index("ix_messages_text_can_go", table_name="messages")
