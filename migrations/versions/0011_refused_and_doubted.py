"""which messages an account was refused for, and calls to the portal that may still run"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column(
        "messages", sa.Column("push_doubt", sa.Boolean(), nullable=False, server_default=sa.false())
    )
    op.add_column(
        "gateway_accounts", sa.Column("refused_rows", sa.JSON(), nullable=False, server_default="[]")
    )


def downgrade() -> None:
    with op.batch_alter_table("gateway_accounts") as batch:
        batch.drop_column("refused_rows")
    with op.batch_alter_table("messages") as batch:
        batch.drop_column("push_doubt")
