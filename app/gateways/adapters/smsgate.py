"""SMS Gateway for Android: an own phone sends. Source: https://docs.sms-gate.app/integration/api/"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote, urlsplit

from app.domain.outcomes import Accepted, DeliveryReport, Outcome, RefusalKind, Refused, Reports, Unknown
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
    Submitted,
)
from app.transport import HttpAnswer, TransportError

# https://docs.sms-gate.app/features/status-tracking/, and the last words of the events of webhooks.
_STATUSES = {
    "pending": MessageStatus.QUEUED,
    "processed": MessageStatus.QUEUED,
    "cancelling": MessageStatus.QUEUED,
    "sent": MessageStatus.SENT,
    "delivered": MessageStatus.DELIVERED,
    "failed": MessageStatus.FAILED,
    "cancelled": MessageStatus.FAILED,
}
_EVENTS = ("sms:sent", "sms:delivered", "sms:failed", "sms:cancelled")
_INCOMING = ("received", "data-received", "batch:")

# 409: our reference is there already. 503: its queue is full, so it surely did not take the message.
_ERRORS = ErrorTable(text_path="message", statuses={404: RefusalKind.CONFIG, 405: RefusalKind.CONFIG})
_TAKEN_BEFORE = 409

# What Android says of a message that it could not send.
_EXPLANATIONS = {
    "RESULT_ERROR_GENERIC_FAILURE": why.UNDELIVERABLE,
    "RESULT_ERROR_RADIO_OFF": why.PHONE_OFFLINE,
    "RESULT_ERROR_NO_SERVICE": why.PHONE_OFFLINE,
    "RESULT_NETWORK_ERROR": why.PHONE_OFFLINE,
    "RESULT_NETWORK_REJECT": why.BLOCKED,
    "RESULT_ERROR_LIMIT_EXCEEDED": why.PHONE_LIMIT,
    "RESULT_ERROR_FDN_CHECK_FAILURE": why.PHONE_LIMIT,
    "RESULT_ERROR_SHORT_CODE_NOT_ALLOWED": why.PHONE_LIMIT,
    "RESULT_INVALID_SMSC_ADDRESS": why.PHONE_OFFLINE,
    "RESULT_MODEM_ERROR": why.PHONE_OFFLINE,
    "cancelled": why.CANCELLED,
}

_CLOCK_S = 300  # how old a signed report may be
_CLOUD = "https://api.sms-gate.app/3rdparty/v1"


class SmsGate(Gateway):
    """Our reference is the message's id at the phone, which takes it once only."""

    slug = "smsgate"
    title = "SMS Gateway for Android"
    regions = ("*",)
    needs = "An Android phone with a SIM card, and the app on it"
    docs_url = "https://docs.sms-gate.app/"
    sign_up_url = "https://docs.sms-gate.app/installation/"
    capabilities = Capabilities(
        reports="both",
        idempotent=True,
        lookup=True,
        webhooks=True,
        own_sender=False,
        rate_per_s=0.5,  # operators block SIM cards that send more than thirty messages a minute
        poll_after_s=120.0,
        poll_max=5,  # one call each, and all of them within one lease
    )
    explanations = _EXPLANATIONS
    fields = (
        Field(
            "url",
            "Address",
            "url",
            "The cloud of the app's makers, your own server, or the phone itself in the same network.",
            required=True,
            default=_CLOUD,
            example=_CLOUD,
            names_account=True,
        ),
        Field("user", "User", help="As the app shows it.", required=True, names_account=True),
        Field("password", "Password", "secret", required=True),
        Field(
            "signing_key",
            "Signing key",
            "secret",
            "From the app's settings of webhooks. With it, unsigned reports are refused.",
        ),
        Field(
            "sim",
            "SIM card",
            "choice",
            "Only where the phone has several.",
            choices=(("", "As the phone is set"), ("1", "1"), ("2", "2"), ("3", "3")),
            advanced=True,
        ),
    )

    # --- outward

    def submit(self, message: Outgoing) -> Outcome:
        body: dict[str, Any] = {
            "id": message.reference,
            "textMessage": {"text": message.text},
            "phoneNumbers": [message.recipient],
            "ttl": max(message.validity_s, 60),
            "withDeliveryReport": True,
            "isEncrypted": False,
            "priority": 0,
        }
        if sim := self.settings["sim"]:
            body["simNumber"] = int(sim)
        answer = self._call("POST", self._messages, json=body)
        if answer.status == 404 and self._messages == "message":  # newer apps have one name for all modes
            answer = self._call("POST", "messages", json=body)
        if answer.status == _TAKEN_BEFORE:
            return Accepted((message.reference,), MessageStatus.QUEUED)
        return refusal(answer, _ERRORS) or _outcome(json_or_none(answer))

    def look_up(self, reference: str, recipient: str) -> Outcome | None:
        answer = self._state(reference)
        if answer.status == 404:
            return Refused(RefusalKind.TEMPORARY, "not_found", why.NOT_THERE)
        is_there = answer.ok and word_at(json_or_none(answer), "id") == reference
        return Accepted((reference,), MessageStatus.QUEUED) if is_there else None

    def poll(self, sent: Sequence[Submitted]) -> list[DeliveryReport]:
        found = [_polled(part, self._state(part.gateway_message_id)) for part in sent]
        return [report for report in found if report is not None]

    def check(self) -> CheckResult:
        """The list of webhooks, which needs user and password in every mode."""
        try:
            self._webhooks()
        except QuestionRefused as error:
            return CheckResult.refused(error)
        except TransportError as error:
            return CheckResult.unreachable(error)
        return CheckResult(ok=True, text="The gateway answers and accepts the sign-in.")

    def on_enable(self, report_url: str) -> None:
        there = {word_at(hook, "event") for hook in self._webhooks() if word_at(hook, "url") == report_url}
        for event in _EVENTS:
            if event not in there:
                hook = {"url": report_url, "event": event}
                answer = self._call("POST", "webhooks", json=hook)
                # An app that does not know the newest of the events has the others all the same.
                if (against := refusal(answer, _ERRORS)) and event != _EVENTS[-1]:
                    raise QuestionRefused(against)

    def on_disable(self, report_url: str) -> None:
        for hook in self._webhooks():
            if word_at(hook, "url") == report_url:
                answer = self._call("DELETE", f"webhooks/{quote(word_at(hook, 'id'), safe='')}")
                if answer.status != 404 and (against := refusal(answer, _ERRORS)):
                    raise QuestionRefused(against)

    def _webhooks(self) -> list[Any]:
        hooks = body_of(self._call("GET", "webhooks"), _ERRORS)
        if not isinstance(hooks, list):
            raise QuestionRefused(Unknown("This is no list of webhooks."))
        return hooks

    @property
    def _messages(self) -> str:
        """The phone itself has its API at the root, and calls the page by another name."""
        return "messages" if urlsplit(self.settings["url"]).path.strip("/") else "message"

    def _state(self, message_id: str) -> HttpAnswer:
        answer = self._call("GET", f"{self._messages}/{quote(message_id, safe='')}", timeout_s=4.0)
        if answer.status == 404 and self._messages == "message":
            return self._call("GET", f"messages/{quote(message_id, safe='')}", timeout_s=4.0)
        return answer

    def _call(self, method: str, page: str, **more: Any) -> HttpAnswer:
        sign_in = (self.settings["user"], self.settings["password"])
        url = f"{self.settings['url'].rstrip('/')}/{page}"
        return self.context.http.request(method, url, auth=sign_in, **more)

    # --- reports

    def parse_reports(self, request: GatewayCall) -> Reports:
        if key := self.settings["signing_key"]:
            _check_signature(request, key, self.context.now())
        return self.read_unproved(request)

    def read_unproved(self, request: GatewayCall) -> Reports:
        """One event of one message; those of other kinds are none of ours."""
        body = request.json
        kind, _, raw = word_at(body, "event").partition(":")
        if not raw:
            raise ValueError("no event")
        if kind != "sms" or raw.startswith(_INCOMING):
            return Reports(())
        message_id = word_at(body, "payload.messageId")
        if not message_id:
            raise ValueError("no message")
        return Reports(
            (
                DeliveryReport(
                    status=_STATUSES.get(raw.lower()),
                    raw_status=raw,
                    reference=message_id,
                    gateway_message_id=message_id,
                    recipient=word_at(body, "payload.phoneNumber") or word_at(body, "payload.recipient"),
                    text=word_at(body, "payload.reason"),
                ),
            )
        )


