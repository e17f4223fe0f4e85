"""message log: indexes in the order of time, and how long a delivery took

Building the indexes takes some seconds for each million messages, and nothing can be stored meanwhile: what
the HANDLER gets then is answered 503, or spooled where the operator chose that.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("messages", schema=None) as batch_op:
        batch_op.add_column(sa.Column("delivery_ms", sa.BigInteger(), nullable=True))
        batch_op.create_index(
            "ix_messages_log",
            ["portal_id", "received_at", "id", "recipient", "account_id", "sender_code"],
            unique=False,
        )
        batch_op.create_index(
            "ix_messages_log_by_status",
            [
                *("portal_id", "status", "received_at", "id"),
                *("recipient", "account_id", "sender_code", "segments", "delivery_ms"),
            ],
            unique=False,
        )
        batch_op.drop_index("ix_messages_portal_id_id")
    with op.batch_alter_table("attempts", schema=None) as batch_op:
        batch_op.create_index(
            "ix_attempts_cost",
            ["account_id", "started_at", "cost"],
            unique=False,
            postgresql_where=sa.text("cost <> ''"),
            sqlite_where=sa.text("cost <> ''"),
        )


def downgrade() -> None:
    with op.batch_alter_table("attempts", schema=None) as batch_op:
        batch_op.drop_index("ix_attempts_cost")
    with op.batch_alter_table("messages", schema=None) as batch_op:
        batch_op.create_index("ix_messages_portal_id_id", ["portal_id", "id"], unique=False)
        batch_op.drop_index("ix_messages_log_by_status")
        batch_op.drop_index("ix_messages_log")
        batch_op.drop_column("delivery_ms")
