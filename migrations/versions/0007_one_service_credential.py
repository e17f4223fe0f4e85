"""one credential at most speaks for a portal"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from migrations import online

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

# The one that works, and was refreshed last, stays.
KEEP_ONE = """
UPDATE credentials SET is_service = :no WHERE id IN (
    SELECT id FROM (
        SELECT id, row_number() OVER (
            PARTITION BY portal_id ORDER BY (broken <> ''), refreshed_at DESC, id
        ) AS place
        FROM credentials WHERE is_service
    ) AS speaking
    WHERE place > 1
)
"""


def upgrade() -> None:
    op.execute(sa.text(KEEP_ONE).bindparams(sa.bindparam("no", False, sa.Boolean())))
    online.create_index(
        "ix_credentials_service",
        "credentials",
        ["portal_id"],
        unique=True,
        postgresql_where=sa.text("is_service"),
        sqlite_where=sa.text("is_service"),
    )


def downgrade() -> None:
    online.drop_index("ix_credentials_service", "credentials")
