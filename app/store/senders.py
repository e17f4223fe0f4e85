"""The senders that a portal should have, and what it was last told about each."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa

from app.domain.senders import Text, check_sender
from app.store.database import insert_or_ignore, statement, writing
from app.store.tables import senders

FIRST_CODE = "sms"
LIMIT = 50


class SenderRefused(Exception):
    """The list of senders cannot be changed that way; the text says why."""


@dataclass(frozen=True)
class Sender:
    """One entry in the portal's list of SMS providers. Its CODE never changes: robots refer to it.

    An empty `name` or `description` stands for the product's own. Texts are plain or by language.
    """

    id: int
    code: str
    name: Text
    description: Text
    originator: str
    told_hash: str
    registered_at: datetime | None
    checked_at: datetime | None
    error: str
    is_removed: bool


def of_portal(portal_id: int) -> list[Sender]:
    """All of them, the removed ones too: their CODEs are never given to another."""
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


def ensure_first(portal_id: int) -> None:
    """Every portal has the sender `sms`, from its installation on."""
    with writing() as connection:
        connection.execute(
            insert_or_ignore(connection, senders, "portal_id", "code").values(
                portal_id=portal_id, code=FIRST_CODE, name={}, description={}
            )
        )


def add(portal_id: int, *, originator: str, name: Text, description: Text) -> str:
    """One more sender, `sms_2` and so on; returns its CODE. The next reconcile tells the portal.

    Raises:
        SenderInvalid: a field that cannot be so.
        SenderRefused: there are too many.
    """
    check_sender(originator=originator, name=name, description=description)
    with writing() as connection:
        codes = connection.scalars(sa.select(senders.c.code).where(senders.c.portal_id == portal_id)).all()
        if len(codes) >= LIMIT:
            raise SenderRefused(f"a portal has at most {LIMIT} senders, removed ones counted")
        highest = max((_number(code) for code in codes), default=1)
        code = f"{FIRST_CODE}_{highest + 1}"
        connection.execute(
            sa.insert(senders).values(
                portal_id=portal_id,
                code=code,
                originator=originator,
                name=_stored(name),
                description=_stored(description),
            )
        )
    return code


def _number(code: str) -> int:
    number = code.rpartition("_")[2]
    return int(number) if number.isdigit() else 1


def _stored(text: Text) -> str | dict[str, str]:
    return text if isinstance(text, str) else dict(text)


def change(
    portal_id: int,
    code: str,
    *,
    originator: str | None = None,
    name: Text | None = None,
    description: Text | None = None,
) -> bool:
    """Change a sender's texts or originator; its CODE stays. False when there is no such sender.

    Raises:
        SenderInvalid: a field that cannot be so.
    """
    check_sender(originator=originator or "", name=name or "", description=description or "")
    values: dict[str, object] = {}
    if originator is not None:
        values["originator"] = originator
    if name is not None:
        values["name"] = _stored(name)
    if description is not None:
        values["description"] = _stored(description)
    return _update(portal_id, code, **values) if values else False


def remove(portal_id: int, code: str, *, now: datetime) -> bool:
    """Take a sender out of the portal at the next reconcile. False when there is no such sender.

    Raises:
        SenderRefused: it is the first one.
    """
    if code == FIRST_CODE:
        raise SenderRefused("the first sender belongs to the installation and stays")
    return _update(portal_id, code, removed_at=now, told_hash="", registered_at=None)


def _update(portal_id: int, code: str, **values: object) -> bool:
    with writing() as connection:
        return bool(
            connection.execute(
                sa.update(senders)
                .where(
                    senders.c.portal_id == portal_id, senders.c.code == code, senders.c.removed_at.is_(None)
                )
                .values(**values)
            ).rowcount
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
            .where(senders.c.portal_id == portal_id, senders.c.removed_at.is_(None))
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
