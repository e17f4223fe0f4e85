"""Messages whose call did not fit their portal: held until somebody has proved it."""

from __future__ import annotations

from datetime import datetime

import sqlalchemy as sa

from app.domain import life
from app.domain.messages import Message, Work
from app.store.database import statement, writing
from app.store.database.secrets import secret_box
from app.store.messages.rows import (
    apply_event,
    message_columns,
    message_of,
)
from app.store.tables import messages, portals


def release(row_id: int, *, now: datetime) -> bool:
    """The call was the portal's after all: the message goes out."""
    return apply_event(row_id, lambda state: life.verified(state, now), now, held_token="")


def call_of(row_id: int) -> tuple[Message, str, str] | None:
    """A held message, and the application_token and access token of its call; None when held no more."""
    query = (
        sa.select(*message_columns(), messages.c.author_token, messages.c.held_token, portals.c.member_id)
        .join(portals, portals.c.id == messages.c.portal_id)
        .where(messages.c.id == row_id, messages.c.work == Work.HELD)
    )
    with statement() as connection:
        row = connection.execute(query).first()
    if row is None:
        return None
    box = secret_box()
    return message_of(row), box.open(row.member_id, row.held_token), box.open(row.member_id, row.author_token)


def postpone(row_id: int, *, until: datetime) -> None:
    with writing() as connection:
        connection.execute(
            sa.update(messages)
            .where(messages.c.id == row_id, messages.c.work == Work.HELD)
            .values(due_at=until, hinted_at=None)
        )
