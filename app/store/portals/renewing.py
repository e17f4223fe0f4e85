"""New secrets for the addresses that we gave away. The old ones live on, so that no call under way is lost.

The HANDLER's old address stays good until the portal has the new one, and a day more. A report's old address
stays good for a day.
"""

from __future__ import annotations

from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from app.domain.audit import Action
from app.domain.portals import Portal, PortalState
from app.store import audit
from app.store.database import writing
from app.store.database.secrets import new_secret, secret_box
from app.store.portals import reconciling
from app.store.portals.old_addresses import Kind
from app.store.tables import gateway_accounts, old_secrets, portals, senders


class NothingToRenew(Exception):
    """The app is not installed there, or the account is gone."""


def renew_handler(portal: Portal, *, now: datetime) -> None:
    """A new secret for the HANDLER; the senders have to be told, which is due at once.

    Raises:
        NothingToRenew: the app is not installed there any more, or anew.
    """
    mine = sa.and_(portals.c.id == portal.id, portals.c.generation == portal.generation)
    with writing() as connection:
        row = connection.execute(
            sa.select(portals.c.handler_secret, portals.c.handler_hash, portals.c.state)
            .where(mine)
            .with_for_update()
        ).first()
        if row is None or not row.handler_secret or row.state == PortalState.UNINSTALLED:
            raise NothingToRenew
        old = {"sealed": row.handler_secret, "hashed": row.handler_hash}
        _keep(connection, portal.id, "handler", **old, now=now)
        box, secret = secret_box(), new_secret()
        connection.execute(
            sa.update(portals)
            .where(mine)
            .values(handler_secret=box.seal(portal.member_id, secret), handler_hash=box.hashes(secret)[0])
        )
        reconciling.want(connection, portal.id, now=now)
        connection.execute(sa.update(senders).where(senders.c.portal_id == portal.id).values(told_hash=""))
        audit.record(connection, Action.ADDRESS_RENEWED, portal.id, about="handler", at=now)


def renew_report(portal: Portal, account_id: int, *, now: datetime) -> None:
    """A new secret for the address at which an account's gateway reports.

    Raises:
        NothingToRenew: the account is gone.
    """
    mine = sa.and_(gateway_accounts.c.id == account_id, gateway_accounts.c.portal_id == portal.id)
    with writing() as connection:
        row = connection.execute(
            sa.select(
                gateway_accounts.c.report_secret, gateway_accounts.c.report_hash, gateway_accounts.c.slug
            )
            .where(mine)
            .with_for_update()
        ).first()
        if row is None:
            raise NothingToRenew
        old = {"sealed": row.report_secret, "hashed": row.report_hash}
        until = now + reconciling.OLD_ADDRESS_GOOD_FOR
        _keep(connection, portal.id, "report", **old, now=now, account_id=account_id, until=until)
        box, secret = secret_box(), new_secret()
        connection.execute(
            sa.update(gateway_accounts)
            .where(mine)
            .values(report_secret=box.seal(portal.member_id, secret), report_hash=box.hashes(secret)[0])
        )
        audit.record(connection, Action.ADDRESS_RENEWED, portal.id, about=row.slug, at=now)


def _keep(
    connection: Connection,
    portal_id: int,
    kind: Kind,
    *,
    sealed: str,
    hashed: str,
    now: datetime,
    account_id: int | None = None,
    until: datetime | None = None,
) -> None:
    is_over = sa.and_(old_secrets.c.portal_id == portal_id, old_secrets.c.until <= now)
    connection.execute(sa.delete(old_secrets).where(is_over))
    connection.execute(
        sa.insert(old_secrets).values(
            portal_id=portal_id, account_id=account_id, kind=kind, secret=sealed, hash=hashed, until=until
        )
    )
