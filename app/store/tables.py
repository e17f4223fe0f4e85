"""All tables. Statements, not objects: rows leave this room as the frozen values of their subject's file."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from sqlalchemy import Boolean, Column, Float, ForeignKey, Index, Integer, String, Text, text

from app.store.database import BigId, UtcDateTime, db


def _id() -> Column[int]:
    """The row's number. Each table with one says `sqlite_autoincrement`: SQLite would use the number of a
    deleted row again, and every late write that goes by it would meet a stranger's row."""
    return Column("id", BigId, primary_key=True)


def _portal() -> Column[int]:
    return Column("portal_id", ForeignKey("portals.id", ondelete="CASCADE"), nullable=False)


def _now(name: str) -> Column[object]:
    return Column(name, UtcDateTime, nullable=False)


portals = sa.Table(
    "portals",
    db.metadata,
    _id(),
    Column("member_id", String(64), nullable=False, unique=True),
    Column("state", String(20), nullable=False),
    Column("state_reason", Text, nullable=False, server_default=""),
    Column("state_since", UtcDateTime),
    Column("domain", String(255), nullable=False),
    Column("client_endpoint", String(500), nullable=False),
    Column("oauth_server", String(255), nullable=False),
    Column("app_version", String(40), nullable=False, server_default=""),
    Column("app_status", String(4), nullable=False, server_default=""),
    Column("installed_at", UtcDateTime),
    Column("finished_at", UtcDateTime),  # our side of the installation is complete
    # The HANDLER's secret: sealed because `sender.add` needs it again, hashed for the lookup.
    Column("handler_secret", Text, nullable=False),
    Column("handler_hash", String(64), nullable=False, unique=True),
    Column("application_token_hash", String(64), nullable=False, server_default=""),
    Column("previous_token_hash", String(64), nullable=False, server_default=""),
    Column("previous_token_until", UtcDateTime),
    Column("session_epoch", Integer, nullable=False, server_default="1"),
    Column("settings", sa.JSON, nullable=False),
    Column("settings_version", Integer, nullable=False, server_default="1"),
    Column("registration", sa.JSON, nullable=False),  # what we last told the portal of events
    Column("reconcile_at", UtcDateTime),
    # One reconcile at a time, and whether what it should tell has changed since it looked.
    Column("reconcile_lease_until", UtcDateTime),
    Column("reconcile_lease", String(32)),
    Column("senders_version", Integer, nullable=False, server_default="1"),
    # One push and one token refresh at a time, on any number of machines.
    Column("push_lease_until", UtcDateTime),
    Column("push_lease", String(32)),
    Column("push_paused_until", UtcDateTime),
    Column("refresh_lease_until", UtcDateTime),
    Column("refresh_lease", String(32)),
    # The leaky bucket of REST calls.
    Column("bucket_level", sa.Float, nullable=False, server_default="0"),
    Column("bucket_at", UtcDateTime),
    # Pauses that the portal asked for, as unix times: by method, under "" for all calls.
    Column("call_pauses", sa.JSON, nullable=False, server_default="{}"),
    # Which installation this is: each one that is verified gets a new number, and what belongs to the one
    # before (an event, an erasure) does nothing any more.
    Column("generation", Integer, nullable=False, server_default="1"),
    Column("opened_at", UtcDateTime),  # when one of its users, verified, last opened the app
    Column("looked_at", UtcDateTime),  # when an event without an administrator's proof last made us look
    # How often the portal was found to work: an error of a call that began before the last time says nothing.
    Column("healings", Integer, nullable=False, server_default="0"),
    Column("suspect_since", UtcDateTime),  # first heard that the app is not installed; to be confirmed
    Column("erased_at", UtcDateTime),  # its data, some time after the app was removed
    Column("last_pushed_at", UtcDateTime),
    Column("weekly_due_at", UtcDateTime),  # the next weekly summary; none: nobody wants it
    _now("created_at"),
    sqlite_autoincrement=True,
)

