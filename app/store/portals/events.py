"""Events of a portal's life, stored before they are acted upon. One worker at a time acts on an event."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from app.store.database import statement, writing
from app.store.database.secrets import SecretUnreadable, secret_box
from app.store.tables import portal_events, portals

REMOVAL = "ONAPPUNINSTALL"
UNREADABLE_TRIES = 12


@dataclass(frozen=True)
class StoredEvent:
    """An event while a worker acts on it. `generation` is the portal's installation when it came in."""

    id: int
    member_id: str
    event: str
    payload: Mapping[str, Any]
    is_verified: bool
    generation: int
    received_at: datetime
    tries: int  # before this one
    lease_until: datetime


def store(member_id: str, event: str, payload: Mapping[str, Any], *, is_verified: bool, now: datetime) -> int:
    """Keep an event for its job; committed when this returns."""
    generation = sa.select(portals.c.generation).where(portals.c.member_id == member_id).scalar_subquery()
    with writing() as connection:
        row_id = connection.scalar(
            sa.insert(portal_events)
            .values(
                member_id=member_id,
                event=event,
                payload=secret_box().seal(member_id, json.dumps(payload)),
                is_verified=is_verified,
                generation=sa.func.coalesce(generation, 0),
                received_at=now,
                due_at=now,
            )
            .returning(portal_events.c.id)
        )
    return int(row_id)


def claim(event_id: int, *, now: datetime, lease_s: float) -> StoredEvent | None:
    """The event for this worker alone, for longer than acting on it takes; None when it is done with, not
    due, or another one is at it.

    One whose content is gone, or cannot be opened for an hour, is closed: nobody could act on it.
    """
    until = now + timedelta(seconds=lease_s)
    with writing() as connection:
        row = connection.execute(
            sa.update(portal_events)
            .where(portal_events.c.id == event_id, portal_events.c.due_at <= now)
            .values(due_at=until, tries=portal_events.c.tries + 1)
            .returning(*portal_events.c)
        ).first()
    if row is None:
        return None
    try:
        payload = json.loads(secret_box().open(row.member_id, row.payload) or "{}")
    except SecretUnreadable:
        if row.tries < UNREADABLE_TRIES:
            return None  # the operator may still put the key back
        payload = {}
    event = StoredEvent(
        id=row.id,
        member_id=row.member_id,
        event=row.event,
        payload=payload,
        is_verified=row.is_verified,
        generation=row.generation,
        received_at=row.received_at,
        tries=row.tries - 1,
        lease_until=until,
    )
    if not payload:
        close(event, "given up: its content is gone")
        return None
    return event


def close(event: StoredEvent, result: str) -> None:
    """Done with it, one way or the other: its tokens are forgotten, its name and result stay."""
    with writing() as connection:
        connection.execute(sa.update(portal_events).where(*_mine(event)).values(**_closed(result)))


def postpone(event: StoredEvent, until: datetime) -> None:
    """Give it back for later."""
    with writing() as connection:
        connection.execute(sa.update(portal_events).where(*_mine(event)).values(due_at=until))


def _mine(event: StoredEvent) -> tuple[sa.ColumnElement[bool], ...]:
    """While nobody closed it meanwhile, and no other worker took it over."""
    return (
        portal_events.c.id == event.id,
        portal_events.c.member_id == event.member_id,
        portal_events.c.due_at == event.lease_until,
    )


def _closed(result: str) -> dict[str, Any]:
    return {"due_at": None, "payload": "", "result": result[:500]}


def close_removals(connection: Connection, member_id: str, *, before: datetime) -> None:
    """The app was proved to be installed: every removal that was told before is void, whoever is at it."""
    connection.execute(
        sa.update(portal_events)
        .where(
            portal_events.c.member_id == member_id,
            portal_events.c.event == REMOVAL,
            portal_events.c.due_at.is_not(None),
            portal_events.c.received_at <= before,
        )
        .values(**_closed("ignored: of an earlier installation"))
    )


def close_answered(event: StoredEvent, result: str, *, before: datetime) -> None:
    """One look answers all open events of its kind that were told before it."""
    with writing() as connection:
        connection.execute(
            sa.update(portal_events)
            .where(
                portal_events.c.member_id == event.member_id,
                portal_events.c.event == event.event,
                portal_events.c.due_at.is_not(None),
                portal_events.c.received_at <= before,
                portal_events.c.id != event.id,
            )
            .values(**_closed(result))
        )


def count_open(member_id: str) -> int:
    query = sa.select(sa.func.count()).where(
        portal_events.c.member_id == member_id, portal_events.c.due_at.is_not(None)
    )
    with statement() as connection:
        return int(connection.scalar(query) or 0)


def purge(before: datetime) -> int:
    """Forget what was acted upon long ago."""
    with writing() as connection:
        return connection.execute(
            sa.delete(portal_events).where(
                portal_events.c.received_at < before, portal_events.c.due_at.is_(None)
            )
        ).rowcount


def latest(member_id: str, *, limit: int) -> list[tuple[datetime, str, str]]:
    """When, which event, and what became of it; newest first."""
    query = (
        sa.select(portal_events.c.received_at, portal_events.c.event, portal_events.c.result)
        .where(portal_events.c.member_id == member_id)
        .order_by(portal_events.c.id.desc())
        .limit(limit)
    )
    with statement() as connection:
        return [(row.received_at, row.event, row.result) for row in connection.execute(query)]


def due(now: datetime, *, limit: int) -> list[int]:
    with statement() as connection:
        return list(
            connection.scalars(
                sa.select(portal_events.c.id)
                .where(portal_events.c.due_at <= now)
                .order_by(portal_events.c.id)
                .limit(limit)
            )
        )
