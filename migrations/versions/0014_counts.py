"""counts of messages, delivery times and costs, and what each row was counted as"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None

BIG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def _table(name: str, *keys: sa.Column[object], sums: tuple[str, ...] = ("count",)) -> None:
    portal = sa.ForeignKey("portals.id", ondelete="CASCADE", name=f"fk_{name}_portal_id_portals")
    op.create_table(
        name,
        sa.Column("portal_id", BIG, portal, primary_key=True),
        sa.Column("quarter", sa.DateTime(timezone=True), primary_key=True),
        *keys,
        *(sa.Column(each, sa.BigInteger(), nullable=False) for each in sums),
    )


def upgrade() -> None:
    _table(
        "message_counts",
        sa.Column("status", sa.String(12), primary_key=True),
        sa.Column("account_id", BIG, primary_key=True),
        sa.Column("reason", sa.String(40), primary_key=True),
        sums=("count", "segments"),
    )
    _table("delivery_counts", sa.Column("tenths", sa.BigInteger(), primary_key=True))
    _table("cost_counts", sa.Column("cost", sa.String(40), primary_key=True))
    op.add_column("messages", sa.Column("counted_as", sa.String(120), nullable=False, server_default=""))
    op.add_column("attempts", sa.Column("counted_cost", sa.String(40), nullable=False, server_default=""))


def downgrade() -> None:
    with op.batch_alter_table("attempts") as batch:
        batch.drop_column("counted_cost")
    with op.batch_alter_table("messages") as batch:
        batch.drop_column("counted_as")
    for name in ("cost_counts", "delivery_counts", "message_counts"):
        op.drop_table(name)
