"""Retention as a job: portal by portal, batch by batch, with pauses in which everybody else writes."""

from __future__ import annotations

import logging
import time

from app.services import Services
from app.store.database import overwrite_deleted
from app.store.portals import portals
from app.store.upkeep import retention
from app.store.upkeep.retention import Removed

log = logging.getLogger(__name__)

ROUND_S = 15.0  # a worker that is told to stop waits for its jobs: none may go on for long
PAUSE = 4.0  # times as long as the batch took: most of the time is left to messages
NEXT_ROUND_S = 1.0


def purge_from(services: Services, first_portal: int) -> None:
    """Purge the portals from this one on for a while; a hint to itself goes on where it stopped.

    One chain at a time goes through all portals, so it never holds more than one of a worker's threads.
    """
    ends = time.monotonic() + ROUND_S
    for portal_id in portals.ids_from(first_portal):
        is_done = _purge(services, portal_id, ends)
        if time.monotonic() > ends:
            go_on_at = portal_id + 1 if is_done else portal_id
            services.engine.hint("purge", go_on_at, delay_s=NEXT_ROUND_S)
            return


def purge_portal(services: Services, portal_id: int) -> None:
    """Purge one portal now; what is left after a while waits for the next time."""
    _purge(services, portal_id, time.monotonic() + ROUND_S)


def _purge(services: Services, portal_id: int, ends: float) -> bool:
    """Whether all that is due was removed before the time was over."""
    removed, is_done = Removed(), True
    began = time.monotonic()
    for batch in retention.purge(portals.by_id(portal_id), now=services.now()):
        removed += batch
        now = time.monotonic()
        if now > ends:
            is_done = False
            break
        time.sleep(PAUSE * (now - began))
        began = time.monotonic()
    if removed != Removed():
        overwrite_deleted()
        log.info("purged", extra={"install": portal_id, "texts": removed.texts, "rows": removed.rows})
    return is_done
