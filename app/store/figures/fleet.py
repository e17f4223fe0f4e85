"""All portals at a glance, for the operator: one statement, however many there are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from app.domain.messages import Work
from app.domain.portals import PortalState
from app.domain.status import BAD
from app.store.database import statement
from app.store.tables import credentials, gateway_accounts, message_counts, messages, portals, senders

RECENT = timedelta(hours=24)


@dataclass(frozen=True)
class Wanted:
    """Which portals; an empty field narrows nothing. `search` is a part of the domain or of the member id."""

    member_id: str = ""
    states: tuple[PortalState, ...] = ()
    gateway: str = ""
    search: str = ""
    only_paused: bool = False


@dataclass(frozen=True)
class Row:
    """One portal with what an operator asks for. `recent` and `failed` count the messages of a day."""

    id: int
    member_id: str
    state: PortalState
    state_reason: str
    domain: str
    app_version: str
    installed_at: datetime | None
    finished_at: datetime | None
    last_pushed_at: datetime | None
    paused_at: datetime | None
    paused_why: str
    gateway: str | None
    refreshed_at: datetime | None
    token_problem: str | None  # None: there is no token
    last_handler_call_at: datetime | None
    oldest_due_at: datetime | None
    recent: int
    failed: int
    backlog: Mapping[str, int]


# By what a list may be sorted, the worst first.
SORTS = ("installed", "backlog", "oldest", "failures", "token", "silent")


def page(
    wanted: Wanted, *, now: datetime, sort: str = "installed", limit: int | None = None, offset: int = 0
) -> list[Row]:
    """One page of them, by when they came unless another order is asked for."""
    facts = _facts(wanted, now)
    query = sa.select(facts).order_by(*_order(sort, facts.c), facts.c.id).limit(limit).offset(offset)
    with statement() as connection:
        rows = connection.execute(query).all()
    return [_row(dict(row._mapping)) for row in rows]


def _row(values: Mapping[str, Any]) -> Row:
    found = {name: values[name] for name in Row.__dataclass_fields__ if name != "backlog"}
    works = {work.value: int(values[f"work_{work}"] or 0) for work in Work}
    backlog = {name: count for name, count in works.items() if count}
    return Row(
        **{**found, "state": PortalState(found["state"])},
        backlog={**backlog, "to_tell": int(values["to_tell"] or 0)},
    )


def _order(sort: str, facts: Any) -> Sequence[sa.ColumnElement[Any]]:
    share = facts.failed * 1.0 / sa.case((facts.recent > 0, facts.recent), else_=1)
    orders = {
        "installed": (),
        "backlog": (facts.waiting.desc(),),
        "oldest": (facts.oldest_due_at.is_(None), facts.oldest_due_at),
        "failures": (share.desc(), facts.failed.desc()),
        "token": (facts.refreshed_at.is_not(None), facts.refreshed_at),
        "silent": (facts.last_handler_call_at.is_not(None), facts.last_handler_call_at),
    }
    return orders[sort]


def _facts(wanted: Wanted, now: datetime) -> sa.Subquery:
    working, telling = _work(), _telling()
    waiting = sum((sa.func.coalesce(working.c[f"work_{work}"], 0) for work in Work), start=sa.literal(0))
    return (
        sa.select(
            *(
                portals.c[name]
                for name in (
                    "id", "member_id", "state", "state_reason", "domain", "app_version", "installed_at",
                    "finished_at", "last_pushed_at", "paused_at", "paused_why",
                )
            ),
            gateway_accounts.c.slug.label("gateway"),
            credentials.c.refreshed_at,
            credentials.c.broken.label("token_problem"),
            _last_handler_call().label("last_handler_call_at"),
            working.c.oldest_due_at,
            *(working.c[f"work_{work}"] for work in Work),
            (waiting + sa.func.coalesce(telling.c.to_tell, 0)).label("waiting"),
            telling.c.to_tell,
            _counted(now, sa.true()).label("recent"),
            _counted(now, message_counts.c.status.in_(BAD)).label("failed"),
        )
        .select_from(portals)
        .outerjoin(
            gateway_accounts,
            sa.and_(
                gateway_accounts.c.portal_id == portals.c.id,
                gateway_accounts.c.is_default,
                gateway_accounts.c.retired_at.is_(None),
            ),
        )
        .outerjoin(credentials, sa.and_(credentials.c.portal_id == portals.c.id, credentials.c.is_service))
        .outerjoin(working, working.c.portal_id == portals.c.id)
        .outerjoin(telling, telling.c.portal_id == portals.c.id)
        .where(*_conditions(wanted))
        .subquery()
    )  # fmt: skip


def _conditions(wanted: Wanted) -> list[sa.ColumnElement[bool]]:
    found: list[sa.ColumnElement[bool]] = []
    if wanted.member_id:
        found.append(portals.c.member_id == wanted.member_id)
    if wanted.states:
        found.append(portals.c.state.in_(wanted.states))
    if wanted.gateway:
        found.append(gateway_accounts.c.slug == wanted.gateway)
    if wanted.search:
        texts = (portals.c.domain, portals.c.member_id)
        found.append(sa.or_(*(text.icontains(wanted.search, autoescape=True) for text in texts)))
    if wanted.only_paused:
        found.append(portals.c.paused_at.is_not(None))
    return found


def _work() -> sa.Subquery:
    """What waits for something, by kind of work: the due rows alone, which have an index."""
    column = messages.c
    return (
        sa.select(
            column.portal_id,
            sa.func.min(column.due_at).label("oldest_due_at"),
            *(sa.func.sum(sa.case((column.work == work, 1), else_=0)).label(f"work_{work}") for work in Work),
        )
        .where(column.due_at.is_not(None))
        .group_by(column.portal_id)
        .subquery()
    )


def _telling() -> sa.Subquery:
    return (
        sa.select(messages.c.portal_id, sa.func.count().label("to_tell"))
        .where(messages.c.push_due_at.is_not(None))
        .group_by(messages.c.portal_id)
        .subquery()
    )


def _last_handler_call() -> sa.ScalarSelect[datetime]:
    """Tests of ours do not count."""
    return (
        sa.select(messages.c.received_at)
        .where(messages.c.portal_id == portals.c.id, messages.c.origin == "portal")
        .order_by(messages.c.received_at.desc(), messages.c.id.desc())
        .limit(1)
        .correlate(portals)
        .scalar_subquery()
    )


def _counted(now: datetime, which: sa.ColumnElement[bool]) -> sa.ColumnElement[int]:
    found = (
        sa.select(sa.func.coalesce(sa.func.sum(message_counts.c.count), 0))
        .where(message_counts.c.portal_id == portals.c.id, message_counts.c.quarter > now - RECENT, which)
        .correlate(portals)
        .scalar_subquery()
    )
    return sa.cast(found, sa.Integer)


def last_day(now: datetime) -> tuple[int, int]:
    """How many messages of a day ended or wait, in all portals, and how many of them failed."""
    count = message_counts.c.count
    query = sa.select(
        sa.func.coalesce(sa.func.sum(count), 0),
        sa.func.coalesce(sa.func.sum(sa.case((message_counts.c.status.in_(BAD), count), else_=0)), 0),
    ).where(
        # Portal by portal: the table's key begins with them, and what is older than a day is many times more.
        message_counts.c.portal_id.in_(sa.select(portals.c.id)),
        message_counts.c.quarter > now - RECENT,
    )
    with statement() as connection:
        recent, failed = connection.execute(query).one()
    return int(recent), int(failed)


def count_paused() -> int:
    query = sa.select(sa.func.count()).where(portals.c.paused_at.is_not(None))
    with statement() as connection:
        return int(connection.scalar(query) or 0)


def oldest_token_age_s(now: datetime) -> int | None:
    """Of the working tokens that speak for their portals: they die after 180 days."""
    query = sa.select(sa.func.min(credentials.c.refreshed_at)).where(
        credentials.c.is_service, credentials.c.broken == ""
    )
    with statement() as connection:
        oldest = connection.scalar(query)
    return int((now - oldest).total_seconds()) if oldest else None


def senders_of(portal_ids: Sequence[int]) -> dict[int, list[dict[str, Any]]]:
    """The senders of these portals, by portal."""
    columns = (senders.c.portal_id, senders.c.code, senders.c.registered_at, senders.c.error)
    query = sa.select(*columns).where(senders.c.removed_at.is_(None)).order_by(senders.c.id)
    if len(portal_ids) <= 1000:
        query = query.where(senders.c.portal_id.in_(portal_ids))
    found: dict[int, list[dict[str, Any]]] = {portal_id: [] for portal_id in portal_ids}
    with statement() as connection:
        for row in connection.execute(query):
            if row.portal_id in found:
                sender = {"code": row.code, "registered_at": row.registered_at, "error": row.error}
                found[row.portal_id].append(sender)
    return found
