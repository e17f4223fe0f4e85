"""How a portal stands, and when it is looked at next."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from app.domain.audit import Action
from app.domain.portals import Portal, PortalState
from app.store import audit, leases
from app.store.database import UtcDateTime, statement, utcnow, writing
from app.store.portals.rows import still_installed
from app.store.tables import portals


def set_state(portal: Portal, state: PortalState, reason: str = "", *, now: datetime | None = None) -> bool:
    """Move a portal to a state, as of the moment when `portal` was read; True when that changed anything.

    Not when it was uninstalled, or found to work, since then: the call that says so began before.
    """
    is_news = sa.or_(portals.c.state != state, portals.c.state_reason != reason[:500])
    with writing() as connection:
        return bool(
            connection.execute(
                sa.update(portals)
                .where(*_unhealed(portal), is_news)
                .values(**state_values(state, reason, now or utcnow()))
            ).rowcount
        )


def _unhealed(portal: Portal) -> tuple[sa.ColumnElement[bool], ...]:
    return (*still_installed(portal), portals.c.healings == portal.healings)


def state_values(state: PortalState, reason: str, now: datetime) -> dict[str, Any]:
    """The columns of a state; an equal one keeps its moment."""
    this_moment = sa.literal(now, UtcDateTime())
    changed_at = sa.case((portals.c.state == state, portals.c.state_since), else_=this_moment)
    values: dict[str, Any] = {
        "state": state,
        "state_reason": reason[:500],
        "state_since": changed_at,
        "suspect_since": None,
    }
    if state is PortalState.ACTIVE:
        values["healings"] = portals.c.healings + 1
    return values


def pause(portal_id: int, why: str, *, now: datetime) -> bool:
    """Let nothing of this portal go out; `why` is for its administrators. False when that is so already."""
    return _set_pause(portal_id, Action.PORTAL_PAUSED, portals.c.paused_at.is_(None), at=now, why=why)


def end_pause(portal_id: int) -> bool:
    """What was held has to be woken afterwards. False when nothing was paused."""
    is_paused = portals.c.paused_at.is_not(None)
    return _set_pause(portal_id, Action.PORTAL_CONTINUED, is_paused, at=None, why="")


def _set_pause(
    portal_id: int, action: Action, only_if: sa.ColumnElement[bool], *, at: datetime | None, why: str
) -> bool:
    with writing() as connection:
        changed = connection.execute(
            sa.update(portals)
            .where(portals.c.id == portal_id, only_if)
            .values(paused_at=at, paused_why=why[:500])
        ).rowcount
        if changed:
            audit.record(connection, action, portal_id, after={"why": why} if why else {}, at=at)
    return bool(changed)


def suspect(portal: Portal, *, now: datetime) -> datetime:
    """The portal seems to have removed the app: since when it has been saying so."""
    with writing() as connection:
        first: datetime | None = connection.scalar(
            sa.update(portals)
            .where(*_unhealed(portal))
            .values(suspect_since=sa.func.coalesce(portals.c.suspect_since, sa.literal(now, UtcDateTime())))
            .returning(portals.c.suspect_since)
        )
    return first or now


def count_others(portal_id: int) -> int:
    """How many other portals should be able to use the app."""
    alive = [state for state in PortalState if state not in (PortalState.UNINSTALLED, PortalState.GONE)]
    with statement() as connection:
        query = sa.select(sa.func.count()).where(portals.c.id != portal_id, portals.c.state.in_(alive))
        return int(connection.scalar(query) or 0)


def postpone_reconcile(portal: Portal, until: datetime | None) -> None:
    """When to look next; None: never again, until an admin or an event comes."""
    with writing() as connection:
        connection.execute(sa.update(portals).where(*_unhealed(portal)).values(reconcile_at=until))


def look_soon(portal_id: int, *, now: datetime) -> None:
    """Tokens work again: a portal that stood badly for want of them is looked at."""
    with writing() as connection:
        connection.execute(
            sa.update(portals)
            .where(portals.c.id == portal_id, portals.c.state.in_([PortalState.RECONNECT, PortalState.GONE]))
            .values(reconcile_at=now)
        )


def standing(portal_id: int) -> tuple[PortalState, datetime | None]:
    """The portal's state, and since when."""
    with statement() as connection:
        row = connection.execute(
            sa.select(portals.c.state, portals.c.state_since).where(portals.c.id == portal_id)
        ).first()
    return (PortalState(row.state), row.state_since) if row else (PortalState.UNINSTALLED, None)


def due_for_reconcile(now: datetime, *, limit: int) -> list[int]:
    query = (
        sa.select(portals.c.id)
        .where(
            portals.c.reconcile_at <= now,
            portals.c.state != PortalState.UNINSTALLED,
            sa.or_(portals.c.reconcile_lease.is_(None), leases.is_free(portals, "reconcile", now)),
        )
        .order_by(portals.c.reconcile_at)
        .limit(limit)
    )
    with statement() as connection:
        return list(connection.scalars(query))


def claim_look(portal_id: int, *, now: datetime, every: timedelta) -> datetime | None:
    """The right to look because somebody who proved nothing said so, every so often. None: granted; else
    when to ask again."""
    with writing() as connection:
        granted = connection.execute(
            sa.update(portals)
            .where(
                portals.c.id == portal_id,
                sa.or_(
                    portals.c.looked_at.is_(None),
                    portals.c.looked_at <= now - every,
                    portals.c.looked_at > now,  # by a clock that was ahead
                ),
            )
            .values(looked_at=now)
        ).rowcount
        if granted:
            return None
        looked_at: datetime | None = connection.scalar(
            sa.select(portals.c.looked_at).where(portals.c.id == portal_id)
        )
    return (looked_at or now) + every


def note_opened(portal: Portal, *, now: datetime) -> None:
    """One of the portal's users, verified, has the app open: so it is there."""
    with writing() as connection:
        connection.execute(sa.update(portals).where(*still_installed(portal)).values(opened_at=now))
