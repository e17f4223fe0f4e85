"""Counts of messages by quarter of an hour: the statistics cost the same however many messages there are.

A row says itself what it was counted as (`counted_as`). Whatever changes it makes the two differ, and a
partial index has all rows where they do: so nothing is counted twice or missed, by whichever writer, and
reading is exact at every moment: the counts, and the few rows that are not counted yet. A message is counted
when it is at its end, or after a while, so that most are counted once.

The same is split by sender and by kind of author, in a table of its own with a mark of its own (`split_as`):
crossed with all the rest it would have as many rows as there are messages.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from app.domain.delivery_times import tenths_of
from app.domain.messages import Author, Work
from app.domain.status import BAD, MessageStatus
from app.store.database import AnyRow, is_sqlite, snapshot, upsert, writing
from app.store.tables import (
    COST_NOT_COUNTED,
    COUNT_KEY,
    NOT_COUNTED,
    NOT_SPLIT,
    SPLIT_KEY,
    attempts,
    cost_counts,
    delivery_counts,
    gateway_accounts,
    message_counts,
    messages,
    portals,
    split_counts,
)

BATCH = 200  # SQLite writes so many in some ten milliseconds, and so long the HANDLER may have to wait
SETTLED = timedelta(minutes=2)
QUARTER_S = 900


@dataclass(frozen=True)
class Kind:
    """What a message counts as."""

    status: MessageStatus
    account_id: int | None
    segments: int
    delivery_ms: int | None
    reason: str

    @classmethod
    def of(cls, row: AnyRow) -> Kind:
        return cls(MessageStatus(row.status), row.account_id, row.segments, row.delivery_ms, row.reason)

    @classmethod
    def read(cls, key: str) -> Kind | None:
        """From `counted_as`; None for a row that was not counted yet."""
        if not key:
            return None
        status, account, segments, delivery, reason = key.split(" ", 4)
        took = int(delivery) if int(delivery) >= 0 else None
        return cls(MessageStatus(status), int(account) or None, int(segments), took, reason)

    @property
    def tenths(self) -> int | None:
        if self.status is not MessageStatus.DELIVERED or self.delivery_ms is None:
            return None
        return tenths_of(self.delivery_ms)


KIND_COLUMNS = [
    *(messages.c.status, messages.c.account_id, messages.c.segments, messages.c.delivery_ms),
    *(messages.c.reason, messages.c.counted_as),
]


@dataclass(frozen=True)
class Part:
    """What a message is among those of its sender, and of its kind of author."""

    status: MessageStatus
    segments: int

    @classmethod
    def read(cls, key: str) -> Part | None:
        """From `split_as`; None for a row that was not counted yet."""
        status, _, segments = key.partition(" ")
        return cls(MessageStatus(status), int(segments)) if key else None

    @property
    def sums(self) -> tuple[int, int, int, int]:
        """In the order of the table's columns."""
        failed = self.status in BAD
        return (1, self.segments, int(self.status is MessageStatus.DELIVERED), int(failed))


SPLIT_COLUMNS = [
    *(messages.c.status, messages.c.segments, messages.c.split_as),
    *(messages.c.sender_code, messages.c.origin, messages.c.module_id, messages.c.author_id),
]


def split_values(row: AnyRow) -> tuple[tuple[str, str], ...]:
    """By what a message is split, and where it belongs there."""
    author = Author.of(row.origin, row.module_id, row.author_id)
    return (("sender", row.sender_code), ("author", author.value))


def split_changes(row: AnyRow) -> list[tuple[Part, int]]:
    """The same as `changes`."""
    now, before = Part(MessageStatus(row.status), row.segments), Part.read(row.split_as)
    return [(now, 1), *([(before, -1)] if before is not None else [])]


def changes(row: AnyRow) -> list[tuple[Kind, int]]:
    """What a row that is not counted as what it is adds to the counts, and takes away."""
    before = Kind.read(row.counted_as)
    return [(Kind.of(row), 1), *([(before, -1)] if before is not None else [])]


def quarter_of(at: datetime) -> datetime:
    seconds = int(at.timestamp())
    return datetime.fromtimestamp(seconds - seconds % QUARTER_S, UTC)


def not_counted(*columns: sa.Column[Any]) -> sa.Select[Any]:
    """Messages that are not counted as what they are. SQLite has no idea how few they are, and is told."""
    hint = "INDEXED BY ix_messages_not_counted"
    return sa.select(*columns).where(sa.text(NOT_COUNTED)).with_hint(messages, hint, "sqlite")


def not_split(*columns: sa.Column[Any]) -> sa.Select[Any]:
    """Messages that are not counted as what they are by sender and author."""
    hint = "INDEXED BY ix_messages_not_split"
    return sa.select(*columns).where(sa.text(NOT_SPLIT)).with_hint(messages, hint, "sqlite")


