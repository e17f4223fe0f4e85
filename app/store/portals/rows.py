"""What every file on portals needs of their rows."""

from __future__ import annotations

import sqlalchemy as sa

from app.domain.portals import Portal, PortalState
from app.store.database import writing
from app.store.tables import portals


def still_installed(portal: Portal) -> tuple[sa.ColumnElement[bool], ...]:
    """The same installation as when it was read, and not removed."""
    return (
        portals.c.id == portal.id,
        portals.c.generation == portal.generation,
        portals.c.state != PortalState.UNINSTALLED,
    )


def update(portal_id: int, **values: object) -> None:
    with writing() as connection:
        connection.execute(sa.update(portals).where(portals.c.id == portal_id).values(**values))
