"""SMSAPI. Source: https://www.smsapi.com/docs/"""

from __future__ import annotations

from collections.abc import Sequence
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
)
from app.gateways.batches import send_in_batches
from app.transport import HttpAnswer

_HOSTS = {"pl": "api.smsapi.pl", "com": "api.smsapi.com"}

# https://www.smsapi.com/docs/#delivery-reports-statuses: by number and by name; reports have both.
_STATUSES = {
    "401": MessageStatus.FAILED,
    "NOT_FOUND": MessageStatus.FAILED,
    "402": MessageStatus.UNDELIVERED,
    "EXPIRED": MessageStatus.UNDELIVERED,
    "403": MessageStatus.SENT,
    "SENT": MessageStatus.SENT,
    "404": MessageStatus.DELIVERED,
    "DELIVERED": MessageStatus.DELIVERED,
    "405": MessageStatus.UNDELIVERED,
    "UNDELIVERED": MessageStatus.UNDELIVERED,
    "406": MessageStatus.FAILED,
    "FAILED": MessageStatus.FAILED,
    "407": MessageStatus.FAILED,
    "REJECTED": MessageStatus.FAILED,
    "408": MessageStatus.SENT,  # nobody knows; the last word stays
    "UNKNOWN": MessageStatus.SENT,
    "409": MessageStatus.QUEUED,
    "QUEUE": MessageStatus.QUEUED,
    "410": MessageStatus.SENT,
    "ACCEPTED": MessageStatus.SENT,
    "411": MessageStatus.QUEUED,
    "RENEWAL": MessageStatus.QUEUED,
    "412": MessageStatus.FAILED,
    "STOP": MessageStatus.FAILED,
}

_CONFIG, _PERMANENT = RefusalKind.CONFIG, RefusalKind.PERMANENT
_TEMPORARY, _THROTTLE = RefusalKind.TEMPORARY, RefusalKind.THROTTLE

# https://www.smsapi.com/docs/#error-codes. Links (94) are a matter of this text, not of the account.
_CODES: dict[str, RefusalKind] = {
    "8": _PERMANENT,  # an error in the request
    "11": _PERMANENT,  # too long, or empty
    "12": _PERMANENT,  # more parts than allowed
    "13": _PERMANENT,  # no valid number
    "14": _CONFIG,  # originator
    "52": _THROTTLE,  # too many to one number
    "54": _PERMANENT,  # a wrong time
    "56": _PERMANENT,
    "57": _PERMANENT,  # on the stop list
    "59": _PERMANENT,
    "94": _PERMANENT,  # links are not allowed
    "96": _PERMANENT,  # country
    "101": _CONFIG,  # wrong key
    "102": _CONFIG,  # wrong key
    "103": _CONFIG,  # no points
    "105": _CONFIG,  # this address may not call
    "110": _CONFIG,  # this service is not allowed
    "200": _TEMPORARY,
    "201": _TEMPORARY,
    "202": _THROTTLE,
    "203": _THROTTLE,
    "999": _TEMPORARY,
}
_NO_NUMBER = "13"
_REPEATED = "53"  # our reference was taken before: the message is there
_KINDS: dict[str, RefusalKind] = _CODES | {_REPEATED: _PERMANENT}
_ERRORS = ErrorTable(code_path="error", text_path="message", kinds=_KINDS, other=_PERMANENT)

_EXPLANATIONS = {
    "8": why.BAD_REQUEST,
    "11": why.TEXT_TOO_LONG,
    "12": why.TEXT_TOO_LONG,
    "13": why.BAD_NUMBER,
    "14": why.BAD_ORIGINATOR,
    "52": why.NUMBER_LIMIT,
    "54": why.BAD_REQUEST,
    "56": why.BAD_REQUEST,
    "57": why.STOP_LIST,
    "59": why.STOP_LIST,
    "94": why.TEXT_REFUSED,
    "96": why.COUNTRY,
    "101": why.WRONG_KEY,
    "102": why.WRONG_KEY,
    "103": why.NO_MONEY,
    "105": why.ADDRESS_NOT_ALLOWED,
    "110": why.CONTRACT,
    "200": why.GATEWAY_FAULT,
    "201": why.GATEWAY_FAULT,
    "202": why.TOO_FAST,
    "203": why.TOO_FAST,
    "999": why.GATEWAY_FAULT,
    "402": why.EXPIRED,
    "405": why.UNDELIVERABLE,
    "406": why.UNDELIVERABLE,
    "407": why.BLOCKED,
    "412": why.CANCELLED,
}

