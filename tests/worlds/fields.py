"""Columns of a message set as no event of its life would: where a test begins in the middle."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from app.store.database import writing
from app.store.tables import messages


def set_message(row_id: int, **values: Any) -> None:
    with writing() as connection:
        connection.execute(sa.update(messages).where(messages.c.id == row_id).values(**values))
