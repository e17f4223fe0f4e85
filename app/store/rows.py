"""What every file on messages needs of their rows: read one, lock one, add to its timeline."""

from __future__ import annotations

from dataclasses import fields
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from app.domain.messages import Message, TimelineEntry, Work
from app.domain.status import MessageStatus
from app.store.database import AnyRow, statement
from app.store.tables import attempts, message_events, messages, parts

_FIELDS = [f.name for f in fields(Message)]


def message_columns() -> list[sa.Column[Any]]:
    return [messages.c[name] for name in _FIELDS]


def message_of(row: AnyRow) -> Message:
    values = {name: row._mapping[name] for name in _FIELDS}
    values["status"] = MessageStatus(values["status"])
    values["work"] = Work(values["work"])
    values["told"] = MessageStatus(values["told"]) if values["told"] else None
    values["bindings"] = tuple(values["bindings"])
    return Message(**values)


def locked(connection: Connection, row_id: int) -> AnyRow | None:
    """The whole row, locked until the commit: what is read here is still true when we write."""
    return connection.execute(sa.select(messages).where(messages.c.id == row_id).with_for_update()).first()


def add_event(connection: Connection, row_id: int, at: datetime, event: str, detail: str = "") -> None:
    connection.execute(
        sa.insert(message_events).values(message_row_id=row_id, at=at, event=event, detail=detail[:2000])
    )


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
            "gateway_message_ids": [i.gateway_message_id for i in ids if i.attempt_id == row.id],
        }
        for row in rows
    ]
