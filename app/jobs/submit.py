"""Stop 2 of a message's walk: hand it to the portal's gateway, at most once per reference."""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

from app.domain.messages import Claim, Message, Reason, Work
from app.domain.numbers import Recipient, parse_recipient
from app.domain.outcomes import Accepted, Outcome, RefusalKind, Refused, Unknown
from app.domain.portals import Portal, PortalState
from app.domain.status import MessageStatus
from app.domain.texts import TextMeasure, measure
from app.gateways.base import Context, Gateway, Outgoing
from app.gateways.submission import submit_all
from app.services import Services
from app.store import accounts, claims, messages, outbox, portals, senders, submissions
from app.store.accounts import Account
from app.store.database import StoreRefused, StoreUnavailable
from app.transport import HttpAnswer, HttpClient

log = logging.getLogger(__name__)

CONFIG_REFUSALS_TO_OPEN = 3  # one may be the message's own fault (an originator, a country)
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
    recipient = parse_recipient(message.recipient, default_country=portal.settings.default_country or None)
    if message.status is MessageStatus.UNKNOWN:
        if _must_not_repeat(message, portal, now):
            submissions.stop_repeating(message.id)
            return None
    elif (end := _reason_not_to_send(message, portal, recipient, now)) is not None:
        _end(services, message, end[0], end[1])
        return None
    assert isinstance(recipient, Recipient)
    account = _account_for(message)
    gateway = services.gateway(account) if account else None
    if account is None or gateway is None:
        submissions.wait_in_queue(message.id, Reason.NO_GATEWAY, "", until=_latest(message))
        return None
    if account.circuit_open_since is not None:
        until = (
            account.probe_at if account.probe_at and account.probe_at > now else now + timedelta(seconds=5)
        )
        submissions.wait_in_queue(
            message.id, Reason.ACCOUNT_STOPPED, account.circuit_reason, until=min(until, _latest(message))
        )
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


def _must_not_repeat(message: Message, portal: Portal, now: datetime) -> bool:
    """A repeat after an unknown outcome: never past the time to live, nor past the question's deadline."""
    is_over = message.deadline_at is not None and now >= message.deadline_at
    is_over = is_over or not message.recipient  # erased
    return is_over or now >= message.expires_at or portal.state is PortalState.UNINSTALLED


def _latest(message: Message) -> datetime:
    """The moment at which waiting must end."""
    if message.status is MessageStatus.UNKNOWN and message.deadline_at is not None:
        return min(message.expires_at, message.deadline_at)
    return message.expires_at


def _account_for(message: Message) -> Account | None:
    """The portal's default; but an unknown outcome is never taken to a second gateway."""
    if message.status is MessageStatus.UNKNOWN and message.account_id is not None:
        return accounts.by_id(message.account_id)
    return accounts.default_of(message.portal_id)


def _reason_not_to_send(
    message: Message, portal: Portal, recipient: object, now: datetime
) -> tuple[Reason, str] | None:
    if portal.state is PortalState.UNINSTALLED:
        return Reason.UNINSTALLED, ""
    if not message.recipient:
        return Reason.ERASED, ""
    if now >= message.expires_at:
        # What held it back is the better explanation, where there is one.
        return Reason.EXPIRED, message.reason if message.reason else ""
    if not isinstance(recipient, Recipient):
        return Reason.BAD_NUMBER, getattr(recipient, "text", "")
    allowed = portal.settings.countries
    if allowed and recipient.country not in allowed:
        return Reason.COUNTRY, recipient.country or ""
    return None


