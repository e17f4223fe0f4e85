"""Retention: texts, then whole messages, whose time is over. Small transactions, so that nobody waits."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

import sqlalchemy as sa

from app.domain.messages import Work
from app.domain.portals import Portal
from app.store.database import statement, writing
from app.store.figures import counts
from app.store.messages.rows import NO_CONTENT, forget_exchanges, lock_in_order
from app.store.tables import TEXT_CAN_GO, messages, portals

# SQLite removes so many rows in a few milliseconds, and so long the HANDLER may have to wait.
BATCH = 10


@dataclass(frozen=True)
class Removed:
    """How many messages lost their text, and how many went altogether."""

    texts: int = 0
    rows: int = 0

    def __add__(self, other: Removed) -> Removed:
        return Removed(self.texts + other.texts, self.rows + other.rows)


def purge(portal: Portal, *, now: datetime) -> Iterator[Removed]:
    """Remove what is over by the portal's settings; yields after each commit.

    The days count from the receipt. A message that is not at its end, or that the portal has not been told
    of, stays whole however old it is.
    """
    yield from _remove_rows(portal.id, now - timedelta(days=portal.settings.row_days))
    yield from _remove_texts(portal.id, now - timedelta(days=portal.settings.text_days))


def count_due(portal: Portal, *, now: datetime) -> Removed:
    """What `purge` would remove; a message that goes altogether is not counted with the texts."""
    text_end = now - timedelta(days=portal.settings.text_days)
    row_end = now - timedelta(days=portal.settings.row_days)
    texts = sa.and_(
        messages.c.portal_id == portal.id,
        messages.c.received_at.between(row_end, text_end),
        sa.text(TEXT_CAN_GO),
    )
    rows = sa.and_(messages.c.portal_id == portal.id, messages.c.received_at < row_end, _is_over())
    with statement() as connection:
        return Removed(*(connection.scalar(sa.select(sa.func.count()).where(c)) or 0 for c in (texts, rows)))


def with_texts_at_end() -> list[int]:
    """Portals that keep no text longer than it takes, and have some that can go."""
    mine = sa.select(messages.c.id).where(messages.c.portal_id == portals.c.id, sa.text(TEXT_CAN_GO))
    query = sa.select(portals.c.id).where(
        portals.c.settings["text_days"].as_integer() == 0, mine.correlate(portals).exists()
    )
    with statement() as connection:
        return list(connection.scalars(query))


def _is_over() -> sa.ColumnElement[bool]:
    return sa.and_(messages.c.work == Work.CLOSED, messages.c.push_due_at.is_(None))


def _remove_texts(portal_id: int, before: datetime) -> Iterator[Removed]:
    due = (
        sa.select(messages.c.id)
        .where(messages.c.portal_id == portal_id, messages.c.received_at < before, sa.text(TEXT_CAN_GO))
        .limit(BATCH)
    )
    while True:
        with statement() as connection:
            ids = list(connection.scalars(due))
        if not ids:
            return
        with writing() as connection:  # unless somebody sends one of them again at this moment
            mine = sa.and_(messages.c.id.in_(ids), _is_over())
            lock_in_order(connection, mine)
            count = connection.execute(sa.update(messages).where(mine).values(**NO_CONTENT)).rowcount
            forget_exchanges(connection, ids)
        yield Removed(texts=count)


def _remove_rows(portal_id: int, before: datetime) -> Iterator[Removed]:
    """Rows are numbered as they come: the oldest are the first, and the first young one ends the search."""
    after = 0
    while True:
        query = (
            sa.select(messages.c.id, messages.c.received_at)
            .where(messages.c.portal_id == portal_id, messages.c.id > after)
            .order_by(messages.c.id)
            .limit(BATCH)
        )
        with statement() as connection:
            rows = connection.execute(query).all()
        old = [row.id for row in rows if row.received_at < before]
        if not old:
            return
        with writing() as connection:  # attempts, parts and events go with their message
            counts.before_removal(connection, old)
            count = connection.execute(sa.delete(messages).where(messages.c.id.in_(old), _is_over())).rowcount
        yield Removed(rows=count)
        after = old[-1]