def cost_not_counted(*columns: sa.Column[Any]) -> sa.Select[Any]:
    """Attempts whose cost is not counted as what it is."""
    hint = "INDEXED BY ix_attempts_cost_not_counted"
    return sa.select(*columns).where(sa.text(COST_NOT_COUNTED)).with_hint(attempts, hint, "sqlite")


def in_the_index_alone(connection: Connection) -> None:
    """PostgreSQL believes that most rows differ, and would read the whole table for the few that do."""
    if not is_sqlite():
        connection.execute(sa.text("SET LOCAL enable_seqscan = off"))


def fold(*, now: datetime, limit: int = BATCH) -> int:
    """Count some rows that have come to rest, in one commit; how many."""
    return _fold(not_counted(messages.c.id), now=now, limit=limit)


def fold_splits(*, now: datetime, limit: int = BATCH) -> int:
    """The same for rows that were counted, but not by sender and author: before there was such a thing."""
    return _fold(not_split(messages.c.id), now=now, limit=limit)


def _fold(due: sa.Select[Any], *, now: datetime, limit: int) -> int:
    is_at_rest = sa.or_(messages.c.work == Work.CLOSED, messages.c.received_at < now - SETTLED)
    due = due.where(is_at_rest, ~_is_of_erased_portal(messages.c.portal_id))
    with writing() as connection:
        in_the_index_alone(connection)
        ids = connection.scalars(due.limit(limit)).all()
        some = _MESSAGES.where(messages.c.id.in_(ids))
        return _count_messages(connection, some.with_for_update(skip_locked=True)) if ids else 0


def fold_costs(*, limit: int = BATCH) -> int:
    """The same for what attempts cost."""
    due = cost_not_counted(attempts.c.id).where(
        attempts.c.account_id.not_in(
            sa.select(gateway_accounts.c.id).where(_is_of_erased_portal(gateway_accounts.c.portal_id))
        )
    )
    with writing() as connection:
        in_the_index_alone(connection)
        ids = connection.scalars(due.limit(limit)).all()
        some = _COSTS.where(attempts.c.id.in_(ids))
        return _count_costs(connection, some.with_for_update(of=attempts, skip_locked=True)) if ids else 0


def before_removal(connection: Connection, row_ids: Sequence[int]) -> None:
    """Count messages that are removed in this very commit, as far as they are not counted yet."""
    _count_messages(connection, _MESSAGES.where(messages.c.id.in_(row_ids)).with_for_update())
    _count_costs(
        connection, _COSTS.where(attempts.c.message_row_id.in_(row_ids)).with_for_update(of=attempts)
    )


_MESSAGES = (
    sa.select(
        *dict.fromkeys(
            (messages.c.id, messages.c.portal_id, messages.c.received_at, *KIND_COLUMNS, *SPLIT_COLUMNS)
        )
    )
    .where(sa.or_(sa.text(NOT_COUNTED), sa.text(NOT_SPLIT)))
    .order_by(messages.c.id)
)
_COSTS = (
    sa.select(
        attempts.c.id,
        gateway_accounts.c.portal_id,
        *(attempts.c.started_at, attempts.c.cost, attempts.c.counted_cost),
    )
    .join(gateway_accounts, gateway_accounts.c.id == attempts.c.account_id)
    .where(sa.text(COST_NOT_COUNTED))
    .order_by(attempts.c.id)
)


def _count_messages(connection: Connection, query: sa.Select[Any]) -> int:
    rows = connection.execute(query).all()
    if rows:
        _add_messages(connection, rows)
        _add_splits(connection, rows)
        mine = sa.update(messages).where(messages.c.id.in_([row.id for row in rows]))
        connection.execute(mine.values(counted_as=sa.text(COUNT_KEY), split_as=sa.text(SPLIT_KEY)))
    return len(rows)


def _count_costs(connection: Connection, query: sa.Select[Any]) -> int:
    rows = connection.execute(query).all()
    sums: Counter[tuple[Any, ...]] = Counter()
    for row in rows:
        for cost, count in ((row.cost, 1), (row.counted_cost, -1)):
            if cost:
                sums[row.portal_id, quarter_of(row.started_at), cost] += count
    _add(connection, cost_counts, {key: (count,) for key, count in sums.items()})
    if rows:
        mine = sa.update(attempts).where(attempts.c.id.in_([row.id for row in rows]))
        connection.execute(mine.values(counted_cost=attempts.c.cost))
    return len(rows)


def _is_of_erased_portal(portal_id: sa.Column[Any]) -> sa.ColumnElement[bool]:
    """What is left of one is being removed, and its counts are gone."""
    return sa.exists().where(portals.c.id == portal_id, portals.c.erased_at.is_not(None))


