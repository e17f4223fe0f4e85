"""The tables of messages: each with its attempts, their parts, its timeline, and reports that came early."""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy import Boolean, Column, ForeignKey, Index, Integer, String, Text, text

from app.store.database import BigId, UtcDateTime, db
from app.store.tables.columns import moment, of_portal, row_id

# Texts that only wait for their time to be over. Literal, because SQLite uses a partial index only for a
# query that has its condition word for word.
TEXT_CAN_GO = "text <> '' AND work = 'closed' AND push_due_at IS NULL"

# What a message counts as, and whether it is counted as that, see `figures/counts`. Literal, too.
COUNT_KEY = (
    "status || ' ' || CAST(COALESCE(account_id, 0) AS TEXT) || ' ' || CAST(segments AS TEXT)"
    " || ' ' || CAST(COALESCE(delivery_ms, -1) AS TEXT) || ' ' || reason"
)
NOT_COUNTED = f"counted_as <> {COUNT_KEY}"

# The same for what is split by sender and author, which never change.
SPLIT_KEY = "status || ' ' || CAST(segments AS TEXT)"
NOT_SPLIT = f"split_as <> {SPLIT_KEY}"
COST_NOT_COUNTED = "counted_cost <> cost"
QUEUED = "work = 'queued'"
NEEDS_ATTENTION = "status = 'unknown' OR reason = 'dead_letter'"
HAS_AUTHOR = "author_id <> ''"
_SEARCHED = ("recipient", "account_id", "sender_code")

messages = sa.Table(
    "messages",
    db.metadata,
    row_id(),
    of_portal(),
    Column("message_id", String(128), nullable=False),  # the portal's; opaque text
    Column("origin", String(10), nullable=False),  # "portal", or "test" from our own page
    Column("sender_code", String(128), nullable=False),
    Column("recipient", String(64), nullable=False),  # as it came, then E.164
    Column("text", Text, nullable=False),
    Column("text_flags", String(60), nullable=False, server_default=""),
    Column("body_hash", String(64), nullable=False),
    Column("module_id", String(40), nullable=False, server_default=""),
    Column("bindings", sa.JSON, nullable=False),
    Column("extra", sa.JSON, nullable=False),
    Column("author_id", String(20), nullable=False, server_default=""),
    Column("author_token", Text, nullable=False, server_default=""),
    Column("author_token_until", UtcDateTime),
    Column("held_token", Text, nullable=False, server_default=""),  # sealed; the application_token to prove
    Column("sent_at", UtcDateTime),  # the portal's `ts`
    moment("received_at"),
    moment("expires_at"),
    Column("encoding", String(8), nullable=False, server_default=""),
    Column("segments", Integer, nullable=False, server_default="0"),
    # What is known of it: the ladder, and why.
    Column("status", String(12), nullable=False),
    Column("reason", String(40), nullable=False, server_default=""),
    Column("reason_text", Text, nullable=False, server_default=""),
    # From its receipt to the word that it was delivered; none when a person sent it again meanwhile.
    Column("delivery_ms", sa.BigInteger),
    # How far our own work is: may go back. `due_at` is when the row wants attention next.
    Column("work", String(12), nullable=False),
    Column("due_at", UtcDateTime),
    Column("hinted_at", UtcDateTime),
    Column("lease", String(32)),
    Column("tries", Integer, nullable=False, server_default="0"),  # since the last change of fortune
    Column("faults", Integer, nullable=False, server_default="0"),  # our own: exceptions, dead workers
    Column("slot_at", UtcDateTime),  # of the release before; goes with the next one
    Column("lane", sa.SmallInteger, nullable=False, server_default="0"),  # 1: a campaign, lets others pass
    Column("poll_at", UtcDateTime),
    Column("polls", Integer, nullable=False, server_default="0"),
    Column("deadline_at", UtcDateTime),
    Column("attempt_id", BigId),  # the current attempt
    Column("attempts", Integer, nullable=False, server_default="0"),
    Column("is_resend", Boolean, nullable=False, server_default=sa.false()),
    Column("account_id", BigId),
    # What the portal has to be told, and was told.
    Column("push_due_at", UtcDateTime),
    Column("push_tries", Integer, nullable=False, server_default="0"),
    Column("told", String(12)),
    Column("told_at", UtcDateTime),
    Column("not_found_since", UtcDateTime),
    # A call that told it got no answer: it may run later than the next one.
    Column("push_doubt", Boolean, nullable=False, server_default=sa.false()),
    Column("counted_as", String(120), nullable=False, server_default=""),  # empty: not yet
    Column("split_as", String(24), nullable=False, server_default=""),
    sa.UniqueConstraint("portal_id", "message_id"),
    Index(
        "ix_messages_not_counted",
        "portal_id",
        postgresql_where=text(NOT_COUNTED),
        sqlite_where=text(NOT_COUNTED),
    ),
    Index(
        "ix_messages_not_split",
        "portal_id",
        postgresql_where=text(NOT_SPLIT),
        sqlite_where=text(NOT_SPLIT),
    ),
    # The log in its order, whole and by status. What it is searched by comes along, so that a search for
    # something rare reads no rows: SQLite took ten seconds for a million of them, and half a second like
    # this. The statistics count in the second one.
    Index("ix_messages_log", "portal_id", "received_at", "id", *_SEARCHED),
    Index(
        "ix_messages_log_by_status",
        *("portal_id", "status", "received_at", "id"),
        *_SEARCHED,
        *("segments", "delivery_ms"),
    ),
    # All of one number, and of one employee, in the log's order.
    Index("ix_messages_recipient", "portal_id", "recipient", "received_at", "id"),
    Index(
        "ix_messages_author",
        *("portal_id", "author_id", "received_at", "id"),
        postgresql_where=text(HAS_AUTHOR),
        sqlite_where=text(HAS_AUTHOR),
    ),
    Index(
        "ix_messages_due_at",
        "due_at",
        postgresql_where=text("due_at IS NOT NULL"),
        sqlite_where=text("due_at IS NOT NULL"),
    ),
    Index(
        "ix_messages_portal_due",
        "portal_id",
        "due_at",
        postgresql_where=text("due_at IS NOT NULL"),
        sqlite_where=text("due_at IS NOT NULL"),
    ),
    Index(  # what the operator's gauges count
        "ix_messages_attention",
        "status",
        "reason",
        postgresql_where=text(NEEDS_ATTENTION),
        sqlite_where=text(NEEDS_ATTENTION),
    ),
    Index(
        "ix_messages_push",
        "portal_id",
        "push_due_at",
        postgresql_where=text("push_due_at IS NOT NULL"),
        sqlite_where=text("push_due_at IS NOT NULL"),
    ),
    Index(
        "ix_messages_text_can_go",
        "portal_id",
        "received_at",
        postgresql_where=text(TEXT_CAN_GO),
        sqlite_where=text(TEXT_CAN_GO),
    ),
    Index(  # the queue in its order
        "ix_messages_queue",
        "portal_id",
        "lane",
        "due_at",
        postgresql_where=text(QUEUED),
        sqlite_where=text(QUEUED),
    ),
    Index(
        "ix_messages_account_work",
        "account_id",
        "work",
        postgresql_where=text("work IN ('queued', 'submitting')"),
        sqlite_where=text("work IN ('queued', 'submitting')"),
    ),
    sqlite_autoincrement=True,
)

