"""Portals that send far more than they are used to, read from the counts by quarter of an hour."""

from __future__ import annotations

from collections import Counter
from datetime import datetime, timedelta

import sqlalchemy as sa

from app.domain.incidents import RUSH_LEAST, is_rush
from app.domain.portals import PortalState
from app.store.database import snapshot
from app.store.figures.counts import quarter_of
from app.store.tables import message_counts, portals

LOOKED_BACK = 30  # days; the counts are read for portals with a great deal of messages alone
_DAY = timedelta(days=1)


def rushing(portal_id: int | None, now: datetime) -> list[int]:
    """The portals whose last 24 hours are a rush.

    The days are stretches of 24 hours that end now, so nothing changes at midnight. Messages of the last
    minutes may not be counted yet: they are in the next look.
    """
    since = quarter_of(now) - _DAY
    c = message_counts.c
    lately = (
        sa.select(sa.func.sum(c.count))
        .where(c.portal_id == portals.c.id, c.quarter >= since)
        .correlate(portals)
        .scalar_subquery()
    )
    many = sa.select(portals.c.id, lately.label("count")).where(
        portals.c.state != PortalState.UNINSTALLED, lately >= RUSH_LEAST
    )
    if portal_id is not None:
        many = many.where(portals.c.id == portal_id)
    with snapshot() as connection:
        today = {int(found): int(count) for found, count in connection.execute(many.order_by(portals.c.id))}
        days: dict[int, Counter[int]] = {found: Counter() for found in today}
        before = sa.select(c.portal_id, c.quarter, c.count).where(
            c.portal_id.in_(today), c.quarter >= since - LOOKED_BACK * _DAY, c.quarter < since
        )
        if today:
            for found, quarter, count in connection.execute(before):
                days[found][(since - quarter - timedelta(seconds=1)) // _DAY] += count
    return [
        found
        for found, count in today.items()
        if is_rush(count, [days[found][day] for day in sorted(days[found])])
    ]
