"""what each user of the pages chose for themselves"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0020"
down_revision = "0019"
branch_labels = None
depends_on = None

BIG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    portal = sa.ForeignKey("portals.id", ondelete="CASCADE", name="fk_preferences_portal_id_portals")
    op.create_table(
        "preferences",
        sa.Column("portal_id", BIG, portal, primary_key=True),
        sa.Column("user_id", sa.String(20), primary_key=True),
        sa.Column("log_columns", sa.Text(), nullable=False, server_default=""),
        sa.Column("numbers_until", sa.DateTime(timezone=True), nullable=True),
    )


def downgrade() -> None:
    op.drop_table("preferences")
