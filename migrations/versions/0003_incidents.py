"""incidents, the regular check of an account, the language of an administrator"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

_OPEN = sa.text("ended_at IS NULL")


def upgrade() -> None:
    op.create_table(
        "incidents",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("portal_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("kind", sa.String(length=12), nullable=False),
        sa.Column("cause", sa.String(length=20), nullable=False),
        sa.Column("began_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("opened_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("away_since", sa.DateTime(timezone=True), nullable=True),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("notice", sa.String(length=8), server_default="", nullable=False),
        sa.Column("notice_due_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("notice_tries", sa.Integer(), server_default="0", nullable=False),
        sa.Column("told", sa.JSON(), nullable=False),
        sa.ForeignKeyConstraint(
            ["portal_id"], ["portals.id"], name=op.f("fk_incidents_portal_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_incidents")),
    )
    with op.batch_alter_table("incidents", schema=None) as batch_op:
        batch_op.create_index(
            "ix_incidents_open",
            ["portal_id", "kind"],
            unique=True,
            postgresql_where=_OPEN,
            sqlite_where=_OPEN,
        )
        batch_op.create_index("ix_incidents_notice_due_at", ["notice_due_at"], unique=False)

    op.add_column("gateway_accounts", sa.Column("next_check_at", sa.DateTime(timezone=True), nullable=True))
    op.add_column(
        "gateway_accounts", sa.Column("failed_checks", sa.Integer(), server_default="0", nullable=False)
    )
    op.add_column(
        "gateway_accounts", sa.Column("failed_check_text", sa.Text(), server_default="", nullable=False)
    )
    op.add_column(
        "credentials", sa.Column("language", sa.String(length=8), server_default="", nullable=False)
    )


def downgrade() -> None:
    # Column by column: a table made anew, as batch mode does it, would take along what refers to its rows.
    op.drop_column("credentials", "language")
    for name in ("failed_check_text", "failed_checks", "next_check_at"):
        op.drop_column("gateway_accounts", name)
    with op.batch_alter_table("incidents", schema=None) as batch_op:
        batch_op.drop_index("ix_incidents_notice_due_at")
        batch_op.drop_index("ix_incidents_open", postgresql_where=_OPEN, sqlite_where=_OPEN)

    op.drop_table("incidents")
