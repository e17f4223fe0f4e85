"""Stop 2 of a message's walk: hand it to the portal's gateway, at most once per reference."""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from app.domain import policy
from app.domain.life import Answered
from app.domain.messages import Claim, Message, Reason, Work
from app.domain.numbers import Recipient
from app.domain.outcomes import Accepted, Outcome, RefusalKind, Refused, Unknown
from app.domain.policy import End, Hold, Send, Standing
from app.domain.portals import Portal
from app.domain.status import MessageStatus
from app.domain.texts import TextMeasure, measure
from app.gateways.base import Context, Gateway, Outgoing
from app.gateways.submission import submit_all
from app.services import Services
from app.store import accounts, claims, messages, outbox, outcomes, portals, senders
from app.store.accounts import Account
from app.store.database import StoreRefused, StoreUnavailable
from app.transport import HttpAnswer, HttpClient

log = logging.getLogger(__name__)

# The clocks of two machines differ: a hint may come before its time, and nobody gives another one soon.
EARLY = timedelta(seconds=0.25)
FIRST_PACE_PER_S = 10.0  # when a gateway finds us too fast before it took anything
GO_ON_S = 10.0  # how long a thread goes on with the messages that were turned away
STORE_TRIES_S = 600.0  # how long an outcome is kept in memory for a database that is down


def submit_message(services: Services, row_id: int) -> None:
    """Submit one message if it is really due; and further ones whose hints were turned away meanwhile."""
    ends = time.monotonic() + GO_ON_S
    next_id: int | None = row_id
    while next_id is not None:
        account = _submit_one(services, next_id)
        if account is None or time.monotonic() > ends or not services.engine.slots.has_more(account.id):
            return
        others = claims.some_due(account.portal_id, now=services.now(), limit=20)
        next_id = random.choice(others) if others else None  # noqa: S311 - so that two threads differ


def _submit_one(services: Services, row_id: int) -> Account | None:
    """The account that was called, None when it did not come to that."""
    message = claims.due(row_id, Work.QUEUED, now=services.now() + EARLY)
    if message is None or message.due_at is None:
        return None
    now = services.now()
    if message.due_at > now:
        time.sleep((message.due_at - now).total_seconds())
        now = services.now()
    portal = portals.by_id(message.portal_id)
    account = _account_for(message)
    recipient = _recipient_if_it_goes(services, message, portal, account, now)
    if recipient is None or account is None:
        return None
    if not services.engine.slots.take(account.id):
        return None
    try:
        if not _is_its_turn(services, message, account, now):
            return None
        _submit(services, message, recipient, account)
    finally:
        services.engine.slots.free(account.id)
    return account


def _recipient_if_it_goes(
    services: Services, message: Message, portal: Portal, account: Account | None, now: datetime
) -> Recipient | None:
    """The number to call; None when our rules hold or end the message, which is done here."""
    is_ready = account is not None and services.gateway(account) is not None
    standing = _standing(services, account) if account is not None and is_ready else None
    decide = policy.decide_repeat if message.status is MessageStatus.UNKNOWN else policy.decide
    match decision := decide(message, portal.state, portal.settings, standing, now=now):
        case Send():
            return decision.recipient
        case Hold():
            _hold(services, message, decision, now)
        case End():
            _end(services, message, decision.reason, decision.text)
        case None:
            claims.stop_repeating(message.id, now=now)
    return None


def _standing(services: Services, account: Account) -> Standing:
    adapter = services.gateways.get(account.slug)
    is_marked = adapter is not None and not adapter.capabilities.sends
    return replace(account.standing, is_trial=is_marked and services.config.demo_gateway == "marked")


def _hold(services: Services, message: Message, hold: Hold, now: datetime) -> None:
    """Put it off; and look again, since a gateway that was connected or repaired in this very moment woke
    only those that were put off by then."""
    claims.put_off(message.id, hold.reason, hold.text, until=hold.until, now=now)
    account = _account_for(message)
    if account is None or services.gateway(account) is None or account.standing.is_stopped:
        return
    messages.wake_account(account.id, message.portal_id, now=now)
    services.engine.hint("submit", message.id)


def _account_for(message: Message) -> Account | None:
    """The portal's default; but an unknown outcome is never taken to a second gateway."""
    if message.status is MessageStatus.UNKNOWN and message.account_id is not None:
        return accounts.by_id(message.account_id)
    return accounts.default_of(message.portal_id)


