"""The senders that a portal should have, and what it was last told about each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from app.domain.audit import Action
from app.domain.senders import InLanguages, Text, changed, check_sender
from app.store import audit
from app.store.database import AnyRow, insert_or_ignore, statement, writing
from app.store.portals.reconciling import want
from app.store.tables import senders

FIRST_CODE = "sms"
LIMIT = 50


class SenderRefused(Exception):
    """The list of senders cannot be changed that way; the text says why."""


@dataclass(frozen=True)
class Sender:
    """One entry in the portal's list of SMS providers. Its CODE never changes: robots refer to it.

    An empty `name` or `description` stands for the product's own. Texts are plain or by language. `told` has
    the languages that the portal ever heard, each with its last name and description.
    """

    id: int
    code: str
    name: Text
    description: Text
    originator: str
    told: Mapping[str, Any]
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
            told=row.told,
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


def add(portal_id: int, *, originator: str, name: Text, description: Text, now: datetime) -> str:
    """One more sender, `sms_2` and so on; returns its CODE. The next reconcile tells the portal.

    What an added one is already, word for word, is not added twice: a click may be a double one.

    Raises:
        SenderInvalid: a field that cannot be so.
        SenderRefused: there are too many.
    """
    check_sender(originator=originator, name=name, description=description)
    wanted = {"originator": originator, "name": _stored(name), "description": _stored(description)}
    with writing() as connection:
        want(connection, portal_id, now=now)  # one at a time
        rows = connection.execute(sa.select(senders).where(senders.c.portal_id == portal_id)).all()
        if (twin := _twin(rows, wanted)) is not None:
            return twin
        if len(rows) >= LIMIT:
            raise SenderRefused(f"a portal has at most {LIMIT} senders, removed ones counted")
        highest = max((_number(row.code) for row in rows), default=1)
        code = f"{FIRST_CODE}_{highest + 1}"
        connection.execute(sa.insert(senders).values(portal_id=portal_id, code=code, **wanted))
        audit.record(connection, Action.SENDER_ADDED, portal_id, about=code, after=wanted, at=now)
    return code


def _twin(rows: Sequence[AnyRow], wanted: Mapping[str, object]) -> str | None:
    for row in rows:
        is_equal = all(row._mapping[name] == value for name, value in wanted.items())
        if is_equal and row.removed_at is None and row.code != FIRST_CODE:
            return str(row.code)
    return None


def _number(code: str) -> int:
    number = code.rpartition("_")[2]
    return int(number) if number.isdecimal() else 1


def _stored(text: Text) -> str | dict[str, str]:
    return text if isinstance(text, str) else {language.lower(): words for language, words in text.items()}


def change(
    portal_id: int,
    code: str,
    *,
    originator: str | None = None,
    name: Text | InLanguages | None = None,
    description: Text | InLanguages | None = None,
    now: datetime,
) -> bool:
    """Change a sender's texts or originator; its CODE stays. False when there is no such sender.

    Raises:
        SenderInvalid: a field that cannot be so.
    """
    with writing() as connection:
        want(connection, portal_id, now=now)
        sender = connection.execute(sa.select(senders).where(*_is(portal_id, code))).first()
        if sender is None:
            return False
        values: dict[str, Any] = {
            "originator": sender.originator if originator is None else originator,
            "name": sender.name if name is None else _stored(changed(sender.name, name)),
            "description": sender.description
            if description is None
            else _stored(changed(sender.description, description)),
        }
        check_sender(**values)
        connection.execute(sa.update(senders).where(senders.c.id == sender.id).values(**values))
        was = {name: sender._mapping[name] for name in values}
        audit.record(
            connection, Action.SENDER_CHANGED, portal_id, about=code, before=was, after=values, at=now
        )
    return True


def _is(portal_id: int, code: str) -> tuple[sa.ColumnElement[bool], ...]:
    return senders.c.portal_id == portal_id, senders.c.code == code, senders.c.removed_at.is_(None)


def remove(portal_id: int, code: str, *, now: datetime) -> bool:
    """Take a sender out of the portal at the next reconcile. False when there is no such sender.

    Raises:
        SenderRefused: it is the first one.
    """
    if code == FIRST_CODE:
        raise SenderRefused("the first sender belongs to the installation and stays")
    with writing() as connection:
        want(connection, portal_id, now=now)
        removed = connection.execute(
            sa.update(senders)
            .where(*_is(portal_id, code))
            .values(removed_at=now, told_hash="", registered_at=None)
        ).rowcount
        if removed:
            audit.record(connection, Action.SENDER_REMOVED, portal_id, about=code, at=now)
    return bool(removed)


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
