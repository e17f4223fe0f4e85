"""Bulk jobs are worked off beside the messages: in short slices, with pauses in which others write."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from app.domain.bulk import BulkState, Deed
from app.domain.messages import Message
from app.domain.portals import Portal, PortalState
from app.jobs.hints import hint_push
from app.services import Services
from app.store.bulk import deeds, files, jobs, selection
from app.store.bulk.jobs import Asker, Job
from app.store.database import StoreUnavailable
from app.store.messages import log as message_log
from app.store.portals import portals

log = logging.getLogger(__name__)

ROUND_S = 5.0  # a worker that is told to stop waits for its jobs: none may go on for long
NEXT_ROUND_S = 0.2
PAUSE = 4.0  # times as long as a slice that writes took: most of the time is left to messages
PAUSE_OF_READING = 1.0  # counting and exports
AT_WORK = 2  # bulk jobs that one process works on at once, so that its threads are there for messages
BUSY_S = 1.0

_places = threading.BoundedSemaphore(AT_WORK)

# The lines of a file: messages, what they cost, their accounts' gateways, who reads it, and whether these are
# the first ones.
Write = Callable[[Sequence[Message], Mapping[int, list[str]], Mapping[int, str], Asker, bool], str]


def work_off(services: Services, portal_id: int, *, write: Write) -> None:
    """The portal's oldest job goes on for a while; a hint to itself goes on where it stopped."""
    if not jobs.under_way(portal_id):
        return
    if not _places.acquire(blocking=False):
        services.engine.hint("bulk", portal_id, delay_s=BUSY_S)
        return
    try:
        goes_on = _work(services, portals.by_id(portal_id), write)
    finally:
        _places.release()
    if goes_on:
        services.engine.hint("bulk", portal_id, delay_s=NEXT_ROUND_S)


def _work(services: Services, portal: Portal, write: Write) -> bool:
    """Whether there may be more to do."""
    if portal.state is PortalState.UNINSTALLED:
        jobs.stop_all(portal.id, now=services.now())
        return False
    taken = jobs.take(portal.id, now=services.now())
    if taken is None:
        return False
    job, lease = taken
    ends = time.monotonic() + ROUND_S
    left: Job | None = job
    try:
        while left is not None:
            began = time.monotonic()
            left = _slice(services, portal, left, lease, write)
            _wake(services, portal, job)
            if time.monotonic() > ends:
                break
            if left is not None:
                pause = PAUSE if job.deed.changes and job.state is BulkState.RUNNING else PAUSE_OF_READING
                time.sleep(pause * (time.monotonic() - began))
    except StoreUnavailable:
        raise
    except Exception:
        jobs.note_fault(job.id, lease, now=services.now())
        raise
    finally:
        jobs.release(job.id, lease)
    if left is None:
        _over(portal, job)
    return True


def _slice(services: Services, portal: Portal, job: Job, lease: str, write: Write) -> Job | None:
    now = services.now()
    if job.state is BulkState.COUNTING:
        counted = selection.count_some(
            job.selection, job.deed, job.position, country=portal.settings.default_country
        )
        left = jobs.note_counted(job, lease, counted.tallies, counted.position, now=now)
        return left if left is not None and left.state.is_under_way else None
    if job.deed is Deed.EXPORT:
        some = files.next_slice(job)
        costs = message_log.costs_of([message.id for message in some.messages])
        shown = _without_texts(some.messages) if portal.settings.hide_texts else some.messages
        text = write(shown, costs, message_log.gateways_of(portal.id), job.asker, job.chunks == 0)
        return files.add(job, lease, portal.member_id, some, text, now=now)
    return deeds.do_some(job, lease, portal.settings, now=now, timing=services.timing)


def _without_texts(some: Sequence[Message]) -> list[Message]:
    """As on every page: the settings hide them from everybody."""
    return [replace(message, text="") for message in some]


def _wake(services: Services, portal: Portal, job: Job) -> None:
    """Whoever carries on what a slice has changed."""
    if job.deed is Deed.AGAIN:
        services.engine.hint("submit", portal.id)
    elif job.deed.changes:
        hint_push(services, portal.id)


def _over(portal: Portal, job: Job) -> None:
    found = jobs.find(portal.id, job.id)
    if found is None or not found.state.is_over:
        return
    jobs.remove_files(jobs.superfluous_files(portal.id))
    log.info(
        "bulk job over",
        extra={"install": portal.id, "bulk_job": job.id, "state": found.state, "messages": found.looked_at},
    )
