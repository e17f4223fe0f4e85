"""Twilio Programmable Messaging. Source: https://www.twilio.com/docs/messaging/api/message-resource"""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import parse_qs, quote, urlsplit, urlunsplit

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
    CheckResult,
    Field,
    Gateway,
    GatewayCall,
    Outgoing,
    ReportRejected,
    SettingsInvalid,
    Submitted,
)
from app.transport import HttpAnswer, TransportError

# https://www.twilio.com/docs/global-infrastructure/using-the-twilio-rest-api-in-a-non-us-region
_HOSTS = {
    "us1": "api.twilio.com",
    "ie1": "api.dublin.ie1.twilio.com",
    "au1": "api.sydney.au1.twilio.com",
}

# https://www.twilio.com/docs/messaging/api/message-resource#message-status-values
_STATUSES = {
    "accepted": MessageStatus.QUEUED,
    "scheduled": MessageStatus.QUEUED,
    "queued": MessageStatus.QUEUED,
    "sending": MessageStatus.SENT,
    "sent": MessageStatus.SENT,
    "delivered": MessageStatus.DELIVERED,
    "read": MessageStatus.DELIVERED,
    "undelivered": MessageStatus.UNDELIVERED,
    "partially_delivered": MessageStatus.UNDELIVERED,
    "failed": MessageStatus.FAILED,
    "canceled": MessageStatus.FAILED,
}

_CONFIG, _PERMANENT = RefusalKind.CONFIG, RefusalKind.PERMANENT
_TEMPORARY, _THROTTLE = RefusalKind.TEMPORARY, RefusalKind.THROTTLE

# https://www.twilio.com/docs/api/errors. What is said of one number or country must not hold the account.
_ERRORS = ErrorTable(
    code_path="code",
    text_path="message",
    kinds={
        "20003": _CONFIG,  # authentication failed
        "20005": _CONFIG,  # account not active
        "20404": _CONFIG,  # no such account
        "20429": _THROTTLE,  # too many requests
        "21211": _PERMANENT,  # invalid recipient
        "21212": _CONFIG,  # invalid From
        "21408": _PERMANENT,  # this number's country is not enabled
        "21602": _PERMANENT,  # no text
        "21603": _CONFIG,  # From missing
        "21606": _PERMANENT,  # From cannot send to this number
        "21608": _PERMANENT,  # trial account, and this number was not verified
        "21609": _CONFIG,  # invalid StatusCallback
        "21610": _PERMANENT,  # recipient has opted out
        "21611": _THROTTLE,  # From's queue is full
        "21612": _PERMANENT,  # From cannot reach this recipient
        "21614": _PERMANENT,  # not a mobile number
        "21617": _PERMANENT,  # text over 1,600 characters
        "21659": _CONFIG,  # From is not a Twilio number
        "21660": _CONFIG,  # From belongs to another account
        "21730": _TEMPORARY,  # maintenance
        "30001": _THROTTLE,  # queue overflow
        "30002": _CONFIG,  # account suspended
        "30003": _PERMANENT,  # unreachable handset
        "30004": _PERMANENT,  # blocked
        "30005": _PERMANENT,  # unknown handset
        "30006": _PERMANENT,  # landline or unreachable carrier
        "30007": _PERMANENT,  # filtered by the carrier
        "30008": _PERMANENT,  # unknown error of the carrier
        "30034": _PERMANENT,  # From is not registered for the USA
    },
    statuses={404: _CONFIG},
)

