"""The turn to bring one portal in step: one at a time, and none that outlives its installation.

Who loses the turn, because they were paused or the app was removed meanwhile, may have told the portal
something old; `doubt` makes the next one tell it again.
"""

from __future__ import annotations

import secrets as random_source
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from app.domain.portals import PortalState
from app.store.database import AnyRow, UtcDateTime, statement, writing
from app.store.database.secrets import secret_box
from app.store.portals.states import state_values
from app.store.tables import old_secrets, portals, senders

LEASE = timedelta(seconds=60)  # longer than any one call to a portal
OLD_ADDRESS_GOOD_FOR = timedelta(hours=24)


class NothingToRegister(Exception):
    """The app is not installed there, or there is no address that the portal could call."""


@dataclass(frozen=True)
class Turn:
    """`version` is that of the senders when the turn looked; another one means that a person changed them."""

    portal_id: int
    lease: str
    handler_secret: str
    version: int


_INSTALLED = portals.c.state != PortalState.UNINSTALLED
_FACTS = (portals.c.member_id, portals.c.handler_secret, portals.c.senders_version)


def take(portal_id: int, *, now: datetime) -> Turn | None:
    """The turn, or None while somebody else has it.

    Raises:
        NothingToRegister: an empty address must not get into a portal.
    """
    lease = random_source.token_hex(16)
    with writing() as connection:
        row = connection.execute(
            sa.update(portals)
            .where(portals.c.id == portal_id, _INSTALLED, portals.c.handler_secret != "", ~_is_taken(now))
            .values(reconcile_lease=lease, reconcile_lease_until=now + LEASE)
            .returning(*_FACTS)
        ).first()
        if row is None and not _can_be_registered(connection, portal_id):
            raise NothingToRegister
    return _turn(portal_id, lease, row) if row else None


def _can_be_registered(connection: Connection, portal_id: int) -> bool:
    query = sa.select(portals.c.id).where(
        portals.c.id == portal_id, _INSTALLED, portals.c.handler_secret != ""
    )
    return connection.scalar(query) is not None


def _turn(portal_id: int, lease: str, row: AnyRow) -> Turn:
    secret = secret_box().open(row.member_id, row.handler_secret)
    return Turn(portal_id, lease, handler_secret=secret, version=row.senders_version)


def _is_taken(now: datetime) -> sa.ColumnElement[bool]:
    """A turn that ends too far ahead is of a clock that was wrong, and none."""
    until = portals.c.reconcile_lease_until
    return sa.and_(
        portals.c.reconcile_lease.is_not(None), until.is_not(None), until > now, until <= now + 2 * LEASE
    )


def is_taken(portal_id: int, now: datetime) -> bool:
    """A look without a lock, for those who wait."""
    query = sa.select(portals.c.id).where(portals.c.id == portal_id, _is_taken(now))
    with statement() as connection:
        return connection.scalar(query) is not None


def keep(turn: Turn, *, now: datetime) -> Turn | None:
    """The turn for another while and as of now; None when it is over."""
    with writing() as connection:
        row = connection.execute(
            sa.update(portals)
            .where(*_mine(turn))
            .values(reconcile_lease_until=now + LEASE)
            .returning(*_FACTS)
        ).first()
    return _turn(turn.portal_id, turn.lease, row) if row else None


def _mine(turn: Turn) -> tuple[sa.ColumnElement[bool], ...]:
    return (
        portals.c.id == turn.portal_id,
        portals.c.reconcile_lease == turn.lease,
        portals.c.handler_secret != "",
        _INSTALLED,
    )


def begin(turn: Turn, sender_id: int, told: Mapping[str, Any], *, now: datetime) -> bool:
    """Write down what is about to be told, before it is: whatever becomes of the call, no language is
    forgotten and nothing counts as told. False when it must not be told any more.
    """
    return _set(turn, sender_id, now=now, told=dict(told), told_hash="")


def record(turn: Turn, sender_id: int, told_hash: str, *, now: datetime) -> bool:
    """The portal has it; False when it may have something older than what it should."""
    registered_at = sa.func.coalesce(senders.c.registered_at, sa.literal(now, UtcDateTime()))
    return _set(turn, sender_id, now=now, told_hash=told_hash, registered_at=registered_at, error="")


