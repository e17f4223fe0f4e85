"""What the overview shows of a portal: when something last happened, what waits, what went wrong."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa

from app.domain.messages import Message
from app.domain.status import MessageStatus
from app.store.database import statement
from app.store.messages.rows import message_columns, message_of
from app.store.tables import messages

COUNTED = 2_000  # messages that wait; more are told as more
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


@dataclass(frozen=True)
class Waiting:
    """Messages that wait for one reason, and when the first of them is looked at next."""

    reason: str
    count: int
    next_at: datetime | None


@dataclass(frozen=True)
class Waits:
    """What waits to be sent, by reason; `is_more`: there is more than was counted."""

    by_reason: Sequence[Waiting]
    is_more: bool


def waits(portal_id: int) -> Waits:
    """Why messages wait to be sent; looks at a limited number, the oldest ones."""
    some = (
        sa.select(messages.c.reason, messages.c.due_at)
        .where(messages.c.portal_id == portal_id, messages.c.status == MessageStatus.QUEUED)
        .order_by(messages.c.received_at, messages.c.id)
        .limit(COUNTED)
        .subquery()
    )
    query = sa.select(some.c.reason, sa.func.count(), sa.func.min(some.c.due_at)).group_by(some.c.reason)
    with statement() as connection:
        found = [Waiting(str(reason), int(count), at) for reason, count, at in connection.execute(query)]
    found.sort(key=lambda each: -each.count)
    return Waits(found, is_more=sum(each.count for each in found) >= COUNTED)


def waits_to_be_told(portal_id: int) -> Waiting:
    """Statuses that the portal has not got yet."""
    due = (
        sa.select(messages.c.push_due_at)
        .where(messages.c.portal_id == portal_id, messages.c.push_due_at.is_not(None))
        .order_by(messages.c.push_due_at)
        .limit(COUNTED)
        .subquery()
    )
    with statement() as connection:
        count, at = connection.execute(sa.select(sa.func.count(), sa.func.min(due.c.push_due_at))).one()
    return Waiting("", int(count), at)
