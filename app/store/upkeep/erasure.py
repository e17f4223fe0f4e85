"""Forgetting on request: one portal, or one phone number wherever it stands. Each ends with a search.

On SQLite nothing is left in the files either: deleted content is overwritten, and the log of changes is
folded in. PostgreSQL overwrites it with its own vacuum, some time later.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from app.domain import life
from app.domain.audit import Action
from app.domain.messages import Work
from app.domain.numbers import Recipient, country_of, mask, numbers_in, parse_recipient, written_forms
from app.domain.portals import Portal, PortalSettings
from app.domain.retry import Timing
from app.store import audit
from app.store.bulk.jobs import end_of_erasure
from app.store.database import AnyRow, db, overwrite_deleted, statement, writing
from app.store.messages.rows import NO_CONTENT, forget_exchanges, locked, state_of, write
from app.store.portals.events import REMOVAL
from app.store.tables import (
    messages,
    portal_events,
    portals,
    rest_calls,
)

BATCH = 200
WINDOW = 5000  # rows that one statement looks through

# --- a portal


@dataclass(frozen=True)
class Remains:
    """What an installation left in the tables that may have millions of rows: those up to these numbers."""

    portal_id: int
    up_to: Mapping[str, int]


_MANY_ROWS = (messages, rest_calls)


def remains(connection: Connection, portal: Portal) -> Remains:
    """What there is now; rows that come later have higher numbers."""
    highest = {}
    for table in _MANY_ROWS:
        query = sa.select(sa.func.max(table.c.id)).where(table.c.portal_id == portal.id)
        highest[table.name] = connection.scalar(query) or 0
    return Remains(portal.id, highest)


def blank(connection: Connection, portal: Portal, *, now: datetime) -> Remains:
    """Remove everything of a portal but the bare row that recognises late calls, and what `remove` takes.

    In the caller's transaction, which holds the portal's lock and knows that its app is not installed.
    """
    for table in reversed(db.metadata.sorted_tables):
        if "portal_id" in table.c and table not in _MANY_ROWS:
            connection.execute(sa.delete(table).where(table.c.portal_id == portal.id))
    being_acted_on = sa.and_(portal_events.c.event == REMOVAL, portal_events.c.due_at.is_not(None))
    connection.execute(
        sa.update(portal_events)
        .where(portal_events.c.member_id == portal.member_id, ~being_acted_on)
        .values(payload="", due_at=None)
    )
    connection.execute(
        sa.update(portals)
        .where(portals.c.id == portal.id)
        .values(
            application_token_hash="",
            previous_token_hash="",
            handler_secret="",
            state_reason="",
            settings=PortalSettings().to_json(),
            settings_version=portals.c.settings_version + 1,
            registration={},
            call_pauses={},
            weekly_due_at=None,
            erased_at=now,
        )
    )
    return remains(connection, portal)


def remove(left: Remains) -> None:
    """Remove rows in small bites, so that others write in between."""
    for table in _MANY_ROWS:
        some = sa.select(table.c.id).where(
            table.c.portal_id == left.portal_id, table.c.id <= left.up_to[table.name]
        )
        while True:
            with statement() as connection:
                ids = list(connection.scalars(some.limit(BATCH)))
            if not ids:
                break
            with writing() as connection:
                connection.execute(sa.delete(table).where(table.c.id.in_(ids)))


def forget_portal(connection: Connection, portal: Portal) -> None:
    """Remove the portal's row, and its events; what has a `portal_id` goes along."""
    connection.execute(sa.delete(portal_events).where(portal_events.c.member_id == portal.member_id))
    connection.execute(sa.delete(portals).where(portals.c.id == portal.id))


def count_rows(portal_id: int, member_id: str) -> dict[str, int]:
    """How many rows each table has of a portal; tables without any are left out."""
    found = {}
    with statement() as connection:
        for table in db.metadata.sorted_tables:
            count = sa.select(sa.func.count()).select_from(table)
            found[table.name] = connection.scalar(count.where(_of_portal(table, portal_id, member_id))) or 0
    return {name: count for name, count in found.items() if count}


