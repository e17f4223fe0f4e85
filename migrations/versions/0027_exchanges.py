"""how the calls of each submission went"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0027"
down_revision = "0026"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("attempts", sa.Column("http_status", sa.Integer(), nullable=True))
    op.add_column("attempts", sa.Column("took_ms", sa.Integer(), nullable=True))
    op.add_column("attempts", sa.Column("exchanges", sa.Text(), nullable=False, server_default=""))


def downgrade() -> None:
    with op.batch_alter_table("attempts") as batch:
        for name in ("exchanges", "took_ms", "http_status"):
            batch.drop_column(name)
