"""What each user of the pages chose for themselves: it cannot be kept in the browser's frame."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from app.domain.audit import Action
from app.store import audit
from app.store.database import statement, upsert, writing
from app.store.tables import preferences


@dataclass(frozen=True)
class Preferences:
    """`log_columns` are those of the log, by name; None: nothing was chosen."""

    log_columns: tuple[str, ...] | None = None
    numbers_until: datetime | None = None


def of_user(portal_id: int, user_id: str) -> Preferences:
    query = sa.select(preferences.c.log_columns, preferences.c.numbers_until).where(
        preferences.c.portal_id == portal_id, preferences.c.user_id == user_id
    )
    with statement() as connection:
        row = connection.execute(query).first()
    if row is None:
        return Preferences()
    return Preferences(tuple(row.log_columns.split()) or None, row.numbers_until)


def choose_columns(portal_id: int, user_id: str, names: Sequence[str]) -> None:
    _write(portal_id, user_id, log_columns=" ".join(names))


def show_numbers(portal_id: int, user_id: str, until: datetime | None) -> None:
    """Lists show this user numbers in full until then; None: masked from now on."""
    action = Action.NUMBER_SHOWN if until is not None else None
    _write(portal_id, user_id, action=action, numbers_until=until)


def _write(portal_id: int, user_id: str, *, action: Action | None = None, **chosen: Any) -> None:
    with writing() as connection:
        insert = upsert(connection, preferences).values(portal_id=portal_id, user_id=user_id, **chosen)
        keys = ["portal_id", "user_id"]
        connection.execute(insert.on_conflict_do_update(index_elements=keys, set_=chosen))
        if action is not None:
            audit.record(connection, action, portal_id)
