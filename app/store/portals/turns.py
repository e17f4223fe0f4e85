"""One worker at a time tells a portal its statuses, and one refreshes its token."""

from __future__ import annotations

from datetime import datetime

import sqlalchemy as sa

from app.store import leases
from app.store.database import statement
from app.store.portals.rows import update
from app.store.tables import portals

# --- one push and one refresh at a time ---


def claim_push(portal_id: int, *, now: datetime, lease_s: float) -> str | None:
    """The right to tell this portal its statuses; None while another worker has it or it must rest."""
    paused_until = portals.c.push_paused_until
    may_be_told = sa.or_(paused_until.is_(None), paused_until <= now)
    return leases.take(portals, portal_id, "push", now=now, lease_s=lease_s, only=(may_be_told,))


def keep_push(portal_id: int, lease: str, *, until: datetime) -> bool:
    """Hold on to that right; False when it was lost meanwhile."""
    return leases.keep(portals, portal_id, "push", lease, until=until)


def release_push(portal_id: int, lease: str) -> None:
    leases.release(portals, portal_id, "push", lease)


def pause_pushes(portal_id: int, until: datetime) -> None:
    update(portal_id, push_paused_until=until)


def claim_refresh(portal_id: int, *, now: datetime, lease_s: float) -> str | None:
    """The right to refresh this portal's token; None while another process is at it."""
    return leases.take(portals, portal_id, "refresh", now=now, lease_s=lease_s)


def release_refresh(portal_id: int, lease: str, *, free_at: datetime | None = None) -> None:
    """Give the right back; nobody gets it before `free_at`."""
    leases.release(portals, portal_id, "refresh", lease, free_at=free_at)


def is_refreshing(portal_id: int, now: datetime) -> bool:
    """A look without a lock, for those who wait: asking for the right itself is a write."""
    with statement() as connection:
        until = connection.scalar(sa.select(portals.c.refresh_lease_until).where(portals.c.id == portal_id))
    return until is not None and now < until <= now + leases.AT_MOST


def note_pushed(portal_id: int, now: datetime) -> None:
    update(portal_id, last_pushed_at=now)
