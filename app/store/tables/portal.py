"""The tables of portals: who they are, whose tokens we have, their senders, events and calls."""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy import Boolean, Column, ForeignKey, Index, Integer, String, Text, text

from app.store.database import BigId, UtcDateTime, db
from app.store.tables.columns import moment, of_portal, row_id

portals = sa.Table(
    "portals",
    db.metadata,
    row_id(),
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
    # The operator lets none of its messages go out; what its administrators read about it.
    Column("paused_at", UtcDateTime),
    Column("paused_why", Text, nullable=False, server_default=""),
    Column("last_pushed_at", UtcDateTime),
    Column("weekly_due_at", UtcDateTime),  # the next weekly summary; none: nobody wants it
    moment("created_at"),
    sqlite_autoincrement=True,
)

credentials = sa.Table(
    "credentials",
    db.metadata,
    row_id(),
    of_portal(),
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
    row_id(),
    of_portal(),
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

# What each user of the pages chose for themselves; who chose nothing has no row.
preferences = sa.Table(
    "preferences",
    db.metadata,
    Column("portal_id", ForeignKey("portals.id", ondelete="CASCADE"), primary_key=True),
    Column("user_id", String(20), primary_key=True),
    Column("log_columns", Text, nullable=False, server_default=""),
    Column("numbers_until", UtcDateTime),  # lists show numbers in full until then
)

# Events of the portal's life (install, update, uninstall, payment): stored first, acted upon by a job.
portal_events = sa.Table(
    "portal_events",
    db.metadata,
    row_id(),
    Column("member_id", String(64), nullable=False),
    Column("event", String(40), nullable=False),
    Column("payload", Text, nullable=False),  # sealed: it carries tokens
    Column("is_verified", Boolean, nullable=False),
    # The portal's installation when the event came in; 0 when we knew no such portal.
    Column("generation", Integer, nullable=False, server_default="0"),
    moment("received_at"),
    Column("due_at", UtcDateTime),
    Column("tries", Integer, nullable=False, server_default="0"),
    Column("result", Text, nullable=False, server_default=""),
    Index("ix_portal_events_due_at", "due_at"),
    sqlite_autoincrement=True,
)

# Secrets of addresses that were renewed, good for a while more; `until` comes when the portal has a new one.
old_secrets = sa.Table(
    "old_secrets",
    db.metadata,
    row_id(),
    of_portal(),
    Column("account_id", BigId),  # of a report's address
    Column("kind", String(10), nullable=False),  # handler or report
    Column("secret", Text, nullable=False),  # sealed, for a change of the keys
    Column("hash", String(64), nullable=False, unique=True),
    Column("until", UtcDateTime),
    Index("ix_old_secrets_portal_id", "portal_id"),
    sqlite_autoincrement=True,
)

# Literal, as `TEXT_CAN_GO` of messages is.
WENT_WRONG = "error <> ''"

# REST calls of the last days with secrets removed, as the marketplace demands.
rest_calls = sa.Table(
    "rest_calls",
    db.metadata,
    row_id(),
    of_portal(),
    moment("at"),
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
