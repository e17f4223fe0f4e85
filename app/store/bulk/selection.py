"""Which messages a bulk job is for, and what its deed would find: read in slices, however many there are.

What a person saw counted is what is done: a message that comes later has a higher number than `up_to`, and
one that changed later has a step in its timeline behind `event_up_to`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from app.domain.bulk import Deed, Kind, verdict
from app.domain.messages import Reason, Work
from app.domain.status import MessageStatus
from app.store.database import AnyRow, statement
from app.store.database.fence import ALL_PORTALS
from app.store.messages import log as message_log
from app.store.messages.log import Filters, Position
from app.store.tables import message_events, messages

# Rows that one statement counts: some hundredths of a second.
COUNT_AT_ONCE = 20_000


@dataclass(frozen=True)
class Selection:
    """The rows of `row_ids`, or without any of them all that the filters find."""

    portal_id: int
    filters: Filters
    row_ids: tuple[int, ...]
    up_to: int
    event_up_to: int


@dataclass(frozen=True)
class Counted:
    """By verdict, up to a position; None when there is nothing behind it."""

    tallies: Mapping[str, int] = field(default_factory=dict)
    position: Position | None = None


def freeze(portal_id: int, filters: Filters, row_ids: Collection[int]) -> Selection:
    """What fits now, and nothing that comes later."""
    newest = sa.select(sa.func.max(messages.c.id)).execution_options(**ALL_PORTALS)
    with statement() as connection:
        up_to = connection.scalar(newest) or 0
        event_up_to = connection.scalar(sa.select(sa.func.max(message_events.c.id))) or 0
    return Selection(portal_id, filters, tuple(sorted(set(row_ids))), up_to, event_up_to)


def count(portal_id: int, filters: Filters) -> int:
    """How many messages the filters find."""
    query = _how_many([*message_log.narrowed(portal_id, filters), *message_log.looked_for(filters)])
    with statement() as connection:
        return int(connection.scalar(query) or 0)


def count_some(selection: Selection, deed: Deed, after: Position | None, *, country: str) -> Counted:
    """What is next in the log's order, oldest first. `country` is the portal's for numbers without one."""
    mine = [*_near(selection), *_behind(after)]
    with statement() as connection:
        end = _end(connection, mine)
        if end is not None:
            mine.append(_within(end))
        mine += message_log.looked_for(selection.filters)
        tallies: Counter[str] = Counter()
        for row in connection.execute(_kinds(mine) if deed.changes else _how_many(mine)):
            found = verdict(deed, _kind(row), country=country).key if deed.changes else "yes"
            tallies[found] += row.how_many
    return Counted(+tallies, end)


def _how_many(mine: Sequence[Any]) -> sa.Select[Any]:
    return sa.select(sa.func.count().label("how_many")).select_from(messages).where(*mine)


def _kinds(mine: Sequence[Any]) -> sa.Select[Any]:
    column = messages.c
    has_recipient = sa.case((column.recipient != "", "x"), else_="")
    is_bad = column.reason == Reason.BAD_NUMBER  # which may be read with the country that was chosen since
    alike = (
        *(column.work, column.status, column.reason, (column.text != "").label("has_text")),
        sa.case((is_bad, column.recipient), else_=has_recipient).label("number"),
    )
    return sa.select(*alike, sa.func.count().label("how_many")).where(*mine).group_by(*alike)


def _kind(row: AnyRow) -> Kind:
    return Kind(
        work=Work(row.work),
        status=MessageStatus(row.status),
        reason=row.reason,
        text="x" if row.has_text else "",
        recipient=row.number,
    )


@dataclass(frozen=True)
class Step:
    """The next rows; `position` is how far was looked, and `is_last` says that nothing is behind it."""

    row_ids: Sequence[int]
    position: Position | None
    is_last: bool


def next_rows(
    selection: Selection, after: Position | None, *, limit: int, newest_first: bool = False
) -> Step:
    """Up to so many that fit; where they have to be looked for, among no more rows than at one counting."""
    near = [*_near(selection), *_behind(after, newest_first=newest_first)]
    wanted = message_log.looked_for(selection.filters)
    with statement() as connection:
        end = _end(connection, near, newest_first=newest_first) if wanted else None
        until = [_within(end, newest_first=newest_first)] if end is not None else []
        query = _places([*near, *until, *wanted], newest_first=newest_first).limit(limit)
        rows = connection.execute(query).all()
    ids = [row.id for row in rows]
    if len(rows) == limit:
        return Step(ids, Position(rows[-1].received_at, rows[-1].id), is_last=False)
    return Step(ids, end, is_last=end is None)


def _near(selection: Selection) -> list[Any]:
    """What an index knows of the selection."""
    near = [
        *message_log.narrowed(selection.portal_id, selection.filters),
        messages.c.id <= selection.up_to,
    ]
    if selection.row_ids:
        near.append(messages.c.id.in_(selection.row_ids))
    return near


def _end(connection: Connection, near: Sequence[Any], *, newest_first: bool = False) -> Position | None:
    """The last row of one counting; None when there are no more than these."""
    query = _places(near, newest_first=newest_first).limit(1).offset(COUNT_AT_ONCE - 1)
    row = connection.execute(query).first()
    return Position(row.received_at, row.id) if row is not None else None


def _places(mine: Sequence[Any], *, newest_first: bool = False) -> sa.Select[Any]:
    order = (messages.c.received_at, messages.c.id)
    return (
        sa.select(messages.c.received_at, messages.c.id)
        .where(*mine)
        .order_by(*((column.desc() for column in order) if newest_first else order))
    )


def _behind(after: Position | None, *, newest_first: bool = False) -> list[Any]:
    if after is None:
        return []
    return [_place() < _literal(after) if newest_first else _place() > _literal(after)]


def _within(end: Position, *, newest_first: bool = False) -> Any:
    return _place() >= _literal(end) if newest_first else _place() <= _literal(end)


def _place() -> Any:
    return sa.tuple_(messages.c.received_at, messages.c.id)


def _literal(position: Position) -> Any:
    return sa.tuple_(sa.literal(position.received_at, messages.c.received_at.type), position.row_id)


# --- filters in a row


def to_json(filters: Filters) -> dict[str, Any]:
    """What narrows; an empty field does not."""
    return {name: _written(value) for name, value in asdict(filters).items() if value not in (None, "", ())}


def from_json(data: Mapping[str, Any]) -> Filters:
    return Filters(**{name: _read(value) for name, value in data.items()})


def _written(value: Any) -> Any:
    return {"at": value.isoformat()} if isinstance(value, datetime) else value


def _read(value: Any) -> Any:
    if isinstance(value, list):
        return tuple(value)
    return datetime.fromisoformat(value["at"]) if isinstance(value, dict) else value
