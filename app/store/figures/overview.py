"""What the overview shows of a portal's messages: when something last happened, and what went wrong."""

from __future__ import annotations

from datetime import datetime

import sqlalchemy as sa

from app.domain.messages import Message
from app.domain.status import MessageStatus
from app.store.database import statement
from app.store.messages.rows import message_columns, message_of
from app.store.tables import messages

_BAD = (MessageStatus.FAILED, MessageStatus.UNDELIVERED, MessageStatus.UNKNOWN)


def last_received_at(portal_id: int) -> datetime | None:
    """When the portal last handed a message over; tests of ours do not count."""
    newest = (
        sa.select(messages.c.received_at)
        .where(messages.c.portal_id == portal_id, messages.c.origin == "portal")
        .order_by(messages.c.received_at.desc(), messages.c.id.desc())
        .limit(1)
    )
    with statement() as connection:
        at: datetime | None = connection.scalar(newest)
    return at


def has_delivered(portal_id: int) -> bool:
    """Whether any message has reached a phone, which proves that the whole chain works."""
    query = sa.select(sa.true()).where(
        messages.c.portal_id == portal_id, messages.c.status == MessageStatus.DELIVERED
    )
    with statement() as connection:
        return connection.scalar(query.limit(1)) is not None


def troubled(portal_id: int, since: datetime, *, limit: int) -> list[Message]:
    """The newest messages received since then that did not arrive, or may not have."""
    query = (
        sa.select(*message_columns())
        .where(
            messages.c.portal_id == portal_id,
            messages.c.received_at >= since,
            messages.c.status.in_(_BAD),
        )
        .order_by(messages.c.received_at.desc(), messages.c.id.desc())
        .limit(limit)
    )
    with statement() as connection:
        return [message_of(row) for row in connection.execute(query)]
