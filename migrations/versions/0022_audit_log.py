"""who did what, when and from where"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0022"
down_revision = "0021"
branch_labels = None
depends_on = None

BIG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "audit_log",
        sa.Column("id", BIG, primary_key=True),
        sa.Column(
            "portal_id",
            BIG,
            sa.ForeignKey("portals.id", ondelete="CASCADE", name="fk_audit_log_portal_id_portals"),
        ),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("who", sa.String(10), nullable=False),
        sa.Column("name", sa.String(128), nullable=False, server_default=""),
        sa.Column("address", sa.String(45), nullable=False, server_default=""),
        sa.Column("action", sa.String(40), nullable=False),
        sa.Column("about", sa.String(128), nullable=False, server_default=""),
        sa.Column("before", sa.JSON(), nullable=False),
        sa.Column("after", sa.JSON(), nullable=False),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_audit_log_portal_id_id", "audit_log", ["portal_id", "id"])
    op.create_index("ix_audit_log_at", "audit_log", ["at"])


def downgrade() -> None:
    op.drop_table("audit_log")
