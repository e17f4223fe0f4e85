"""All tables. Statements, not objects: rows leave the store as the frozen values of their subject's file."""

from __future__ import annotations

from app.store.tables.account import gateway_accounts
from app.store.tables.bulk import BULK_UNDER_WAY, bulk_chunks, bulk_jobs
from app.store.tables.figures import cost_counts, delivery_counts, incidents, message_counts, split_counts
from app.store.tables.message import (
    COST_NOT_COUNTED,
    COUNT_KEY,
    HAS_AUTHOR,
    NEEDS_ATTENTION,
    NOT_COUNTED,
    NOT_SPLIT,
    QUEUED,
    SPLIT_KEY,
    TEXT_CAN_GO,
    attempts,
    message_events,
    messages,
    parked_reports,
    parts,
)
from app.store.tables.operations import audit_log, drained_hosts, instances, job_runs, worker_counts
from app.store.tables.portal import (
    WENT_WRONG,
    credentials,
    old_secrets,
    portal_events,
    portals,
    preferences,
    rest_calls,
    senders,
)

__all__ = [
    "BULK_UNDER_WAY",
    "COST_NOT_COUNTED",
    "COUNT_KEY",
    "HAS_AUTHOR",
    "NEEDS_ATTENTION",
    "NOT_COUNTED",
    "NOT_SPLIT",
    "QUEUED",
    "SPLIT_KEY",
    "TEXT_CAN_GO",
    "WENT_WRONG",
    "attempts",
    "audit_log",
    "bulk_chunks",
    "bulk_jobs",
    "cost_counts",
    "credentials",
    "delivery_counts",
    "drained_hosts",
    "gateway_accounts",
    "incidents",
    "instances",
    "job_runs",
    "message_counts",
    "message_events",
    "messages",
    "old_secrets",
    "parked_reports",
    "parts",
    "portal_events",
    "portals",
    "preferences",
    "rest_calls",
    "senders",
    "split_counts",
    "worker_counts",
]
