"""A submitted message waits: for its report, for the answer to an open question, or for its deadline."""

from __future__ import annotations

import logging

from app.domain.messages import Message, Reason, Work
from app.domain.outcomes import Accepted, DeliveryReport, RefusalKind, Refused
from app.domain.retry import LOOK_UPS_BEFORE_RESEND, pause_of_look_up, pause_of_poll
from app.domain.status import MessageStatus
from app.gateways.base import Submitted
from app.jobs.hints import hint_push
from app.jobs.messages.unknown import answering, may_repeat
from app.services import Services
from app.store.accounts import accounts
from app.store.messages import claims, gateway_ids, messages, outcomes, parked, reports
from app.store.portals import portals

log = logging.getLogger(__name__)


def follow_up(services: Services, row_id: int) -> None:
    """Look after a message that waits: ask for its report, or end the waiting."""
    now = services.now()
    message = claims.due(row_id, Work.WAITING, now=now)
    if message is None:
        return
    if message.deadline_at is not None and message.deadline_at <= now:
        _end(services, message)
    elif message.status is MessageStatus.UNKNOWN:
        _look_up(services, message)
    else:
        _poll(services, message)
    hint_push(services, message.portal_id)


def _end(services: Services, message: Message) -> None:
    now = services.now()
    if message.status is MessageStatus.UNKNOWN:
        reason = Reason(message.reason or Reason.UNKNOWN)
        messages.finish(
            message, MessageStatus.FAILED, reason, message.reason_text, now=now, timing=services.timing
        )
    else:
        messages.close_without_report(message.id, now=now)


def _look_up(services: Services, message: Message) -> None:
    """Ask the gateway whether it took our reference."""
    question = claims.open_question(message.id)
    if question is None:
        return
    claim, called_at, asked = question
    now, timing = services.now(), services.timing
    account, portal = accounts.by_id(claim.account_id), portals.by_id(claim.portal_id)
    gateway = services.gateway(account) if account else None
    if gateway is None or not gateway.active_capabilities.lookup:
        outcomes.stop_asking(claim, now=now)
        return
    try:
        outcome = gateway.look_up(claim.reference, message.recipient)
    except Exception as error:
        log.warning("look-up failed", extra={"gateway": gateway.slug, "why": type(error).__name__})
        outcome = None
    match outcome:
        case Accepted() | Refused(kind=RefusalKind.PERMANENT):
            answer = answering(services, portal, gateway)(claim, outcome)
            outcomes.record([answer], now=now, timing=timing)
            return
        # "I do not know it" proves nothing while the call may still be on its way to the gateway.
        case Refused() if now >= called_at + timing.span("lease_s"):
            if outcomes.record_never_taken(claim, outcome, now=now):
                services.engine.hint("submit", message.portal_id)
            return
        case Refused():
            outcomes.ask_again(claim, at=called_at + timing.span("lease_s"), resend=False, now=now)
            return
    resend = asked + 1 >= LOOK_UPS_BEFORE_RESEND and may_repeat(portal, gateway)
    pause = pause_of_look_up(asked, timing)
    outcomes.ask_again(claim, at=now if resend else now + pause, resend=resend, now=now)


def _poll(services: Services, message: Message) -> None:
    waiting = gateway_ids.waiting_for_poll(message.id)
    account = accounts.by_id(waiting[0]) if waiting else None
    gateway = services.gateway(account) if account else None
    if waiting is None or account is None or gateway is None:
        messages.next_poll(message.id, None, now=services.now())
        return
    _, polls, ids = waiting
    sent = [Submitted(gateway_id, message.recipient) for gateway_id in ids]
    try:
        found: list[DeliveryReport] = gateway.poll(sent) if sent else []
    except Exception:
        log.exception("poll failed", extra={"gateway": account.slug, "message_row": message.id})
        found = []
    if found:
        reports.apply_reports(account.id, found, now=services.now(), timing=services.timing)
    now = services.now()
    pause = pause_of_poll(polls, gateway.active_capabilities.poll_after_s)
    messages.next_poll(message.id, now + pause, now=now)


def match_reports(services: Services, account_id: int) -> None:
    """Apply a batch of reports that was too large for the call that brought it."""
    account, after_id = accounts.by_id(account_id), 0
    while account is not None:
        now = services.now()
        after_id = parked.match_parked(account_id, after_id, now=now, timing=services.timing)
        if not after_id:
            hint_push(services, account.portal_id)
            return
