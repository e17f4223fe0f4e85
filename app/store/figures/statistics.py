"""Figures of a portal's messages over some days: from the counts, and the rows that are not counted yet."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from app.domain.status import MessageStatus
from app.store.database import UtcDateTime, snapshot
from app.store.figures.counts import (
    KIND_COLUMNS,
    SPLIT_COLUMNS,
    Kind,
    changes,
    cost_not_counted,
    in_the_index_alone,
    not_counted,
    not_split,
    split_changes,
    split_values,
)
from app.store.tables import (
    attempts,
    cost_counts,
    delivery_counts,
    gateway_accounts,
    message_counts,
    messages,
    split_counts,
)

NOT_SPLIT_READ = 2_000  # messages of one portal that are not counted by sender and author, for one page
# For more of them SQLite builds an index over all counts first, which takes ten times as long.
SPANS_AT_ONCE = 60


@dataclass(frozen=True)
class Span:
    """A stretch of time, from one quarter of an hour to another; `until` is the first moment after it."""

    since: datetime
    until: datetime


@dataclass(frozen=True)
class Tally:
    """Messages that were received in one of the spans, by what became of them and who carried them."""

    span: int
    status: MessageStatus
    account_id: int | None
    reason: str
    count: int
    segments: int


def tallies(portal_id: int, spans: Sequence[Span]) -> list[Tally]:
    """How many messages were received in each span; `Tally.span` is its place in the sequence."""
    counts: Counter[tuple[int, MessageStatus, int | None, str]] = Counter()
    segments: Counter[tuple[int, MessageStatus, int | None, str]] = Counter()
    whole = Span(min(span.since for span in spans), max(span.until for span in spans))
    with snapshot() as connection:
        counted = (
            row
            for first in range(0, len(spans), SPANS_AT_ONCE)
            for row in connection.execute(_counted(portal_id, spans[first : first + SPANS_AT_ONCE], first))
        )
        for place, status, account_id, reason, count, parts in counted:
            key = (place, MessageStatus(status), account_id or None, reason)
            counts[key] += int(count)
            segments[key] += int(parts)
        for at, kind, sign in _not_counted(connection, portal_id, whole):
            for place, span in enumerate(spans):
                if span.since <= at < span.until:
                    key = (place, kind.status, kind.account_id, kind.reason)
                    counts[key] += sign
                    segments[key] += sign * kind.segments
    return [Tally(*key, counts[key], segments[key]) for key in counts if counts[key] > 0]


def _counted(portal_id: int, spans: Sequence[Span], first: int) -> sa.Select[Any]:
    """`first` is the place of the first of these spans."""
    days = (
        sa.values(
            sa.column("place", sa.Integer),
            sa.column("since", UtcDateTime),
            sa.column("until", UtcDateTime),
            name="days",
        )
        .data([(place, span.since, span.until) for place, span in enumerate(spans, first)])
        .cte("days")
    )
    c = message_counts.c
    kind = (days.c.place, c.status, c.account_id, c.reason)
    return (
        sa.select(*kind, sa.func.sum(c.count), sa.func.sum(c.segments))
        .join_from(
            days,
            message_counts,
            sa.and_(c.portal_id == portal_id, c.quarter >= days.c.since, c.quarter < days.c.until),
        )
        .group_by(*kind)
    )


def _not_counted(connection: Connection, portal_id: int, span: Span) -> Iterator[tuple[datetime, Kind, int]]:
    """What the counts lack: the moment of receipt, the kind, and 1 or -1.

    The time is no part of the query: with it SQLite would look through all that came in it.
    """
    query = not_counted(messages.c.received_at, *KIND_COLUMNS).where(messages.c.portal_id == portal_id)
    in_the_index_alone(connection)
    for row in connection.execute(query):
        if span.since <= row.received_at < span.until:
            for kind, sign in changes(row):
                yield row.received_at, kind, sign


def delivery_times(portal_id: int, span: Span) -> dict[float, int]:
    """How often a delivery took so many seconds, to two digits; what a person sent again is left out."""
    c = delivery_counts.c
    query = (
        sa.select(c.tenths, sa.func.sum(c.count))
        .where(c.portal_id == portal_id, c.quarter >= span.since, c.quarter < span.until)
        .group_by(c.tenths)
    )
    with snapshot() as connection:
        found: Counter[int] = Counter({tenths: int(count) for tenths, count in connection.execute(query)})
        for _, kind, sign in _not_counted(connection, portal_id, span):
            if kind.tenths is not None:
                found[kind.tenths] += sign
    return {tenths / 10: count for tenths, count in found.items() if count > 0}


def costs(portal_id: int, span: Span) -> dict[str, int]:
    """What attempts that began in the span cost: the gateways' words, and how often each came."""
    c = cost_counts.c
    counted = (
        sa.select(c.cost, sa.func.sum(c.count))
        .where(c.portal_id == portal_id, c.quarter >= span.since, c.quarter < span.until)
        .group_by(c.cost)
    )
    mine = sa.select(gateway_accounts.c.id).where(gateway_accounts.c.portal_id == portal_id)
    lacking = cost_not_counted(attempts.c.started_at, attempts.c.cost, attempts.c.counted_cost).where(
        attempts.c.account_id.in_(mine)
    )
    with snapshot() as connection:
        found: Counter[str] = Counter({cost: int(count) for cost, count in connection.execute(counted)})
        in_the_index_alone(connection)
        for row in connection.execute(lacking):
            if span.since <= row.started_at < span.until:
                found[row.cost] += 1
                found[row.counted_cost] -= 1
    return {cost: count for cost, count in found.items() if cost and count > 0}


