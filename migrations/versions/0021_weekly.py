"""when a portal's next weekly summary is told"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from app.store.database import UtcDateTime

revision = "0021"
down_revision = "0020"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("portals", sa.Column("weekly_due_at", UtcDateTime()))


def downgrade() -> None:
    with op.batch_alter_table("portals") as batch:
        batch.drop_column("weekly_due_at")