# For the person who looks at a message. The codes of reports stand here, too.
_EXPLANATIONS = {
    "20003": "Twilio did not accept the Account SID or the key. Check both on the page of the gateway.",
    "20005": "The Twilio account is not active. Sign in to Twilio to see why.",
    "20404": "Twilio has no such account. Check the Account SID and the region.",
    "20429": "Twilio wants fewer requests at a time. Messages are sent more slowly by themselves.",
    "21211": "The phone number is not one that exists. Correct it in the CRM card.",
    "21212": "Twilio does not accept the originator. Choose a number of your account, or a valid name.",
    "21408": "Your Twilio account may not send to this country. Allow it under Geo permissions at Twilio.",
    "21602": "The message has no text.",
    "21603": "The originator is missing. Set it on the page of the gateway.",
    "21606": "The originator cannot send SMS to this number. Choose another number of your account.",
    "21608": "A trial account of Twilio sends only to numbers that were verified there. Upgrade the account.",
    "21609": "Twilio does not accept the address for delivery reports. Tell whoever runs this server.",
    "21610": "The recipient has replied STOP. Nothing can be sent until they reply START.",
    "21611": "The originator has too many messages waiting at Twilio. They are tried again by themselves.",
    "21612": "This originator cannot reach this number. Choose another originator, such as a local number.",
    "21614": "The phone number is not a mobile one, so it cannot get an SMS.",
    "21617": "The text is longer than the 1,600 characters that Twilio takes. Shorten it.",
    "21659": "The originator is not a number of Twilio. Choose one of your account.",
    "21660": "The originator belongs to another Twilio account. Choose one of this account.",
    "21730": "Twilio is under repair. The message is tried again by itself.",
    "30001": "Too many messages waited at Twilio. They are sent more slowly by themselves.",
    "30002": "Twilio has suspended the account. Sign in to Twilio to see why.",
    "30003": "The phone is off or out of reach. Try again later.",
    "30004": "The recipient or the operator blocks messages from this originator.",
    "30005": "Nobody has this phone number any more. Ask the person for the new one.",
    "30006": "The phone number is a landline, or its operator cannot be reached.",
    "30007": "The operator took the message for spam. Avoid short links and advertising words.",
    "30008": "The operator gave no reason. Try again later, or ask Twilio's support.",
    "30034": "The US number of the originator is not registered for business messages (A10DLC). Register it.",
}

_VALIDITY_S = (1, 36_000)
_ALGORITHMS = {"HMAC_SHA1": hashlib.sha1, "HMAC_SHA256": hashlib.sha256}
_ORIGINATOR = r"MG[0-9a-fA-F]{32}|\+?[0-9]{3,15}|(?=.*[A-Za-z])[A-Za-z0-9 &_+-]{1,11}"


