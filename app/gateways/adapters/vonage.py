"""Vonage SMS API. Source: https://developer.vonage.com/en/api/sms"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
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
from app.gateways.answers import at_path, body_of, json_or_none, refusal, word, word_at
from app.gateways.base import (
    Capabilities,
    Field,
    Gateway,
    GatewayCall,
    Outgoing,
    ReportRejected,
)
from app.transport import HttpAnswer

# https://developer.vonage.com/en/messaging/sms/guides/delivery-receipts, and the words of the Messages API,
# whose webhooks an account may have chosen for its SMS.
_STATUSES = {
    "accepted": MessageStatus.SENT,
    "buffered": MessageStatus.SENT,
    "submitted": MessageStatus.SENT,
    "unknown": MessageStatus.SENT,  # no word will come: it stays what it was
    "delivered": MessageStatus.DELIVERED,
    "read": MessageStatus.DELIVERED,
    "expired": MessageStatus.UNDELIVERED,
    "failed": MessageStatus.UNDELIVERED,
    "rejected": MessageStatus.UNDELIVERED,
    "undeliverable": MessageStatus.UNDELIVERED,
    "deleted": MessageStatus.FAILED,
}

_CONFIG, _PERMANENT = RefusalKind.CONFIG, RefusalKind.PERMANENT
_TEMPORARY, _THROTTLE = RefusalKind.TEMPORARY, RefusalKind.THROTTLE

# https://developer.vonage.com/en/messaging/sms/guides/troubleshooting-sms: the status of each part in an
# answer of 200. Those about an originator or a country are about this message, not about the account.
_ERRORS = {
    "1": _THROTTLE,
    "2": _PERMANENT,  # a parameter is missing
    "3": _PERMANENT,  # a parameter is wrong
    "4": _CONFIG,  # credentials
    "5": _TEMPORARY,  # an internal error
    "6": _PERMANENT,  # no route for this number
    "7": _PERMANENT,  # the number is barred
    "8": _CONFIG,  # the account is barred
    "9": _CONFIG,  # no money
    "10": _THROTTLE,  # too many connections
    "11": _CONFIG,  # not enabled for HTTP
    "12": _PERMANENT,  # too long
    "14": _CONFIG,  # wrong signature
    "15": _PERMANENT,  # originator not allowed for this number
    "22": _PERMANENT,  # invalid network code
    "23": _PERMANENT,  # invalid callback
    "29": _PERMANENT,  # a trial account, and this number was not verified
    "32": _CONFIG,  # signing is demanded
    "33": _PERMANENT,  # the number has no SMS
}

# Statuses of a submission and error codes of a report are the same small numbers: the latter say err_.
_EXPLANATIONS = {
    "1": why.TOO_FAST,
    "2": why.BAD_REQUEST,
    "3": why.BAD_REQUEST,
    "4": why.WRONG_KEY,
    "5": why.GATEWAY_FAULT,
    "6": why.BAD_NUMBER,
    "7": why.STOP_LIST,
    "8": why.ACCOUNT_STOPPED,
    "9": why.NO_MONEY,
    "10": why.TOO_FAST,
    "11": why.ACCOUNT_STOPPED,
    "12": why.TEXT_TOO_LONG,
    "14": why.WRONG_KEY,
    "15": why.BAD_ORIGINATOR,
    "22": why.NO_ROUTE,
    "23": why.BAD_REQUEST,
    "29": why.TRIAL,
    "32": why.WRONG_KEY,
    "33": why.BAD_NUMBER,
    "err_1": why.UNDELIVERABLE,
    "err_2": why.OUT_OF_REACH,
    "err_3": why.NOBODY,
    "err_4": why.BLOCKED,
    "err_5": why.NO_ROUTE,
    "err_6": why.SPAM,
    "err_7": why.OUT_OF_REACH,
    "err_8": why.UNDELIVERABLE,
    "err_9": why.BAD_NUMBER,
    "err_10": why.TEXT_REFUSED,
    "err_11": why.NO_ROUTE,
    "err_12": why.OUT_OF_REACH,
    "err_14": why.BLOCKED,
    "err_15": why.NO_MONEY,
    "err_16": why.DAILY_LIMIT,
    "err_99": why.UNDELIVERABLE,
    "expired": why.EXPIRED,
}

_VALIDITY_S = (20, 604_800)
_CALLBACK_LIMIT = 100
_CLOCK_S = 300  # how old a signed report may be
_DIGESTS = {"md5": "md5", "sha1": "sha1", "sha256": "sha256", "sha512": "sha512"}
_BY_LENGTH = {32: "md5", 40: "sha1", 64: "sha256", 128: "sha512"}


class Vonage(Gateway):
    """Each part of a long text has an id and reports of its own; our reference is in all of them."""

    slug = "vonage"
    title = "Vonage"
    regions = ("*",)
    needs = "API key and API secret"
    docs_url = "https://developer.vonage.com/en/api/sms"
    sign_up_url = "https://dashboard.nexmo.com/sign-up"
    key_url = "https://dashboard.nexmo.com/settings"
    capabilities = Capabilities(
        reports="callback",
        per_message_callback=True,
        balance=True,
        originators=True,
        rate_per_s=30.0,  # of an account that has not asked for more
    )
    explanations = _EXPLANATIONS
    fields = (
        Field("api_key", "API key", required=True, pattern=r"[A-Za-z0-9]{4,40}", names_account=True),
        Field("api_secret", "API secret", "secret", required=True),
        Field(
            "originator",
            "Originator",
            "originator",
            "One of your numbers, or a name of up to 11 characters where the country allows names.",
            required=True,
            pattern=r"\+?[0-9]{3,15}|(?=.*[A-Za-z]).{1,11}",
            example="ACME",
        ),
        Field(
            "signature_secret",
            "Signature secret",
            "secret",
            "From the API settings of the console. With it, unsigned reports are refused.",
        ),
        Field(
            "signature_method",
            "Signature method",
            "choice",
            "As the console shows it. By length: any of the methods with a key.",
            default="auto",
            choices=(
                ("auto", "By its length"),
                ("md5", "MD5 HMAC"),
                ("sha1", "SHA-1 HMAC"),
                ("sha256", "SHA-256 HMAC"),
                ("sha512", "SHA-512 HMAC"),
                ("md5hash", "MD5 hash"),
            ),
            advanced=True,
        ),
        Field(
            "dlt_entity_id",
            "Entity id (India)",
            help="Only for India: what your company and your text are registered under.",
            pattern=r"[0-9]{1,40}",
            advanced=True,
        ),
        Field("dlt_template_id", "Template id (India)", pattern=r"[0-9]{1,40}", advanced=True),
    )

    @property
    def active_capabilities(self) -> Capabilities:
        return replace(self.capabilities, signed_callback=bool(self.settings["signature_secret"]))

    # --- outward

    def submit(self, message: Outgoing) -> Outcome:
        validity_s = min(max(message.validity_s, _VALIDITY_S[0]), _VALIDITY_S[1])
        fields = {
            "from": (message.originator or self.originator).removeprefix("+"),
            "to": message.recipient.removeprefix("+"),
            "text": message.text,
            "type": "unicode" if message.encoding == "ucs2" else "text",
            "ttl": str(validity_s * 1000),
            "status-report-req": "true",
            "client-ref": message.reference,
            "callback": _callback(message),
            "entity-id": self.settings["dlt_entity_id"],
            "content-id": self.settings["dlt_template_id"],
        }
        answer = self._call("POST", "sms/json", data={name: value for name, value in fields.items() if value})
        return refusal(answer) or _outcome(message, answer)

    def balance(self) -> Balance | None:
        body = body_of(self._call("GET", "account/get-balance"))
        return Balance.read(word_at(body, "value"), "EUR")  # accounts are kept in euros, wherever they are

    def originators(self) -> list[str]:
        """The account's numbers that can send SMS; names are not listed."""
        numbers = at_path(body_of(self._call("GET", "account/numbers", params={"size": "100"})), "numbers")
        items = numbers if isinstance(numbers, list) else []
        can_send = [item for item in items if "SMS" in (at_path(item, "features") or ())]
        return [f"+{number}" for item in can_send if (number := word_at(item, "msisdn"))]

    def _call(self, method: str, page: str, **more: Any) -> HttpAnswer:
        sign_in = (self.settings["api_key"], self.settings["api_secret"])
        return self.context.http.request(method, f"https://rest.nexmo.com/{page}", auth=sign_in, **more)

    # --- reports

    def parse_reports(self, request: GatewayCall) -> Reports:
        if secret := self.settings["signature_secret"]:
            self._check_signature(request, request.fields, secret)
        return self.read_unproved(request)

    def read_unproved(self, request: GatewayCall) -> Reports:
        """GET, a form or JSON, as the account's console has it."""
        given = request.fields
        if "status" not in given and "text" in given:
            return Reports(())  # an incoming message: its webhook is another, but a console mixes them up
        raw, code = word(given["status"]), _error_code(given)
        report = DeliveryReport(
            status=_STATUSES.get(raw.lower()),
            raw_status=raw,
            reference=given.get("client-ref") or given.get("client_ref") or word(request.reference),
            gateway_message_id=word(given.get("messageId") or given["message_uuid"]),
            recipient=_e164(given.get("msisdn") or given.get("to", "")),
            code=code,
        )
        return Reports((report,))

    def _check_signature(self, request: GatewayCall, given: Mapping[str, str], secret: str) -> None:
        token = request.headers.get("authorization", "")
        if "sig" not in given and token.lower().startswith("bearer "):
            claims = _claims(token[7:].strip(), secret)
            signed_at, is_signed = claims.get("iat"), _covers(claims, request.body)
        else:
            signed_at = given.get("timestamp")
            is_signed = _is_signed(given, secret, self.settings["signature_method"])
        if not is_signed:
            raise ReportRejected("Vonage's signature is missing or wrong")
        if signed_at and not _is_recent(signed_at, self.context.now()):
            raise ReportRejected("Vonage's signature is too old")