credentials = sa.Table(
    "credentials",
    db.metadata,
    _id(),
    _portal(),
    Column("user_id", String(20), nullable=False),
    Column("is_admin", Boolean, nullable=False),
    Column("is_service", Boolean, nullable=False),  # the one that speaks for the portal
    Column("access_token", Text, nullable=False),
    Column("refresh_token", Text, nullable=False),
    Column("expires_at", UtcDateTime, nullable=False),
    Column("refreshed_at", UtcDateTime, nullable=False),
    Column("version", Integer, nullable=False, server_default="1"),
    Column("broken", Text, nullable=False, server_default=""),
    Column("broken_at", UtcDateTime),  # since when
    Column("language", String(8), nullable=False, server_default=""),  # as the user last opened the app
    sa.UniqueConstraint("portal_id", "user_id"),
    Index(
        "ix_credentials_service",
        "portal_id",
        unique=True,
        postgresql_where=text("is_service"),
        sqlite_where=text("is_service"),
    ),
    sqlite_autoincrement=True,
)

senders = sa.Table(
    "senders",
    db.metadata,
    _id(),
    _portal(),
    Column("code", String(128), nullable=False),
    Column("name", sa.JSON, nullable=False),
    Column("description", sa.JSON, nullable=False),
    Column("originator", String(40), nullable=False, server_default=""),
    # Name and description by language, in every language that the portal was ever told: it forgets none.
    Column("told", sa.JSON, nullable=False, server_default="{}"),
    # Of what the portal surely has; empty while it is being told, and when nobody knows.
    Column("told_hash", String(64), nullable=False, server_default=""),
    Column("registered_at", UtcDateTime),
    Column("checked_at", UtcDateTime),
    Column("error", Text, nullable=False, server_default=""),
    Column("removed_at", UtcDateTime),
    sa.UniqueConstraint("portal_id", "code"),
    sqlite_autoincrement=True,
)

gateway_accounts = sa.Table(
    "gateway_accounts",
    db.metadata,
    _id(),
    _portal(),
    Column("slug", String(40), nullable=False),
    Column("label", String(80), nullable=False),
    Column("settings", sa.JSON, nullable=False),
    Column("secrets", Text, nullable=False),  # sealed JSON of the secret settings
    Column("is_default", Boolean, nullable=False),
    Column("report_secret", Text, nullable=False),
    Column("report_hash", String(64), nullable=False, unique=True),
    Column("checked_at", UtcDateTime),
    Column("check_text", Text, nullable=False, server_default=""),
    # The circuit: open while the account cannot send (wrong key, no money).
    Column("circuit_open_since", UtcDateTime),
    Column("circuit_reason", Text, nullable=False, server_default=""),
    Column("probe_at", UtcDateTime),
    # Messages that the account was refused for, with none taken in between; enough of them stop it.
    Column("failures", Integer, nullable=False, server_default="0"),  # how many
    Column("refused_rows", sa.JSON, nullable=False, server_default="[]"),
    # The breaker: calls in a row without a sensible answer; over the limit one probe at a time gets through.
    Column("bad_calls", Integer, nullable=False, server_default="0"),
    Column("paused_until", UtcDateTime),
    # The pace, once the gateway found us too fast, and what it was at last.
    Column("rate_per_s", sa.Float),
    Column("slowed_at", UtcDateTime),
    Column("next_slot_at", UtcDateTime),
    # One worker at a time hands over its messages.
    Column("line_lease_until", UtcDateTime),  # of the process that keeps its line, where it needs one
    Column("line_lease", String(32)),
    Column("drain_lease_until", UtcDateTime),
    Column("drain_lease", String(32)),
    Column("last_report_at", UtcDateTime),
    # The regular check. One that fails leaves what the admin was told by his own check as it is.
    Column("next_check_at", UtcDateTime),
    Column("failed_checks", Integer, nullable=False, server_default="0"),  # in a row
    Column("failed_check_text", Text, nullable=False, server_default=""),
    Column("version", Integer, nullable=False, server_default="1"),
    Column("retired_at", UtcDateTime),  # replaced or removed; its messages and reports still find it
    _now("created_at"),
    Index("ix_gateway_accounts_probe_at", "probe_at"),
    Index("ix_gateway_accounts_next_check_at", "next_check_at"),
    sqlite_autoincrement=True,
)

# Texts that only wait for their time to be over. Literal, because SQLite uses a partial index only for a
# query that has its condition word for word.
TEXT_CAN_GO = "text <> '' AND work = 'closed' AND push_due_at IS NULL"
# What a message counts as, and whether it is counted as that, see `store/counts`. Literal for the same reason
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
HAS_AUTHOR = "author_id <> ''"
_SEARCHED = ("recipient", "account_id", "sender_code")

