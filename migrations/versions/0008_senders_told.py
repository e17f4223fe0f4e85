"""one reconcile of a portal at a time, and what each sender was told by language"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

_senders = sa.table(
    "senders",
    sa.column("id", sa.BigInteger),
    sa.column("name", sa.JSON),
    sa.column("description", sa.JSON),
    sa.column("told", sa.JSON),
    sa.column("told_hash", sa.String),
)


def upgrade() -> None:
    op.add_column("portals", sa.Column("reconcile_lease_until", sa.DateTime(timezone=True)))
    op.add_column("portals", sa.Column("reconcile_lease", sa.String(32)))
    op.add_column("portals", sa.Column("senders_version", sa.Integer, nullable=False, server_default="1"))
    op.add_column("senders", sa.Column("told", sa.JSON, nullable=False, server_default="{}"))
    if not op.get_context().as_sql:
        _remember_languages()


def _remember_languages() -> None:
    """What was told until now was not written down by language; the texts of today name most of them."""
    connection = op.get_bind()
    for row in connection.execute(sa.select(_senders).where(_senders.c.told_hash != "")).all():
        maps = [text for text in (row.name, row.description) if isinstance(text, dict)]
        told = {str(language).lower(): ["", ""] for text in maps for language in text}
        if told:
            connection.execute(sa.update(_senders).where(_senders.c.id == row.id).values(told=told))


def downgrade() -> None:
    op.drop_column("senders", "told")
    op.drop_column("portals", "senders_version")
    op.drop_column("portals", "reconcile_lease")
    op.drop_column("portals", "reconcile_lease_until")
