"""SMS.ru. Source: https://sms.ru/api/send"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

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
from app.gateways.base import (
    Capabilities,
    Field,
    Gateway,
    GatewayCall,
    Outgoing,
    ReportRejected,
    Submitted,
)
from app.gateways.batches import send_in_batches
from app.transport import HttpAnswer

# https://sms.ru/api/status
_STATUSES = {
    "100": MessageStatus.QUEUED,  # in the queue
    "101": MessageStatus.QUEUED,  # being passed to the operator
    "102": MessageStatus.SENT,
    "103": MessageStatus.DELIVERED,
    "104": MessageStatus.UNDELIVERED,  # expired
    "105": MessageStatus.UNDELIVERED,  # deleted by the operator
    "106": MessageStatus.UNDELIVERED,  # a fault of the phone
    "107": MessageStatus.UNDELIVERED,  # reason unknown
    "108": MessageStatus.FAILED,  # rejected
    "110": MessageStatus.DELIVERED,  # read
    "150": MessageStatus.FAILED,  # no route
}

_OK = "100"
_CONFIG, _PERMANENT = RefusalKind.CONFIG, RefusalKind.PERMANENT
_TEMPORARY, _THROTTLE = RefusalKind.TEMPORARY, RefusalKind.THROTTLE

# https://sms.ru/api/send: answers with HTTP 200, for the whole request and again for each number.
_CODES: dict[str, RefusalKind] = {
    "200": _CONFIG,  # wrong api_id
    "201": _CONFIG,  # no money
    "202": _PERMANENT,  # a wrong number, or no route to it
    "203": _PERMANENT,  # no text
    "204": _PERMANENT,  # the originator is not connected to this number's operator
    "205": _PERMANENT,  # too long
    "206": _CONFIG,  # the account's limit of a day
    "207": _PERMANENT,  # no route to this number
    "208": _PERMANENT,  # a wrong time
    "209": _PERMANENT,  # on the stop list
    "210": _PERMANENT,  # GET where POST is wanted
    "211": _PERMANENT,  # no such method
    "212": _PERMANENT,  # not UTF-8
    "213": _PERMANENT,  # more than 100 numbers
    "214": _PERMANENT,  # a number abroad, which is switched off
    "215": _PERMANENT,  # on the stop list of SMS.ru
    "216": _PERMANENT,  # forbidden words
    "217": _PERMANENT,
    "218": _PERMANENT,
    "220": _TEMPORARY,  # not available
    "230": _TEMPORARY,  # the limit of one number, not of the account
    "231": _TEMPORARY,  # the same text to the same number within a minute
    "232": _PERMANENT,  # the same text to the same number too often in a day
    "300": _CONFIG,  # wrong token
    "301": _CONFIG,  # wrong login
    "302": _CONFIG,  # the account is not confirmed
    "500": _TEMPORARY,
    "501": _TEMPORARY,
}
_ERRORS = ErrorTable(
    code_path="status_code",
    text_path="status_text",
    kinds={**_CODES, _OK: None},
    other=_PERMANENT,
)
_REPEATED = frozenset({"231", "232"})

_EXPLANATIONS = {
    "104": why.EXPIRED,
    "105": why.CANCELLED,
    "106": why.UNDELIVERABLE,
    "107": why.UNDELIVERABLE,
    "108": why.BLOCKED,
    "150": why.NO_ROUTE,
    "200": why.WRONG_KEY,
    "201": why.NO_MONEY,
    "202": why.BAD_NUMBER,
    "203": why.NO_TEXT,
    "204": why.BAD_ORIGINATOR,
    "205": why.TEXT_TOO_LONG,
    "206": why.DAILY_LIMIT,
    "207": why.NO_ROUTE,
    "208": why.BAD_REQUEST,
    "209": why.STOP_LIST,
    "210": why.BAD_REQUEST,
    "211": why.BAD_REQUEST,
    "212": why.BAD_REQUEST,
    "213": why.BAD_REQUEST,
    "214": why.COUNTRY,
    "215": why.STOP_LIST,
    "216": why.TEXT_REFUSED,
    "217": why.TEXT_REFUSED,
    "218": why.TEXT_REFUSED,
    "220": why.GATEWAY_FAULT,
    "230": why.NUMBER_LIMIT,
    "231": why.REPEATED,
    "232": why.REPEATED,
    "300": why.WRONG_KEY,
    "301": why.WRONG_KEY,
    "302": why.ACCOUNT_STOPPED,
    "500": why.GATEWAY_FAULT,
    "501": why.GATEWAY_FAULT,
}

_VALIDITY_MINUTES = (1, 1440)


class SmsRu(Gateway):
    """SMS.ru knows no reference of ours: reports are matched by its own id alone."""

    slug = "smsru"
    title = "SMS.ru"
    regions = ("RU",)
    needs = "An API id"
    docs_url = "https://sms.ru/api"
    sign_up_url = "https://sms.ru/?panel=register"
    key_url = "https://sms.ru/?panel=api"
    capabilities = Capabilities(
        reports="both",
        signed_callback=True,
        balance=True,
        originators=True,
        webhooks=True,
        bulk_max=100,
        poll_after_s=300.0,
        poll_max=100,
    )
    explanations = _EXPLANATIONS
    fields = (
        Field("api_id", "API id", "secret", required=True),
        Field(
            "originator",
            "Originator",
            "originator",
            "A name that the service has released for you. Empty: the account's usual one.",
            pattern=r".{1,15}",
            example="ACME",
        ),
    )

    # --- outward

    def submit(self, message: Outgoing) -> Outcome:
        answer = self._send([message], {"to": _digits(message), "msg": message.text})
        return _outcome(message, answer)

    def submit_many(self, messages: Sequence[Outgoing]) -> list[Outcome]:
        """Answers name a message by its number alone, so a call carries each number once."""
        return send_in_batches(messages, alike=lambda message: message.originator, send=self._send_batch)

    def _send_batch(self, batch: Sequence[Outgoing]) -> list[Outcome]:
        answer = self._send(batch, {f"to[{_digits(message)}]": message.text for message in batch})
        return [_outcome(message, answer) for message in batch]

    def _send(self, batch: Sequence[Outgoing], fields: Mapping[str, str]) -> HttpAnswer:
        validity_s = min(message.validity_s for message in batch)
        minutes = min(max(validity_s // 60, _VALIDITY_MINUTES[0]), _VALIDITY_MINUTES[1])
        originator = batch[0].originator or self.originator
        more = {"from": originator} if originator else {}
        return self._call("sms/send", {**fields, **more, "ttl": str(minutes)})

    def poll(self, sent: Sequence[Submitted]) -> list[DeliveryReport]:
        ids = ",".join(part.gateway_message_id for part in sent)
        body = json_or_none(self._call("sms/status", {"sms_id": ids}))
        found = at_path(body, "sms")
        if word_at(body, "status_code") != _OK or not isinstance(found, Mapping):
            return []
        reports = (_polled(part, found.get(part.gateway_message_id)) for part in sent)
        return [report for report in reports if report is not None]

    def balance(self) -> Balance | None:
        return Balance.read(word_at(self._ask("my/balance"), "balance"), "RUB")

    def originators(self) -> list[str]:
        names = at_path(self._ask("my/senders"), "senders")
        return [name for item in names or [] if (name := word(item))] if isinstance(names, list) else []

    def on_enable(self, report_url: str) -> None:
        if report_url not in self._callbacks():
            self._ask("callback/add", {"url": report_url})

    def on_disable(self, report_url: str) -> None:
        if report_url in self._callbacks():
            self._ask("callback/del", {"url": report_url})

    def _callbacks(self) -> list[str]:
        found = at_path(self._ask("callback/get"), "callback")
        return [str(url) for url in found] if isinstance(found, list) else []

    def _ask(self, page: str, fields: Mapping[str, str] | None = None) -> Any:
        body = body_of(self._call(page, fields or {}), _ERRORS)
        if word_at(body, "status_code") != _OK:
            raise QuestionRefused(Unknown("SMS.ru's answer has no status code."))
        return body

    def _call(self, page: str, fields: Mapping[str, str]) -> HttpAnswer:
        # Without `json` the answer is plain lines.
        data = {"api_id": self.settings["api_id"], "json": "1", **fields}
        return self.context.http.request("POST", f"https://sms.ru/{page}", data=data)

    # --- reports

    def parse_reports(self, request: GatewayCall) -> Reports:
        signed = self.settings["api_id"] + "".join(_entries(request))
        expected = hashlib.sha256(signed.encode()).hexdigest()
        given = request.form.get("hash", "").lower()
        if not hmac.compare_digest(given.encode(), expected.encode()):
            raise ReportRejected("SMS.ru's hash is missing or wrong")
        return self.read_unproved(request)

    def read_unproved(self, request: GatewayCall) -> Reports:
        """Up to a hundred entries, one in each field `data[n]`: its kind, id, status and time, line by line.

        Source: https://sms.ru/api/callback. Entries of other kinds are signed along and are none of ours.
        """
        return Reports(tuple(_reports_in(_entries(request))), reply_body="100")


def _digits(message: Outgoing) -> str:
    return message.recipient.removeprefix("+")


def _outcome(message: Outgoing, answer: HttpAnswer) -> Outcome:
    """Two levels: what is said of the request, then what is said of this number."""
    against = refusal(answer, _ERRORS)
    if against is None:
        body = json_or_none(answer)
        item = at_path(body, f"sms.{_digits(message)}")
        code, sms_id = word_at(item, "status_code"), word_at(item, "sms_id")
        if code == _OK and sms_id:
            return Accepted((sms_id,), MessageStatus.QUEUED, cost=_cost(word_at(item, "cost")))
        if not code or code == _OK:
            return Unknown(why.NO_ID)
        against = Refused(_CODES.get(code, _PERMANENT), code, word_at(item, "status_text"))
    if isinstance(against, Refused) and against.code in _REPEATED and message.again:
        return Accepted((), MessageStatus.QUEUED)  # the one whose answer was lost, without its id
    return against


def _cost(cost: str) -> str | None:
    return f"{cost} RUB" if cost else None


def _polled(part: Submitted, item: Any) -> DeliveryReport | None:
    raw = word_at(item, "status_code")
    if raw in ("", "-1") or raw in _CODES:
        return None  # not there, or no status but an error of the question
    return DeliveryReport(
        status=_STATUSES.get(raw),
        raw_status=raw,
        gateway_message_id=part.gateway_message_id,
        text=word_at(item, "status_text"),
    )


def _entries(request: GatewayCall) -> list[str]:
    entries = [value for name, value in request.form_fields if name.startswith("data[")]
    if not entries:
        raise ValueError("no entries")
    return entries


def _reports_in(entries: Sequence[str]) -> Iterator[DeliveryReport]:
    for entry in entries:
        kind, *values = (word(line) for line in entry.splitlines())
        if kind == "sms_status" and len(values) >= 2:
            sms_id, raw, at = (*values, "")[:3]
            yield DeliveryReport(
                status=_STATUSES.get(raw), raw_status=raw, gateway_message_id=sms_id, at=_time(at)
            )


def _time(unix: str) -> datetime | None:
    return datetime.fromtimestamp(int(unix), UTC) if unix.isdecimal() and len(unix) <= 10 else None