def _set(turn: Turn, sender_id: int, *, now: datetime, **values: Any) -> bool:
    with writing() as connection:
        if not _locked(connection, turn):
            return False
        return bool(
            connection.execute(
                sa.update(senders)
                .where(senders.c.id == sender_id, senders.c.removed_at.is_(None))
                .values(checked_at=now, **values)
            ).rowcount
        )


def _locked(connection: Connection, turn: Turn) -> bool:
    """Whether turn and texts are still those of the look. The portal's row comes before its senders'."""
    query = sa.select(portals.c.id).where(*_mine(turn), portals.c.senders_version == turn.version)
    return connection.scalar(query.with_for_update()) is not None


def finish(turn: Turn, *, registration: Mapping[str, Any], reconcile_at: datetime, now: datetime) -> bool:
    """The portal is in step, our side of the installation complete. Where somebody changed a sender
    meanwhile, the next look is now."""
    with writing() as connection:
        is_mine = connection.execute(
            sa.update(portals)
            .where(*_mine(turn))
            .values(
                finished_at=sa.func.coalesce(portals.c.finished_at, sa.literal(now, UtcDateTime())),
                registration=dict(registration),
                reconcile_at=_unless_changed(turn, reconcile_at, now),
                reconcile_lease=None,
                push_paused_until=None,
                **state_values(PortalState.ACTIVE, "", now),
            )
        ).rowcount
        if is_mine:
            _end_old_addresses(connection, turn.portal_id, now=now)
    return bool(is_mine)


def _end_old_addresses(connection: Connection, portal_id: int, *, now: datetime) -> None:
    """From when every sender has the new address, the one before has another day."""
    untold = sa.select(senders.c.id).where(
        senders.c.portal_id == portal_id, senders.c.removed_at.is_(None), senders.c.told_hash == ""
    )
    connection.execute(
        sa.update(old_secrets)
        .where(
            old_secrets.c.portal_id == portal_id,
            old_secrets.c.kind == "handler",
            old_secrets.c.until.is_(None),
            ~untold.exists(),
        )
        .values(until=now + OLD_ADDRESS_GOOD_FOR)
    )


def fail(turn: Turn, error: str, *, again_at: datetime, now: datetime) -> bool:
    """Keep with the senders why it went wrong. False when the turn was over before."""
    with writing() as connection:
        is_mine = connection.execute(
            sa.update(portals)
            .where(*_mine(turn))
            .values(reconcile_at=_unless_changed(turn, again_at, now), reconcile_lease=None)
        ).rowcount
        if is_mine:
            connection.execute(
                sa.update(senders)
                .where(senders.c.portal_id == turn.portal_id, senders.c.removed_at.is_(None))
                .values(error=error[:500], checked_at=now)
            )
    return bool(is_mine)


def _unless_changed(turn: Turn, later: datetime, now: datetime) -> sa.ColumnElement[Any]:
    is_same = portals.c.senders_version == turn.version
    return sa.case((is_same, sa.literal(later, UtcDateTime())), else_=sa.literal(now, UtcDateTime()))


def release(turn: Turn) -> None:
    """Give the turn back without a word, whatever became of it."""
    with writing() as connection:
        connection.execute(
            sa.update(portals)
            .where(portals.c.id == turn.portal_id, portals.c.reconcile_lease == turn.lease)
            .values(reconcile_lease=None)
        )


def doubt(portal_id: int, *, now: datetime) -> None:
    """The portal may have got something old from one whose turn was over: tell it everything again."""
    with writing() as connection:
        want(connection, portal_id, now=now)
        connection.execute(sa.update(senders).where(senders.c.portal_id == portal_id).values(told_hash=""))


def want(connection: Connection, portal_id: int, *, now: datetime) -> None:
    """A person changed what the portal should hear: a job looks soon, even if nobody else does."""
    soon = sa.case((portals.c.state == PortalState.UNINSTALLED, None), else_=sa.literal(now, UtcDateTime()))
    note_change(connection, portal_id, reconcile_at=soon)


def note_change(connection: Connection, portal_id: int, **more: Any) -> None:
    """Who has the turn looks again. Locks the portal's row; its senders' rows come after it."""
    connection.execute(
        sa.update(portals)
        .where(portals.c.id == portal_id)
        .values(senders_version=portals.c.senders_version + 1, **more)
    )
