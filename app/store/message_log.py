"""The log of a portal's messages: newest first, filtered, turned page by page.

Made for millions of rows: the filters read an index that holds all they ask for, and only the rows of one
page are fetched.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa

from app.domain.messages import Message
from app.domain.status import MessageStatus
from app.store.database import statement
from app.store.rows import message_columns, message_of
from app.store.tables import attempts, gateway_accounts, messages, senders

# Longer than what follows a prefix in any message id, and after it in any order of letters.
_LAST = "z" * 128
_BATCH = 1000


@dataclass(frozen=True)
class Position:
    """A row's place in the log."""

    received_at: datetime
    row_id: int


@dataclass(frozen=True)
class Filters:
    """What a log is narrowed to; an empty field narrows nothing.

    `until` is the first moment after the period. `digits` are the last ones of the recipient's number.
    `message_id` is the portal's id or its beginning.
    """

    since: datetime | None = None
    until: datetime | None = None
    status: MessageStatus | None = None
    account_ids: tuple[int, ...] = ()
    sender_code: str = ""
    digits: str = ""
    message_id: str = ""
    row_id: int | None = None


_EVERYTHING = Filters()


def page(
    portal_id: int, filters: Filters = _EVERYTHING, *, limit: int, after: Position | None = None
) -> list[Message]:
    """The newest messages first; `after` is the last one of the page before."""
    wanted = _newest(portal_id, filters).limit(limit)
    if after is not None:
        place = sa.tuple_(messages.c.received_at, messages.c.id)
        wanted = wanted.where(
            place < sa.tuple_(sa.literal(after.received_at, messages.c.received_at.type), after.row_id)
        )
    query = (
        sa.select(*message_columns())
        .where(messages.c.id.in_(wanted))
        .order_by(messages.c.received_at.desc(), messages.c.id.desc())
    )
    with statement() as connection:
        return [message_of(row) for row in connection.execute(query)]


def all_of(portal_id: int, filters: Filters) -> Iterator[list[Message]]:
    """Every message of the log in batches, so that no query and no memory holds them all."""
    after = None
    while batch := page(portal_id, filters, limit=_BATCH, after=after):
        yield batch
        after = Position(batch[-1].received_at, batch[-1].id)


def has_more_than(portal_id: int, filters: Filters, limit: int) -> bool:
    """Whether the log has more messages than `limit`; counts no further."""
    one_more = _newest(portal_id, filters).limit(1).offset(limit)
    with statement() as connection:
        return connection.scalar(one_more) is not None


def _newest(portal_id: int, filters: Filters) -> sa.Select[tuple[int]]:
    return (
        sa.select(messages.c.id)
        .where(messages.c.portal_id == portal_id, *_conditions(filters))
        .order_by(messages.c.received_at.desc(), messages.c.id.desc())
    )


def _conditions(filters: Filters) -> Iterator[sa.ColumnElement[bool]]:
    if filters.since is not None:
        yield messages.c.received_at >= filters.since
    if filters.until is not None:
        yield messages.c.received_at < filters.until
    if filters.status is not None:
        yield messages.c.status == filters.status
    if filters.account_ids:
        yield messages.c.account_id.in_(filters.account_ids)
    if filters.sender_code:
        yield messages.c.sender_code == filters.sender_code
    if filters.digits:
        yield messages.c.recipient.endswith(filters.digits, autoescape=True)
    if filters.message_id:
        # The bounds find it in the index whatever the database's order of letters; LIKE alone would not.
        yield messages.c.message_id.between(filters.message_id, filters.message_id + _LAST)
        yield messages.c.message_id.startswith(filters.message_id, autoescape=True)
    if filters.row_id is not None:
        yield messages.c.id == filters.row_id


# --- what stands beside the rows, and what can be chosen


def costs_of(row_ids: Collection[int]) -> dict[int, list[str]]:
    """What the gateways said that each message cost, one text for each attempt that has one."""
    query = sa.select(attempts.c.message_row_id, attempts.c.cost).where(
        attempts.c.message_row_id.in_(row_ids), attempts.c.cost != ""
    )
    found: dict[int, list[str]] = {}
    with statement() as connection:
        for row_id, cost in connection.execute(query.order_by(attempts.c.id)):
            found.setdefault(row_id, []).append(cost)
    return found


def gateways_of(portal_id: int) -> dict[int, str]:
    """The gateway of every account that the portal has or had, by the account's id."""
    query = sa.select(gateway_accounts.c.id, gateway_accounts.c.slug).where(
        gateway_accounts.c.portal_id == portal_id
    )
    with statement() as connection:
        return {row.id: row.slug for row in connection.execute(query.order_by(gateway_accounts.c.id))}


def sender_codes_of(portal_id: int) -> list[str]:
    """The CODEs that the portal's messages may carry, also of senders that were removed."""
    query = sa.select(senders.c.code).where(senders.c.portal_id == portal_id).order_by(senders.c.id)
    with statement() as connection:
        return list(connection.scalars(query))
