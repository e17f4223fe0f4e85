"""how long a delivery took"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002a"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("messages", sa.Column("delivery_ms", sa.BigInteger(), nullable=True))


def downgrade() -> None:
    op.drop_column("messages", "delivery_ms")
