"""What happened to one message, and what happens to all of a portal, as it happens."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from app.domain.messages import Message, TimelineEntry
from app.domain.outcomes import Exchange
from app.store.database import statement
from app.store.tables import attempts, message_events, messages, parts


@dataclass(frozen=True)
class Step:
    """One step of one message. `position` is where to go on from."""

    position: int
    message_id: str
    recipient: str
    at: datetime
    event: str
    detail: str


def receipts_after(portal_id: int, row_id: int, *, limit: int = 500) -> list[Step]:
    """Messages received after the row `row_id`, oldest first."""
    query = (
        sa.select(
            messages.c.id,
            messages.c.message_id,
            messages.c.recipient,
            messages.c.received_at,
            sa.literal("received"),
            messages.c.sender_code,
        )
        # The sum keeps the database from sorting all rows of the portal: the few new ones are found by id.
        .where(messages.c.portal_id + 0 == portal_id, messages.c.id > row_id)
        .order_by(messages.c.id)
        .limit(limit)
    )
    return _steps(query)


def steps_after(portal_id: int, event_id: int, *, limit: int = 500) -> list[Step]:
    """What was written to the timelines after `event_id`, oldest first."""
    query = (
        sa.select(
            message_events.c.id,
            messages.c.message_id,
            messages.c.recipient,
            message_events.c.at,
            message_events.c.event,
            message_events.c.detail,
        )
        .join(messages, messages.c.id == message_events.c.message_row_id)
        .where(messages.c.portal_id == portal_id, message_events.c.id > event_id)
        .order_by(message_events.c.id)
        .limit(limit)
    )
    return _steps(query)


def newest() -> tuple[int, int]:
    """The newest message row and timeline entry of all portals: where a watcher begins."""
    with statement() as connection:
        return (
            connection.scalar(sa.select(sa.func.max(messages.c.id))) or 0,
            connection.scalar(sa.select(sa.func.max(message_events.c.id))) or 0,
        )


def _steps(query: sa.Select[Any]) -> list[Step]:
    with statement() as connection:
        return [Step(*row) for row in connection.execute(query)]


def timeline(message: Message) -> list[TimelineEntry]:
    """Everything that happened to a message, oldest first; its receipt is the row itself."""
    query = (
        sa.select(message_events.c.at, message_events.c.event, message_events.c.detail)
        .where(message_events.c.message_row_id == message.id)
        .order_by(message_events.c.id)
    )
    received = TimelineEntry(message.received_at, "received", "")
    with statement() as connection:
        return [received, *(TimelineEntry(*row) for row in connection.execute(query))]


def attempts_of(message: Message) -> list[dict[str, Any]]:
    """Each submission with its outcome and the gateway's ids, oldest first."""
    with statement() as connection:
        rows = connection.execute(
            sa.select(attempts).where(attempts.c.message_row_id == message.id).order_by(attempts.c.number)
        ).all()
        ids = connection.execute(
            sa.select(parts.c.attempt_id, parts.c.gateway_message_id, parts.c.status)
            .where(parts.c.attempt_id.in_([row.id for row in rows]))
            .order_by(parts.c.id)
        ).all()
    return [
        {
            "number": row.number,
            "gateway": row.gateway,
            "reference": row.reference,
            "calls": row.calls,
            "started_at": row.started_at,
            "finished_at": row.finished_at,
            "outcome": row.outcome,
            "code": row.code,
            "text": row.text,
            "cost": row.cost,
            "http_status": row.http_status,
            "took_ms": row.took_ms,
            "exchanges": [Exchange(**json.loads(line)) for line in row.exchanges.splitlines()],
            "gateway_message_ids": [i.gateway_message_id for i in ids if i.attempt_id == row.id],
        }
        for row in rows
    ]