class Twilio(Gateway):
    """Twilio keeps messages in a queue of its own and has no key against doubles."""

    slug = "twilio"
    title = "Twilio"
    regions = ("*",)
    needs = "Account SID and Auth Token"
    docs_url = "https://www.twilio.com/docs/messaging/api/message-resource"
    sign_up_url = "https://www.twilio.com/try-twilio"
    key_url = "https://console.twilio.com/"
    capabilities = Capabilities(
        reports="both",
        per_message_callback=True,
        signed_callback=True,
        balance=True,
        originators=True,
        poll_max=5,  # one call each, and all of them within one lease
    )
    explanations = _EXPLANATIONS
    fields = (
        Field(
            "account_sid",
            "Account SID",
            names_account=True,
            required=True,
            pattern=r"AC[0-9a-fA-F]{32}",
            example="AC0123456789abcdef0123456789abcdef",
        ),
        Field(
            "auth_token",
            "Auth Token",
            "secret",
            "Needed with an API key too: Twilio signs its delivery reports with this token.",
            required=True,
        ),
        Field(
            "originator",
            "Originator",
            "originator",
            "One of your numbers, a name of up to 11 characters, or a Messaging Service (MG…).",
            required=True,
            pattern=_ORIGINATOR,
            example="+14155552671",
        ),
        Field(
            "api_key_sid",
            "API key",
            help="Signs in instead of the Auth Token.",
            pattern=r"SK[0-9a-fA-F]{32}",
            advanced=True,
        ),
        Field("api_key_secret", "API key secret", "secret", advanced=True),
        Field(
            "signing_key",
            "Shared key for webhooks",
            "secret",
            "Only when the account signs its webhooks with a shared key instead of the Auth Token.",
            advanced=True,
        ),
        Field(
            "region",
            "Region",
            "choice",
            "Where Twilio processes the messages. Keys and tokens belong to one region.",
            default="us1",
            choices=(("us1", "United States"), ("ie1", "Ireland"), ("au1", "Australia")),
            advanced=True,
        ),
    )

    @classmethod
    def validate_settings(cls, settings: Mapping[str, str]) -> None:
        if bool(settings.get("api_key_sid")) != bool(settings.get("api_key_secret")):
            raise SettingsInvalid({"api_key_secret": N_("An API key and its secret go together.")})

    # --- outward

    def submit(self, message: Outgoing) -> Outcome:
        originator = message.originator or self.originator
        by_service = originator.startswith("MG") and len(originator) == 34
        validity_s = min(max(message.validity_s, _VALIDITY_S[0]), _VALIDITY_S[1])
        answer = self._call(
            "POST",
            "Messages.json",
            data={
                "To": message.recipient,
                "MessagingServiceSid" if by_service else "From": originator,
                "Body": message.text,
                "StatusCallback": message.report_url,
                "ValidityPeriod": str(validity_s),
            },
        )
        return refusal(answer, _ERRORS) or _accepted(answer)

    def poll(self, sent: Sequence[Submitted]) -> list[DeliveryReport]:
        pages = (f"Messages/{quote(part.gateway_message_id, safe='')}.json" for part in sent)
        answers = (self._call("GET", page, timeout_s=4.0) for page in pages)
        return list(_polled(answers))

    def balance(self) -> Balance | None:
        return self._balance(self._sign_in)

    def check(self) -> CheckResult:
        """The balance, asked with the Auth Token and with the API key when there is one."""
        with_token = N_("Twilio refused the Account SID with this Auth Token.")
        ways = {with_token: (self.settings["account_sid"], self.settings["auth_token"])}
        if self.settings["api_key_sid"]:
            ways[N_("Twilio refused the Account SID with this API key.")] = self._sign_in
        balance = None
        for refused, sign_in in ways.items():
            try:
                balance = self._balance(sign_in)
            except TransportError as error:
                return CheckResult.unreachable(error)
            except QuestionRefused as error:
                return CheckResult.refused(error, refused)
        text = N_("Twilio knows the account and accepts the keys.")
        return CheckResult(ok=True, text=text, balance="" if balance is None else str(balance))

    def _balance(self, sign_in: tuple[str, str]) -> Balance | None:
        body = body_of(self._call("GET", "Balance.json", auth=sign_in), _ERRORS)
        return Balance.read(word_at(body, "balance"), word_at(body, "currency"))

    def originators(self) -> list[str]:
        """The account's numbers that can send SMS; names and services are not listed by Twilio here."""
        answer = self._call("GET", "IncomingPhoneNumbers.json", params={"PageSize": "100"})
        numbers = at_path(body_of(answer, _ERRORS), "incoming_phone_numbers")
        can_send = [item for item in numbers or [] if at_path(item, "capabilities.sms") is True]
        return [number for item in can_send if (number := word_at(item, "phone_number"))]

    @property
    def _sign_in(self) -> tuple[str, str]:
        if self.settings["api_key_sid"]:
            return self.settings["api_key_sid"], self.settings["api_key_secret"]
        return self.settings["account_sid"], self.settings["auth_token"]

    def _call(self, method: str, page: str, **more: Any) -> HttpAnswer:
        host = _HOSTS.get(self.settings["region"], _HOSTS["us1"])
        url = f"https://{host}/2010-04-01/Accounts/{self.settings['account_sid']}/{page}"
        return self.context.http.request(method, url, **({"auth": self._sign_in} | more))

    # --- reports

    def parse_reports(self, request: GatewayCall) -> Reports:
        if not is_signed(request, self.settings["auth_token"], self.settings["signing_key"]):
            raise ReportRejected("Twilio's signature is missing or wrong")
        return self.read_unproved(request)

    def read_unproved(self, request: GatewayCall) -> Reports:
        """One message in a form."""
        form = request.form
        if form.get("AccountSid", self.settings["account_sid"]) != self.settings["account_sid"]:
            raise ReportRejected("the report is for another account")
        raw = word(form.get("MessageStatus") or form["SmsStatus"])
        sid = word(form.get("MessageSid") or form["SmsSid"])
        report = DeliveryReport(
            status=_STATUSES.get(raw.lower()),
            raw_status=raw,
            reference=word(request.reference),
            gateway_message_id=sid,
            recipient=word(form.get("To", "")),
            code=word(form.get("ErrorCode", "")),
            text=word(form.get("ErrorMessage", "")),
        )
        return Reports((report,), reply_body="")


