"""old secrets of addresses, good for a while after they were renewed"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None

BIG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "old_secrets",
        sa.Column("id", BIG, primary_key=True),
        sa.Column(
            "portal_id",
            BIG,
            sa.ForeignKey("portals.id", ondelete="CASCADE", name="fk_old_secrets_portal_id"),
            nullable=False,
        ),
        sa.Column("account_id", BIG),
        sa.Column("kind", sa.String(10), nullable=False),
        sa.Column("secret", sa.Text(), nullable=False),
        sa.Column("hash", sa.String(64), nullable=False),
        sa.Column("until", sa.DateTime(timezone=True)),
        sa.UniqueConstraint("hash", name="uq_old_secrets_hash"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_old_secrets_portal_id", "old_secrets", ["portal_id"])


def downgrade() -> None:
    op.drop_table("old_secrets")
