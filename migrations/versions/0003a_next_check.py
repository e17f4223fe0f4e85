"""an index for the regular checks of accounts"""

from __future__ import annotations

from migrations import online

revision = "0003a"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    online.create_index(
        "ix_gateway_accounts_next_check_at", "gateway_accounts", ["next_check_at"], unique=False
    )


def downgrade() -> None:
    online.drop_index("ix_gateway_accounts_next_check_at", "gateway_accounts")
