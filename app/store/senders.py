"""The senders that a portal should have, and what it was last told about each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa

from app.store.database import insert_or_ignore, statement, writing
from app.store.tables import senders

FIRST_CODE = "sms"


@dataclass(frozen=True)
class Sender:
    """One entry in the portal's list of SMS providers. Its CODE never changes: robots refer to it."""

    id: int
    code: str
    name: Mapping[str, str]
    description: Mapping[str, str]
    originator: str
    told_hash: str
    registered_at: datetime | None
    checked_at: datetime | None
    error: str
    is_removed: bool


def of_portal(portal_id: int) -> list[Sender]:
    query = sa.select(senders).where(senders.c.portal_id == portal_id).order_by(senders.c.id)
    with statement() as connection:
        rows = connection.execute(query).all()
    return [
        Sender(
            id=row.id,
            code=row.code,
            name=row.name,
            description=row.description,
            originator=row.originator,
            told_hash=row.told_hash,
            registered_at=row.registered_at,
            checked_at=row.checked_at,
            error=row.error,
            is_removed=row.removed_at is not None,
        )
        for row in rows
    ]


def ensure_first(portal_id: int, *, name: Mapping[str, str], description: Mapping[str, str]) -> None:
    """Every portal has the sender `sms`, from its installation on."""
    with writing() as connection:
        connection.execute(
            insert_or_ignore(connection, senders, "portal_id", "code").values(
                portal_id=portal_id, code=FIRST_CODE, name=dict(name), description=dict(description)
            )
        )


def record_told(sender_id: int, *, told_hash: str, now: datetime) -> None:
    with writing() as connection:
        connection.execute(
            sa.update(senders)
            .where(senders.c.id == sender_id)
            .values(
                told_hash=told_hash,
                registered_at=sa.func.coalesce(
                    senders.c.registered_at, sa.literal(now, senders.c.registered_at.type)
                ),
                checked_at=now,
                error="",
            )
        )


def record_error(portal_id: int, error: str, *, now: datetime) -> None:
    with writing() as connection:
        connection.execute(
            sa.update(senders)
            .where(senders.c.portal_id == portal_id)
            .values(error=error[:500], checked_at=now)
        )


def forget_registration(portal_id: int) -> None:
    """The portal has dropped our senders (update, uninstall): the next reconcile adds them again."""
    with writing() as connection:
        connection.execute(
            sa.update(senders)
            .where(senders.c.portal_id == portal_id)
            .values(told_hash="", registered_at=None)
        )


def originator_for(portal_id: int, code: str) -> str:
    """The originator of this sender, empty for the gateway's own."""
    with statement() as connection:
        return (
            connection.scalar(
                sa.select(senders.c.originator).where(
                    senders.c.portal_id == portal_id, senders.c.code == code
                )
            )
            or ""
        )
