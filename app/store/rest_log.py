"""The REST calls of the last days, as the marketplace demands: without tokens, texts and numbers."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

import sqlalchemy as sa

from app.store.database import statement, writing
from app.store.tables import rest_calls

KEPT = timedelta(days=4)


@dataclass(frozen=True)
class RestCall:
    at: datetime
    method: str
    params: str
    http_status: int
    error: str
    answer: str
    took_ms: int


def add(portal_id: int, call: RestCall) -> None:
    with writing() as connection:
        connection.execute(
            sa.insert(rest_calls).values(
                portal_id=portal_id,
                at=call.at,
                method=call.method[:80],
                params=call.params[:4000],
                http_status=call.http_status,
                error=call.error[:80],
                answer=call.answer[:4000],
                took_ms=call.took_ms,
            )
        )


def latest(portal_id: int, *, limit: int) -> list[RestCall]:
    query = (
        sa.select(
            rest_calls.c.at,
            rest_calls.c.method,
            rest_calls.c.params,
            rest_calls.c.http_status,
            rest_calls.c.error,
            rest_calls.c.answer,
            rest_calls.c.took_ms,
        )
        .where(rest_calls.c.portal_id == portal_id)
        .order_by(rest_calls.c.id.desc())
        .limit(limit)
    )
    with statement() as connection:
        return [RestCall(*row) for row in connection.execute(query)]


def purge(now: datetime) -> int:
    with writing() as connection:
        return connection.execute(sa.delete(rest_calls).where(rest_calls.c.at < now - KEPT)).rowcount
