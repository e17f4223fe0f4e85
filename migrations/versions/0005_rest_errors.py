"""an index for the REST calls that went wrong"""

from __future__ import annotations

import sqlalchemy as sa

from migrations import online

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

WENT_WRONG = "error <> ''"


def upgrade() -> None:
    online.create_index(
        "ix_rest_calls_went_wrong",
        "rest_calls",
        ["portal_id", "error"],
        unique=False,
        postgresql_where=sa.text(WENT_WRONG),
        sqlite_where=sa.text(WENT_WRONG),
    )


def downgrade() -> None:
    online.drop_index("ix_rest_calls_went_wrong", "rest_calls")
