"""When a portal hears the summary of its week."""

from __future__ import annotations

from datetime import datetime

import sqlalchemy as sa

from app.domain.portals import Portal, PortalSettings
from app.domain.weeks import next_summary_at, zone_of
from app.store.database import UtcDateTime, statement, writing
from app.store.tables import portals


def weekly_due_at(settings: PortalSettings, now: datetime) -> sa.ColumnElement[datetime] | None:
    """One that is due already stays due."""
    if not settings.weekly_summary:
        return None
    due, coming = portals.c.weekly_due_at, next_summary_at(now, zone_of(settings.time_zone))
    return sa.case((due < coming, due), else_=sa.literal(coming, UtcDateTime()))


def with_weekly_due(now: datetime, *, limit: int) -> list[int]:
    """Portals whose weekly summary is to be told."""
    query = sa.select(portals.c.id).where(portals.c.weekly_due_at <= now).limit(limit)
    with statement() as connection:
        return list(connection.scalars(query))


def claim_weekly(portal: Portal, *, now: datetime) -> bool:
    """The right to tell this portal's summary. Asking and taking are one write, which also plans the next
    one: so it is told once, and not at all rather than twice if whoever took it dies."""
    coming = next_summary_at(now, zone_of(portal.settings.time_zone))
    with writing() as connection:
        return bool(
            connection.execute(
                sa.update(portals)
                .where(portals.c.id == portal.id, portals.c.weekly_due_at <= now)
                .values(weekly_due_at=coming)
            ).rowcount
        )


def put_weekly_off(portal_id: int, until: datetime) -> None:
    """Nobody was told, for sure: it is tried again then. Not where the summary was switched off meanwhile."""
    with writing() as connection:
        connection.execute(
            sa.update(portals)
            .where(portals.c.id == portal_id, portals.c.weekly_due_at > until)
            .values(weekly_due_at=until)
        )
