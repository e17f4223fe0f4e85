"""The clock's own work: find what nobody looks after. Kills, lost hints, a wiped Redis: harmless by it."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable
from datetime import datetime, timedelta

from app.domain.messages import Work
from app.engine import PRIORITY_SINGLE
from app.jobs.accounts import check
from app.jobs.portals import removal
from app.services import Services
from app.store import audit, job_runs
from app.store.accounts import checks, stops
from app.store.bulk import jobs as bulk_jobs
from app.store.figures import counts, incidents
from app.store.messages import claims, messages, parked, telling
from app.store.portals import events, rest_log, states, tokens, weekly
from app.store.upkeep import retention

log = logging.getLogger(__name__)

HINT_FOR = {Work.HELD: "verify_held", Work.WAITING: "follow_up"}
ROWS_A_SWEEP = 2000
PORTALS_A_SWEEP = 500
# While so many hints wait, more of them would only be doubled: the engine is alive and busy.
ENOUGH_HINTS = 5000
HOUR_S = 3600.0
MINUTE_S = 60.0
COUNT_S = 2.0
PERIODIC_LEASE_S = 600.0
INCIDENTS_S = 30.0  # they are measured in minutes
EVENTS_KEPT = timedelta(days=30)


def sweep(services: Services) -> None:
    """One round. Every consumer calls this; the `job_run` row lets one of them through."""
    timing = services.timing
    lease = job_runs.claim(
        "sweep", now=services.now(), every_s=timing.sweep_s * 0.9, lease_s=max(5.0, timing.sweep_s * 2)
    )
    if lease is None:
        return
    try:
        _sweep_messages(services)
        _hint_all(services, "push", telling.portals_to_tell(services.now(), limit=PORTALS_A_SWEEP))
        _hint_all(services, "portal_event", events.due(services.now(), limit=PORTALS_A_SWEEP))
        _hint_all(services, "check_account", checks.due_for_check(services.now(), limit=PORTALS_A_SWEEP))
        _hint_all(services, "tell_incident", incidents.due_notices(services.now(), limit=PORTALS_A_SWEEP))
        _hint_all(services, "bulk", bulk_jobs.portals_with_work(services.now(), limit=PORTALS_A_SWEEP))
        _hint_all(services, "probe_account", stops.due_for_probe(services.now(), limit=PORTALS_A_SWEEP))
        for portal_id in parked.rematch_parked(now=services.now(), timing=timing):
            _hint(services, "push", portal_id)
        _hint_all(services, "reconcile", states.due_for_reconcile(services.now(), limit=50))
        if job_runs.claim("incidents", now=services.now(), every_s=INCIDENTS_S, lease_s=0):
            _hint(services, "look_for_incidents", 0)  # when many begin at once it takes its time
        _count(services)
    finally:
        job_runs.release("sweep", lease)
    _periodically(services, "hourly", HOUR_S, _hourly)
    _periodically(services, "minutely", MINUTE_S, _minutely)


def _sweep_messages(services: Services) -> None:
    # A lost lease waits for nobody: not even for a queue full of hints.
    for row_id in messages.lost_leases(services.now(), limit=ROWS_A_SWEEP):
        _hint(services, "recover", row_id, priority=PRIORITY_SINGLE)
    _hint_all(services, "submit", claims.portals_with_due(services.now(), limit=PORTALS_A_SWEEP))
    pending = services.engine.pending()
    if pending is not None and pending > ENOUGH_HINTS:
        return
    rows = messages.neglected(services.now(), timing=services.timing, limit=ROWS_A_SWEEP)
    for row_id, work in rows:
        _hint(services, HINT_FOR[work], row_id)
    if rows:
        log.info("swept", extra={"rows": len(rows)})


def _count(services: Services) -> None:
    """For the statistics. What is left after a while waits for the next round."""
    ends = time.monotonic() + COUNT_S
    now = services.now()
    while _counted(now) >= counts.BATCH and time.monotonic() < ends:
        pass


def _counted(now: datetime) -> int:
    return counts.fold(now=now) + counts.fold_costs() + counts.fold_splits(now=now)


def _hint_all(services: Services, job: str, keys: Iterable[int]) -> None:
    for key in keys:
        _hint(services, job, key)


def _hint(services: Services, job: str, key: int, *, priority: int = 0) -> None:
    """Without an engine the sweeper does the work itself, slower but surely."""
    if not services.engine.hint(job, key, priority=priority):
        services.engine.perform_aside(job, key)


def _periodically(services: Services, name: str, every_s: float, job: Callable[[Services], None]) -> None:
    lease = job_runs.claim(name, now=services.now(), every_s=every_s, lease_s=PERIODIC_LEASE_S)
    if lease is None:
        return
    try:
        job(services)
    finally:
        job_runs.release(name, lease)


def _minutely(services: Services) -> None:
    _hint_all(services, "purge_portal", retention.with_texts_at_end())
    _hint_all(services, "tell_week", weekly.with_weekly_due(services.now(), limit=PORTALS_A_SWEEP))
    job_runs.note_setup(services.fingerprints(), now=services.now())


def _hourly(services: Services) -> None:
    now = services.now()
    _hint(services, "purge", 0)
    rest_log.purge(now)
    events.purge(now - EVENTS_KEPT)
    incidents.purge(now)
    audit.purge(now)
    bulk_jobs.purge(now)
    check.plan_checks(services)
    _hint_all(services, "close_account", check.accounts_over(services))
    removal.erase_what_was_kept(services)
    telling.drop_stale(now=now, timing=services.timing)
    parked.drop_parked(now=now, timing=services.timing)
    idle = now - timedelta(seconds=services.timing.keep_alive_s)
    _hint_all(services, "keep_alive", tokens.idle_since(idle, limit=PORTALS_A_SWEEP))