def _of_portal(table: sa.Table, portal_id: int, member_id: str) -> sa.ColumnElement[bool]:
    """The rows of a table that belong to a portal, by whatever leads there."""
    if table is portals:
        return portals.c.id == portal_id
    if "portal_id" in table.c:
        return table.c.portal_id == portal_id
    if "member_id" in table.c:
        return table.c.member_id == member_id
    for key in table.foreign_keys:
        owner = _of_portal(key.column.table, portal_id, member_id)
        return sa.exists().where(key.column == key.parent, owner)
    return sa.false()


# --- a number

# Not searched for a number: keys, which tie rows together, and what somebody typed as a setting.
_LEFT_OUT = {
    "messages": {"message_id", "recipient", "counted_as", "split_as"},
    "portals": {"settings", "member_id", "domain", "client_endpoint"},
    "gateway_accounts": {"settings", "label"},
    "preferences": {"log_columns"},
    "instances": {"kind", "host", "version", "state"},
    "senders": {"code", "name", "description", "originator"},
    "audit_log": {"address", "action", "who"},
}
_SEALED_OR_HASHED = ("_hash", "_secret", "_token", "secrets", "payload")
_BETWEEN_DIGITS = " ().-/\xa0"


@dataclass(frozen=True)
class Scope:
    """Where a number is looked for: in one portal, or in all of them."""

    portal_id: int | None = None
    member_id: str = ""

    def rows_of(self, table: sa.Table) -> sa.ColumnElement[bool]:
        if self.portal_id is None:
            return sa.true()
        return _of_portal(table, self.portal_id, self.member_id)


