"""Figures of a portal's messages over some days. All but the reasons are counted in an index alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa

from app.domain.status import MessageStatus
from app.store.database import UtcDateTime, statement
from app.store.tables import attempts, gateway_accounts, messages

_BAD = (MessageStatus.FAILED, MessageStatus.UNDELIVERED)


@dataclass(frozen=True)
class Span:
    """A stretch of time; `until` is the first moment after it."""

    since: datetime
    until: datetime


@dataclass(frozen=True)
class Tally:
    """Messages that were received in one of the spans, by what became of them and who carried them."""

    span: int
    status: MessageStatus
    account_id: int | None
    count: int
    segments: int


def tallies(portal_id: int, spans: Sequence[Span]) -> list[Tally]:
    """How many messages were received in each span; `Tally.span` is its place in the sequence."""
    days = (
        sa.values(
            sa.column("place", sa.Integer),
            sa.column("since", UtcDateTime),
            sa.column("until", UtcDateTime),
            name="days",
        )
        .data([(place, span.since, span.until) for place, span in enumerate(spans)])
        .cte("days")
    )
    kind = (days.c.place, messages.c.status, messages.c.account_id)
    query = (
        sa.select(*kind, sa.func.count(), sa.func.sum(messages.c.segments))
        .join_from(
            days,
            messages,
            sa.and_(
                messages.c.portal_id == portal_id,
                # All there are: so each day is one stretch of the index for each of them.
                messages.c.status.in_(list(MessageStatus)),
                messages.c.received_at >= days.c.since,
                messages.c.received_at < days.c.until,
            ),
        )
        .group_by(*kind)
    )
    with statement() as connection:
        return [
            Tally(place, MessageStatus(status), account_id, count, int(segments))
            for place, status, account_id, count, segments in connection.execute(query)
        ]


def reasons(portal_id: int, span: Span) -> dict[str, int]:
    """Why messages of the span did not arrive."""
    query = (
        sa.select(messages.c.reason, sa.func.count())
        .where(_received(portal_id, span), messages.c.status.in_(_BAD))
        .group_by(messages.c.reason)
    )
    with statement() as connection:
        return {row.reason: row[1] for row in connection.execute(query)}


def delivery_times(portal_id: int, span: Span) -> dict[float, int]:
    """How often a delivery took so many seconds, in tenths; what a person sent again is left out."""
    tenths = (messages.c.delivery_ms // 100).label("tenths")
    query = (
        sa.select(tenths, sa.func.count())
        .where(
            _received(portal_id, span),
            messages.c.status == MessageStatus.DELIVERED,
            messages.c.delivery_ms.is_not(None),
        )
        .group_by(tenths)
    )
    with statement() as connection:
        return {found / 10: count for found, count in connection.execute(query)}


def costs(portal_id: int, span: Span) -> dict[str, int]:
    """What attempts that began in the span cost: the gateways' words, and how often each came."""
    mine = sa.select(gateway_accounts.c.id).where(gateway_accounts.c.portal_id == portal_id)
    query = (
        sa.select(attempts.c.cost, sa.func.count())
        .where(
            attempts.c.account_id.in_(mine),
            attempts.c.started_at >= span.since,
            attempts.c.started_at < span.until,
            attempts.c.cost != "",
        )
        .group_by(attempts.c.cost)
    )
    with statement() as connection:
        return {row.cost: row[1] for row in connection.execute(query)}


def _received(portal_id: int, span: Span) -> sa.ColumnElement[bool]:
    return sa.and_(
        messages.c.portal_id == portal_id,
        messages.c.received_at >= span.since,
        messages.c.received_at < span.until,
    )
