"""What our own rules say about a message before a gateway is asked: send it, hold it, or end it.

One place and one order: what it is, how old it is, the number, the kind of number, the country; then whether
there is anybody to send it.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from app.domain.messages import Message, Reason
from app.domain.numbers import NumberRefused, Recipient, parse_recipient
from app.domain.portals import PortalSettings, PortalState
from app.domain.status import MessageStatus

LOOK_AGAIN = timedelta(seconds=5)  # a stopped account whose probe is overdue: somebody is at it
PAUSE_AGAIN = timedelta(minutes=15)  # who ends a pause wakes what it held; this finds what they could not see


@dataclass(frozen=True)
class Send:
    recipient: Recipient


@dataclass(frozen=True)
class Hold:
    """Not now. `until` never lies behind the end of the message's life."""

    until: datetime
    reason: Reason
    text: str = ""


@dataclass(frozen=True)
class End:
    """Not at all; `text` says more for the admin."""

    reason: Reason
    text: str = ""


@dataclass(frozen=True)
class Standing:
    """An account as far as it matters here: does the gateway refuse it, why, and when is it asked again."""

    is_stopped: bool = False
    words: str = ""
    probe_at: datetime | None = None
    is_trial: bool = False  # it sends nothing, and messages of the portal must not be told as delivered


def decide(
    message: Message, state: PortalState, settings: PortalSettings, account: Standing | None, *, now: datetime
) -> Send | Hold | End:
    """For a message that is due. `account` is the one that would send it; None when there is none."""
    recipient = parse_recipient(message.recipient, default_country=settings.default_country or None)
    end = _end(message, state, settings, recipient, now)
    if end is not None:
        return end
    assert isinstance(recipient, Recipient)
    if account is not None and account.is_trial and message.origin == "portal":
        return End(Reason.TRIAL)
    return hold(message, account, now=now) or Send(recipient)


def _end(
    message: Message,
    state: PortalState,
    settings: PortalSettings,
    recipient: Recipient | NumberRefused,
    now: datetime,
) -> End | None:
    if state is PortalState.UNINSTALLED:
        return End(Reason.UNINSTALLED)
    if message.is_erased:
        return End(Reason.ERASED)
    if now >= message.expires_at:
        # What held it back is the better explanation, where there is one.
        return End(Reason.EXPIRED, message.reason)
    if not message.text.strip():
        return End(Reason.NO_TEXT)
    if isinstance(recipient, NumberRefused):
        return End(Reason.BAD_NUMBER, recipient.text)
    if recipient.expensive and not settings.expensive_numbers:
        return End(Reason.EXPENSIVE, recipient.expensive)
    if settings.countries and recipient.country not in settings.countries:
        return End(Reason.COUNTRY, recipient.country or "")
    return None


def hold(message: Message, account: Standing | None, *, now: datetime) -> Hold | None:
    """Whether the account lets it go now."""
    if account is None:
        return Hold(ends_waiting(message), Reason.NO_GATEWAY)
    if not account.is_stopped:
        return None
    is_planned = account.probe_at is not None and account.probe_at > now
    until = account.probe_at if is_planned and account.probe_at else now + LOOK_AGAIN
    return Hold(min(until, ends_waiting(message)), Reason.ACCOUNT_STOPPED, account.words)


def under_pause(
    decision: Send | Hold | End | None, message: Message, why: str, *, now: datetime
) -> Hold | End | None:
    """What the operator's pause makes of a decision: nothing goes out, and what is over ends as always."""
    if decision is not None and not isinstance(decision, End):
        return Hold(min(now + PAUSE_AGAIN, ends_waiting(message)), Reason.PAUSED, why)
    return decision


def decide_repeat(
    message: Message, state: PortalState, settings: PortalSettings, account: Standing | None, *, now: datetime
) -> Send | Hold | None:
    """For an unknown outcome that is due to be submitted once more; None when it must not be any more."""
    recipient = parse_recipient(message.recipient, default_country=settings.default_country or None)
    if isinstance(recipient, NumberRefused) or not may_repeat(message, state, now=now):
        return None
    return hold(message, account, now=now) or Send(recipient)


def may_repeat(message: Message, state: PortalState, *, now: datetime) -> bool:
    """Whether an unknown outcome may be submitted once more: never past the time to live, nor past the
    question's deadline."""
    is_over = message.deadline_at is not None and now >= message.deadline_at
    is_over = is_over or now >= message.expires_at or state is PortalState.UNINSTALLED
    return not is_over and bool(message.recipient)


def ends_waiting(message: Message) -> datetime:
    """The moment at which waiting must end."""
    if message.status is MessageStatus.UNKNOWN and message.deadline_at is not None:
        return min(message.expires_at, message.deadline_at)
    return message.expires_at
