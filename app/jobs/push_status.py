"""Stop 4 of a message's walk: tell the portal what became of its messages, in batches."""

from __future__ import annotations

import logging
import time
from datetime import datetime

from app.bitrix.client import BATCH_LIMIT, PortalClient, StatusUpdate
from app.bitrix.errors import (
    AccessDenied,
    MessageNotFound,
    PortalBusy,
    PortalError,
)
from app.domain.portals import Portal
from app.domain.retry import pause_before
from app.jobs.portal_state import note_portal_error
from app.services import Services
from app.store import outbox, portals
from app.store.outbox import Push
from app.transport import TransportError

log = logging.getLogger(__name__)

LEASE_S = 90.0  # longer than the longest batch
ROUND_S = 45.0  # then another worker may go on, and other portals get their turn
TRIES_OF_ONE = 6


def push_statuses(services: Services, portal_id: int) -> None:
    """Tell one portal everything that is due. One worker at a time does this for a portal."""
    lease = portals.claim_push(portal_id, now=services.now(), lease_s=LEASE_S)
    if lease is None:
        return
    try:
        left = _push_all(services, portals.by_id(portal_id))
    finally:
        portals.release_push(portal_id, lease)
    # What became due between our last look and the release had its hint turned away.
    delay_s = outbox.seconds_to_push(portal_id, now=services.now())
    if left or (delay_s is not None and delay_s < services.timing.sweep_s):
        services.engine.hint("push", portal_id, delay_s=delay_s or 0.0)


def _push_all(services: Services, portal: Portal) -> bool:
    """True when the time was up before the work was done."""
    if not portal.state.can_be_told:
        return False
    client = services.portal_client(portal)
    ends = time.monotonic() + ROUND_S
    while time.monotonic() < ends:
        due = _filled_batch(services, portal.id)
        if not due:
            return False
        if not _push_batch(services, portal, client, due):
            return False
    return True


def _filled_batch(services: Services, portal_id: int) -> list[Push]:
    """What is due; when more follows at once, wait that moment and take it along in the same call."""
    due = outbox.due_pushes(portal_id, now=services.now(), limit=BATCH_LIMIT)
    fill_s = services.timing.push_fill_s
    soon = services.now() + services.timing.span("push_fill_s")
    if due and len(due) < BATCH_LIMIT and outbox.count_due(portal_id, soon) > len(due):
        time.sleep(fill_s)
        due = outbox.due_pushes(portal_id, now=services.now(), limit=BATCH_LIMIT)
    return due


def _push_batch(services: Services, portal: Portal, client: PortalClient, due: list[Push]) -> bool:
    """False when the portal must rest."""
    updates = [StatusUpdate(f"m_{push.row_id}", push.sender_code, push.message_id, push.word) for push in due]
    try:
        answers = client.update_message_statuses(updates)
    except (PortalError, TransportError) as error:
        pause = note_portal_error(services, portal, error)
        portals.pause_pushes(portal.id, services.now() + pause)
        log.warning("portal not told", extra={"install": portal.id, "why": type(error).__name__})
        return False
    now = services.now()
    told = [push for push in due if answers[f"m_{push.row_id}"] is None]
    outbox.record_told(told, now=now, timing=services.timing)
    if told:
        portals.note_pushed(portal.id, now)
    goes_on = True
    for push in due:
        if (problem := answers[f"m_{push.row_id}"]) is not None:
            goes_on &= _record_failure(services, portal, push, problem, now)
    return goes_on


def _record_failure(
    services: Services, portal: Portal, push: Push, error: PortalError, now: datetime
) -> bool:
    """One command of a batch failed; it never holds up the others. False when the portal must rest."""
    if isinstance(error, MessageNotFound):
        outbox.record_not_found(push, now=now, timing=services.timing)
        return True
    pause = pause_before(push.tries + 1, base_s=services.timing.retry_base_s)
    if isinstance(error, AccessDenied | PortalBusy):
        # The whole portal is concerned: the next call finds a spare admin, or waits.
        outbox.record_push_failed(push, str(error), next_try=now + pause, now=now)
        portals.pause_pushes(portal.id, now + note_portal_error(services, portal, error))
        return False
    next_try = now + pause if push.tries < TRIES_OF_ONE else None
    outbox.record_push_failed(push, str(error), next_try=next_try, now=now)
    log.warning("status refused", extra={"install": portal.id, "message_row": push.row_id, "why": error.code})
    return True