def _is_its_turn(services: Services, message: Message, account: Account, now: datetime) -> bool:
    """Whether the account's breaker and pace let this message through now; else it waits for its turn."""
    if message.slot_at is not None and message.slot_at <= now and not account.is_silent:
        return True  # its turn was given out before; another one would begin the waiting anew
    turn = accounts.take_turn(account, now=now, breaker_s=services.timing.breaker_s)
    if turn.is_given and turn.at <= now:
        return True
    if account.is_silent and not turn.is_given:
        claims.all_wait_in_queue(message, until=turn.at)
        return False
    until, slot = turn.at, turn.at if turn.is_given else None
    if not turn.is_given:  # come back spread over the time that the others will take
        ahead = claims.count_queued(account.portal_id) / (account.rate_per_s or accounts.FASTEST_PER_S)
        until += timedelta(seconds=random.uniform(0, min(ahead, 600.0)))  # noqa: S311 - jitter, not a secret
    until = min(until, policy.ends_waiting(message))
    claims.put_off(message.id, Reason.NONE, "", until=until, slot_at=slot, now=now)
    delay_s = (until - now).total_seconds()
    if delay_s < services.timing.sweep_s:
        services.engine.hint("submit", message.id, delay_s=delay_s)
    return False


class _UntilDeadline:
    """HTTP for one submission: all its calls together end by one moment, checked before each is written."""

    def __init__(self, http: HttpClient, deadline: float) -> None:
        self._http, self._deadline = http, deadline

    def request(self, method: str, url: str, **options: Any) -> HttpAnswer:
        return self._http.request(method, url, deadline=self._deadline, **options)


def _submit(services: Services, message: Message, recipient: Recipient, account: Account) -> None:
    size = measure(message.text)
    # From here on: whatever happens, the gateway is not called after this moment, for then the lease
    # is nearly over and another worker may judge the message.
    deadline = time.monotonic() + services.timing.gateway_deadline_s
    adapter = services.gateways.get(account.slug)
    assert adapter is not None
    gateway = adapter(
        account.settings, Context(http=_UntilDeadline(services.gateway_http(adapter.slug), deadline))
    )
    claim = claims.claim(
        message,
        account_id=account.id,
        gateway=account.slug,
        recipient=recipient.number,
        encoding=size.encoding,
        segments=size.segments,
        now=services.now(),
        timing=services.timing,
    )
    if claim is None:
        return
    outgoing = _outgoing(services, claim, recipient, account, gateway, size)
    if time.monotonic() >= deadline:  # this worker was asleep since the claim
        claims.give_back(claim, now=services.now())
        return
    began = time.monotonic()
    (outcome,) = submit_all(gateway, [outgoing])
    services.counts.add("sms_gateway_requests_total", gateway=account.slug, outcome=type(outcome).__name__)
    services.counts.observe("sms_gateway_duration_seconds", time.monotonic() - began, gateway=account.slug)
    _keep_trying(lambda: _record(services, claim, account, gateway, outcome))


def _outgoing(
    services: Services,
    claim: Claim,
    recipient: Recipient,
    account: Account,
    gateway: Gateway,
    size: TextMeasure,
) -> Outgoing:
    message = claim.message
    originator = senders.originator_for(claim.portal_id, message.sender_code) or gateway.originator
    return Outgoing(
        reference=claim.reference,
        recipient=recipient.number,
        text=message.text,
        originator=originator,
        report_url=services.report_url(account, claim.reference),
        encoding=size.encoding,
        segments=size.segments,
        validity_s=max(60, int((message.expires_at - services.now()).total_seconds())),
        again=claim.calls > 1,
    )


def _keep_trying(record: Callable[[], None]) -> None:
    """Write an outcome even when the database is down for a while: without it the outcome is unknown."""
    ends = time.monotonic() + STORE_TRIES_S
    while True:
        try:
            return record()
        except StoreUnavailable:
            if time.monotonic() > ends:
                raise
            time.sleep(0.5)


