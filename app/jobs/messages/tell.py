"""Stop 4 of a message's walk: tell the portal what became of its messages, in batches."""

from __future__ import annotations

import logging
import time
from datetime import datetime, timedelta

from app.bitrix.client import BATCH_LIMIT, PortalClient, StatusUpdate
from app.bitrix.errors import (
    AccessDenied,
    MessageNotFound,
    MethodMissing,
    PortalError,
    Refused,
    TokenExpired,
    TokenRefused,
)
from app.domain.portals import Portal, PortalState
from app.domain.retry import pause_before
from app.jobs.drain import drain
from app.jobs.portals.standing import note_portal_error
from app.services import Services
from app.store.messages import telling
from app.store.messages.telling import Push
from app.store.portals import portals, turns
from app.transport import NoAnswer, TransportError

log = logging.getLogger(__name__)

AUTHOR_AGAIN = timedelta(minutes=10)


def push_statuses(services: Services, portal_id: int) -> None:
    """Tell one portal everything that is due. One worker at a time does this for a portal."""
    drain(Statuses(services, portal_id))
    # What is due soon had its hint turned away while we were at it.
    delay_s = telling.seconds_to_push(portal_id, now=services.now())
    if delay_s and delay_s < services.timing.sweep_s:
        services.engine.hint("push", portal_id, delay_s=delay_s)


class Statuses:
    """One portal and what it has to be told, as `drain` asks for it."""

    def __init__(self, services: Services, portal_id: int) -> None:
        self._services, self._portal_id = services, portal_id
        self._lease: str | None = None

    def take(self) -> bool:
        services = self._services
        if services.engine.stopping.is_set():
            return False
        self._lease = turns.claim_push(self._portal_id, now=services.now(), lease_s=_lease_s(services))
        return self._lease is not None

    def release(self) -> None:
        if self._lease is not None:
            turns.release_push(self._portal_id, self._lease)

    def has_due(self) -> bool:
        return telling.seconds_to_push(self._portal_id, now=self._services.now()) == 0

    def work(self) -> bool:
        services, portal = self._services, portals.by_id(self._portal_id)
        client = services.portal_client(portal)
        if portal.state is PortalState.RECONNECT:
            _push_as_authors(services, portal, client)
        if not portal.state.can_be_told:
            return False
        while not services.engine.stopping.is_set():
            due = _filled_batch(services, portal.id)
            if not due:
                break
            until = services.now() + timedelta(seconds=_lease_s(services))
            if self._lease is None or not turns.keep_push(portal.id, self._lease, until=until):
                return False  # we were asleep, and another worker goes on
            if not _push_batch(services, portal, client, due):
                return False
        return True


def _lease_s(services: Services) -> float:
    """Two calls of the longest kind: short, so that a dead worker's portal is told by another one soon.

    A slower worker loses its lease; then two may tell at once, and whoever ends last with an old status
    finds that it changed and puts the newest one in again.
    """
    return 2 * services.timing.portal_call_s + 5


def _filled_batch(services: Services, portal_id: int) -> list[Push]:
    """What is due; when more follows at once, wait that moment and take it along in the same call."""
    due = telling.due_pushes(portal_id, now=services.now(), limit=BATCH_LIMIT)
    fill_s = services.timing.push_fill_s
    soon = services.now() + services.timing.span("push_fill_s")
    if due and len(due) < BATCH_LIMIT and telling.count_due(portal_id, soon) > len(due):
        time.sleep(fill_s)
        due = telling.due_pushes(portal_id, now=services.now(), limit=BATCH_LIMIT)
    return due


def _push_batch(services: Services, portal: Portal, client: PortalClient, due: list[Push]) -> bool:
    """False when the portal must rest."""
    silent = [push for push in due if push.word is None]
    telling.record_nothing_to_tell(silent, now=services.now())
    due = [push for push in due if push.word is not None]
    if not due:
        return True
    try:
        answers = client.update_message_statuses([_update_of(push) for push in due])
    except (PortalError, TransportError) as error:
        if isinstance(error, NoAnswer):
            telling.record_no_answer(due, now=services.now())
        _rest(services, portal, client, error)
        return False
    now = services.now()
    told = [push for push in due if answers[f"m_{push.row_id}"] is None]
    telling.record_told(told, now=now, timing=services.timing)
    if told:
        turns.note_pushed(portal.id, now)
    services.counts.add("sms_portal_push_total", len(told), result="told")
    services.counts.add("sms_portal_push_total", len(due) - len(told), result="refused")
    for push in told:
        services.counts.observe("sms_portal_push_lag_seconds", (now - push.due_at).total_seconds())
    of_all: PortalError | None = None
    for push in due:
        if (problem := answers[f"m_{push.row_id}"]) is not None:
            of_all = _record_failure(services, portal, push, problem, now) or of_all
    if of_all is not None:
        _rest(services, portal, client, of_all)
    return of_all is None


def _update_of(push: Push) -> StatusUpdate:
    assert push.word is not None
    return StatusUpdate(f"m_{push.row_id}", push.sender_code, push.message_id, push.word)


def _rest(services: Services, portal: Portal, client: PortalClient, error: Exception) -> None:
    """The portal cannot be told now: its state says why, or a pause says for how long."""
    pause = note_portal_error(services, portal, error)
    log.warning("portal not told", extra={"install": portal.id, "why": str(error)})
    if isinstance(error, AccessDenied | TokenRefused | TokenExpired):
        _push_as_authors(services, portal, client)
    if portals.by_id(portal.id).state.can_be_told:
        turns.pause_pushes(portal.id, services.now() + pause)


def _record_failure(
    services: Services, portal: Portal, push: Push, error: PortalError, now: datetime
) -> PortalError | None:
    """One command of a batch failed; it never holds up the others. The error, when all are concerned."""
    match error:
        case MessageNotFound():
            telling.record_not_found(push, now=now, timing=services.timing)
            return None
        case Refused() | MethodMissing():
            telling.record_push_failed(push, str(error), next_try=None, now=now)
            log.error(
                "status refused for good",
                extra={"install": portal.id, "message_row": push.row_id, "why": str(error)},
            )
            return None
        case AccessDenied():  # nothing is wrong with the message: whoever has the rights tells it at once
            return error
    pause = pause_before(push.tries + 1, base_s=services.timing.retry_base_s)
    telling.record_push_failed(push, str(error), next_try=now + pause, now=now)
    return error


def _push_as_authors(services: Services, portal: Portal, client: PortalClient) -> None:
    """No admin's token works. Who wrote a message may tell of it while the token of their call lives."""
    for push, token in telling.due_with_author(portal.id, now=services.now(), limit=BATCH_LIMIT):
        now = services.now()
        if push.word is None:
            telling.record_nothing_to_tell([push], now=now)
            continue
        try:
            client.update_status_as_author(_update_of(push), token)
        except MessageNotFound:
            telling.record_not_found(push, now=now, timing=services.timing)
        except (PortalError, TransportError) as error:
            telling.record_push_failed(push, str(error), next_try=now + AUTHOR_AGAIN, now=now)
        else:
            telling.record_told([push], now=now, timing=services.timing)