class NumberEraser:
    """One international number, looked for and removed."""

    def __init__(self, number: str, scope: Scope, *, timing: Timing) -> None:
        forms = written_forms(number)
        assert forms is not None  # the caller has read the number
        self._number, self._forms, self._scope, self._timing = number, forms, scope, timing
        self._is_noted = False
        self._country = country_of(number)
        self._tail = "".join(filter(str.isdecimal, number))[-7:]
        with statement() as connection:
            rows = connection.execute(sa.select(portals.c.id, portals.c.settings))
            self._countries = {
                row.id: PortalSettings.from_json(row.settings).default_country or None for row in rows
            }

    def erase(self, *, now: datetime) -> dict[str, int]:
        """Remove it everywhere; returns how many rows of each table were changed.

        A message to it keeps its row, without recipient and content: what became of it stays countable, and
        a repeat of its call is recognised. What is not submitted is not sent any more, and told as failed.
        A message that is being submitted at this moment is left for the next call: see `count_submitting`.
        Files of exports are sealed and not searched: all of them go.
        """
        if not self._is_noted:
            audit.note(Action.NUMBER_ERASED, self._scope.portal_id, about=mask(self._number), at=now)
            self._is_noted = True
        changed: dict[str, int] = {}
        for row_id in self._recipients():
            if self._erase_message(row_id, now):
                changed["messages"] = changed.get("messages", 0) + 1
        for table in db.metadata.sorted_tables:
            for row, values in self._words(table):
                if table is messages and row.work != Work.CLOSED:
                    values.pop("text", None)  # somebody else's message is not changed on its way
                if values:
                    with writing() as connection:
                        connection.execute(sa.update(table).where(table.c.id == row.id).values(**values))
                    changed[table.name] = changed.get(table.name, 0) + 1
        if chunks := end_of_erasure(self._scope.portal_id):
            changed["bulk_chunks"] = changed.get("bulk_chunks", 0) + chunks
        overwrite_deleted()
        return changed

    def search(self) -> dict[str, int]:
        """How many rows of each table have the number; those without any are left out.

        What removed it is not what looks for it: a spelling that the one misses the other finds.
        """
        found = {"messages": sum(1 for _ in self._recipients())}
        for table in db.metadata.sorted_tables:
            found[table.name] = found.get(table.name, 0) + sum(1 for _ in self._with_it(table))
        return {name: count for name, count in found.items() if count}

    def count_submitting(self) -> int:
        """Messages to it that a worker hands to a gateway just now; their claims last half a minute."""
        return sum(1 for row in self._messages_to() if row.work == Work.SUBMITTING)

    # --- messages to the number

    def _recipients(self) -> Iterator[int]:
        return (row.id for row in self._messages_to())

    def _messages_to(self) -> Iterator[AnyRow]:
        has_tail = _digits(messages.c.recipient).contains(self._tail)
        columns = (messages.c.recipient, messages.c.portal_id, messages.c.work)
        for row in self._rows(messages, columns, has_tail):
            if self._is_recipient(row.recipient, self._countries.get(row.portal_id)):
                yield row

    def _is_recipient(self, raw: str, country: str | None) -> bool:
        """Whether a recipient, as it came or in the international form, is this number.

        One that could not be read as a number counts when its digits are the end of this number's.
        """
        read = parse_recipient(raw, default_country=country)
        if isinstance(read, Recipient):
            return read.number == self._number
        digits = "".join(char for char in raw if char.isdecimal()).lstrip("0")
        return self._number.endswith(digits)

    def _erase_message(self, row_id: int, now: datetime) -> bool:
        with writing() as connection:
            row = locked(connection, row_id)
            if row is None:
                return False
            if row.work == Work.SUBMITTING:
                # Nobody begins another call for it: it is over, should the gateway not take it now.
                connection.execute(sa.update(messages).where(messages.c.id == row.id).values(expires_at=now))
                return False
            change = life.erased(state_of(row), now, self._timing)
            write(connection, row, change, now, recipient="", held_token="", **NO_CONTENT)
            forget_exchanges(connection, [row.id])
        return True

    # --- the number among other words

    def _words(self, table: sa.Table) -> Iterator[tuple[AnyRow, dict[str, Any]]]:
        """Rows in whose words the number stands, and their words without it."""
        columns = _columns_of_words(table)
        for row in self._rows_with_tail(table, columns):
            values = {
                column.name: cleaned
                for column in columns
                if (cleaned := self._without(row._mapping[column.name])) != row._mapping[column.name]
            }
            if values:
                yield row, values

    def _with_it(self, table: sa.Table) -> Iterator[AnyRow]:
        columns = _columns_of_words(table)
        for row in self._rows_with_tail(table, columns):
            if any(self._stands_in(row._mapping[column.name]) for column in columns):
                yield row

    def _rows_with_tail(self, table: sa.Table, columns: list[sa.Column[Any]]) -> Iterator[AnyRow]:
        if not columns:
            return
        more = (messages.c.work,) if table is messages else ()
        yield from self._rows(table, (*columns, *more), _digits(*columns).contains(self._tail))

    def _stands_in(self, value: Any) -> bool:
        match value:
            case dict():
                return any(self._stands_in(each) for pair in value.items() for each in pair)
            case list():
                return any(map(self._stands_in, value))
            case bool() | None:
                return False
        text = str(value)
        return self._forms.search(text) is not None or self._number in numbers_in(text, self._country)

    def _without(self, value: Any) -> Any:
        match value:
            case str():
                return self._forms.sub("***", value)
            case bool() | None:
                return value
            case int():
                return "***" if self._forms.fullmatch(str(value)) else value
            case dict():
                return {self._without(key): self._without(below) for key, below in value.items()}
            case list():
                return [self._without(below) for below in value]
        return value

    # --- rows, some thousands at a time

    def _rows(
        self, table: sa.Table, columns: tuple[sa.Column[Any], ...], condition: sa.ColumnElement[bool]
    ) -> Iterator[AnyRow]:
        with statement() as connection:
            last = connection.scalar(sa.select(sa.func.max(table.c.id))) or 0
        for first in range(1, last + 1, WINDOW):
            window = table.c.id.between(first, first + WINDOW - 1)
            query = sa.select(table.c.id, *columns).where(window, condition, self._scope.rows_of(table))
            with statement() as connection:
                rows = connection.execute(query).all()
            yield from rows


def _columns_of_words(table: sa.Table) -> list[sa.Column[Any]]:
    return [column for column in table.columns if _has_words(column)]


def _has_words(column: sa.Column[Any]) -> bool:
    if not isinstance(column.type, sa.String | sa.JSON) or column.name.endswith(_SEALED_OR_HASHED):
        return False
    return not column.primary_key and column.name not in _LEFT_OUT.get(column.table.name, ())


def _digits(*columns: sa.Column[Any]) -> sa.ColumnElement[str]:
    """The columns' texts, one behind the other, with nothing between the digits of a number."""
    texts = [sa.func.coalesce(sa.cast(column, sa.Text), "") for column in columns]
    found: sa.ColumnElement[str] = texts[0]
    for text in texts[1:]:
        found = found.concat("|").concat(text)
    for char in _BETWEEN_DIGITS:
        found = sa.func.replace(found, char, "")
    return found
