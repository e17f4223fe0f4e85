"""Stop 2 of a message's walk: hand it to the portal's gateway, at most once per reference."""

from __future__ import annotations

import logging
from datetime import datetime, timedelta

from app.domain.messages import Claim, Message, Reason, Work
from app.domain.numbers import Recipient, parse_recipient
from app.domain.outcomes import Accepted, Outcome, RefusalKind, Refused, Unknown
from app.domain.portals import Portal, PortalState
from app.domain.status import MessageStatus
from app.domain.texts import TextMeasure, measure
from app.gateways.base import Gateway, Outgoing
from app.services import Services
from app.store import accounts, messages, outbox, portals, senders
from app.store.accounts import Account
from app.transport import NoAnswer, NotSent

log = logging.getLogger(__name__)

CONFIG_REFUSALS_TO_OPEN = 3  # one may be the message's own fault (an originator, a country)
HOLD = timedelta(days=365)  # "until somebody changes something"; the time to live ends it first


def submit_message(services: Services, row_id: int) -> None:
    """Submit one message if it is really due."""
    now = services.now()
    message = messages.due(row_id, Work.QUEUED, now=now)
    if message is None:
        return
    portal = portals.by_id(message.portal_id)
    recipient = parse_recipient(message.recipient, default_country=portal.settings.default_country or None)
    if (end := _reason_not_to_send(message, portal, recipient, now)) is not None:
        _end(services, message, end[0], end[1])
        return
    assert isinstance(recipient, Recipient)
    account = accounts.default_of(portal.id)
    gateway = services.gateway(account) if account else None
    if account is None or gateway is None:
        messages.wait_in_queue(message.id, Reason.NO_GATEWAY, "", until=message.expires_at)
        return
    if (until := _not_before(account, now)) is not None:
        reason = Reason.ACCOUNT_STOPPED if account.circuit_open_since else Reason.NONE
        messages.wait_in_queue(
            message.id, reason, account.circuit_reason, until=min(until, message.expires_at)
        )
        return
    _submit(services, message, recipient, account, gateway)


def _reason_not_to_send(
    message: Message, portal: Portal, recipient: object, now: datetime
) -> tuple[Reason, str] | None:
    if portal.state is PortalState.UNINSTALLED:
        return Reason.UNINSTALLED, ""
    if now >= message.expires_at:
        # What held it back is the better explanation, where there is one.
        return Reason.EXPIRED, message.reason if message.reason else ""
    if not isinstance(recipient, Recipient):
        return Reason.BAD_NUMBER, getattr(recipient, "text", "")
    allowed = portal.settings.countries
    if allowed and recipient.country not in allowed:
        return Reason.COUNTRY, recipient.country or ""
    return None


def _not_before(account: Account, now: datetime) -> datetime | None:
    if account.circuit_open_since is not None:
        return account.probe_at if account.probe_at and account.probe_at > now else now + timedelta(seconds=5)
    if account.paused_until is not None and account.paused_until > now:
        return account.paused_until
    return None


def _submit(
    services: Services, message: Message, recipient: Recipient, account: Account, gateway: Gateway
) -> None:
    size = measure(message.text)
    claim = messages.claim(
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
    outcome = _call(gateway, _outgoing(services, claim, recipient, account, gateway, size))
    _record(services, claim, account, gateway, outcome)


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
    )


def _call(gateway: Gateway, outgoing: Outgoing) -> Outcome:
    """The gateway's answer as a value; an exception of the adapter leaves the outcome unknown."""
    try:
        return gateway.submit(outgoing)
    except NotSent as error:
        return Refused(RefusalKind.TEMPORARY, "not_sent", str(error))
    except NoAnswer as error:
        return Unknown(str(error))
    except Exception as error:
        log.exception("adapter failed", extra={"gateway": gateway.slug})
        return Unknown(f"the adapter failed: {type(error).__name__}")


def _record(services: Services, claim: Claim, account: Account, gateway: Gateway, outcome: Outcome) -> None:
    now, timing = services.now(), services.timing
    match outcome:
        case Accepted():
            can = gateway.active_capabilities
            poll_s = can.poll_after_s if can.reports in ("poll", "both") else None
            messages.record_accepted(claim, outcome, now=now, timing=timing, poll_s=poll_s)
            if poll_s is not None and poll_s < timing.sweep_s:
                services.engine.hint("follow_up", claim.message.id, delay_s=poll_s)
        case Refused(kind=RefusalKind.PERMANENT):
            messages.record_refused_for_good(claim, outcome, now=now, timing=timing)
        case Refused(kind=RefusalKind.CONFIG):
            _count_config_refusal(services, account, outcome, now)
            messages.record_refused_later(
                claim, outcome, now=now, timing=timing, reason=Reason.ACCOUNT_STOPPED
            )
        case Refused():
            if outcome.kind is RefusalKind.THROTTLE:
                accounts.pause(account.id, now + timedelta(seconds=outcome.retry_after_s or 1.0))
            messages.record_refused_later(claim, outcome, now=now, timing=timing)
        case Unknown():
            messages.record_unknown(
                claim.message.id,
                claim.lease,
                outcome.reason,
                resend=may_resend(services, claim.portal_id, gateway),
                now=now,
                timing=timing,
            )
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


def may_resend(services: Services, portal_id: int, gateway: Gateway | None) -> bool:
    """Whether an unknown outcome may be submitted again: the gateway drops repeats, or the admin said so."""
    if gateway is not None and gateway.active_capabilities.idempotent:
        return True
    return portals.by_id(portal_id).settings.unknown_policy == "resend"


def recover_message(services: Services, row_id: int) -> None:
    """A claim whose lease is over: its worker died or sleeps, and what the gateway heard is unknown."""
    claimed = messages.lost_claim(row_id, now=services.now())
    if claimed is None:
        return
    lease, account_id, portal_id = claimed
    account = accounts.by_id(account_id)
    gateway = services.gateway(account) if account else None
    messages.record_unknown(
        row_id,
        lease,
        "the worker stopped before the gateway's answer was recorded",
        resend=may_resend(services, portal_id, gateway),
        now=services.now(),
        timing=services.timing,
    )
    log.warning("lease lost", extra={"install": portal_id, "message_row": row_id})


def _end(services: Services, message: Message, reason: Reason, text: str) -> None:
    messages.finish(
        message.id,
        expected=[Work.QUEUED],
        status=MessageStatus.FAILED,
        reason=reason,
        text=text,
        now=services.now(),
        timing=services.timing,
    )
    hint_push(services, message.portal_id)


def hint_push(services: Services, portal_id: int) -> None:
    """Wake somebody when the portal's next status is due, unless the sweeper comes by before."""
    delay_s = outbox.seconds_to_push(portal_id, now=services.now())
    if delay_s is not None:
        services.engine.hint("push", portal_id, delay_s=delay_s)
