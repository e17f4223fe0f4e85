"""an index for the REST calls that went wrong"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

WENT_WRONG = "error <> ''"


def upgrade() -> None:
    op.create_index(
        "ix_rest_calls_went_wrong",
        "rest_calls",
        ["portal_id", "error"],
        unique=False,
        postgresql_where=sa.text(WENT_WRONG),
        sqlite_where=sa.text(WENT_WRONG),
    )


def downgrade() -> None:
    op.drop_index("ix_rest_calls_went_wrong", table_name="rest_calls")