def _add_messages(connection: Connection, rows: Iterable[AnyRow]) -> None:
    counts: Counter[tuple[Any, ...]] = Counter()
    segments: Counter[tuple[Any, ...]] = Counter()
    times: Counter[tuple[Any, ...]] = Counter()
    for row in rows:
        quarter = quarter_of(row.received_at)
        for kind, sign in changes(row):
            key = (row.portal_id, quarter, kind.status.value, kind.account_id or 0, kind.reason)
            counts[key] += sign
            segments[key] += sign * kind.segments
            if kind.tenths is not None:
                times[row.portal_id, quarter, kind.tenths] += sign
    _add(connection, message_counts, {key: (counts[key], segments[key]) for key in counts})
    _add(connection, delivery_counts, {key: (count,) for key, count in times.items()})


def _add_splits(connection: Connection, rows: Iterable[AnyRow]) -> None:
    found: dict[tuple[Any, ...], list[int]] = {}
    for row in rows:
        for split, value in split_values(row):
            sums = found.setdefault((row.portal_id, quarter_of(row.received_at), split, value), [0, 0, 0, 0])
            for part, sign in split_changes(row):
                sums[:] = [have + sign * more for have, more in zip(sums, part.sums, strict=True)]
    _add(connection, split_counts, {key: tuple(sums) for key, sums in found.items()})


def _add(connection: Connection, table: sa.Table, sums: Mapping[tuple[Any, ...], tuple[int, ...]]) -> None:
    """Add to the counts' rows, in one order, so that two who do it wait for each other."""
    keys = [column.name for column in table.primary_key]
    adding = [column.name for column in table.columns if not column.primary_key]
    rows = [
        {**dict(zip(keys, key, strict=True)), **dict(zip(adding, more, strict=True))}
        for key, more in sorted(sums.items())
        if any(more)
    ]
    if rows:
        insert = upsert(connection, table)
        added = {name: table.c[name] + insert.excluded[name] for name in adding}
        connection.execute(insert.on_conflict_do_update(index_elements=keys, set_=added), rows)


# --- is it true?


@dataclass(frozen=True)
class Difference:
    """Counts of one kind that are not what the rows say."""

    portal_id: int
    quarter: datetime
    status: str
    account_id: int
    reason: str
    counted: int
    rows: int


def differences(portal_ids: Iterable[int], since: datetime, until: datetime) -> list[Difference]:
    """Compare the counts of a time with what its rows say they were counted as. For portals that have removed
    no row of that time yet."""
    c = message_counts.c
    mine = set(portal_ids)
    with snapshot() as connection:
        counted = connection.execute(
            sa.select(c.portal_id, c.quarter, c.status, c.account_id, c.reason, c.count).where(
                c.quarter >= since, c.quarter < until, c.portal_id.in_(mine), c.count != 0
            )
        ).all()
        rows = connection.execute(
            sa.select(messages.c.portal_id, messages.c.received_at, messages.c.counted_as).where(
                messages.c.received_at >= since,
                messages.c.received_at < until,
                messages.c.portal_id.in_(mine),
                messages.c.counted_as != "",
                ~_is_of_erased_portal(messages.c.portal_id),
            )
        )
        seen: Counter[tuple[Any, ...]] = Counter()
        for row in rows:
            kind = Kind.read(row.counted_as)
            assert kind is not None
            quarter = quarter_of(row.received_at)
            seen[row.portal_id, quarter, kind.status.value, kind.account_id or 0, kind.reason] += 1
    stored = {(r.portal_id, r.quarter, r.status, r.account_id, r.reason): r[5] for r in counted}
    return [
        Difference(*(*key, stored.get(key, 0), seen.get(key, 0)))
        for key in sorted({*stored, *seen})
        if stored.get(key, 0) != seen.get(key, 0)
    ]


@dataclass(frozen=True)
class SplitDifference:
    """The same by sender or by kind of author."""

    portal_id: int
    quarter: datetime
    split: str
    value: str
    counted: int
    rows: int


def split_differences(portal_ids: Iterable[int], since: datetime, until: datetime) -> list[SplitDifference]:
    """The same as `differences` for what is split by sender and author."""
    c = split_counts.c
    mine = set(portal_ids)
    with snapshot() as connection:
        counted = connection.execute(
            sa.select(c.portal_id, c.quarter, c.split, c.value, c.count).where(
                c.quarter >= since, c.quarter < until, c.portal_id.in_(mine), c.count != 0
            )
        ).all()
        rows = connection.execute(
            sa.select(messages.c.portal_id, messages.c.received_at, *SPLIT_COLUMNS).where(
                messages.c.received_at >= since,
                messages.c.received_at < until,
                messages.c.portal_id.in_(mine),
                messages.c.split_as != "",
                ~_is_of_erased_portal(messages.c.portal_id),
            )
        )
        seen: Counter[tuple[Any, ...]] = Counter()
        for row in rows:
            seen.update((row.portal_id, quarter_of(row.received_at), *key) for key in split_values(row))
    stored = {(r.portal_id, r.quarter, r.split, r.value): r[4] for r in counted}
    return [
        SplitDifference(*(*key, stored.get(key, 0), seen.get(key, 0)))
        for key in sorted({*stored, *seen})
        if stored.get(key, 0) != seen.get(key, 0)
    ]
