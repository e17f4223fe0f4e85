"""How an installation ends. Each step is one write under the portal's lock and names the installation that it
ends: whoever looked at one and acts later does nothing to the next."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from app.domain.audit import Action
from app.domain.portals import Portal, PortalState
from app.domain.retry import Timing
from app.store import audit
from app.store.database import AnyRow, overwrite_deleted, statement, writing
from app.store.messages import messages
from app.store.portals import tokens
from app.store.tables import messages as message_rows
from app.store.tables import old_secrets, portals, senders
from app.store.upkeep import erasure
from app.store.upkeep.erasure import Remains

KEPT_FOR_RETURN = timedelta(days=30)


@dataclass(frozen=True)
class Look:
    """What was seen before an installation is ended: the tokens that were found dead, with their versions,
    and, where they proved nothing, since when nobody was seen."""

    dead: Mapping[int, int]
    silent_since: datetime | None = None


def uninstall(
    portal: Portal,
    *,
    clean: bool,
    now: datetime,
    timing: Timing,
    look: Look | None = None,
    expected: PortalState | None = None,
) -> bool:
    """End this installation: its tokens go at once, what was not sent is over; with `clean` everything else
    goes too.

    False when things are not any more as they were at the `look` or not in the `expected` state, or another
    installation came. Begun once, it is finished by the same call again.
    """
    with writing() as connection:
        row = _locked(connection, portal)
        if row is None:
            return False
        if row.state != PortalState.UNINSTALLED:
            if expected is not None and row.state != expected:
                return False
            if look is not None and not _still_so(connection, portal.id, look):
                return False
            _mark_uninstalled(connection, portal.id, clean=clean, now=now)
        else:
            clean = row.erased_at is not None
        remains = erasure.blank(connection, portal, now=now) if clean else erasure.remains(connection, portal)
        if row.state != PortalState.UNINSTALLED:
            _write_down(connection, portal, clean=clean, now=now)
    messages.end_unsent(portal.id, up_to=remains.up_to["messages"], now=now, timing=timing)
    if clean:
        _remove(portal, remains)
    return True


def _still_so(connection: Connection, portal_id: int, look: Look) -> bool:
    if tokens.versions(connection, portal_id) != look.dead:
        return False  # somebody who has the app left theirs
    seen_at = _seen_at(connection, portal_id)
    return look.silent_since is None or seen_at is None or seen_at <= look.silent_since


def seen_at(portal_id: int) -> datetime | None:
    """When the portal last handed over a message, or a user of it, verified, had the app open."""
    with statement() as connection:
        return _seen_at(connection, portal_id)


def _seen_at(connection: Connection, portal_id: int) -> datetime | None:
    opened = sa.select(portals.c.opened_at).where(portals.c.id == portal_id)
    handed_over = (
        sa.select(message_rows.c.received_at)
        .where(message_rows.c.portal_id == portal_id, message_rows.c.origin == "portal")
        .order_by(message_rows.c.received_at.desc())
        .limit(1)
    )
    seen = (connection.scalar(opened), connection.scalar(handed_over))
    return max((at for at in seen if at is not None), default=None)


def _locked(connection: Connection, portal: Portal) -> AnyRow | None:
    """The row of this very installation, until the commit; None when another one came after it."""
    return connection.execute(
        sa.select(portals.c.state, portals.c.state_since, portals.c.erased_at)
        .where(portals.c.id == portal.id, portals.c.generation == portal.generation)
        .with_for_update(key_share=True)
    ).first()


def _mark_uninstalled(connection: Connection, portal_id: int, *, clean: bool, now: datetime) -> None:
    connection.execute(
        sa.update(portals)
        .where(portals.c.id == portal_id)
        .values(
            state=PortalState.UNINSTALLED,
            state_reason="",
            state_since=now,
            finished_at=None,
            reconcile_at=None,
            reconcile_lease=None,
            registration={},
            suspect_since=None,
            erased_at=now if clean else None,
            handler_secret="",
            session_epoch=portals.c.session_epoch + 1,
        )
    )
    tokens.erase(connection, portal_id)
    connection.execute(
        sa.delete(old_secrets).where(old_secrets.c.portal_id == portal_id, old_secrets.c.kind == "handler")
    )
    connection.execute(
        sa.update(senders).where(senders.c.portal_id == portal_id).values(told_hash="", registered_at=None)
    )


def erase_what_was_kept(portal: Portal, *, now: datetime, kept_for: timedelta = KEPT_FOR_RETURN) -> bool:
    """What a removed app's portal kept for its return: after a month nobody returns. False when somebody did,
    or the month is not over."""
    with writing() as connection:
        row = _locked(connection, portal)
        if row is None or row.state != PortalState.UNINSTALLED or row.state_since > now - kept_for:
            return False
        remains = erasure.blank(connection, portal, now=now)
        _write_down(connection, portal, clean=True, now=now)
    _remove(portal, remains)
    return True


def _write_down(connection: Connection, portal: Portal, *, clean: bool, now: datetime) -> None:
    """An erased portal leaves no name behind, and the row that says so is not its own any more."""
    if clean:
        about = audit.fingerprint(portal.member_id)
        audit.record(connection, Action.PORTAL_ERASED, None, about=about, at=now)
    else:
        audit.record(connection, Action.PORTAL_UNINSTALLED, portal.id, at=now)


def _remove(portal: Portal, remains: Remains) -> None:
    """What may be millions of rows goes in small bites, up to what there was: the rows of the next
    installation have higher numbers. At the end go those of calls that were under way."""
    erasure.remove(remains)
    with writing() as connection:
        row = _locked(connection, portal)
        if row is not None and row.state == PortalState.UNINSTALLED:
            connection.execute(sa.delete(message_rows).where(message_rows.c.portal_id == portal.id))
    overwrite_deleted()


def forget(portal: Portal) -> bool:
    """Remove the bare row that recognises late calls too: they find no address any more. False when the app
    was installed again meanwhile."""
    with writing() as connection:
        row = _locked(connection, portal)
        if row is None or row.state != PortalState.UNINSTALLED:
            return False
        erasure.forget_portal(connection, portal)
    overwrite_deleted()
    return True


def removed_before(moment: datetime) -> list[int]:
    """Portals that removed the app so long ago that what was kept for their return is erased."""
    query = sa.select(portals.c.id).where(
        portals.c.state == PortalState.UNINSTALLED,
        portals.c.state_since < moment,
        portals.c.erased_at.is_(None),
    )
    with statement() as connection:
        return list(connection.scalars(query))
