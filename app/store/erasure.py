"""Forgetting: a portal's data after its app was removed."""

from __future__ import annotations

import sqlalchemy as sa

from app.store.database import overwrite_deleted, writing
from app.store.tables import (
    credentials,
    gateway_accounts,
    incidents,
    messages,
    portal_events,
    portals,
    rest_calls,
    senders,
)


def erase_portal_data(portal_id: int) -> None:
    """Remove everything of a portal but the bare row that recognises late calls.

    On SQLite nothing of it is left in the files either: deleted content is overwritten, and the log of
    changes is folded in. PostgreSQL overwrites it with its own vacuum, some time later.
    """
    with writing() as connection:
        member_id = connection.scalar(sa.select(portals.c.member_id).where(portals.c.id == portal_id))
        for table in (messages, gateway_accounts, senders, rest_calls, credentials, incidents):
            connection.execute(sa.delete(table).where(table.c.portal_id == portal_id))
        connection.execute(
            sa.update(portal_events).where(portal_events.c.member_id == member_id).values(payload="")
        )
        connection.execute(
            sa.update(portals)
            .where(portals.c.id == portal_id)
            .values(
                application_token_hash="",
                previous_token_hash="",
                handler_secret="",
                state_reason="",
                registration={},
                call_pauses={},
            )
        )
    overwrite_deleted()
