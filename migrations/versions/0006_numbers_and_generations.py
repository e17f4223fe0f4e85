"""row numbers that are never used again, and which installation of a portal a row belongs to

SQLite gives the number of a deleted newest row to the next one, and whoever still holds the number then
writes into a stranger's row. AUTOINCREMENT ends that, and takes making each table anew: some seconds for
each million rows, while the HANDLER's calls are spooled.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

TABLES = (
    *("portals", "credentials", "senders", "gateway_accounts", "messages", "attempts", "parts"),
    *("message_events", "parked_reports", "portal_events", "incidents", "rest_calls"),
)


def upgrade() -> None:
    op.add_column("portals", sa.Column("generation", sa.Integer(), server_default="1", nullable=False))
    op.add_column("portals", sa.Column("opened_at", sa.DateTime(timezone=True), nullable=True))
    op.add_column("portals", sa.Column("looked_at", sa.DateTime(timezone=True), nullable=True))
    op.add_column("portal_events", sa.Column("generation", sa.Integer(), server_default="0", nullable=False))
    op.add_column("credentials", sa.Column("broken_at", sa.DateTime(timezone=True), nullable=True))
    if op.get_context().dialect.name == "sqlite":
        for table in TABLES:
            with op.batch_alter_table(table, recreate="always", table_kwargs={"sqlite_autoincrement": True}):
                pass


def downgrade() -> None:
    op.drop_column("credentials", "broken_at")
    op.drop_column("portal_events", "generation")
    for name in ("looked_at", "opened_at", "generation"):
        op.drop_column("portals", name)
