"""What every file on accounts needs of their rows."""

from __future__ import annotations

import sqlalchemy as sa

from app.domain.portals import PortalState
from app.store.database import AnyRow, statement, writing
from app.store.tables import gateway_accounts, portals

OF_PORTAL_THAT_IS_THERE = gateway_accounts.c.portal_id.in_(
    sa.select(portals.c.id).where(portals.c.state != PortalState.UNINSTALLED)
)


def locked(connection: sa.Connection, account_id: int) -> AnyRow | None:
    return connection.execute(
        sa.select(gateway_accounts).where(gateway_accounts.c.id == account_id).with_for_update()
    ).first()


def set_values(connection: sa.Connection, account_id: int, **values: object) -> None:
    connection.execute(
        sa.update(gateway_accounts).where(gateway_accounts.c.id == account_id).values(**values)
    )


def ids(*conditions: sa.ColumnElement[bool], limit: int) -> list[int]:
    with statement() as connection:
        return list(connection.scalars(sa.select(gateway_accounts.c.id).where(*conditions).limit(limit)))


def update(account_id: int, **values: object) -> None:
    with writing() as connection:
        set_values(connection, account_id, **values)
