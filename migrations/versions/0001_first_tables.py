"""first tables"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "job_runs",
        sa.Column("name", sa.String(length=40), nullable=False),
        sa.Column("lease_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("last_run_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_job_runs")),
    )
    op.create_table(
        "portal_events",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("member_id", sa.String(length=64), nullable=False),
        sa.Column("event", sa.String(length=40), nullable=False),
        sa.Column("payload", sa.Text(), nullable=False),
        sa.Column("is_verified", sa.Boolean(), nullable=False),
        sa.Column("received_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("due_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("tries", sa.Integer(), server_default="0", nullable=False),
        sa.Column("result", sa.Text(), server_default="", nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_portal_events")),
    )
    with op.batch_alter_table("portal_events", schema=None) as batch_op:
        batch_op.create_index("ix_portal_events_due_at", ["due_at"], unique=False)

    op.create_table(
        "portals",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("member_id", sa.String(length=64), nullable=False),
        sa.Column("state", sa.String(length=20), nullable=False),
        sa.Column("state_reason", sa.Text(), server_default="", nullable=False),
        sa.Column("state_since", sa.DateTime(timezone=True), nullable=True),
        sa.Column("domain", sa.String(length=255), nullable=False),
        sa.Column("client_endpoint", sa.String(length=500), nullable=False),
        sa.Column("oauth_server", sa.String(length=255), nullable=False),
        sa.Column("app_version", sa.String(length=40), server_default="", nullable=False),
        sa.Column("app_status", sa.String(length=4), server_default="", nullable=False),
        sa.Column("installed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("handler_secret", sa.Text(), nullable=False),
        sa.Column("handler_hash", sa.String(length=64), nullable=False),
        sa.Column("application_token_hash", sa.String(length=64), server_default="", nullable=False),
        sa.Column("previous_token_hash", sa.String(length=64), server_default="", nullable=False),
        sa.Column("previous_token_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("session_epoch", sa.Integer(), server_default="1", nullable=False),
        sa.Column("settings", sa.JSON(), nullable=False),
        sa.Column("settings_version", sa.Integer(), server_default="1", nullable=False),
        sa.Column("registration", sa.JSON(), nullable=False),
        sa.Column("reconcile_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("push_lease_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("push_lease", sa.String(length=32), nullable=True),
        sa.Column("push_paused_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("refresh_lease_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("refresh_lease", sa.String(length=32), nullable=True),
        sa.Column("bucket_level", sa.Float(), server_default="0", nullable=False),
        sa.Column("bucket_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("call_pauses", sa.JSON(), server_default="{}", nullable=False),
        sa.Column("suspect_since", sa.DateTime(timezone=True), nullable=True),
        sa.Column("erased_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("last_pushed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_portals")),
        sa.UniqueConstraint("handler_hash", name=op.f("uq_portals_handler_hash")),
        sa.UniqueConstraint("member_id", name=op.f("uq_portals_member_id")),
    )
    op.create_table(
        "credentials",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("portal_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("user_id", sa.String(length=20), nullable=False),
        sa.Column("is_admin", sa.Boolean(), nullable=False),
        sa.Column("is_service", sa.Boolean(), nullable=False),
        sa.Column("access_token", sa.Text(), nullable=False),
        sa.Column("refresh_token", sa.Text(), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("refreshed_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("version", sa.Integer(), server_default="1", nullable=False),
        sa.Column("broken", sa.Text(), server_default="", nullable=False),
        sa.ForeignKeyConstraint(
            ["portal_id"], ["portals.id"], name=op.f("fk_credentials_portal_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_credentials")),
        sa.UniqueConstraint("portal_id", "user_id", name=op.f("uq_credentials_portal_id_user_id")),
    )
    op.create_table(
        "gateway_accounts",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("portal_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("slug", sa.String(length=40), nullable=False),
        sa.Column("label", sa.String(length=80), nullable=False),
        sa.Column("settings", sa.JSON(), nullable=False),
        sa.Column("secrets", sa.Text(), nullable=False),
        sa.Column("is_default", sa.Boolean(), nullable=False),
        sa.Column("report_secret", sa.Text(), nullable=False),
        sa.Column("report_hash", sa.String(length=64), nullable=False),
        sa.Column("checked_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("check_text", sa.Text(), server_default="", nullable=False),
        sa.Column("circuit_open_since", sa.DateTime(timezone=True), nullable=True),
        sa.Column("circuit_reason", sa.Text(), server_default="", nullable=False),
        sa.Column("probe_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("failures", sa.Integer(), server_default="0", nullable=False),
        sa.Column("bad_calls", sa.Integer(), server_default="0", nullable=False),
        sa.Column("paused_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("rate_per_s", sa.Float(), nullable=True),
        sa.Column("slowed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("next_slot_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("last_report_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("version", sa.Integer(), server_default="1", nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["portal_id"], ["portals.id"], name=op.f("fk_gateway_accounts_portal_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_gateway_accounts")),
        sa.UniqueConstraint("report_hash", name=op.f("uq_gateway_accounts_report_hash")),
    )
    with op.batch_alter_table("gateway_accounts", schema=None) as batch_op:
        batch_op.create_index("ix_gateway_accounts_probe_at", ["probe_at"], unique=False)

    op.create_table(
        "messages",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("portal_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("message_id", sa.String(length=128), nullable=False),
        sa.Column("origin", sa.String(length=10), nullable=False),
        sa.Column("sender_code", sa.String(length=128), nullable=False),
        sa.Column("recipient", sa.String(length=64), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("text_flags", sa.String(length=60), server_default="", nullable=False),
        sa.Column("body_hash", sa.String(length=64), nullable=False),
        sa.Column("module_id", sa.String(length=40), server_default="", nullable=False),
        sa.Column("bindings", sa.JSON(), nullable=False),
        sa.Column("extra", sa.JSON(), nullable=False),
        sa.Column("author_id", sa.String(length=20), server_default="", nullable=False),
        sa.Column("author_token", sa.Text(), server_default="", nullable=False),
        sa.Column("author_token_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("held_token", sa.Text(), server_default="", nullable=False),
        sa.Column("sent_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("received_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("encoding", sa.String(length=8), server_default="", nullable=False),
        sa.Column("segments", sa.Integer(), server_default="0", nullable=False),
        sa.Column("status", sa.String(length=12), nullable=False),
        sa.Column("reason", sa.String(length=40), server_default="", nullable=False),
        sa.Column("reason_text", sa.Text(), server_default="", nullable=False),
        sa.Column("work", sa.String(length=12), nullable=False),
        sa.Column("due_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("hinted_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("lease", sa.String(length=32), nullable=True),
        sa.Column("tries", sa.Integer(), server_default="0", nullable=False),
        sa.Column("faults", sa.Integer(), server_default="0", nullable=False),
        sa.Column("slot_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("poll_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("polls", sa.Integer(), server_default="0", nullable=False),
        sa.Column("deadline_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("attempt_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=True),
        sa.Column("attempts", sa.Integer(), server_default="0", nullable=False),
        sa.Column("is_resend", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.Column("account_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=True),
        sa.Column("push_due_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("push_tries", sa.Integer(), server_default="0", nullable=False),
        sa.Column("told", sa.String(length=12), nullable=True),
        sa.Column("told_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("not_found_since", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(
            ["portal_id"], ["portals.id"], name=op.f("fk_messages_portal_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_messages")),
        sa.UniqueConstraint("portal_id", "message_id", name=op.f("uq_messages_portal_id_message_id")),
    )
    with op.batch_alter_table("messages", schema=None) as batch_op:
        batch_op.create_index(
            "ix_messages_account_work",
            ["account_id", "work"],
            unique=False,
            postgresql_where=sa.text("work IN ('queued', 'submitting')"),
            sqlite_where=sa.text("work IN ('queued', 'submitting')"),
        )
        batch_op.create_index(
            "ix_messages_attention",
            ["status", "reason"],
            unique=False,
            postgresql_where=sa.text("status = 'unknown' OR reason = 'dead_letter'"),
            sqlite_where=sa.text("status = 'unknown' OR reason = 'dead_letter'"),
        )
        batch_op.create_index(
            "ix_messages_due_at",
            ["due_at"],
            unique=False,
            postgresql_where=sa.text("due_at IS NOT NULL"),
            sqlite_where=sa.text("due_at IS NOT NULL"),
        )
        batch_op.create_index(
            "ix_messages_portal_due",
            ["portal_id", "due_at"],
            unique=False,
            postgresql_where=sa.text("due_at IS NOT NULL"),
            sqlite_where=sa.text("due_at IS NOT NULL"),
        )
        batch_op.create_index("ix_messages_portal_id_id", ["portal_id", "id"], unique=False)
        batch_op.create_index(
            "ix_messages_push",
            ["portal_id", "push_due_at"],
            unique=False,
            postgresql_where=sa.text("push_due_at IS NOT NULL"),
            sqlite_where=sa.text("push_due_at IS NOT NULL"),
        )

    op.create_table(
        "rest_calls",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("portal_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("method", sa.String(length=80), nullable=False),
        sa.Column("params", sa.Text(), nullable=False),
        sa.Column("http_status", sa.Integer(), nullable=False),
        sa.Column("error", sa.String(length=80), nullable=False),
        sa.Column("answer", sa.Text(), nullable=False),
        sa.Column("took_ms", sa.Integer(), nullable=False),
        sa.Column("operating_s", sa.Float(), nullable=True),
        sa.Column("operating_reset_at", sa.Float(), nullable=True),
        sa.ForeignKeyConstraint(
            ["portal_id"], ["portals.id"], name=op.f("fk_rest_calls_portal_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_rest_calls")),
    )
    with op.batch_alter_table("rest_calls", schema=None) as batch_op:
        batch_op.create_index("ix_rest_calls_at", ["at"], unique=False)
        batch_op.create_index("ix_rest_calls_portal_id_id", ["portal_id", "id"], unique=False)

    op.create_table(
        "senders",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("portal_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("code", sa.String(length=128), nullable=False),
        sa.Column("name", sa.JSON(), nullable=False),
        sa.Column("description", sa.JSON(), nullable=False),
        sa.Column("originator", sa.String(length=40), server_default="", nullable=False),
        sa.Column("told_hash", sa.String(length=64), server_default="", nullable=False),
        sa.Column("registered_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("checked_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("error", sa.Text(), server_default="", nullable=False),
        sa.Column("removed_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(
            ["portal_id"], ["portals.id"], name=op.f("fk_senders_portal_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_senders")),
        sa.UniqueConstraint("portal_id", "code", name=op.f("uq_senders_portal_id_code")),
    )
    op.create_table(
        "attempts",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("message_row_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("account_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("gateway", sa.String(length=40), nullable=False),
        sa.Column("reference", sa.String(length=20), nullable=False),
        sa.Column("calls", sa.Integer(), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("outcome", sa.String(length=12), server_default="", nullable=False),
        sa.Column("code", sa.String(length=60), server_default="", nullable=False),
        sa.Column("text", sa.Text(), server_default="", nullable=False),
        sa.Column("cost", sa.String(length=40), server_default="", nullable=False),
        sa.ForeignKeyConstraint(
            ["message_row_id"], ["messages.id"], name=op.f("fk_attempts_message_row_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_attempts")),
        sa.UniqueConstraint("reference", name=op.f("uq_attempts_reference")),
    )
    with op.batch_alter_table("attempts", schema=None) as batch_op:
        batch_op.create_index("ix_attempts_message_row_id", ["message_row_id"], unique=False)

    op.create_table(
        "message_events",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("message_row_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("event", sa.String(length=30), nullable=False),
        sa.Column("detail", sa.Text(), server_default="", nullable=False),
        sa.ForeignKeyConstraint(
            ["message_row_id"],
            ["messages.id"],
            name=op.f("fk_message_events_message_row_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_message_events")),
    )
    with op.batch_alter_table("message_events", schema=None) as batch_op:
        batch_op.create_index("ix_message_events_message_row_id", ["message_row_id"], unique=False)

    op.create_table(
        "parked_reports",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("account_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("reference", sa.String(length=60), server_default="", nullable=False),
        sa.Column("gateway_message_id", sa.String(length=120), server_default="", nullable=False),
        sa.Column("report", sa.JSON(), nullable=False),
        sa.Column("received_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["account_id"],
            ["gateway_accounts.id"],
            name=op.f("fk_parked_reports_account_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_parked_reports")),
    )
    with op.batch_alter_table("parked_reports", schema=None) as batch_op:
        batch_op.create_index(
            "ix_parked_reports_account_id_gateway_message_id",
            ["account_id", "gateway_message_id"],
            unique=False,
        )
        batch_op.create_index(
            "ix_parked_reports_account_id_reference", ["account_id", "reference"], unique=False
        )
        batch_op.create_index("ix_parked_reports_received_at", ["received_at"], unique=False)

    op.create_table(
        "parts",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("attempt_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("account_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("gateway_message_id", sa.String(length=120), nullable=False),
        sa.Column("status", sa.String(length=12), nullable=False),
        sa.Column("call", sa.Integer(), server_default="1", nullable=False),
        sa.ForeignKeyConstraint(
            ["attempt_id"], ["attempts.id"], name=op.f("fk_parts_attempt_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_parts")),
        sa.UniqueConstraint(
            "attempt_id", "gateway_message_id", name=op.f("uq_parts_attempt_id_gateway_message_id")
        ),
    )
    with op.batch_alter_table("parts", schema=None) as batch_op:
        batch_op.create_index(
            "ix_parts_account_id_gateway_message_id", ["account_id", "gateway_message_id"], unique=False
        )


def downgrade() -> None:
    with op.batch_alter_table("parts", schema=None) as batch_op:
        batch_op.drop_index("ix_parts_account_id_gateway_message_id")

    op.drop_table("parts")
    with op.batch_alter_table("parked_reports", schema=None) as batch_op:
        batch_op.drop_index("ix_parked_reports_received_at")
        batch_op.drop_index("ix_parked_reports_account_id_reference")
        batch_op.drop_index("ix_parked_reports_account_id_gateway_message_id")

    op.drop_table("parked_reports")
    with op.batch_alter_table("message_events", schema=None) as batch_op:
        batch_op.drop_index("ix_message_events_message_row_id")

    op.drop_table("message_events")
    with op.batch_alter_table("attempts", schema=None) as batch_op:
        batch_op.drop_index("ix_attempts_message_row_id")

    op.drop_table("attempts")
    op.drop_table("senders")
    with op.batch_alter_table("rest_calls", schema=None) as batch_op:
        batch_op.drop_index("ix_rest_calls_portal_id_id")
        batch_op.drop_index("ix_rest_calls_at")

    op.drop_table("rest_calls")
    with op.batch_alter_table("messages", schema=None) as batch_op:
        batch_op.drop_index(
            "ix_messages_push",
            postgresql_where=sa.text("push_due_at IS NOT NULL"),
            sqlite_where=sa.text("push_due_at IS NOT NULL"),
        )
        batch_op.drop_index("ix_messages_portal_id_id")
        batch_op.drop_index(
            "ix_messages_portal_due",
            postgresql_where=sa.text("due_at IS NOT NULL"),
            sqlite_where=sa.text("due_at IS NOT NULL"),
        )
        batch_op.drop_index(
            "ix_messages_due_at",
            postgresql_where=sa.text("due_at IS NOT NULL"),
            sqlite_where=sa.text("due_at IS NOT NULL"),
        )
        batch_op.drop_index(
            "ix_messages_attention",
            postgresql_where=sa.text("status = 'unknown' OR reason = 'dead_letter'"),
            sqlite_where=sa.text("status = 'unknown' OR reason = 'dead_letter'"),
        )
        batch_op.drop_index(
            "ix_messages_account_work",
            postgresql_where=sa.text("work IN ('queued', 'submitting')"),
            sqlite_where=sa.text("work IN ('queued', 'submitting')"),
        )

    op.drop_table("messages")
    with op.batch_alter_table("gateway_accounts", schema=None) as batch_op:
        batch_op.drop_index("ix_gateway_accounts_probe_at")

    op.drop_table("gateway_accounts")
    op.drop_table("credentials")
    op.drop_table("portals")
    with op.batch_alter_table("portal_events", schema=None) as batch_op:
        batch_op.drop_index("ix_portal_events_due_at")

    op.drop_table("portal_events")
    op.drop_table("job_runs")
