"""counts of messages by sender and by kind of author, and what each row was counted as there

The worker counts what is there already, some rows at a time, while everybody reads and writes.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0023"
down_revision = "0022"
branch_labels = None
depends_on = None

BIG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    portal = sa.ForeignKey("portals.id", ondelete="CASCADE", name="fk_split_counts_portal_id_portals")
    op.create_table(
        "split_counts",
        sa.Column("portal_id", BIG, portal, primary_key=True),
        sa.Column("quarter", sa.DateTime(timezone=True), primary_key=True),
        sa.Column("split", sa.String(8), primary_key=True),
        sa.Column("value", sa.String(128), primary_key=True),
        *(
            sa.Column(name, sa.BigInteger(), nullable=False)
            for name in ("count", "segments", "delivered", "failed")
        ),
    )
    op.add_column("messages", sa.Column("split_as", sa.String(24), nullable=False, server_default=""))


def downgrade() -> None:
    with op.batch_alter_table("messages") as batch:
        batch.drop_column("split_as")
    op.drop_table("split_counts")
