"""The log of a portal's messages: newest first, filtered, searched, turned page by page.

Made for millions of rows. An index gives the rows in their order, narrowed by what it begins with: a status,
an author, a whole number, a period. All else (a gateway, a sender, what sent it, a part of a number, a word
of the text) is looked for among the rows that follow, no more than `_FAR` or `_FAR_IN_ROWS` of them for one
page: a search that has come so far says until when it looked, and goes on from there when asked.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from app.domain.messages import Author, Message
from app.domain.status import MessageStatus
from app.store.database import is_sqlite, statement
from app.store.messages.rows import message_columns, message_of
from app.store.tables import HAS_AUTHOR, attempts, gateway_accounts, messages, senders

# Longer than what follows a prefix in any message id, and after it in any order of letters.
_LAST = "z" * 128
# Rows that are looked through for one page: first some, since what is wanted is often new. Entries of an
# index are read many times as fast as whole rows.
_NEAR, _FAR = 2_000, 400_000
_NEAR_IN_ROWS, _FAR_IN_ROWS = 500, 40_000
COUNTED = 1000  # of one status; more are shown as "1,000+"
_COUNTED_AMONG = 4000  # rows, where a filter leaves few of them


@dataclass(frozen=True)
class Position:
    """A row's place in the log."""

    received_at: datetime
    row_id: int


@dataclass(frozen=True)
class Filters:
    """What a log is narrowed to; an empty field narrows nothing.

    `until` is the first moment after the period. `author_id` is the portal's user who wrote. `recipient` is a
    whole number, `digits` are a part of one. `words` stand in the text. `message_id` is the portal's id or
    its beginning.
    """

    since: datetime | None = None
    until: datetime | None = None
    status: MessageStatus | None = None
    account_ids: tuple[int, ...] = ()
    sender_code: str = ""
    author_id: str = ""
    reason: str = ""
    author: Author | None = None
    recipient: str = ""
    digits: str = ""
    words: str = ""
    message_id: str = ""
    row_id: int | None = None


@dataclass(frozen=True)
class Found:
    """One page. `next` is where to go on; `looked_until`: a search came so far, and there are older ones."""

    messages: list[Message]
    next: Position | None = None
    looked_until: datetime | None = None


_EVERYTHING = Filters()


def find(
    portal_id: int, filters: Filters = _EVERYTHING, *, limit: int, after: Position | None = None
) -> Found:
    """The newest messages first; `after` is where the page before ended."""
    reads_rows = bool(filters.words) or filters.author is not None
    near, far = (_NEAR_IN_ROWS, _FAR_IN_ROWS) if reads_rows else (_NEAR, _FAR)
    end = None
    for size in (near, far):
        ids = _ids(portal_id, filters, after, within=size, limit=limit + 1)
        if len(ids) > limit:
            rows = _rows(portal_id, ids[:limit])
            return Found(rows, Position(rows[-1].received_at, rows[-1].id) if rows else None)
        end = _end_of_window(portal_id, filters, after, size) if _looked_for(filters) else None
        if end is None:
            break
    return Found(_rows(portal_id, ids), end, end.received_at if end is not None else None)


def page(
    portal_id: int, filters: Filters = _EVERYTHING, *, limit: int, after: Position | None = None
) -> list[Message]:
    """The messages of one page alone."""
    return find(portal_id, filters, limit=limit, after=after).messages


@dataclass(frozen=True)
class Count:
    """How many messages there are; `is_more`: at least so many."""

    count: int
    is_more: bool


def counts_of(portal_id: int, filters: Filters) -> Mapping[MessageStatus, Count]:
    """How many messages of each status the log would have with these filters; none is counted for long."""
    queries = []
    for status in MessageStatus:
        mine = replace(filters, status=status)
        most = _NEAR_IN_ROWS if filters.author is not None else _COUNTED_AMONG
        most = most if _looked_for(mine) else COUNTED + 1
        window = _newest(portal_id, mine, None).limit(most).subquery()
        fitting = (
            sa.func.sum(sa.case((_fits(window, mine), 1), else_=0)) if _looked_for(mine) else sa.func.count()
        )
        is_more = sa.case((sa.func.count() >= most, 1), else_=0)
        queries.append(sa.select(sa.literal(status.value), fitting, is_more).select_from(window))
    with statement() as connection:
        found = connection.execute(sa.union_all(*queries)).all()
    return {MessageStatus(word): Count(min(int(n or 0), COUNTED), bool(more)) for word, n, more in found}


# --- for whoever goes through all of it, in steps of their own


def narrowed(portal_id: int, filters: Filters) -> list[sa.ColumnElement[bool] | sa.TextClause]:
    """What an index knows of the filters, however many rows they leave."""
    found = list(_narrowed(portal_id, replace(filters, message_id="")))
    return [*found, *_begins_with(filters.message_id)] if filters.message_id else found


def looked_for(filters: Filters) -> list[sa.ColumnElement[bool]]:
    """What is to be asked of every row beside."""
    return [condition(messages.c[name]) for name, condition in _looked_for(replace(filters, message_id=""))]


# --- how it is found


def _ids(portal_id: int, filters: Filters, after: Position | None, *, within: int, limit: int) -> list[int]:
    newest = _newest(portal_id, filters, after)
    if not _looked_for(filters):
        wanted = newest.limit(limit)
    else:
        window = newest.limit(within).subquery()
        wanted = (
            sa.select(window.c.id)
            .where(_fits(window, filters))
            .order_by(window.c.received_at.desc(), window.c.id.desc())
            .limit(limit)
        )
    with statement() as connection:
        return [row.id for row in connection.execute(wanted)]


