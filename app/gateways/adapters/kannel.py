"""Kannel's `sendsms`, version 1.4. Source: https://www.kannel.org/download/1.4.5/userguide-1.4.5/userguide.html"""

from __future__ import annotations

import re

from app.domain.outcomes import Accepted, DeliveryReport, Outcome, RefusalKind, Reports, Unknown
from app.domain.status import MessageStatus
from app.gateways import explanations as why
from app.gateways.answers import ErrorTable, QuestionRefused, refusal, word
from app.gateways.base import (
    Capabilities,
    CheckResult,
    Field,
    Gateway,
    GatewayCall,
    Outgoing,
)
from app.transport import HttpAnswer, TransportError

# The bits of %d in the order of what they weigh: 34 is 2 with one that nobody describes (expired), 16 comes
# with 1 from no SMSC. https://www.kannel.org/download/1.4.5/userguide-1.4.5/userguide.html#DELIVERY-REPORTS
_STATUSES = {
    "1": MessageStatus.DELIVERED,
    "16": MessageStatus.FAILED,  # refused by the SMSC
    "2": MessageStatus.UNDELIVERED,
    "8": MessageStatus.SENT,  # taken by the SMSC
    "4": MessageStatus.QUEUED,  # waits in Kannel
}
_ALL_REPORTS = "31"

_ERRORS = ErrorTable(statuses={404: RefusalKind.CONFIG})
# "0: Accepted for delivery", "3: Queued for later delivery"; earlier versions said "Sent."
_TAKEN = re.compile(r"\s*(0|3)\s*:|\s*sent\b", re.IGNORECASE)

# Escapes that Kannel fills in: kind of report, the SMSC's id, the SMSC's words, the number.
_REPORT_QUERY = "d=%d&id=%F&answer=%A&to=%p"

_EXPLANATIONS = {
    "REJECTD": why.BLOCKED,
    "UNDELIV": why.UNDELIVERABLE,
    "EXPIRED": why.EXPIRED,
    "DELETED": why.CANCELLED,
    "0x0000000a": why.BAD_ORIGINATOR,
    "0x0000000b": why.BAD_NUMBER,
    "0x00000045": why.GATEWAY_FAULT,
    "0x00000058": why.TOO_FAST,
}


class Kannel(Gateway):
    """Kannel's answer has no id: a report finds its message by the address that it is called under."""

    slug = "kannel"
    title = "Kannel"
    regions = ("*",)
    needs = "A Kannel server of your own, and a user of its sendsms"
    docs_url = "https://www.kannel.org/documentation.shtml"
    capabilities = Capabilities(reports="callback", per_message_callback=True)
    explanations = _EXPLANATIONS
    fields = (
        Field(
            "url",
            "Address",
            "url",
            "Where smsbox takes messages.",
            required=True,
            example="https://kannel.example.org/cgi-bin/sendsms",
            names_account=True,
        ),
        Field("user", "User", required=True, names_account=True),
        Field("password", "Password", "secret", required=True),
        Field(
            "originator",
            "Originator",
            "originator",
            "What the phone shows as the sender. Empty: what Kannel is set up with.",
            pattern=r".{1,20}",
            example="ACME",
        ),
        Field(
            "smsc",
            "SMSC",
            help="Only to choose one of several connections: its smsc-id.",
            pattern=r"[A-Za-z0-9_.-]{1,60}",
            advanced=True,
        ),
        Field(
            "account",
            "Account",
            help="Written into Kannel's access log, for billing.",
            pattern=r"[A-Za-z0-9_.-]{1,60}",
            advanced=True,
        ),
    )

    # --- outward

    def submit(self, message: Outgoing) -> Outcome:
        fields = {
            "from": message.originator or self.originator,
            "to": message.recipient,
            "text": message.text,
            # Without both, texts outside the GSM alphabet arrive as question marks or as something else.
            "charset": "UTF-8",
            "coding": "2" if message.encoding == "ucs2" else "0",
            "validity": str(max(message.validity_s // 60, 1)),
            "dlr-mask": _ALL_REPORTS,
            "dlr-url": f"{message.report_url}?{_REPORT_QUERY}",
            "smsc": self.settings["smsc"],
            "account": self.settings["account"],
        }
        answer = self._call({name: value for name, value in fields.items() if value})
        if against := refusal(answer, _ERRORS):
            return against
        if not _TAKEN.match(answer.text):
            return Unknown(why.NO_OUTCOME)
        return Accepted((), MessageStatus.QUEUED)

    def check(self) -> CheckResult:
        """A message without a number: who may send is told that it is missing, anybody else is refused."""
        try:
            answer = self._call({"text": "check"})
        except TransportError as error:
            return CheckResult.unreachable(error)
        if answer.status == 400 and "receiver" in answer.text.lower():
            return CheckResult(ok=True, text="The gateway answers and accepts the sign-in.")
        against = refusal(answer, _ERRORS) or Unknown("This is not an answer of Kannel's sendsms.")
        return CheckResult.refused(QuestionRefused(against))

    def _call(self, fields: dict[str, str]) -> HttpAnswer:
        # Kannel takes a query only: a form is refused with 400. So the password has no other place.
        sign_in = {"username": self.settings["user"], "password": self.settings["password"]}
        return self.context.http.request("GET", self.settings["url"], params={**sign_in, **fields})

    # --- reports

    def parse_reports(self, request: GatewayCall) -> Reports:
        given = request.args
        raw, answer = word(given["d"]), given.get("answer", "")
        if not request.reference:
            raise ValueError("the address names no message")
        return Reports(
            (
                DeliveryReport(
                    status=_status(raw),
                    raw_status=raw,
                    reference=word(request.reference),
                    recipient=word(given.get("to", "")),
                    code=_code(answer),
                    text=word(answer),
                ),
            )
        )


def _status(raw: str) -> MessageStatus | None:
    bits = int(raw) if raw.isdecimal() and len(raw) <= 6 else 0
    return next((status for bit, status in _STATUSES.items() if bits & int(bit)), None)


def _code(answer: str) -> str:
    """What the SMSC said: of a refused submission its status, of a receipt its word."""
    if refused := re.match(r"NACK/(0x[0-9a-fA-F]{8})", answer):
        return refused[1].lower()
    receipt = re.search(r"\bstat:\s?([A-Za-z]{1,12})", answer)
    word_of_receipt = receipt[1].upper() if receipt else ""
    return "" if word_of_receipt == "DELIVRD" else word_of_receipt
