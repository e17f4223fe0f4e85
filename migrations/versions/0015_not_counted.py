"""find the rows that are not counted as what they are"""

from __future__ import annotations

import sqlalchemy as sa

from migrations import online

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None

NOT_COUNTED = (
    "counted_as <> status || ' ' || CAST(COALESCE(account_id, 0) AS TEXT) || ' ' || CAST(segments AS TEXT)"
    " || ' ' || CAST(COALESCE(delivery_ms, -1) AS TEXT) || ' ' || reason"
)
COST_NOT_COUNTED = "counted_cost <> cost"


def _create(name: str, table: str, column: str, where: str) -> None:
    online.create_index(name, table, [column], postgresql_where=sa.text(where), sqlite_where=sa.text(where))


def upgrade() -> None:
    _create("ix_messages_not_counted", "messages", "portal_id", NOT_COUNTED)
    _create("ix_attempts_cost_not_counted", "attempts", "account_id", COST_NOT_COUNTED)


def downgrade() -> None:
    online.drop_index("ix_attempts_cost_not_counted", "attempts")
    online.drop_index("ix_messages_not_counted", "messages")
