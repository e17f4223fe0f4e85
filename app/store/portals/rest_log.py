"""The REST calls of the last days, as the marketplace demands: without tokens, texts and numbers."""

from __future__ import annotations

from dataclasses import dataclass, fields
from datetime import datetime, timedelta

import sqlalchemy as sa

from app.domain.rest_calls import RestCall
from app.store.database import statement, writing
from app.store.tables import WENT_WRONG, rest_calls

KEPT = timedelta(days=4)  # the moderation asks for three whole ones


@dataclass(frozen=True, kw_only=True)
class LoggedCall(RestCall):
    """A call that was kept, and when it was made."""

    at: datetime


_COLUMNS = [rest_calls.c[f.name] for f in fields(LoggedCall)]


def add(portal_id: int, call: RestCall, *, at: datetime) -> None:
    with writing() as connection:
        connection.execute(
            sa.insert(rest_calls).values(
                portal_id=portal_id,
                at=at,
                method=call.method[:80],
                params=call.params[:4000],
                http_status=call.http_status,
                error=call.error[:80].upper(),
                answer=call.answer[:4000],
                took_ms=call.took_ms,
                operating_s=call.operating_s,
                operating_reset_at=call.operating_reset_at,
            )
        )


def latest(portal_id: int, *, limit: int, method: str = "", only_errors: bool = False) -> list[LoggedCall]:
    """The newest calls first; `method` may be the beginning of one."""
    query = sa.select(*_COLUMNS).where(rest_calls.c.portal_id == portal_id)
    if method:
        query = query.where(rest_calls.c.method.startswith(method, autoescape=True))
    if only_errors:
        query = query.where(sa.text(WENT_WRONG))
    with statement() as connection:
        rows = connection.execute(query.order_by(rest_calls.c.id.desc()).limit(limit))
        return [LoggedCall(**row._mapping) for row in rows]


@dataclass(frozen=True)
class ErrorGroup:
    """Calls of one method that ended with one error; `params` and `answer` are those of the last one."""

    method: str
    error: str
    count: int
    first_at: datetime
    last_at: datetime
    params: str
    answer: str


def error_groups(portal_id: int, *, limit: int) -> list[ErrorGroup]:
    """What went wrong in the days that are kept, each kind once, the newest first."""
    c = rest_calls.c
    groups = (
        sa.select(
            sa.func.max(c.id).label("newest"),
            sa.func.count().label("count"),
            sa.func.min(c.at).label("first_at"),
        )
        .where(c.portal_id == portal_id, sa.text(WENT_WRONG))
        .group_by(c.method, c.error)
        .order_by(sa.func.max(c.id).desc())
        .limit(limit)
        .subquery()
    )
    query = (
        sa.select(c.method, c.error, groups.c.count, groups.c.first_at, c.at, c.params, c.answer)
        .join(groups, groups.c.newest == c.id)
        .order_by(c.id.desc())
    )
    with statement() as connection:
        return [ErrorGroup(*row) for row in connection.execute(query)]


def error_counts(portal_id: int | None = None) -> dict[str, int]:
    """How often each error came in the days that are kept; of one portal, or of all."""
    query = sa.select(rest_calls.c.error, sa.func.count()).where(sa.text(WENT_WRONG))
    if portal_id is not None:
        query = query.where(rest_calls.c.portal_id == portal_id)
    with statement() as connection:
        found = connection.execute(query.group_by(rest_calls.c.error)).all()
    return {str(error): int(count) for error, count in found}


def refreshed_elsewhere(portal_id: int, since: datetime) -> bool:
    """Whether the authorization server has served another portal since then: so our secret is right."""
    query = (
        sa.select(rest_calls.c.id)
        .where(
            rest_calls.c.portal_id != portal_id,
            rest_calls.c.at >= since,
            rest_calls.c.method == "oauth.token",
            rest_calls.c.error == "",
        )
        .limit(1)
    )
    with statement() as connection:
        return connection.scalar(query) is not None


def purge(now: datetime) -> int:
    with writing() as connection:
        return connection.execute(sa.delete(rest_calls).where(rest_calls.c.at < now - KEPT)).rowcount
