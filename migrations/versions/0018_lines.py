"""who keeps the line of a gateway account that needs one"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column(
        "gateway_accounts", sa.Column("line_lease_until", sa.DateTime(timezone=True), nullable=True)
    )
    op.add_column("gateway_accounts", sa.Column("line_lease", sa.String(32), nullable=True))


def downgrade() -> None:
    op.drop_column("gateway_accounts", "line_lease")
    op.drop_column("gateway_accounts", "line_lease_until")