def _record(services: Services, claim: Claim, account: Account, gateway: Gateway, outcome: Outcome) -> None:
    now, timing = services.now(), services.timing
    answer = answered(services, claim, gateway, outcome)
    outcomes.record([answer], now=now, timing=timing)
    match outcome:
        case Accepted():
            services.engine.slots.note_accepted(account.id)
            if answer.poll_s is not None and answer.poll_s < timing.sweep_s:
                services.engine.hint("follow_up", claim.message.id, delay_s=answer.poll_s)
        case Refused(kind=RefusalKind.CONFIG):
            _count_config_refusal(services, account, claim, outcome, now)
        case Refused(kind=RefusalKind.THROTTLE):
            accounts.slow_down(
                account,
                pause_s=min(outcome.retry_after_s or 1.0, 3600.0),
                seen_per_s=services.engine.slots.accepted_per_s(account.id) or FIRST_PACE_PER_S,
                now=now,
            )
        case Refused(kind=RefusalKind.TEMPORARY) | Unknown():
            _count_no_answer(services, account, now)
    if account.is_silent and isinstance(outcome, Accepted):  # it was, before this call
        claims.all_may_go(claim.message, now=now)
    log.info(
        "message submitted",
        extra={
            "install": claim.portal_id,
            "message_row": claim.message.id,
            "gateway": account.slug,
            "outcome": type(outcome).__name__,
        },
    )
    hint_push(services, claim.portal_id)


def answered(
    services: Services, claim: Claim, gateway: Gateway | None, outcome: Outcome, *, is_fault: bool = False
) -> Answered:
    """What came of a claim, with what this gateway can do about it: it fetches its reports, it can be asked,
    or it drops repeats."""
    can = gateway.active_capabilities if gateway is not None else None
    return Answered(
        claim,
        outcome,
        poll_s=can.poll_after_s if can is not None and can.reports in ("poll", "both") else None,
        look_up_s=services.timing.look_up_s if can is not None and can.lookup else None,
        may_repeat=isinstance(outcome, Unknown | Refused) and may_resend(services, claim.portal_id, gateway),
        is_fault=is_fault,
    )


def _count_config_refusal(
    services: Services, account: Account, claim: Claim, refused: Refused, now: datetime
) -> None:
    opened = accounts.count_refusal(
        account,
        claim.message.id,
        reason=f"{refused.code}: {refused.text}".strip(": "),
        probe_at=now + services.timing.span("account_probe_s"),
        now=now,
    )
    if opened:
        log.error(
            "gateway account stopped: its key or balance is refused",
            extra={"install": account.portal_id, "account": account.id, "gateway": account.slug},
        )


def _count_no_answer(services: Services, account: Account, now: datetime) -> None:
    if accounts.note_no_answer(account, pause_s=services.timing.breaker_s, now=now):
        log.error(
            "gateway does not answer: one call at a time until it does",
            extra={"install": account.portal_id, "account": account.id, "gateway": account.slug},
        )


# --- unknown outcomes ---


def may_resend(services: Services, portal_id: int, gateway: Gateway | None) -> bool:
    """Whether an unknown outcome may be submitted again: the gateway drops repeats, or the admin said so."""
    if gateway is None:
        return False
    if gateway.active_capabilities.idempotent:
        return True
    return portals.by_id(portal_id).settings.unknown_policy == "resend"


def recover_message(services: Services, row_id: int) -> None:
    """A claim whose lease is over: its worker died or sleeps, and what the gateway heard is unknown."""
    claim = claims.lost_claim(row_id, now=services.now())
    if claim is None:
        return
    account = accounts.by_id(claim.account_id)
    gateway = services.gateway(account) if account else None
    why = "the worker stopped before the gateway's answer was recorded"
    lost = answered(services, claim, gateway, Unknown(why), is_fault=True)
    outcomes.record([lost], now=services.now(), timing=services.timing)
    services.counts.add("sms_lease_lost_total")
    log.warning("lease lost", extra={"install": claim.portal_id, "message_row": row_id})
    hint_push(services, claim.portal_id)


# --- ends ---


def note_exception(services: Services, job: str, key: int, error: Exception) -> None:
    """A job raised: its message is tried again some times, then it is a dead letter and the portal hears."""
    is_down = isinstance(error, (StoreUnavailable, MemoryError)) and not isinstance(error, StoreRefused)
    if is_down or job not in ("submit", "follow_up", "verify_held"):
        return  # not the message's fault: its row stays due
    now = services.now()
    if messages.note_exception(key, type(error).__name__, now=now, timing=services.timing):
        log.error("dead letter", extra={"message_row": key, "job": job})


def _end(services: Services, message: Message, reason: Reason, text: str) -> None:
    messages.finish(message, MessageStatus.FAILED, reason, text, now=services.now(), timing=services.timing)
    hint_push(services, message.portal_id)


def hint_push(services: Services, portal_id: int) -> None:
    """Wake somebody when the portal's next status is due, unless the sweeper comes by before."""
    delay_s = outbox.seconds_to_push(portal_id, now=services.now())
    if delay_s is not None:
        services.engine.hint("push", portal_id, delay_s=delay_s)