def _callback(message: Outgoing) -> str:
    """The report URL as Vonage takes it: too long, it goes without our reference, which travels beside it."""
    for url in (message.report_url, message.report_url.removesuffix(f"/{message.reference}")):
        if len(url) <= _CALLBACK_LIMIT:
            return url
    return ""


def _outcome(message: Outgoing, answer: HttpAnswer) -> Outcome:
    """One entry for each part, each taken or refused by itself."""
    parts = at_path(json_or_none(answer), "messages")
    parts = parts if isinstance(parts, list) else []
    if not parts or not all(word_at(part, "status") for part in parts):
        return Unknown(why.NO_OUTCOME)
    taken = [part for part in parts if word_at(part, "status") == "0"]
    if not taken:
        code = word_at(parts[0], "status")
        return Refused(_ERRORS.get(code, _PERMANENT), code, word_at(parts[0], "error-text"))
    if not all(word_at(part, "message-id") for part in taken):
        return Unknown(why.NO_ID)
    ids, refused = [], []
    for place, part in enumerate(parts, start=1):
        ids.append(word_at(part, "message-id") or f"{message.reference}.{place}")
        if word_at(part, "status") != "0":
            refused.append(_refused_part(ids[-1], part))
    return Accepted(tuple(ids), segments=len(parts), cost=_price(taken), reports=tuple(refused))


