"""lanes of the queue, and one worker at a time for an account"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from app.store.database import UtcDateTime

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("messages", sa.Column("lane", sa.SmallInteger(), nullable=False, server_default="0"))
    op.add_column("gateway_accounts", sa.Column("drain_lease_until", UtcDateTime()))
    op.add_column("gateway_accounts", sa.Column("drain_lease", sa.String(32)))


def downgrade() -> None:
    with op.batch_alter_table("gateway_accounts") as batch:
        batch.drop_column("drain_lease")
        batch.drop_column("drain_lease_until")
    with op.batch_alter_table("messages") as batch:
        batch.drop_column("lane")
