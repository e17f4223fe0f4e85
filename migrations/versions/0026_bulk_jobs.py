"""one deed for many messages, and the files of exports"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0026"
down_revision = "0025"
branch_labels = None
depends_on = None

BIG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
UNDER_WAY = sa.text("state IN ('counting', 'waiting', 'running')")


def upgrade() -> None:
    op.create_table(
        "bulk_jobs",
        sa.Column("id", BIG, primary_key=True),
        sa.Column(
            "portal_id",
            BIG,
            sa.ForeignKey("portals.id", ondelete="CASCADE", name="fk_bulk_jobs_portal_id"),
            nullable=False,
        ),
        sa.Column("key", sa.String(40), nullable=False),
        sa.Column("deed", sa.String(10), nullable=False),
        sa.Column("state", sa.String(10), nullable=False),
        sa.Column("user_id", sa.String(20), nullable=False, server_default=""),
        sa.Column("language", sa.String(8), nullable=False, server_default=""),
        sa.Column("time_zone", sa.String(64), nullable=False, server_default=""),
        sa.Column("filters", sa.JSON(), nullable=False),
        sa.Column("chosen", sa.JSON(), nullable=False),
        sa.Column("row_ids", sa.JSON(), nullable=False),
        sa.Column("up_to", BIG, nullable=False),
        sa.Column("event_up_to", BIG, nullable=False),
        sa.Column("is_sure", sa.Boolean(), nullable=False, server_default=sa.false()),
        sa.Column("counted", sa.JSON(), nullable=False),
        sa.Column("results", sa.JSON(), nullable=False),
        sa.Column("examples", sa.JSON(), nullable=False),
        sa.Column("position_at", sa.DateTime(timezone=True)),
        sa.Column("position_id", BIG),
        sa.Column("is_stopping", sa.Boolean(), nullable=False, server_default=sa.false()),
        sa.Column("faults", sa.Integer(), nullable=False, server_default="0"),
        sa.Column("work_lease_until", sa.DateTime(timezone=True)),
        sa.Column("work_lease", sa.String(32)),
        sa.Column("chunks", sa.Integer(), nullable=False, server_default="0"),
        sa.Column("file_bytes", sa.BigInteger(), nullable=False, server_default="0"),
        sa.Column("file_until", sa.DateTime(timezone=True)),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True)),
        sa.Column("ended_at", sa.DateTime(timezone=True)),
        sa.UniqueConstraint("portal_id", "key", name="uq_bulk_jobs_portal_id_key"),
        sqlite_autoincrement=True,
    )
    op.create_index(
        "ix_bulk_jobs_under_way",
        "bulk_jobs",
        ["portal_id"],
        postgresql_where=UNDER_WAY,
        sqlite_where=UNDER_WAY,
    )
    op.create_index("ix_bulk_jobs_file_until", "bulk_jobs", ["file_until"])
    op.create_table(
        "bulk_chunks",
        sa.Column("id", BIG, primary_key=True),
        sa.Column(
            "job_id",
            BIG,
            sa.ForeignKey("bulk_jobs.id", ondelete="CASCADE", name="fk_bulk_chunks_job_id"),
            nullable=False,
        ),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("payload", sa.Text(), nullable=False),
        sa.UniqueConstraint("job_id", "number", name="uq_bulk_chunks_job_id_number"),
        sqlite_autoincrement=True,
    )


def downgrade() -> None:
    op.drop_table("bulk_chunks")
    op.drop_table("bulk_jobs")