def _rows(portal_id: int, ids: Collection[int]) -> list[Message]:
    query = (
        sa.select(*message_columns())
        .where(messages.c.id.in_(ids), messages.c.portal_id + 0 == portal_id)
        .order_by(messages.c.received_at.desc(), messages.c.id.desc())
    )
    with statement() as connection:
        return [message_of(row) for row in connection.execute(query)]


def _end_of_window(portal_id: int, filters: Filters, after: Position | None, size: int) -> Position | None:
    """The last row of so many; None when there are no more than these."""
    last = _newest(portal_id, replace(filters, words="", author=None), after).limit(2).offset(size - 1)
    with statement() as connection:
        rows = connection.execute(last).all()
    return Position(rows[0].received_at, rows[0].id) if len(rows) == 2 else None


def _newest(portal_id: int, filters: Filters, after: Position | None) -> sa.Select[Any]:
    """The rows in their order as far as an index narrows them, with what is looked at in them."""
    place = (messages.c.received_at, messages.c.id)
    looked_at = [messages.c[name] for name in dict.fromkeys(name for name, _ in _looked_for(filters))]
    query = (
        sa.select(messages.c.id, messages.c.received_at, *looked_at)
        .where(*_narrowed(portal_id, filters))
        .order_by(*(column.desc() for column in place))
    )
    if after is None:
        return query
    until = sa.tuple_(sa.literal(after.received_at, messages.c.received_at.type), after.row_id)
    return query.where(sa.tuple_(*place) < until)


def _narrowed(portal_id: int, filters: Filters) -> Iterator[sa.ColumnElement[bool] | sa.TextClause]:
    """What an index begins with: the portal and one of these, then the time."""
    # The sum keeps SQLite from looking through the whole log for the few rows that an id names.
    has_id = filters.row_id is not None or filters.message_id
    yield (messages.c.portal_id + 0 if has_id else messages.c.portal_id) == portal_id
    if filters.row_id is not None:
        yield messages.c.id == filters.row_id
    elif filters.message_id:
        yield messages.c.id.in_(_of_prefix(portal_id, filters.message_id))
    elif filters.recipient:
        yield messages.c.recipient == filters.recipient
    elif filters.author_id:
        yield messages.c.author_id == filters.author_id
        yield sa.text(HAS_AUTHOR)
    elif filters.status is not None:
        yield messages.c.status == filters.status
    if filters.since is not None:
        yield messages.c.received_at >= filters.since
    if filters.until is not None:
        yield messages.c.received_at < filters.until


def _of_prefix(portal_id: int, prefix: str) -> sa.Select[tuple[int]]:
    mine = (messages.c.portal_id == portal_id, *_begins_with(prefix))
    return sa.select(messages.c.id).where(*mine).limit(_NEAR)


def _begins_with(prefix: str) -> tuple[sa.ColumnElement[bool], ...]:
    """The bounds find it in the index whatever the database's order of letters; LIKE alone would not."""
    column = messages.c.message_id
    return column.between(prefix, prefix + _LAST), column.startswith(prefix, autoescape=True)


_Condition = Callable[[sa.ColumnElement[Any]], sa.ColumnElement[bool]]


def _looked_for(filters: Filters) -> list[tuple[str, _Condition]]:
    """What has to be looked for among the rows, each with its column."""
    is_one = filters.row_id is not None or bool(filters.message_id or filters.recipient)
    found: list[tuple[str, _Condition]] = []
    if filters.status is not None and (is_one or filters.author_id):
        found.append(("status", lambda column: column == filters.status))
    if filters.author_id and is_one:
        found.append(("author_id", lambda column: column == filters.author_id))
    if filters.account_ids:
        found.append(("account_id", lambda column: column.in_(filters.account_ids)))
    if filters.sender_code:
        found.append(("sender_code", lambda column: column == filters.sender_code))
    if filters.digits:
        found.append(("recipient", lambda column: column.contains(filters.digits, autoescape=True)))
    if filters.reason:
        found.append(("reason", lambda column: column == filters.reason))
    if filters.author is not None:
        found += _of_author(filters.author)
    if filters.words:
        found.append(("text", lambda column: _has(column, filters.words)))
    return found


def _of_author(author: Author) -> list[tuple[str, _Condition]]:
    """The same as `Author.of` says of a row."""
    if author is Author.TEST:
        return [("origin", lambda column: column == "test")]
    modules = {Author.ROBOT: "bizproc", Author.MARKETING: "sender"}
    found: list[tuple[str, _Condition]] = [("origin", lambda column: column != "test")]
    if author in modules:
        return [*found, ("module_id", lambda column: column == modules[author])]
    found.append(("module_id", lambda column: column.not_in(modules.values())))
    nobody = ("", "0")
    if author is Author.PERSON:
        return [*found, ("author_id", lambda column: column.not_in(nobody))]
    return [*found, ("author_id", lambda column: column.in_(nobody))]


def _has(column: sa.ColumnElement[Any], words: str) -> sa.ColumnElement[bool]:
    """Large and small letters alike; SQLite knows that of English ones only, so others are tried as well."""
    spellings = {words, words.lower(), words.upper(), words.capitalize()} if is_sqlite() else {words}
    return sa.or_(*(column.icontains(each, autoescape=True) for each in sorted(spellings)))


def _fits(window: sa.FromClause, filters: Filters) -> sa.ColumnElement[bool]:
    return sa.and_(*(condition(window.c[name]) for name, condition in _looked_for(filters)))


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
