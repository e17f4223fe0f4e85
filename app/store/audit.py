"""The audit log: who did what, when, from where. Its row is written in the transaction of the deed.

Who acts is known by the thread: a request of a portal's user and a command say so once, at their beginning,
and whatever they do is theirs. Where nobody says so it is the application's own doing.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from app import redaction
from app.domain.audit import THE_APP, Action, Actor, Who, differing
from app.store.database import statement, utcnow, writing
from app.store.tables import audit_log, portals

KEPT = timedelta(days=365)
SHOWN_EVERY = timedelta(hours=1)  # who looks at the same thing again and again leaves one row an hour
ABOUT_LIMIT = 128
SECRET = "***"  # noqa: S105 - in place of one
NEW_SECRET = "*** (another)"  # noqa: S105

_acting: ContextVar[Actor] = ContextVar("acting", default=THE_APP)


def act_as(actor: Actor) -> None:
    """From here on, in this thread."""
    _acting.set(actor)


@contextmanager
def acting_as(actor: Actor) -> Iterator[None]:
    token = _acting.set(actor)
    try:
        yield
    finally:
        _acting.reset(token)


def is_a_person() -> bool:
    return _acting.get().who is not Who.APP


def record(
    connection: Connection,
    action: Action,
    portal_id: int | None,
    *,
    about: str = "",
    before: Mapping[str, Any] | None = None,
    after: Mapping[str, Any] | None = None,
    at: datetime | None = None,
) -> None:
    """Write down a deed in its own transaction: neither is ever there without the other.

    `portal_id`: None for a deed that belongs to no portal; no portal's administrator sees it. `about`: the
    sender, account or message, by the name that commands take. Of `before` and `after` only what differs is
    kept; secrets have to be `masked`, and numbers. What looks like either is hidden all the same.
    """
    actor = _acting.get()
    was, became = differing(before or {}, after or {})
    connection.execute(
        sa.insert(audit_log).values(
            portal_id=portal_id,
            at=at or utcnow(),
            who=actor.who,
            name=actor.name[:128],
            address=actor.address[:45],
            action=action,
            about=redaction.hide(about)[:ABOUT_LIMIT],
            before=redaction.hide_all(was),
            after=redaction.hide_all(became),
        )
    )


def note(action: Action, portal_id: int | None, **facts: Any) -> None:
    """The same before a deed that is not one transaction: the row is there first, the deed comes after it."""
    with writing() as connection:
        record(connection, action, portal_id, **facts)


def note_once(action: Action, portal_id: int | None, *, about: str = "", **facts: Any) -> None:
    """The same for what is only looked at."""
    actor = _acting.get()
    seen = sa.select(audit_log.c.id).where(
        _is_of(portal_id),
        audit_log.c.at > utcnow() - SHOWN_EVERY,
        audit_log.c.action == action,
        audit_log.c.about == redaction.hide(about)[:ABOUT_LIMIT],
        audit_log.c.who == actor.who,
        audit_log.c.name == actor.name[:128],
    )
    with statement() as connection:
        if connection.scalar(seen.limit(1)) is not None:
            return
    note(action, portal_id, about=about, **facts)


def masked(
    before: Mapping[str, str], after: Mapping[str, str], secret: set[str]
) -> tuple[dict[str, str], dict[str, str]]:
    """Settings without their secrets; that one is another than before still shows."""
    was, became = dict(before), dict(after)
    for name in secret:
        is_another = before.get(name, "") != after.get(name, "")
        if was.get(name):
            was[name] = SECRET
        if became.get(name):
            became[name] = NEW_SECRET if is_another and was.get(name) else SECRET
    return was, became


def fingerprint(member_id: str) -> str:
    """What is left of an erased portal's name: whoever knows it can tell that it was erased."""
    return f"portal:{hashlib.sha256(member_id.encode()).hexdigest()[:16]}"


# --- reading


@dataclass(frozen=True)
class Entry:
    """One row. `member_id` is empty for a deed that belongs to no portal."""

    id: int
    at: datetime
    who: Who
    name: str
    address: str
    action: str
    about: str
    before: Mapping[str, Any]
    after: Mapping[str, Any]
    member_id: str


@dataclass(frozen=True)
class Filters:
    """What the log is narrowed to; an empty field narrows nothing. `action` may be a kind: `settings`."""

    action: str = ""
    who: str = ""  # of `Who`
    name: str = ""
    since: datetime | None = None
    until: datetime | None = None


_EVERYTHING = Filters()
BATCH = 1000


def of_portal(
    portal_id: int, filters: Filters = _EVERYTHING, *, limit: int, before: int | None = None
) -> list[Entry]:
    """A portal's own rows, the newest first; `before` is the number of the last one of the page before."""
    return _read([audit_log.c.portal_id == portal_id, *_conditions(filters)], limit, before)


def all_of(portal_id: int, filters: Filters) -> Iterator[list[Entry]]:
    """All of them in batches."""
    last = None
    while batch := of_portal(portal_id, filters, limit=BATCH, before=last):
        yield batch
        last = batch[-1].id


def everywhere(
    filters: Filters = _EVERYTHING, *, member_id: str = "", limit: int, before: int | None = None
) -> list[Entry]:
    """The operator's view: every portal's rows and those of none; or of one portal, also after its end."""
    conditions = list(_conditions(filters))
    if member_id:
        conditions.append(
            sa.or_(portals.c.member_id == member_id, audit_log.c.about == fingerprint(member_id))
        )
    return _read(conditions, limit, before)


def _read(conditions: Sequence[sa.ColumnElement[bool]], limit: int, before: int | None) -> list[Entry]:
    query = (
        sa.select(audit_log, sa.func.coalesce(portals.c.member_id, "").label("member_id"))
        .outerjoin(portals, portals.c.id == audit_log.c.portal_id)
        .where(*conditions, *([audit_log.c.id < before] if before is not None else []))
        .order_by(audit_log.c.id.desc())
        .limit(limit)
    )
    with statement() as connection:
        rows = connection.execute(query).all()
    return [
        Entry(
            row.id, row.at, Who(row.who), row.name, row.address, row.action, row.about,
            row.before, row.after, row.member_id,
        )
        for row in rows
    ]  # fmt: skip


def _conditions(filters: Filters) -> Iterator[sa.ColumnElement[bool]]:
    if filters.action:
        yield sa.or_(
            audit_log.c.action == filters.action,
            audit_log.c.action.startswith(f"{filters.action}.", autoescape=True),
        )
    if filters.who:
        yield audit_log.c.who == filters.who
    if filters.name:
        yield audit_log.c.name == filters.name
    if filters.since is not None:
        yield audit_log.c.at >= filters.since
    if filters.until is not None:
        yield audit_log.c.at < filters.until


def _is_of(portal_id: int | None) -> sa.ColumnElement[bool]:
    return audit_log.c.portal_id.is_(None) if portal_id is None else audit_log.c.portal_id == portal_id


def purge(now: datetime) -> int:
    """A year is over."""
    with writing() as connection:
        return connection.execute(sa.delete(audit_log).where(audit_log.c.at < now - KEPT)).rowcount