_MAX_PARTS = 10


class SmsApi(Gateway):
    """`idx` is our reference, and with `check_idx` SMSAPI refuses to take it twice within a day."""

    slug = "smsapi"
    title = "SMSAPI"
    regions = ("PL", "*")
    needs = "An API token"
    docs_url = "https://www.smsapi.com/docs/"
    sign_up_url = "https://www.smsapi.com/signup"
    key_url = "https://ssl.smsapi.com/react/oauth/manage"
    capabilities = Capabilities(
        reports="callback",
        per_message_callback=True,
        idempotent=True,
        balance=True,
        originators=True,
        bulk_max=100,
    )
    explanations = _EXPLANATIONS
    fields = (
        Field("token", "API token", "secret", required=True),
        Field(
            "originator",
            "Originator",
            "originator",
            "A name that the service has released for you. Empty: the account's usual one.",
            pattern=r".{1,15}",
            example="ACME",
        ),
        Field(
            "site",
            "Site",
            "choice",
            "Where your account is. The sites are separate, with the same API.",
            default="pl",
            choices=(("pl", "smsapi.pl"), ("com", "smsapi.com")),
            names_account=True,
        ),
    )

    # --- outward

    def submit(self, message: Outgoing) -> Outcome:
        return self._send([message])[0]

    def submit_many(self, messages: Sequence[Outgoing]) -> list[Outcome]:
        """A call carries one text to many numbers, so as many calls as there are different texts."""
        return send_in_batches(
            messages, alike=lambda message: (message.text, message.originator), send=self._send
        )

    def _send(self, batch: Sequence[Outgoing]) -> list[Outcome]:
        fields = {
            "to": ",".join(message.recipient.removeprefix("+") for message in batch),
            "message": batch[0].text,
            "from": batch[0].originator or self.originator,
            "idx": "|".join(message.reference for message in batch),
            "check_idx": "1",
            "encoding": "utf-8",
            "max_parts": str(_MAX_PARTS),
            "notify_url": _report_url(batch),
            "format": "json",
        }
        answer = self._call("POST", "sms.do", data={name: value for name, value in fields.items() if value})
        against = refusal(answer, _ERRORS)
        if isinstance(against, Refused) and against.kind is _PERMANENT and len(batch) > 1:
            # Said of the whole call for the sake of one: each for itself, which `check_idx` makes safe.
            return send_in_batches(batch, alike=lambda message: message.reference, send=self._send)
        if against is not None:
            return [_as_taken(against)] * len(batch)
        body = json_or_none(answer)
        return [_outcome(message, _item_of(message, batch, body)) for message in batch]

    def balance(self) -> Balance | None:
        return Balance.read(word_at(self._ask("profile"), "points"), "points")

    def originators(self) -> list[str]:
        body = self._ask("sender.do", {"format": "json", "list": "true"})
        items = body if isinstance(body, list) else at_path(body, "list") or at_path(body, "collection")
        active = [item for item in items or [] if word_at(item, "status").upper() in ("ACTIVE", "")]
        return [name for item in active if (name := word_at(item, "sender") or word_at(item, "name"))]

    def _ask(self, page: str, params: dict[str, str] | None = None) -> Any:
        return body_of(self._call("GET", page, params=params), _ERRORS)

    def _call(self, method: str, page: str, **more: Any) -> HttpAnswer:
        headers = {"Authorization": f"Bearer {self.settings['token']}"}
        url = f"https://{_HOSTS[self.settings['site']]}/{page}"
        return self.context.http.request(method, url, headers=headers, **more)

    # --- reports

    def parse_reports(self, request: GatewayCall) -> Reports:
        """Up to five reports at once, each field a list with commas; the answer must be exactly OK."""
        given = request.fields
        ids = given["MsgId"].split(",")
        columns = {
            name: _column(given, name, len(ids))
            for name in ("status", "status_name", "idx", "to", "donedate", "error")
        }
        single = request.reference if len(ids) == 1 else ""
        return Reports(
            tuple(
                _report(ids[n], {name: column[n] for name, column in columns.items()}, single)
                for n in range(len(ids))
            ),
            reply_body="OK",
        )


