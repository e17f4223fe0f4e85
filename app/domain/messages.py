"""Messages on their way: as the portal handed one over, and as the rows tell of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import IntEnum, StrEnum
from typing import Any

from app.domain.status import MessageStatus


class Work(StrEnum):
    """How far our own work on a message is. Unlike the status it may go back."""

    HELD = "held"  # its proof of origin is being checked
    QUEUED = "queued"  # to be submitted when due
    SUBMITTING = "submitting"  # claimed by a worker until the lease is over
    WAITING = "waiting"  # submitted, or unknown: for a report, a poll or the deadline
    CLOSED = "closed"  # nothing left to do but to tell the portal


class Lane(IntEnum):
    """Single messages pass a campaign, however long it is."""

    SINGLE = 0
    CAMPAIGN = 1


class Reason(StrEnum):
    """Why a message ended, or waits. The words for people live in the UI; these never change."""

    NONE = ""
    NO_GATEWAY = "no_gateway"  # no gateway is connected yet
    ACCOUNT_STOPPED = "account_stopped"  # the gateway refuses the account: key or money
    PAUSED = "paused"  # the operator lets nothing of this portal go out for now
    EXPIRED = "expired"  # older than the portal's time to live
    BAD_NUMBER = "bad_number"
    NO_TEXT = "no_text"  # the portal handed over an empty text
    COUNTRY = "country"  # the admin does not allow this country
    TRIAL = "trial"  # the connected gateway sends nothing: the portal must not hear that it was delivered
    EXPENSIVE = "expensive"  # a number of a kind that costs a fortune; the admin does not allow it
    REFUSED = "refused"  # by the gateway, for good
    LATER = "later"  # the gateway could not take it yet; it is tried again
    NOT_REACHED = "not_reached"  # the gateway could not be called, this time or too often
    GAVE_UP = "gave_up"  # refused temporarily too often
    UNKNOWN = "unknown"  # the gateway's answer never came
    NOT_VERIFIED = "not_verified"  # the call could not be proved to be the portal's
    UNINSTALLED = "uninstalled"
    CANCELLED = "cancelled"  # by an administrator, before it was sent
    ERASED = "erased"  # its number was removed on request before it was sent
    REPORTED = "reported"  # the gateway's report says so
    NO_REPORT = "no_report"  # accepted, and no report came by its deadline
    DEAD_LETTER = "dead_letter"  # our own fault, again and again
    DEAD_ENDED = "dead_ended"  # the same, and the operator has seen to it


class Author(StrEnum):
    """Who or what wrote a message, as far as the portal's call says; not which person."""

    PERSON = "person"
    ROBOT = "robot"  # or a workflow
    MARKETING = "marketing"
    AUTOMATIC = "automatic"  # something else without a person
    TEST = "test"  # our own page

    @classmethod
    def of(cls, origin: str, module_id: str, author_id: str) -> Author:
        if origin == "test":
            return cls.TEST
        if module_id == "bizproc":
            return cls.ROBOT
        if module_id == "sender":
            return cls.MARKETING
        return cls.PERSON if author_id.strip("0") else cls.AUTOMATIC


@dataclass(frozen=True)
class CallAuth:
    """The `auth` block of a call; every field may be missing, and none is proof by itself."""

    access_token: str = field(default="", repr=False)
    refresh_token: str = field(default="", repr=False)
    expires_in_s: int = 0
    application_token: str = field(default="", repr=False)
    member_id: str = ""
    user_id: str = ""
    client_endpoint: str = ""
    domain: str = ""
    status: str = ""


@dataclass(frozen=True)
class HandedMessage:
    """One outgoing SMS as the portal handed it over at the HANDLER."""

    message_id: str
    recipient: str  # as it came
    text: str
    sender_code: str
    sent_at: datetime | None = None
    text_flags: str = ""
    module_id: str = ""
    bindings: tuple[Mapping[str, str], ...] = ()
    extra: Mapping[str, Any] = field(default_factory=dict)
    auth: CallAuth = CallAuth()
    origin: str = "portal"


@dataclass(frozen=True)
class Message:
    """One row of `messages`, for reading."""

    id: int
    portal_id: int
    message_id: str
    origin: str
    sender_code: str
    recipient: str
    text: str
    module_id: str
    bindings: tuple[Mapping[str, str], ...]
    author_id: str
    received_at: datetime
    expires_at: datetime
    encoding: str
    segments: int
    status: MessageStatus
    reason: str
    reason_text: str
    work: Work
    due_at: datetime | None
    deadline_at: datetime | None
    attempts: int
    is_resend: bool
    account_id: int | None
    told: MessageStatus | None
    told_at: datetime | None
    push_due_at: datetime | None
    push_tries: int  # failed ones, since it was last told something
    body_hash: str = field(repr=False)

    @property
    def author(self) -> Author:
        return Author.of(self.origin, self.module_id, self.author_id)

    @property
    def is_erased(self) -> bool:
        """Its number was removed on request. One that came without a number still has its hash."""
        return not self.recipient and not self.body_hash


@dataclass(frozen=True)
class Claim:
    """A worker's right to submit one message now. Every write that follows names the lease."""

    message: Message
    lease: str
    attempt_id: int
    reference: str
    calls: int  # tries under this reference; above 1 it is a repeat after an unknown outcome
    tries: int
    portal_id: int
    account_id: int


@dataclass(frozen=True)
class TimelineEntry:
    at: datetime
    event: str
    detail: str