def _is_its_turn(services: Services, message: Message, account: Account, now: datetime) -> bool:
    """Whether the account's breaker and pace let this message through now; else it waits for its turn."""
    if message.slot_at is not None and message.slot_at <= now and not account.is_silent:
        return True  # its turn was given out before; another one would begin the waiting anew
    turn = accounts.take_turn(account, now=now, breaker_s=services.timing.breaker_s)
    if turn.is_given and turn.at <= now:
        return True
    if account.is_silent and not turn.is_given:
        submissions.all_wait_in_queue(message, until=turn.at)
        return False
    until, slot = turn.at, turn.at if turn.is_given else None
    if not turn.is_given:  # come back spread over the time that the others will take
        ahead = claims.count_queued(account.portal_id) / (account.rate_per_s or accounts.FASTEST_PER_S)
        until += timedelta(seconds=random.uniform(0, min(ahead, 600.0)))  # noqa: S311 - jitter, not a secret
    submissions.wait_in_queue(message.id, Reason.NONE, "", until=min(until, _latest(message)), slot_at=slot)
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
    match outcome:
        case Accepted():
            can = gateway.active_capabilities
            poll_s = can.poll_after_s if can.reports in ("poll", "both") else None
            submissions.record_accepted(claim, outcome, now=now, timing=timing, poll_s=poll_s)
            services.engine.slots.note_accepted(account.id)
            if poll_s is not None and poll_s < timing.sweep_s:
                services.engine.hint("follow_up", claim.message.id, delay_s=poll_s)
        case Refused(kind=RefusalKind.PERMANENT):
            submissions.record_refused_for_good(claim, outcome, now=now, timing=timing)
        case Refused(kind=RefusalKind.CONFIG):
            submissions.record_refused_later(
                claim, outcome, now=now, timing=timing, reason=Reason.ACCOUNT_STOPPED, is_try=False
            )
            _count_config_refusal(services, account, outcome, now)
        case Refused(kind=RefusalKind.THROTTLE):
            submissions.record_refused_later(claim, outcome, now=now, timing=timing, is_try=False)
            accounts.slow_down(
                account.id,
                pause_s=min(outcome.retry_after_s or 1.0, 3600.0),
                seen_per_s=services.engine.slots.accepted_per_s(account.id) or FIRST_PACE_PER_S,
                now=now,
            )
        case Refused():
            submissions.record_refused_later(claim, outcome, now=now, timing=timing)
            _count_no_answer(services, account, now)
        case Unknown():
            settle_unknown(services, claim, gateway, outcome.reason)
            _count_no_answer(services, account, now)
    if account.is_silent and isinstance(outcome, Accepted):  # it was, before this call
        submissions.all_may_go(claim.message, now=now)
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


def _count_config_refusal(services: Services, account: Account, refused: Refused, now: datetime) -> None:
    opened = accounts.count_failure(
        account.id,
        reason=f"{refused.code}: {refused.text}".strip(": "),
        limit=CONFIG_REFUSALS_TO_OPEN,
        probe_at=now + services.timing.span("account_probe_s"),
        now=now,
    )
    if opened:
        log.error(
            "gateway account stopped: its key or balance is refused",
            extra={"install": account.portal_id, "account": account.id, "gateway": account.slug},
        )


def _count_no_answer(services: Services, account: Account, now: datetime) -> None:
    if accounts.note_no_answer(account.id, pause_s=services.timing.breaker_s, now=now):
        log.error(
            "gateway does not answer: one call at a time until it does",
            extra={"install": account.portal_id, "account": account.id, "gateway": account.slug},
        )


# --- unknown outcomes ---


def settle_unknown(
    services: Services, claim: Claim, gateway: Gateway | None, why: str, *, is_fault: bool = False
) -> None:
    """What happens next: ask the gateway, repeat under the same reference, or wait for a report."""
    can_look_up = gateway is not None and gateway.active_capabilities.lookup
    submissions.record_unknown(
        claim,
        why,
        resend=not can_look_up and may_resend(services, claim.portal_id, gateway),
        look_up_s=services.timing.look_up_s if can_look_up else None,
        is_fault=is_fault,
        now=services.now(),
        timing=services.timing,
    )


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
    settle_unknown(services, claim, gateway, why, is_fault=True)
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
    if submissions.note_exception(key, type(error).__name__, now=now, timing=services.timing):
        log.error("dead letter", extra={"message_row": key, "job": job})


def _end(services: Services, message: Message, reason: Reason, text: str) -> None:
    messages.finish(message, MessageStatus.FAILED, reason, text, now=services.now(), timing=services.timing)
    hint_push(services, message.portal_id)


def hint_push(services: Services, portal_id: int) -> None:
    """Wake somebody when the portal's next status is due, unless the sweeper comes by before."""
    delay_s = outbox.seconds_to_push(portal_id, now=services.now())
    if delay_s is not None:
        services.engine.hint("push", portal_id, delay_s=delay_s)
