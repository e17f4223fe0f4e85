"""SMSC.ru and its sister sites, one API on several hosts. Source: https://smsc.ru/api/http/"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
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
from app.domain.sentences import N_
from app.domain.status import MessageStatus
from app.gateways import explanations as why
from app.gateways.answers import ErrorTable, body_of, json_or_none, refusal, word, word_at
from app.gateways.base import (
    Capabilities,
    Field,
    Gateway,
    GatewayCall,
    Outgoing,
    ReportRejected,
    SettingsInvalid,
    Submitted,
)
from app.transport import HttpAnswer

# Separate companies with accounts of their own; prices are in the money of the country.
_CURRENCIES = {"smsc.ru": "RUB", "smsc.kz": "KZT", "smsc.ua": "UAH", "smscentre.com": ""}

# https://smsc.ru/api/http/status_messages/statuses/
_STATUSES = {
    "-2": MessageStatus.FAILED,  # stopped
    "-1": MessageStatus.QUEUED,  # waiting to be sent
    "0": MessageStatus.SENT,  # handed to the operator
    "1": MessageStatus.DELIVERED,
    "2": MessageStatus.DELIVERED,  # read
    "3": MessageStatus.UNDELIVERED,  # expired
    "4": MessageStatus.DELIVERED,  # a link in it was opened
    "20": MessageStatus.UNDELIVERED,  # cannot be delivered
    "22": MessageStatus.FAILED,  # wrong number
    "23": MessageStatus.FAILED,  # forbidden
    "24": MessageStatus.FAILED,  # no money
    "25": MessageStatus.UNDELIVERED,  # number not available
}
_NOT_FOUND = "-3"

_CONFIG, _PERMANENT = RefusalKind.CONFIG, RefusalKind.PERMANENT
_TEMPORARY, _THROTTLE = RefusalKind.TEMPORARY, RefusalKind.THROTTLE

# https://smsc.ru/api/http/send/sms/sms_answer/: an answer with HTTP 200, and some of them with an id, too.
_ERRORS = ErrorTable(
    code_path="error_code",
    text_path="error",
    kinds={
        "1": _PERMANENT,  # a wrong parameter
        "2": _CONFIG,  # wrong login or password, or this address may not call
        "3": _CONFIG,  # no money
        "4": _THROTTLE,  # the address is blocked for a while after many errors
        "5": _PERMANENT,  # a wrong date
        "6": _PERMANENT,  # text or originator forbidden
        "7": _PERMANENT,  # a wrong number
        "8": _PERMANENT,  # the number cannot be reached
        "9": _THROTTLE,  # the same again within a minute, or too many calls at once
    },
)
# Calls during a block make it longer.
_PAUSES_S = {"4": 300.0, "9": 60.0}
_REPEATED = "9"

# Their codes of errors and of statuses are the same small numbers, so a status carries its name here.
_EXPLANATIONS = {
    "1": why.BAD_REQUEST,
    "2": why.WRONG_KEY,
    "3": why.NO_MONEY,
    "4": why.TOO_FAST,
    "5": why.BAD_REQUEST,
    "6": why.TEXT_REFUSED,
    "7": why.BAD_NUMBER,
    "8": why.NO_ROUTE,
    "9": why.REPEATED,
    "status_minus_2": why.CANCELLED,
    "status_3": why.EXPIRED,
    "status_20": why.UNDELIVERABLE,
    "status_22": why.BAD_NUMBER,
    "status_23": why.BLOCKED,
    "status_24": why.NO_MONEY,
    "status_25": why.OUT_OF_REACH,
}

_VALIDITY_MINUTES = (1, 24 * 60)


class Smsc(Gateway):
    """A message is known by our own reference, which SMSC takes as its id, together with the number."""

    slug = "smsc"
    title = "SMSC"
    regions = ("RU", "KZ", "UA", "BY", "UZ", "KG", "AM", "AZ", "GE", "MD", "TJ")
    needs = "Login and password, or an API key"
    docs_url = "https://smsc.ru/api/http/"
    sign_up_url = "https://smsc.ru/reg/"
    key_url = "https://smsc.ru/passwords/"
    capabilities = Capabilities(reports="both", lookup=True, balance=True, poll_after_s=120.0, poll_max=50)
    explanations = _EXPLANATIONS
    fields = (
        Field("login", "Login", names_account=True),
        Field("password", "Password", "secret", "The password for the API, if you have set one apart."),
        Field("api_key", "API key", "secret", "Signs in instead of login and password."),
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
            default="smsc.ru",
            choices=tuple((site, site) for site in _CURRENCIES),
            names_account=True,
        ),
        Field(
            "report_secret",
            "Secret of the reports",
            "secret",
            "The secret word from the settings of the callback. With it, unsigned reports are refused.",
            advanced=True,
        ),
    )

    @classmethod
    def validate_settings(cls, settings: Mapping[str, str]) -> None:
        if not settings.get("api_key") and not (settings.get("login") and settings.get("password")):
            raise SettingsInvalid({"password": N_("Give login and password, or an API key.")})

    @property
    def active_capabilities(self) -> Capabilities:
        return replace(self.capabilities, signed_callback=bool(self.settings["report_secret"]))

    # --- outward

    def submit(self, message: Outgoing) -> Outcome:
        fields = {
            "phones": message.recipient,  # with the +, nothing is added to it
            "mes": message.text,
            "id": message.reference,
            "valid": _validity(message.validity_s),
            "cost": "3",
        }
        if originator := message.originator or self.originator:
            fields["sender"] = originator
        answer = self._call("send", fields)
        against = refusal(answer, _ERRORS)
        if isinstance(against, Refused) and against.code == _REPEATED and message.again:
            return Accepted((message.reference,), MessageStatus.QUEUED)  # the one whose answer was lost
        return _with_pause(against) if against else _accepted(answer, self._currency)

    def look_up(self, reference: str, recipient: str) -> Outcome | None:
        answer = self._call("status", {"phone": recipient.removeprefix("+"), "id": reference, "all": "0"})
        if refusal(answer, _ERRORS):
            return None
        body = json_or_none(answer)
        status = word_at(body[0] if isinstance(body, list) and body else body, "status")
        if status == _NOT_FOUND:
            return Refused(RefusalKind.TEMPORARY, "not_found", why.NOT_THERE)
        return Accepted((reference,), MessageStatus.QUEUED) if status in _STATUSES else None

    def poll(self, sent: Sequence[Submitted]) -> list[DeliveryReport]:
        known = [part for part in sent if part.recipient]
        if not known:
            return []
        phones = ",".join(part.recipient.removeprefix("+") for part in known)
        ids = ",".join(part.gateway_message_id for part in known)
        answer = self._call("status", {"phone": phones, "id": ids, "all": "0"})
        body = None if refusal(answer, _ERRORS) else json_or_none(answer)
        items = body if isinstance(body, list) else [body]
        # In the order of the question; an answer of another length cannot be matched by its place.
        if len(items) != len(known):
            return []
        found = [_polled(part, item) for part, item in zip(known, items, strict=True)]
        return [report for report in found if report is not None]

    def balance(self) -> Balance | None:
        body = body_of(self._call("balance", {}), _ERRORS)
        return Balance.read(word_at(body, "balance"), word_at(body, "currency") or self._currency)

    @property
    def _currency(self) -> str:
        return _CURRENCIES.get(self.settings["site"], "")

    def _call(self, page: str, fields: Mapping[str, str]) -> HttpAnswer:
        sign_in = (
            {"apikey": self.settings["api_key"]}
            if self.settings["api_key"]
            else {"login": self.settings["login"], "psw": self.settings["password"]}
        )
        # Without these two, texts are read as windows-1251 and answers are plain lines.
        formats = {"charset": "utf-8", "fmt": "3"}
        url = f"https://{self.settings['site']}/sys/{page}.php"
        return self.context.http.request("POST", url, data={**sign_in, **formats, **fields})

    # --- reports

    def parse_reports(self, request: GatewayCall) -> Reports:
        given = request.fields
        if (secret := self.settings["report_secret"]) and not _is_incoming(given):
            signed = ":".join([given["id"], given["phone"], given["status"], secret])
            _check_signature(given, signed)
        return self.read_unproved(request)

    def read_unproved(self, request: GatewayCall) -> Reports:
        """One message in form or query; an incoming message comes to the same address and is none of ours."""
        given = request.fields
        if _is_incoming(given):
            return Reports(())
        report_id, phone, status = given["id"], given["phone"], given["status"]
        raw = word(status)
        report = DeliveryReport(
            status=_STATUSES.get(raw),
            raw_status=_named(raw),
            reference=word(report_id),
            gateway_message_id=word(report_id),
            recipient=_e164(word(phone)),
            code=_error_code(word(given.get("err", ""))),
        )
        return Reports((report,))


def _is_incoming(given: Mapping[str, str]) -> bool:
    return "mes" in given and "status" not in given


def _validity(validity_s: int) -> str:
    minutes = min(max(validity_s // 60, _VALIDITY_MINUTES[0]), _VALIDITY_MINUTES[1])
    return f"{minutes // 60:02d}:{minutes % 60:02d}"


def _accepted(answer: HttpAnswer, currency: str) -> Outcome:
    body = json_or_none(answer)
    message_id, count = word_at(body, "id"), word_at(body, "cnt")
    if word_at(body, "error") or not message_id:
        return Unknown(why.NO_ID)
    segments = int(count) if count.isdecimal() and 0 < int(count) < 1000 else None
    cost = word_at(body, "cost")
    price = f"{cost} {currency}".strip() if cost else None
    return Accepted((message_id,), MessageStatus.QUEUED, segments=segments, cost=price)


def _with_pause(against: Refused | Unknown) -> Refused | Unknown:
    if isinstance(against, Unknown) or against.code not in _PAUSES_S:
        return against
    # Only its text tells the two meanings of the code apart; a double does not slow the account down.
    is_double = against.code == _REPEATED and "duplicate" in against.text.lower()
    pause_s = against.retry_after_s or _PAUSES_S[against.code]
    return replace(against, kind=_TEMPORARY if is_double else against.kind, retry_after_s=pause_s)


def _polled(part: Submitted, item: Any) -> DeliveryReport | None:
    raw = word_at(item, "status")
    if not raw or raw == _NOT_FOUND or word_at(item, "id") not in ("", part.gateway_message_id):
        return None
    return DeliveryReport(
        status=_STATUSES.get(raw),
        raw_status=_named(raw),
        gateway_message_id=part.gateway_message_id,
        recipient=part.recipient,
        code=_error_code(word_at(item, "err")),
    )


def _named(status: str) -> str:
    """The number as one word, which the explanations are found by."""
    is_number = re.fullmatch(r"-?[0-9]{1,4}", status)
    return f"status_{status.replace('-', 'minus_')}" if is_number else status


def _error_code(err: str) -> str:
    """The operator's error of a message; 0 is none."""
    return "" if err in ("", "0") else f"err_{err}"


def _e164(phone: str) -> str:
    digits = phone.removeprefix("+")
    return f"+{digits}" if digits.isdecimal() else phone


def _check_signature(given: Mapping[str, str], signed: str) -> None:
    """Both digests are over the same words; the stronger one counts where it is there."""
    name = "sha1" if given.get("sha1") else "md5"
    expected = hashlib.new(name, signed.encode(), usedforsecurity=False).hexdigest()
    if not hmac.compare_digest(given.get(name, "").lower().encode(), expected.encode()):
        raise ReportRejected("SMSC's signature is missing or wrong")
