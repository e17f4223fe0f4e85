"""A submitted message waits for its report: poll where the gateway can be asked, end it at its deadline."""

from __future__ import annotations

import logging
from datetime import timedelta

from app.domain.messages import Message, Reason, Work
from app.domain.outcomes import DeliveryReport
from app.domain.status import MessageStatus
from app.jobs.submit import hint_push
from app.services import Services
from app.store import accounts, messages, reports

log = logging.getLogger(__name__)

# After the first poll of a gateway: ten minutes, an hour, six hours, a day; then the deadline decides.
LATER_POLLS_S = (600.0, 3600.0, 6 * 3600.0, 86_400.0)


def follow_up(services: Services, row_id: int) -> None:
    """Look after a message that waits: ask for its report, or end the waiting."""
    message = messages.due(row_id, Work.WAITING, now=services.now())
    if message is None:
        return
    if messages.is_past_deadline(row_id, now=services.now()):
        _end(services, message)
    else:
        _poll(services, message)
    hint_push(services, message.portal_id)


def _end(services: Services, message: Message) -> None:
    now = services.now()
    if message.status is MessageStatus.UNKNOWN:
        messages.finish(
            message.id,
            expected=[Work.WAITING],
            status=MessageStatus.FAILED,
            reason=Reason.UNKNOWN,
            text=message.reason_text,
            now=now,
            timing=services.timing,
        )
    else:
        messages.close_without_report(message.id, now=now)


def _poll(services: Services, message: Message) -> None:
    waiting = reports.waiting_for_poll(message.id)
    account = accounts.by_id(waiting[0]) if waiting else None
    gateway = services.gateway(account) if account else None
    if waiting is None or account is None or gateway is None:
        messages.next_poll(message.id, None)
        return
    _, polls, ids = waiting
    try:
        found: list[DeliveryReport] = gateway.poll(ids)
    except Exception:
        log.exception("poll failed", extra={"gateway": account.slug, "message_row": message.id})
        found = []
    for report in found:
        reports.apply_report(account.id, report, now=services.now(), timing=services.timing)
    first_s = gateway.active_capabilities.poll_after_s
    pauses = (first_s, *(pause for pause in LATER_POLLS_S if pause > first_s))
    pause_s = pauses[min(polls + 1, len(pauses) - 1)]
    messages.next_poll(message.id, services.now() + timedelta(seconds=pause_s))
