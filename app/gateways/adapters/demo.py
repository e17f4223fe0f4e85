"""A gateway inside the product: it sends nothing, and the recipient's last digits choose what happens."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

from app.domain.outcomes import (
    Accepted,
    Balance,
    DeliveryReport,
    Outcome,
    RefusalKind,
    Refused,
    Reports,
    Unknown,
)
from app.domain.sentences import N_
from app.domain.status import MessageStatus
from app.gateways.base import Capabilities, CheckResult, Field, Gateway, GatewayCall, Outgoing, Submitted

_MARK = "demo"


@dataclass(frozen=True)
class DemoCase:
    """What happens to a message. Without `answer` it is accepted, and `word` is reported, if there is one."""

    meaning: str
    answer: Refused | Unknown | None = None
    word: str = ""


_DELIVERED = DemoCase("accepted, then delivered", word="delivered")

# The recipient's last two digits; every other number is delivered.
CASES: dict[str, DemoCase] = {
    "01": DemoCase("accepted, then undelivered", word="undelivered"),
    "02": DemoCase("accepted, then failed", word="failed"),
    "03": DemoCase(
        "refused for good", Refused(RefusalKind.PERMANENT, "bad_number", "This number does not exist.")
    ),
    "04": DemoCase(
        "refused: the account has no money", Refused(RefusalKind.CONFIG, "no_money", "The balance is empty.")
    ),
    "05": DemoCase(
        "refused for now, every time", Refused(RefusalKind.TEMPORARY, "busy", "Try again later.", 5.0)
    ),
    "06": DemoCase(
        "refused as too fast, every time", Refused(RefusalKind.THROTTLE, "too_fast", "Slow down.", 5.0)
    ),
    "07": DemoCase("outcome unknown, for ever", Unknown("The demo gateway gave no answer.")),
    "08": DemoCase("outcome unknown, found when looked up, then delivered", Unknown("The answer got lost.")),
    "09": DemoCase("accepted, no report ever"),
    "10": DemoCase("accepted, reported in a word that is not known", word="teleported"),
}
_FOUND = frozenset({"08"})

_WORDS = {
    "delivered": MessageStatus.DELIVERED,
    "undelivered": MessageStatus.UNDELIVERED,
    "failed": MessageStatus.FAILED,
}


class Demo(Gateway):
    """Nothing is remembered here: the gateway's id of a message carries the report that will come."""

    slug = "demo"
    title = N_("Try without sending")
    needs = "Nothing: no SMS leaves this app"
    capabilities = Capabilities(reports="poll", lookup=True, balance=True, sends=False, poll_after_s=1.5)
    fields = (
        Field("originator", "Originator", "originator", "Shown nowhere: nothing is sent.", default="DEMO"),
    )

    def submit(self, message: Outgoing) -> Outcome:
        case = CASES.get(message.recipient[-2:], _DELIVERED)
        if case.answer is not None:
            return case.answer
        return _accepted(case.word, message.reference, segments=message.segments)

    def look_up(self, reference: str, recipient: str) -> Outcome | None:
        return _accepted("delivered", reference) if recipient[-2:] in _FOUND else None

    def poll(self, sent: Sequence[Submitted]) -> list[DeliveryReport]:
        found = (_report(part.gateway_message_id) for part in sent)
        return [report for report in found if report is not None]

    def parse_reports(self, request: GatewayCall) -> Reports:
        raise ValueError("the demo gateway makes no calls")

    def balance(self) -> Balance:
        return Balance(Decimal("0.00"))

    def check(self) -> CheckResult:
        text = N_("Ready. Nothing is sent; the last two digits of a number choose what happens.")
        return CheckResult(ok=True, text=text, balance=str(self.balance()))


def _accepted(word: str, reference: str, *, segments: int | None = None) -> Accepted:
    return Accepted((f"{_MARK}.{word}.{reference}",), segments=segments)


def _report(gateway_message_id: str) -> DeliveryReport | None:
    mark, word, reference = (*gateway_message_id.split(".", 2), "", "")[:3]
    if mark != _MARK or not word:
        return None
    return DeliveryReport(
        status=_WORDS.get(word), raw_status=word, reference=reference, gateway_message_id=gateway_message_id
    )