def _refused_part(part_id: str, part: Any) -> DeliveryReport:
    """No report will come for it, and without it the phone shows nothing, or not the whole text."""
    return DeliveryReport(
        MessageStatus.UNDELIVERED,
        raw_status="refused_part",
        gateway_message_id=part_id,
        code=word_at(part, "status"),
        text=word_at(part, "error-text"),
    )


def _price(parts: Sequence[Any]) -> str | None:
    prices = [Balance.read(word_at(part, "message-price"), "EUR") for part in parts]
    known = [price.amount for price in prices if price is not None]
    return f"{sum(known)} EUR" if known and len(known) == len(parts) else None


def _error_code(given: Mapping[str, str]) -> str:
    code = word(given.get("err-code", ""))
    return "" if code in ("", "0") else f"err_{code}"


def _e164(number: str) -> str:
    digits = number.removeprefix("+")
    return f"+{digits}" if digits.isdecimal() else word(number)


# --- signatures


def sign(params: Mapping[str, str], secret: str, method: str) -> str:
    """Vonage's signature of a call's parameters: over `&name=value` in the order of the names.

    Source: https://developer.vonage.com/en/getting-started/concepts/signing-messages
    """
    pairs = (f"&{name}={value.replace('&', '_').replace('=', '_')}" for name, value in sorted(params.items()))
    signed = "".join(pairs)
    if method == "md5hash":
        return hashlib.md5((signed + secret).encode(), usedforsecurity=False).hexdigest()
    return hmac.new(secret.encode(), signed.encode(), _DIGESTS[method]).hexdigest()


def _is_signed(given: Mapping[str, str], secret: str, method: str) -> bool:
    signature = given.get("sig", "").lower()
    named = _BY_LENGTH.get(len(signature), "sha256") if method == "auto" else method
    expected = sign({name: value for name, value in given.items() if name != "sig"}, secret, named)
    return hmac.compare_digest(signature.encode(), expected.encode())


def _claims(token: str, secret: str) -> dict[str, Any]:
    """The claims of a JSON Web Token that is signed with the secret; empty when it is not."""
    head, _, rest = token.partition(".")
    body, _, signature = rest.partition(".")
    expected = hmac.new(secret.encode(), f"{head}.{body}".encode(), hashlib.sha256).digest()
    try:
        is_ours = hmac.compare_digest(_decoded(signature), expected)
        header, claims = json.loads(_decoded(head)), json.loads(_decoded(body))
    except (ValueError, RecursionError):
        return {}
    is_meant = isinstance(header, dict) and header.get("alg") == "HS256" and isinstance(claims, dict)
    return claims if is_ours and is_meant else {}


def _decoded(part: str) -> bytes:
    return base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))


def _covers(claims: Mapping[str, Any], body: bytes) -> bool:
    digest = hashlib.sha256(body).hexdigest()
    return hmac.compare_digest(str(claims.get("payload_hash", "")).lower().encode(), digest.encode())


def _is_recent(moment: Any, now: datetime) -> bool:
    """`moment` is in seconds since 1970, or a date and a time in UTC."""
    text = word(moment)
    try:
        is_number = text.replace(".", "", 1).isdecimal()
        then = datetime.fromtimestamp(float(text), UTC) if is_number else _utc(text)
    except (ValueError, OverflowError, OSError):
        return False
    return abs((now - then).total_seconds()) <= _CLOCK_S


def _utc(text: str) -> datetime:
    moment = datetime.fromisoformat(text)
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