@dataclass(frozen=True)
class Share:
    """Messages of one sender, or of one kind of author."""

    count: int = 0
    segments: int = 0
    delivered: int = 0
    failed: int = 0

    @property
    def ended(self) -> int:
        return self.delivered + self.failed


@dataclass(frozen=True)
class Splits:
    """The messages of a span by sender and by author, each by what it is called in the rows."""

    senders: Mapping[str, Share]
    authors: Mapping[str, Share]
    is_complete: bool  # not while the messages from before there was such a thing are still being counted


def splits(portal_id: int, span: Span) -> Splits:
    """By sender and by author; reads the counts, and a limited number of rows that are not counted yet."""
    c = split_counts.c
    sums = (sa.func.sum(c.count), sa.func.sum(c.segments), sa.func.sum(c.delivered), sa.func.sum(c.failed))
    counted = (
        sa.select(c.split, c.value, *sums)
        .where(c.portal_id == portal_id, c.quarter >= span.since, c.quarter < span.until)
        .group_by(c.split, c.value)
    )
    lacking = not_split(messages.c.received_at, *SPLIT_COLUMNS).where(messages.c.portal_id == portal_id)
    found: dict[tuple[str, str], list[int]] = {}
    with snapshot() as connection:
        for split, value, *row_sums in connection.execute(counted):
            found[split, value] = [int(each) for each in row_sums]
        in_the_index_alone(connection)
        rows = connection.execute(lacking.limit(NOT_SPLIT_READ + 1)).all()
    for row in rows[:NOT_SPLIT_READ]:
        if span.since <= row.received_at < span.until:
            for key in split_values(row):
                for part, sign in split_changes(row):
                    have = found.get(key, [0, 0, 0, 0])
                    found[key] = [old + sign * more for old, more in zip(have, part.sums, strict=True)]
    shares = {key: Share(*sums) for key, sums in found.items() if sums[0] > 0}
    return Splits(
        senders={value: share for (split, value), share in shares.items() if split == "sender"},
        authors={value: share for (split, value), share in shares.items() if split == "author"},
        is_complete=len(rows) <= NOT_SPLIT_READ,
    )


def by_status(portal_id: int, span: Span) -> dict[MessageStatus, int]:
    """How many messages were received in the span, by what became of them."""
    found: Counter[MessageStatus] = Counter()
    for tally in tallies(portal_id, [span]):
        found[tally.status] += tally.count
    return dict(found)
