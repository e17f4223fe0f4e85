"""What every file on messages needs of their rows: read them, lock them, write what `life` says of them."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, fields
from datetime import datetime
from operator import attrgetter
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from app.domain.audit import Action
from app.domain.life import COLUMNS, AttemptEnd, Change, State
from app.domain.messages import Message, Work
from app.domain.numbers import mask
from app.domain.status import MessageStatus
from app.store import audit
from app.store.database import AnyRow, writing
from app.store.database.many import insert_many, update_many
from app.store.messages import story
from app.store.tables import attempts, message_events, messages

FIELDS = [f.name for f in fields(Message)]


def message_columns() -> list[sa.Column[Any]]:
    return [messages.c[name] for name in FIELDS]


_message_fields, _state_fields = attrgetter(*FIELDS), attrgetter(*COLUMNS)


def message_of(row: AnyRow) -> Message:
    values = dict(zip(FIELDS, _message_fields(row), strict=True))
    values["status"] = MessageStatus(values["status"])
    values["work"] = Work(values["work"])
    values["told"] = MessageStatus(values["told"]) if values["told"] else None
    values["bindings"] = tuple(values["bindings"])
    return Message(**values)


def state_of(row: AnyRow) -> State:
    return State.of(dict(zip(COLUMNS, _state_fields(row), strict=True)))


# A message without its content. The hash goes too: a text of four digits can be found by trying. The author's
# number stays: by it employees see their own messages, and a row that was counted as a person's remains one.
NO_CONTENT: Mapping[str, Any] = {
    "text": "",
    "bindings": [],
    "extra": {},
    "body_hash": "",
    "author_token": "",
    "author_token_until": None,
}


def state_columns() -> list[sa.Column[Any]]:
    """A message without its contents."""
    return [messages.c[name] for name in ("id", "portal_id", "account_id", "message_id", *COLUMNS)]


def locked(connection: Connection, row_id: int) -> AnyRow | None:
    """The whole row, locked until the commit: what is read here is still true when we write."""
    return connection.execute(sa.select(messages).where(messages.c.id == row_id).with_for_update()).first()


def locked_where(
    connection: Connection, *conditions: sa.ColumnElement[bool], limit: int | None = None
) -> Sequence[AnyRow]:
    """Many rows, without their contents, locked in the order of their ids: writers that meet wait for each
    other, and never in a circle."""
    query = (
        sa.select(*state_columns()).where(*conditions).order_by(messages.c.id).limit(limit).with_for_update()
    )
    return connection.execute(query).all()


_BY_ID = (
    sa.select(*state_columns())
    .where(messages.c.id.in_(sa.bindparam("ids", expanding=True)))
    .order_by(messages.c.id)
    .with_for_update()
)


def locked_rows(connection: Connection, ids: Collection[int]) -> Sequence[AnyRow]:
    """The same for rows that are known by their ids."""
    return connection.execute(_BY_ID, {"ids": sorted(ids)}).all()


def lock_in_order(connection: Connection, *conditions: sa.ColumnElement[bool]) -> None:
    """Before one statement that writes many rows: by itself it would lock them in an order of its own."""
    query = sa.select(messages.c.id).where(*conditions).order_by(messages.c.id)
    connection.execute(query.with_for_update()).all()


def write(connection: Connection, row: AnyRow, change: Change, now: datetime, **more: Any) -> None:
    """Write one locked row's change, with columns that are not part of its life."""
    write_all(connection, [(row, change)], now, {row.id: more})


def write_all(
    connection: Connection,
    changes: Sequence[tuple[AnyRow, Change]],
    now: datetime,
    more: Mapping[int, Mapping[str, Any]] | None = None,
) -> None:
    """Write the changes of locked rows: one statement for the rows, one for their timelines.

    `more` are columns that are not part of a message's life, by row: the same ones for all that have any.
    """
    alike: dict[tuple[str, ...], list[dict[str, Any]]] = {}
    for row, change in changes:
        values = {**change.state.changed_from(state_of(row)), **(more or {}).get(row.id, {})}
        if "due_at" in values:
            values["hinted_at"] = None
        if values:
            alike.setdefault(tuple(sorted(values)), []).append({"id": row.id, **values})
    for rows in alike.values():
        update_many(connection, messages, rows)
    steps = [(row.id, now, event, detail) for row, change in changes for event, detail in change.steps]
    add_events(connection, steps)
    story.tell_after_commit(connection, changes)


def apply_event(
    row_id: int,
    event: Callable[[State], Change | None],
    now: datetime,
    *,
    seen: Message | None = None,
    action: Action | None = None,
    **more: Any,
) -> bool:
    """Lock, ask `life`, write. With `seen`, only while portal, attempt, work and status are as they were.
    An `action` is somebody's, and goes into the audit log."""
    with writing() as connection:
        row = locked(connection, row_id)
        if row is None or (seen is not None and _version(row) != _version(seen)):
            return False
        change = event(state_of(row))
        if change is None:
            return False
        write(connection, row, change, now, **more)
        if action is not None:
            _write_down(connection, action, row, change, now)
    return True


def _write_down(connection: Connection, action: Action, row: Any, change: Change, now: datetime) -> None:
    facts = {"number": row.id, "to_number": mask(row.recipient)}
    audit.record(
        connection,
        action,
        row.portal_id,
        about=row.message_id,
        before={"status": row.status},
        after={**facts, "status": change.state.status, "reason": change.state.reason},
        at=now,
    )


def _version(seen: Any) -> tuple[object, ...]:
    return (seen.portal_id, seen.attempts, seen.work, seen.status, bool(seen.text))


def close_attempts(connection: Connection, ends: Iterable[tuple[int, AttemptEnd]], now: datetime) -> None:
    """Write how submissions ended. Their messages are locked."""
    rows = [
        {
            "id": attempt_id,
            "outcome": end.outcome,
            "code": end.code[:60],
            "text": end.text[:2000],
            "cost": end.cost[:40],
            "http_status": end.exchanges[-1].http_status if end.exchanges else None,
            "took_ms": end.exchanges[-1].took_ms if end.exchanges else None,
            "exchanges": "".join(f"{json.dumps(asdict(each))}\n" for each in end.exchanges),
            "finished_at": now,
        }
        for attempt_id, end in ends
    ]
    update_many(connection, attempts, rows)


def forget_exchanges(connection: Connection, row_ids: Sequence[int]) -> None:
    """With a message's text go the calls that carried it."""
    mine = sa.and_(attempts.c.message_row_id.in_(row_ids), attempts.c.exchanges != "")
    connection.execute(sa.update(attempts).where(mine).values(exchanges=""))


def add_event(connection: Connection, row_id: int, at: datetime, event: str, detail: str = "") -> None:
    add_events(connection, [(row_id, at, event, detail)])


def add_events(connection: Connection, steps: Iterable[tuple[int, datetime, str, str]]) -> None:
    rows = [
        {"message_row_id": row_id, "at": at, "event": event, "detail": detail[:2000]}
        for row_id, at, event, detail in steps
    ]
    insert_many(connection, message_events, rows)
