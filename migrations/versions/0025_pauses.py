"""portals that the operator has paused"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0025"
down_revision = "0024"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("portals", sa.Column("paused_at", sa.DateTime(timezone=True), nullable=True))
    op.add_column("portals", sa.Column("paused_why", sa.Text(), nullable=False, server_default=""))


def downgrade() -> None:
    op.drop_column("portals", "paused_why")
    op.drop_column("portals", "paused_at")