attempts = sa.Table(
    "attempts",
    db.metadata,
    row_id(),
    Column("message_row_id", ForeignKey("messages.id", ondelete="CASCADE"), nullable=False),
    Column("number", Integer, nullable=False),
    Column("account_id", BigId, nullable=False),
    Column("gateway", String(40), nullable=False),
    Column("reference", String(20), nullable=False, unique=True),  # ours; the gateway echoes it
    Column("calls", Integer, nullable=False),
    moment("started_at"),
    Column("finished_at", UtcDateTime),
    Column("outcome", String(12), nullable=False, server_default=""),
    Column("code", String(60), nullable=False, server_default=""),
    Column("text", Text, nullable=False, server_default=""),
    Column("cost", String(40), nullable=False, server_default=""),
    Column("counted_cost", String(40), nullable=False, server_default=""),
    # Its last call; and its calls as they may be shown, a JSON object a line, as long as the message's text.
    Column("http_status", Integer),
    Column("took_ms", Integer),
    Column("exchanges", Text, nullable=False, server_default=""),
    Index("ix_attempts_message_row_id", "message_row_id"),
    Index(
        "ix_attempts_cost_not_counted",
        "account_id",
        postgresql_where=text(COST_NOT_COUNTED),
        sqlite_where=text(COST_NOT_COUNTED),
    ),
    Index(  # what was spent: few gateways say so
        "ix_attempts_cost",
        "account_id",
        "started_at",
        "cost",
        postgresql_where=text("cost <> ''"),
        sqlite_where=text("cost <> ''"),
    ),
    sqlite_autoincrement=True,
)

# The gateway's own ids: one for each part of a message that it reports on.
parts = sa.Table(
    "parts",
    db.metadata,
    row_id(),
    Column("attempt_id", ForeignKey("attempts.id", ondelete="CASCADE"), nullable=False),
    Column("account_id", BigId, nullable=False),
    Column("gateway_message_id", String(120), nullable=False),
    Column("status", String(12), nullable=False),
    Column("call", Integer, nullable=False, server_default="1"),  # of the attempt; each may yield parts
    sa.UniqueConstraint("attempt_id", "gateway_message_id"),
    Index("ix_parts_account_id_gateway_message_id", "account_id", "gateway_message_id"),
    sqlite_autoincrement=True,
)

message_events = sa.Table(
    "message_events",
    db.metadata,
    row_id(),
    Column("message_row_id", ForeignKey("messages.id", ondelete="CASCADE"), nullable=False),
    moment("at"),
    Column("event", String(30), nullable=False),
    Column("detail", Text, nullable=False, server_default=""),
    Index("ix_message_events_message_row_id", "message_row_id"),
    sqlite_autoincrement=True,
)

# Reports that match nothing yet: they can outrun the answer to the submission.
parked_reports = sa.Table(
    "parked_reports",
    db.metadata,
    row_id(),
    Column("account_id", ForeignKey("gateway_accounts.id", ondelete="CASCADE"), nullable=False),
    Column("reference", String(60), nullable=False, server_default=""),
    Column("gateway_message_id", String(120), nullable=False, server_default=""),
    Column("report", sa.JSON, nullable=False),
    moment("received_at"),
    Index("ix_parked_reports_received_at", "received_at"),
    Index("ix_parked_reports_account_id_reference", "account_id", "reference"),
    Index("ix_parked_reports_account_id_gateway_message_id", "account_id", "gateway_message_id"),
    sqlite_autoincrement=True,
)
