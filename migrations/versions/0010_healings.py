"""how often a portal was found to work"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("portals", sa.Column("healings", sa.Integer(), server_default="0", nullable=False))


def downgrade() -> None:
    op.drop_column("portals", "healings")