def _outcome(body: Any) -> Outcome:
    message_id, state = word_at(body, "id"), word_at(body, "state").lower()
    if not message_id:
        return Unknown(why.NO_ID)
    if _STATUSES.get(state) is MessageStatus.FAILED:
        return Refused(RefusalKind.PERMANENT, state, word_at(body, "recipients.0.error"))
    return Accepted((message_id,), MessageStatus.QUEUED)


def _polled(part: Submitted, answer: HttpAnswer) -> DeliveryReport | None:
    body = json_or_none(answer)
    raw = word_at(body, "recipients.0.state") or word_at(body, "state")
    if not answer.ok or not raw or word_at(body, "id") != part.gateway_message_id:
        return None
    return DeliveryReport(
        status=_STATUSES.get(raw.lower()),
        raw_status=raw,
        gateway_message_id=part.gateway_message_id,
        recipient=part.recipient,
        text=word(at_path(body, "recipients.0.error")),
    )


def sign(key: str, body: bytes, timestamp: str) -> str:
    """The app's signature of a webhook. Source: https://docs.sms-gate.app/features/webhooks/"""
    return hmac.new(key.encode(), body + timestamp.encode(), hashlib.sha256).hexdigest()


def _check_signature(request: GatewayCall, key: str, now: datetime) -> None:
    given, timestamp = request.headers.get("x-signature", ""), request.headers.get("x-timestamp", "")
    expected = sign(key, request.body, timestamp)
    if not hmac.compare_digest(given.strip().lower().encode(), expected.encode()):
        raise ReportRejected("the app's signature is missing or wrong")
    is_number = timestamp.isdecimal() and len(timestamp) <= 10
    if not is_number or abs((now - datetime.fromtimestamp(int(timestamp), UTC)).total_seconds()) > _CLOCK_S:
        raise ReportRejected("the app's signature is too old")