def _accepted(answer: HttpAnswer) -> Outcome:
    body = json_or_none(answer)
    status = _STATUSES.get(word_at(body, "status"), MessageStatus.QUEUED)
    if status.is_final and status is not MessageStatus.DELIVERED:  # made, and ended at once
        code = word_at(body, "error_code")
        return Refused(_ERRORS.kinds.get(code) or _PERMANENT, code, word_at(body, "error_message"))
    sid = word_at(body, "sid")
    if not sid:
        return Unknown(why.NO_ID)
    segments = word_at(body, "num_segments")
    price = " ".join(filter(None, (word_at(body, "price"), word_at(body, "price_unit"))))
    return Accepted(
        (sid,),
        status=status,
        segments=int(segments) if segments.isdecimal() and int(segments) else None,
        cost=price if word_at(body, "price") else None,
    )


def _polled(answers: Iterator[HttpAnswer]) -> Iterator[DeliveryReport]:
    for answer in answers:
        body = json_or_none(answer)
        raw, sid = word_at(body, "status"), word_at(body, "sid")
        if answer.ok and raw and sid:
            yield DeliveryReport(
                status=_STATUSES.get(raw),
                raw_status=raw,
                gateway_message_id=sid,
                recipient=word_at(body, "to"),
                code=word_at(body, "error_code"),
                text=word_at(body, "error_message"),
            )


# --- signatures


def sign(url: str, form: Mapping[str, Sequence[str]], key: str, algorithm: str = "HMAC_SHA1") -> str:
    """Twilio's signature of a call: an HMAC over the URL and the sorted form fields.

    Source: https://www.twilio.com/docs/usage/security#validating-requests
    """
    fields = "".join(name + value for name in sorted(form) for value in sorted(set(form[name])))
    digest = hmac.new(key.encode(), (url + fields).encode(), _ALGORITHMS[algorithm]).digest()
    return base64.b64encode(digest).decode()


def is_signed(request: GatewayCall, auth_token: str, signing_key: str = "") -> bool:
    """Whether a call carries Twilio's signature over the public URL that it was sent to.

    Accounts with a shared key for webhooks say so in a header and sign with that key. A body that is not
    a form is covered by its hash in the query. Twilio may or may not count the usual port as a part of
    the URL.
    """
    given = request.headers.get("x-twilio-signature", "")
    key, algorithm = auth_token, "HMAC_SHA1"
    if named := request.headers.get("x-twilio-webhooks-signature-settings"):
        key, algorithm = signing_key, _algorithm(named)
    if not key or algorithm not in _ALGORITHMS:
        return False
    form: dict[str, list[str]] = {}
    if expected := parse_qs(urlsplit(request.url).query).get("bodySHA256"):
        if not hmac.compare_digest(expected[0].encode(), hashlib.sha256(request.body).hexdigest().encode()):
            return False
    else:
        form = parse_qs(request.body.decode("utf-8", errors="replace"), keep_blank_values=True)
    signatures = [sign(url, form, key, algorithm) for url in _spellings(request.url)]
    # Both are always compared, so that the time taken tells nothing.
    matches = [hmac.compare_digest(given.encode(), signature.encode()) for signature in signatures]
    return any(matches)


def _algorithm(settings: str) -> str:
    pairs = (part.partition("=") for part in settings.split(","))
    return next((value.strip() for name, _, value in pairs if name.strip() == "algorithm"), "HMAC_SHA1")


def _spellings(url: str) -> tuple[str, str]:
    """A URL with its port and without."""
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    bare = host.partition(":")[0] if not host.startswith("[") else host.partition("]")[0] + "]"
    port = parts.port or (443 if parts.scheme == "https" else 80)
    return (
        urlunsplit(parts._replace(netloc=bare)),
        urlunsplit(parts._replace(netloc=f"{bare}:{port}")),
    )
