"""What a gateway said: the outcome of a submission, and the delivery reports that follow."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal, InvalidOperation
from enum import StrEnum

from app.domain.status import MessageStatus


class RefusalKind(StrEnum):
    """Why a gateway did not take a message; named by what happens next."""

    CONFIG = "config"  # wrong key, no money: hold the account's messages, tell the admin
    TEMPORARY = "temporary"  # surely not taken: again later
    THROTTLE = "throttle"  # surely not taken: again later and slower
    PERMANENT = "permanent"  # this message never: bad number, blocked text


@dataclass(frozen=True)
class DeliveryReport:
    """The gateway's word on what became of one message, or of one part of it.

    Matched by `reference` (ours) first, by `gateway_message_id` (theirs) second; one of them is set.
    `status` is None for a word that the adapter does not know: it is kept and counted, nothing changes.
    """

    status: MessageStatus | None
    raw_status: str
    reference: str = ""
    gateway_message_id: str = ""
    recipient: str = ""
    code: str = ""
    text: str = ""
    at: datetime | None = None


@dataclass(frozen=True)
class Accepted:
    """The gateway took the message. `ids` are its own, one for each part that it will report on.

    `reports` are what its answer says of single parts already: one that it refused while it took the others.
    """

    ids: tuple[str, ...]
    status: MessageStatus = MessageStatus.SENT
    segments: int | None = None
    cost: str | None = None  # amount and currency as the gateway wrote them
    reports: tuple[DeliveryReport, ...] = ()


# Codes of ours for calls that did not come about; nobody must take them for the gateway's word.
NOT_CALLED = frozenset({"not_sent", "address"})


def is_of_no_call(words: str) -> bool:
    """Whether "code: text" says that nobody was reached."""
    return words.partition(":")[0] in NOT_CALLED


@dataclass(frozen=True)
class Refused:
    """The gateway surely did not take the message; `text` is its own explanation, or why it got no call."""

    kind: RefusalKind
    code: str = ""
    text: str = ""
    retry_after_s: float | None = None

    @property
    def was_called(self) -> bool:
        return self.code not in NOT_CALLED


@dataclass(frozen=True)
class Unknown:
    """The request left and no clear answer came. Only the core may decide to submit again."""

    reason: str


Outcome = Accepted | Refused | Unknown


@dataclass(frozen=True)
class Exchange:
    """One call of a gateway as it may be shown: short, without secrets, texts and full numbers.

    `http_status` is 0 where there was no answer; then `answered` says why.
    """

    method: str
    url: str
    asked: str
    http_status: int
    answered: str
    took_ms: int


@dataclass(frozen=True)
class Reports:
    """What one call of a gateway brought, and the exact answer that it wants to hear."""

    items: tuple[DeliveryReport, ...] = field(default_factory=tuple)
    reply_body: str = "OK"
    reply_status: int = 200
    reply_type: str = "text/plain; charset=utf-8"


@dataclass(frozen=True)
class Balance:
    """What is left on an account: `currency` is a code, or the gateway's own unit ("points", "SMS")."""

    amount: Decimal
    currency: str = ""

    @classmethod
    def read(cls, amount: str, currency: str = "") -> Balance | None:
        """From a gateway's words; None when the amount is no number."""
        try:
            number = Decimal(amount.strip().replace(",", "."))
        except InvalidOperation:
            return None
        return cls(number, currency.strip()) if number.is_finite() else None

    def __str__(self) -> str:
        return f"{self.amount:f} {self.currency}".strip()


ID_DIGITS = 24  # longer numbers are not told apart by their zeros


def id_spellings(gateway_message_id: str) -> list[str]:
    """An id as it came, and for a number the same with more or fewer leading zeros.

    Gateways answer `00000002` and report `2`, because one of their systems keeps the id as a number.
    """
    found = [gateway_message_id]
    if gateway_message_id.isascii() and gateway_message_id.isdigit() and len(gateway_message_id) <= ID_DIGITS:
        bare = gateway_message_id.lstrip("0") or "0"
        found += [bare.zfill(n) for n in range(len(bare), ID_DIGITS + 1) if n != len(gateway_message_id)]
    return found