def _report_url(batch: Sequence[Outgoing]) -> str:
    """One address for the whole call; that of many messages must not name one of them."""
    first = batch[0]
    return first.report_url if len(batch) == 1 else first.report_url.removesuffix(f"/{first.reference}")


def _as_taken(against: Refused | Unknown) -> Outcome:
    is_there = isinstance(against, Refused) and against.code == _REPEATED
    return Accepted((), MessageStatus.QUEUED) if is_there else against


def _outcome(message: Outgoing, item: Any) -> Outcome:
    error = word_at(item, "error")
    if error not in ("", "0"):
        return _as_taken(Refused(_KINDS.get(error, _PERMANENT), error, word_at(item, "message")))
    message_id, raw = word_at(item, "id"), word_at(item, "status").upper()
    if not message_id:
        return Unknown(why.NO_ID)
    if _STATUSES.get(raw) is MessageStatus.FAILED:
        return Refused(_PERMANENT, raw, word_at(item, "message"))
    points, parts = word_at(item, "points"), word_at(item, "parts")
    return Accepted(
        (message_id,),
        MessageStatus.QUEUED,
        segments=int(parts) if parts.isdecimal() and 0 < int(parts) < 1000 else None,
        cost=f"{points} points" if points else None,
    )


def _item_of(message: Outgoing, batch: Sequence[Outgoing], body: Any) -> Any:
    """What the answer says of one message: by our reference, or by its number, of which it has one."""
    items, invalid = at_path(body, "list"), at_path(body, "invalid_numbers")
    items, invalid = (found if isinstance(found, list) else [] for found in (items, invalid))
    by_idx = {word_at(item, "idx"): item for item in items}
    if message.reference in by_idx:
        return by_idx[message.reference]
    for item in items:
        if not word_at(item, "idx") and (_number(item, message) or len(batch) == 1 == len(items)):
            return item
    for item in invalid:
        if _number(item, message):
            return {"error": _NO_NUMBER, "message": word_at(item, "message")}
    return None


def _number(item: Any, message: Outgoing) -> bool:
    numbers = (word_at(item, name).removeprefix("+") for name in ("number", "submitted_number"))
    return message.recipient.removeprefix("+") in numbers


def _column(given: dict[str, str], name: str, count: int) -> list[str]:
    values = given.get(name, "").split(",")
    return values if len(values) == count else [""] * count


def _report(message_id: str, values: dict[str, str], reference: str) -> DeliveryReport:
    raw = word(values["status_name"]).upper() or word(values["status"]).upper()
    if not raw:
        raise ValueError("no status for each message")
    number = word(values["status"])
    to = word(values["to"])
    return DeliveryReport(
        status=_STATUSES.get(number) or _STATUSES.get(raw),
        raw_status=raw,
        reference=word(values["idx"]) or word(reference),
        gateway_message_id=word(message_id),
        recipient=f"+{to}" if to.isdecimal() else to,
        code=number if number in _EXPLANATIONS else "",
        at=_time(word(values["donedate"])),
    )


def _time(unix: str) -> datetime | None:
    return datetime.fromtimestamp(int(unix), UTC) if unix.isdecimal() and 0 < len(unix) <= 10 else None
