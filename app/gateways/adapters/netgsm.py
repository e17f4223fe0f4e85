"""Netgsm, REST v2. Source: https://www.netgsm.com.tr/dokuman/"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta, timezone
from typing import Any

from app.domain.outcomes import (
    Accepted,
    Balance,
    DeliveryReport,
    Outcome,
    RefusalKind,
    Reports,
    Unknown,
)
from app.domain.status import MessageStatus
from app.gateways import explanations as why
from app.gateways.answers import (
    ErrorTable,
    QuestionRefused,
    at_path,
    body_of,
    json_or_none,
    refusal,
    word,
    word_at,
)
from app.gateways.base import Capabilities, Field, Gateway, GatewayCall, Outgoing, Submitted
from app.transport import HttpAnswer

# https://www.netgsm.com.tr/dokuman/#sms-rapor, and the names in the vendor's JavaScript client.
_STATUSES = {
    "0": MessageStatus.SENT,  # waits for the operator's word
    "1": MessageStatus.DELIVERED,
    "2": MessageStatus.UNDELIVERED,  # expired
    "3": MessageStatus.FAILED,  # a wrong or restricted number
    "4": MessageStatus.FAILED,  # not given to the operator
    "11": MessageStatus.FAILED,  # rejected
    "12": MessageStatus.UNDELIVERED,  # delivery error
    "13": MessageStatus.FAILED,  # duplicate
    "14": MessageStatus.FAILED,  # no credit
    "15": MessageStatus.FAILED,  # on the black list
    "16": MessageStatus.FAILED,  # IYS says no
    "17": MessageStatus.FAILED,  # IYS error
}

_OK = "00"
_NOTHING_FOUND = "60"
_CONFIG, _PERMANENT = RefusalKind.CONFIG, RefusalKind.PERMANENT
_TEMPORARY, _THROTTLE = RefusalKind.TEMPORARY, RefusalKind.THROTTLE

# https://www.netgsm.com.tr/dokuman/#sms-gönder: all of them come as HTTP 406. 60 is of the answers to
# questions: no records.
_CODES: dict[str, RefusalKind] = {
    "20": _PERMANENT,  # the text, or its length
    "30": _CONFIG,  # sign-in, no right to the API, this address, or no credit
    "40": _CONFIG,  # originator not defined
    "41": _CONFIG,  # originator not valid
    "50": _CONFIG,  # the account may not send with IYS
    "51": _CONFIG,  # no brand at IYS
    "60": _CONFIG,
    "70": _PERMANENT,  # a parameter
    "80": _THROTTLE,
    "85": _THROTTLE,  # more than 20 to one number within a minute
    "100": _TEMPORARY,
    "101": _TEMPORARY,
    "110": _TEMPORARY,
    "5000": _TEMPORARY,  # undefined
}
_ERRORS = ErrorTable(code_path="code", text_path="description", kinds={**_CODES, _OK: None}, other=_PERMANENT)

_EXPLANATIONS = {
    "20": why.TEXT_TOO_LONG,
    "30": why.WRONG_KEY,
    "40": why.BAD_ORIGINATOR,
    "41": why.BAD_ORIGINATOR,
    "50": why.CONTRACT,
    "51": why.CONSENT,
    "60": why.NO_MONEY,
    "70": why.BAD_REQUEST,
    "80": why.TOO_FAST,
    "85": why.NUMBER_LIMIT,
    "100": why.GATEWAY_FAULT,
    "101": why.GATEWAY_FAULT,
    "110": why.GATEWAY_FAULT,
    "5000": why.GATEWAY_FAULT,
    "2": why.EXPIRED,
    "3": why.BAD_NUMBER,
    "4": why.NO_ROUTE,
    "11": why.BLOCKED,
    "12": why.UNDELIVERABLE,
    "13": why.REPEATED,
    "14": why.NO_MONEY,
    "15": why.STOP_LIST,
    "16": why.CONSENT,
    "17": why.CONSENT,
}

_TURKEY = timezone(timedelta(hours=3))
_REPORT_SPAN = timedelta(days=3)


class Netgsm(Gateway):
    """Netgsm calls nobody and knows no reference of ours: its reports are fetched by its job ids."""

    slug = "netgsm"
    title = "Netgsm"
    regions = ("TR",)
    needs = "User code and password of a sub-user with the right to the API"
    docs_url = "https://www.netgsm.com.tr/dokuman/"
    sign_up_url = "https://www.netgsm.com.tr/"
    key_url = "https://portal.netgsm.com.tr/"
    # Ten questions a minute are allowed, so the first one waits until there is something to hear.
    capabilities = Capabilities(
        reports="poll", balance=True, originators=True, poll_after_s=60.0, poll_max=100
    )
    explanations = _EXPLANATIONS
    fields = (
        Field("usercode", "User code", required=True, pattern=r"[0-9]{6,20}|\S{1,60}", names_account=True),
        Field("password", "Password", "secret", "The password of the sub-user for the API.", required=True),
        Field(
            "originator",
            "Originator",
            "originator",
            "A header that Netgsm has released for you.",
            required=True,
            pattern=r".{1,11}",
            example="ACME",
        ),
        Field(
            "content",
            "Kind of messages",
            "choice",
            "Advertising goes only to those who have agreed to it at IYS.",
            default="0",
            choices=(
                ("0", "Information"),
                ("11", "Advertising to persons"),
                ("12", "Advertising to companies"),
            ),
            advanced=True,
        ),
    )

    # --- outward

    def submit(self, message: Outgoing) -> Outcome:
        body: dict[str, Any] = {
            "msgheader": message.originator or self.originator,
            "iysfilter": self.settings["content"],
            "messages": [{"msg": message.text, "no": _number(message.recipient)}],
        }
        if not message.text.isascii():  # without it, Turkish letters lose their marks
            body["encoding"] = "TR"
        answer = self._call("POST", "sms/rest/v2/send", json=body)
        if against := refusal(answer, _ERRORS):
            return against
        found = json_or_none(answer)
        job = next((job for name in ("jobid", "jobId", "jobID") if (job := word_at(found, name))), "")
        if not job:
            return Unknown(why.NO_ID)
        return Accepted((job,), MessageStatus.QUEUED)

    def poll(self, sent: Sequence[Submitted]) -> list[DeliveryReport]:
        now = self.context.now().astimezone(_TURKEY)
        body = {
            "jobids": [part.gateway_message_id for part in sent],
            "startdate": _date(now - _REPORT_SPAN),
            "stopdate": _date(now + timedelta(minutes=10)),
            "pagenumber": 0,
            "pagesize": 100,
        }
        answer = self._call("POST", "sms/rest/v2/report", json=body)
        jobs = None if refusal(answer, _ERRORS) else at_path(json_or_none(answer), "jobs")
        asked = {part.gateway_message_id for part in sent}
        items = (
            [item for item in jobs or [] if word_at(item, "jobid") in asked] if isinstance(jobs, list) else []
        )
        return [_polled(item) for item in items if word_at(item, "status")]

    def balance(self) -> Balance | None:
        """The credit in lira. This one question is signed in by its body."""
        sign_in = {"usercode": self.settings["usercode"], "password": self.settings["password"]}
        url = "https://api.netgsm.com.tr/balance"
        answer = self.context.http.request("POST", url, json={**sign_in, "stip": 2})
        body = json_or_none(answer)
        if word_at(body, "code") == _NOTHING_FOUND:
            return Balance.read("0", "TRY")
        body = body_of(answer, _ERRORS)
        amount = word_at(body, "balance") or word_at(body, "balance.0.amount")
        if not amount:
            raise QuestionRefused(Unknown("Netgsm's answer has no balance."))
        return Balance.read(amount, "TRY")

    def originators(self) -> list[str]:
        body = body_of(self._call("GET", "sms/rest/v2/msgheader"), _ERRORS)
        names = at_path(body, "msgheaders") or at_path(body, "msgheader")
        return [name for item in names if (name := word(item))] if isinstance(names, list) else []

    def _call(self, method: str, page: str, **more: Any) -> HttpAnswer:
        sign_in = (self.settings["usercode"], self.settings["password"])
        return self.context.http.request(method, f"https://api.netgsm.com.tr/{page}", auth=sign_in, **more)

    # --- reports

    def parse_reports(self, request: GatewayCall) -> Reports:
        raise ValueError("Netgsm makes no calls")


def _number(recipient: str) -> str:
    """Ten digits in Turkey; abroad with the two zeros of the way out."""
    digits = recipient.removeprefix("+")
    return digits[2:] if digits.startswith("90") and len(digits) == 12 else f"00{digits}"


def _date(moment: datetime) -> str:
    return moment.strftime("%d%m%Y%H%M%S")


def _polled(item: Any) -> DeliveryReport:
    raw = word_at(item, "status")
    error = word_at(item, "errorCode")
    return DeliveryReport(
        status=_STATUSES.get(raw),
        raw_status=raw,
        gateway_message_id=word_at(item, "jobid"),
        code="" if error in ("", "0") else f"err_{error}",
    )
