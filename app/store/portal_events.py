"""Events of a portal's life, stored before they are acted upon."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from app.store.database import statement, writing
from app.store.secrets import secret_box
from app.store.tables import portal_events


@dataclass(frozen=True)
class StoredEvent:
    id: int
    member_id: str
    event: str
    payload: Mapping[str, Any]
    is_verified: bool
    received_at: datetime
    tries: int


def store(member_id: str, event: str, payload: Mapping[str, Any], *, is_verified: bool, now: datetime) -> int:
    """Keep an event for its job; committed when this returns."""
    with writing() as connection:
        row_id = connection.scalar(
            sa.insert(portal_events)
            .values(
                member_id=member_id,
                event=event,
                payload=secret_box().seal(member_id, json.dumps(payload)),
                is_verified=is_verified,
                received_at=now,
                due_at=now,
            )
            .returning(portal_events.c.id)
        )
    return int(row_id)


def open_event(event_id: int) -> StoredEvent | None:
    """The event while it waits for its job, else None."""
    with statement() as connection:
        row = connection.execute(
            sa.select(portal_events).where(
                portal_events.c.id == event_id, portal_events.c.due_at.is_not(None)
            )
        ).first()
    if row is None:
        return None
    payload = json.loads(secret_box().open(row.member_id, row.payload))
    return StoredEvent(row.id, row.member_id, row.event, payload, row.is_verified, row.received_at, row.tries)


def close(event_id: int, result: str) -> None:
    """Done with it, one way or the other: its tokens are forgotten, its name and result stay."""
    with writing() as connection:
        connection.execute(
            sa.update(portal_events)
            .where(portal_events.c.id == event_id)
            .values(due_at=None, payload="", result=result[:500])
        )


def postpone(event_id: int, until: datetime) -> None:
    with writing() as connection:
        connection.execute(
            sa.update(portal_events)
            .where(portal_events.c.id == event_id)
            .values(due_at=until, tries=portal_events.c.tries + 1)
        )


def acted_lately(member_id: str, event: str, *, since: datetime) -> bool:
    """Whether such an event was acted upon since then."""
    query = sa.select(portal_events.c.id).where(
        portal_events.c.member_id == member_id,
        portal_events.c.event == event,
        portal_events.c.received_at >= since,
        portal_events.c.due_at.is_(None),
    )
    with statement() as connection:
        return connection.scalar(query.limit(1)) is not None


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
