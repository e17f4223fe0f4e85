"""The deed itself, some messages in one commit: look and act, and how far the job is by then, are one write.

So a worker that is killed has done a slice or has not, and no message meets the same job twice.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from app.domain import bulk
from app.domain.bulk import CHANGED, DONE, TWICE, BulkState, Deed
from app.domain.life import COLUMNS, Change
from app.domain.messages import Lane
from app.domain.portals import PortalSettings
from app.domain.retry import Timing
from app.store.bulk import jobs
from app.store.bulk.jobs import Job
from app.store.bulk.selection import next_rows
from app.store.database import AnyRow, writing
from app.store.messages.rows import FIELDS, message_of, state_of, write_all
from app.store.tables import message_events, messages

AT_ONCE = 25  # messages of one commit; SQLite writes so many in some milliseconds

# Steps that change nothing of what a person decided upon.
_TELLING = ("told", "not_told")


def do_some(job: Job, lease: str, settings: PortalSettings, *, now: datetime, timing: Timing) -> Job | None:
    """Do the next slice; the job as it stands then, None when it is over or another worker's."""
    step = next_rows(job.selection, job.position, limit=AT_ONCE)
    with writing() as connection:
        held = jobs.held(connection, job, lease, now=now)
        if held is None:
            return None
        outcomes = _do(connection, held, step.row_ids, settings, now=now, timing=timing)
        values = jobs.added(held, outcomes)
        if step.is_last:
            jobs.end(connection, held, BulkState.DONE, now=now, **values)
        else:
            jobs.write(connection, held, now=now, **jobs.place(step.position), **values)
    return jobs.find(job.portal_id, job.id)


def _do(
    connection: Connection,
    job: Job,
    ids: Sequence[int],
    settings: PortalSettings,
    *,
    now: datetime,
    timing: Timing,
) -> list[tuple[int, str]]:
    """Ask the single message's guard of each row, locked, and write; the outcomes."""
    columns = (messages.c[name] for name in dict.fromkeys((*FIELDS, *COLUMNS)))
    query = sa.select(*columns).where(messages.c.id.in_(ids), messages.c.portal_id == job.portal_id)
    rows = connection.execute(query.order_by(messages.c.id).with_for_update()).all()
    lifetime = timedelta(seconds=settings.time_to_live_s or timing.time_to_live_s)
    touched, room = _touched(connection, job, ids), job.room
    changes: list[tuple[AnyRow, Change]] = []
    outcomes: list[tuple[int, str]] = []
    for row in rows:
        found = bulk.verdict(job.deed, message_of(row), country=settings.default_country)
        is_changed = row.id in touched
        key = bulk.outcome(found, room, is_changed=is_changed, is_sure=job.is_sure)
        if key in (DONE, TWICE):
            change = bulk.change(
                job.deed, state_of(row), now, timing, lifetime=lifetime, occasion=f"job {job.id}"
            )
            key = key if change is not None else CHANGED
            if change is not None:
                changes.append((row, change))
        outcomes.append((row.id, key))
    write_all(connection, changes, now, {row.id: _beside(job.deed) for row, _ in changes})
    return outcomes


def _beside(deed: Deed) -> dict[str, Any]:
    """Many that are sent again are a campaign: single messages pass them."""
    return {"lane": Lane.CAMPAIGN} if deed is Deed.AGAIN else {}


def _touched(connection: Connection, job: Job, ids: Sequence[int]) -> set[int]:
    """Messages to which something happened since they were counted."""
    event = message_events.c
    query = sa.select(event.message_row_id).where(
        event.message_row_id.in_(ids), event.id > job.selection.event_up_to, event.event.not_in(_TELLING)
    )
    return set(connection.scalars(query))