messages = sa.Table(
    "messages",
    db.metadata,
    _id(),
    _portal(),
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
    _now("received_at"),
    _now("expires_at"),
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
        postgresql_where=text("status = 'unknown' OR reason = 'dead_letter'"),
        sqlite_where=text("status = 'unknown' OR reason = 'dead_letter'"),
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
    _id(),
    Column("message_row_id", ForeignKey("messages.id", ondelete="CASCADE"), nullable=False),
    Column("number", Integer, nullable=False),
    Column("account_id", BigId, nullable=False),
    Column("gateway", String(40), nullable=False),
    Column("reference", String(20), nullable=False, unique=True),  # ours; the gateway echoes it
    Column("calls", Integer, nullable=False),
    _now("started_at"),
    Column("finished_at", UtcDateTime),
    Column("outcome", String(12), nullable=False, server_default=""),
    Column("code", String(60), nullable=False, server_default=""),
    Column("text", Text, nullable=False, server_default=""),
    Column("cost", String(40), nullable=False, server_default=""),
    Column("counted_cost", String(40), nullable=False, server_default=""),
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


def _counts(name: str, *keys: Column[Any], sums: tuple[str, ...] = ("count",)) -> sa.Table:
    """Sums by portal and quarter of an hour, in UTC: every time zone's days begin with one."""
    return sa.Table(
        name,
        db.metadata,
        Column("portal_id", ForeignKey("portals.id", ondelete="CASCADE"), primary_key=True),
        Column("quarter", UtcDateTime, primary_key=True),
        *keys,
        *(Column(each, sa.BigInteger, nullable=False) for each in sums),
    )


# Statistics outlive the messages that they are of; a portal's go with the portal.
message_counts = _counts(
    "message_counts",
    Column("status", String(12), primary_key=True),
    Column("account_id", BigId, primary_key=True, autoincrement=False),  # 0: of no account
    Column("reason", String(40), primary_key=True),
    sums=("count", "segments"),
)
# One row for each sender and one for each kind of author: few, and never one for each person.
split_counts = _counts(
    "split_counts",
    Column("split", String(8), primary_key=True),  # sender or author
    Column("value", String(128), primary_key=True),
    sums=("count", "segments", "delivered", "failed"),
)
delivery_counts = _counts("delivery_counts", Column("tenths", sa.BigInteger, primary_key=True))
cost_counts = _counts("cost_counts", Column("cost", String(40), primary_key=True))

# The gateway's own ids: one for each part of a message that it reports on.
parts = sa.Table(
    "parts",
    db.metadata,
    _id(),
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
    _id(),
    Column("message_row_id", ForeignKey("messages.id", ondelete="CASCADE"), nullable=False),
    _now("at"),
    Column("event", String(30), nullable=False),
    Column("detail", Text, nullable=False, server_default=""),
    Index("ix_message_events_message_row_id", "message_row_id"),
    sqlite_autoincrement=True,
)

# What each user of the pages chose for themselves; who chose nothing has no row.
preferences = sa.Table(
    "preferences",
    db.metadata,
    Column("portal_id", ForeignKey("portals.id", ondelete="CASCADE"), primary_key=True),
    Column("user_id", String(20), primary_key=True),
    Column("log_columns", Text, nullable=False, server_default=""),
    Column("numbers_until", UtcDateTime),  # lists show numbers in full until then
)

# Reports that match nothing yet: they can outrun the answer to the submission.
parked_reports = sa.Table(
    "parked_reports",
    db.metadata,
    _id(),
    Column("account_id", ForeignKey("gateway_accounts.id", ondelete="CASCADE"), nullable=False),
    Column("reference", String(60), nullable=False, server_default=""),
    Column("gateway_message_id", String(120), nullable=False, server_default=""),
    Column("report", sa.JSON, nullable=False),
    _now("received_at"),
    Index("ix_parked_reports_received_at", "received_at"),
    Index("ix_parked_reports_account_id_reference", "account_id", "reference"),
    Index("ix_parked_reports_account_id_gateway_message_id", "account_id", "gateway_message_id"),
    sqlite_autoincrement=True,
)

# Events of the portal's life (install, update, uninstall, payment): stored first, acted upon by a job.
portal_events = sa.Table(
    "portal_events",
    db.metadata,
    _id(),
    Column("member_id", String(64), nullable=False),
    Column("event", String(40), nullable=False),
    Column("payload", Text, nullable=False),  # sealed: it carries tokens
    Column("is_verified", Boolean, nullable=False),
    # The portal's installation when the event came in; 0 when we knew no such portal.
    Column("generation", Integer, nullable=False, server_default="0"),
    _now("received_at"),
    Column("due_at", UtcDateTime),
    Column("tries", Integer, nullable=False, server_default="0"),
    Column("result", Text, nullable=False, server_default=""),
    Index("ix_portal_events_due_at", "due_at"),
    sqlite_autoincrement=True,
)

# Troubles that last, and what people were told of them. One that ended is kept for a while.
incidents = sa.Table(
    "incidents",
    db.metadata,
    _id(),
    _portal(),
    Column("kind", String(12), nullable=False),
    Column("cause", String(20), nullable=False),  # may change while it lasts
    _now("began_at"),
    Column("opened_at", UtcDateTime),  # it lasted long enough to be told
    Column("away_since", UtcDateTime),
    Column("ended_at", UtcDateTime),
    # The notice that people still have to get: of its beginning, of its end, or none.
    Column("notice", String(8), nullable=False, server_default=""),
    Column("notice_due_at", UtcDateTime),
    Column("notice_tries", Integer, nullable=False, server_default="0"),
    Column("told", sa.JSON, nullable=False),  # the users who got that notice
    Index(
        "ix_incidents_open",
        "portal_id",
        "kind",
        unique=True,
        postgresql_where=text("ended_at IS NULL"),
        sqlite_where=text("ended_at IS NULL"),
    ),
    Index("ix_incidents_notice_due_at", "notice_due_at"),
    sqlite_autoincrement=True,
)

# Who did what. Without a portal: a deed of the operator's over all of them, or of one that is erased.
audit_log = sa.Table(
    "audit_log",
    db.metadata,
    _id(),
    Column("portal_id", ForeignKey("portals.id", ondelete="CASCADE")),
    _now("at"),
    Column("who", String(10), nullable=False),
    Column("name", String(128), nullable=False, server_default=""),
    Column("address", String(45), nullable=False, server_default=""),
    Column("action", String(40), nullable=False),
    Column("about", String(128), nullable=False, server_default=""),
    Column("before", sa.JSON, nullable=False),
    Column("after", sa.JSON, nullable=False),
    Index("ix_audit_log_portal_id_id", "portal_id", "id"),
    Index("ix_audit_log_at", "at"),
    sqlite_autoincrement=True,
)

job_runs = sa.Table(
    "job_runs",
    db.metadata,
    Column("name", String(40), primary_key=True),
    Column("lease_until", UtcDateTime),
    Column("last_run_at", UtcDateTime),
)

# Secrets of addresses that were renewed, good for a while more; `until` comes when the portal has a new one.
old_secrets = sa.Table(
    "old_secrets",
    db.metadata,
    _id(),
    _portal(),
    Column("account_id", BigId),  # of a report's address
    Column("kind", String(10), nullable=False),  # handler or report
    Column("secret", Text, nullable=False),  # sealed, for a change of the keys
    Column("hash", String(64), nullable=False, unique=True),
    Column("until", UtcDateTime),
    Index("ix_old_secrets_portal_id", "portal_id"),
    sqlite_autoincrement=True,
)

# What the workers have counted for /metrics, summed over all of them.
worker_counts = sa.Table(
    "worker_counts",
    db.metadata,
    Column("name", String(80), primary_key=True),
    Column("labels", String(200), primary_key=True),  # JSON list of pairs, sorted
    Column("value", Float, nullable=False),
)

# Literal, as TEXT_CAN_GO is.
WENT_WRONG = "error <> ''"

# REST calls of the last days with secrets removed, as the marketplace demands.
rest_calls = sa.Table(
    "rest_calls",
    db.metadata,
    _id(),
    _portal(),
    _now("at"),
    Column("method", String(80), nullable=False),
    Column("params", Text, nullable=False),
    Column("http_status", Integer, nullable=False),
    Column("error", String(80), nullable=False),
    Column("answer", Text, nullable=False),
    Column("took_ms", Integer, nullable=False),
    Column("operating_s", sa.Float),  # the portal's account of the method's running time
    Column("operating_reset_at", sa.Float),  # unix time
    Index("ix_rest_calls_portal_id_id", "portal_id", "id"),
    Index("ix_rest_calls_at", "at"),
    Index(  # few of very many, and counted by the operator's gauges
        "ix_rest_calls_went_wrong",
        "portal_id",
        "error",
        postgresql_where=text(WENT_WRONG),
        sqlite_where=text(WENT_WRONG),
    ),
    sqlite_autoincrement=True,
)
