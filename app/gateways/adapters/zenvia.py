"""Zenvia API v2, channel SMS. Source: https://zenvia.github.io/zenvia-openapi-spec/v2/"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

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
    word_at,
)
from app.gateways.base import (
    Capabilities,
    CheckResult,
    Field,
    Gateway,
    GatewayCall,
    Outgoing,
)
from app.transport import HttpAnswer, TransportError

# https://zenvia.github.io/zenvia-openapi-spec/v2/#tag/Webhooks
_STATUSES = {
    "SENT": MessageStatus.SENT,
    "DELIVERED": MessageStatus.DELIVERED,
    "READ": MessageStatus.DELIVERED,
    "CLICKED": MessageStatus.DELIVERED,
    "NOT_DELIVERED": MessageStatus.UNDELIVERED,
    "REJECTED": MessageStatus.FAILED,
}

_CONFIG, _PERMANENT = RefusalKind.CONFIG, RefusalKind.PERMANENT

# https://zenvia.github.io/zenvia-openapi-spec/v2/#section/Errors; the HTTP status decides of the others.
_CODES: dict[str, RefusalKind] = {
    "AUTHENTICATION_ERROR": _CONFIG,
    "AUTHORIZATION_ERROR": _CONFIG,
    "INSUFFICIENT_BALANCE": _CONFIG,
    "INSUFFICIENT_CREDITS": _CONFIG,
    "VALIDATION_ERROR": _PERMANENT,
}
_ERRORS = ErrorTable(code_path="code", text_path="message", kinds=_CODES, statuses={404: _CONFIG})

_EXPLANATIONS = {
    "AUTHENTICATION_ERROR": why.WRONG_KEY,
    "AUTHORIZATION_ERROR": why.CONTRACT,
    "INSUFFICIENT_BALANCE": why.NO_MONEY,
    "INSUFFICIENT_CREDITS": why.NO_MONEY,
    "VALIDATION_ERROR": why.BAD_REQUEST,
    "NOT_DELIVERED": why.UNDELIVERABLE,
    "REJECTED": why.BLOCKED,
}


class Zenvia(Gateway):
    """Reports come by a subscription, which is made here; they know a message by Zenvia's id alone."""

    slug = "zenvia"
    title = "Zenvia"
    regions = ("BR", "AR", "MX", "CO", "CL", "PE")
    needs = "An API token"
    docs_url = "https://zenvia.github.io/zenvia-openapi-spec/v2/"
    sign_up_url = "https://app.zenvia.com/signup"
    key_url = "https://app.zenvia.com/api"
    capabilities = Capabilities(reports="callback", webhooks=True)
    explanations = _EXPLANATIONS
    fields = (
        Field("token", "API token", "secret", required=True),
        Field(
            "originator",
            "Originator",
            "originator",
            "The sender id of your SMS channel at Zenvia.",
            required=True,
            pattern=r".{1,40}",
            example="acme-sms",
        ),
    )

    # --- outward

    def submit(self, message: Outgoing) -> Outcome:
        body = {
            "from": message.originator or self.originator,
            "to": message.recipient.removeprefix("+"),
            "contents": [{"type": "text", "text": message.text}],
            "externalId": message.reference,
        }
        answer = self._call("POST", "channels/sms/messages", json=body)
        if against := _refusal(answer):
            return against
        message_id = word_at(json_or_none(answer), "id")
        if not message_id:
            return Unknown(why.NO_ID)
        return Accepted((message_id,), MessageStatus.QUEUED)

    def check(self) -> CheckResult:
        """The list of subscriptions, which needs the token."""
        try:
            self._subscriptions()
        except QuestionRefused as error:
            return CheckResult.refused(error)
        except TransportError as error:
            return CheckResult.unreachable(error)
        return CheckResult(ok=True, text="The gateway answers and accepts the sign-in.")

    def on_enable(self, report_url: str) -> None:
        ours = self._subscriptions_to(report_url)
        if not ours:
            subscription = {
                "eventType": "MESSAGE_STATUS",
                "webhook": {"url": report_url},
                "criteria": {"channel": "sms", "direction": "OUT"},
                "status": "ACTIVE",
            }
            self._done(self._call("POST", "subscriptions", json=subscription))
        elif not any(word_at(found, "status") in ("ACTIVE", "") for found in ours):
            page = f"subscriptions/{quote(word_at(ours[0], 'id'), safe='')}"
            self._done(self._call("PATCH", page, json={"status": "ACTIVE"}))

    def on_disable(self, report_url: str) -> None:
        for found in self._subscriptions_to(report_url):
            answer = self._call("DELETE", f"subscriptions/{quote(word_at(found, 'id'), safe='')}")
            if answer.status != 404:
                self._done(answer)

    def _subscriptions_to(self, report_url: str) -> list[Any]:
        return [
            found
            for found in self._subscriptions()
            if word_at(found, "webhook.url") == report_url and word_at(found, "eventType") == "MESSAGE_STATUS"
        ]

    def _subscriptions(self) -> list[Any]:
        answer = self._call("GET", "subscriptions")
        self._done(answer)
        found = body_of(answer)
        if not isinstance(found, list):
            raise QuestionRefused(Unknown("This is no list of subscriptions."))
        return found

    def _done(self, answer: HttpAnswer) -> None:
        if against := _refusal(answer):
            raise QuestionRefused(against)

    def _call(self, method: str, page: str, **more: Any) -> HttpAnswer:
        headers = {"X-API-TOKEN": self.settings["token"]}
        url = f"https://api.zenvia.com/v2/{page}"
        return self.context.http.request(method, url, headers=headers, **more)

    # --- reports

    def parse_reports(self, request: GatewayCall) -> Reports:
        events = request.json if isinstance(request.json, list) else [request.json]
        return Reports(tuple(_reports_in(events)))


def _refusal(answer: HttpAnswer) -> Refused | Unknown | None:
    against = refusal(answer, _ERRORS)
    if not isinstance(against, Refused):
        return against
    # Codes about money are many; what is wrong with which field stands below the message.
    kind = _CONFIG if against.code.startswith("INSUFFICIENT_") else against.kind
    detail = word_at(json_or_none(answer), "details.0.message")
    text = " ".join(filter(None, (against.text, detail)))
    return Refused(kind, against.code, text, against.retry_after_s)


def _reports_in(events: list[Any]) -> Iterator[DeliveryReport]:
    for event in events:
        raw, message_id = word_at(event, "messageStatus.code"), word_at(event, "messageId")
        if word_at(event, "type") == "MESSAGE":
            continue  # an incoming message, by a subscription of somebody else
        if not raw or not message_id:
            raise ValueError("no status of a message")
        cause = at_path(event, "messageStatus.causes.0")
        yield DeliveryReport(
            status=_STATUSES.get(raw.upper()),
            raw_status=raw,
            reference=word_at(event, "externalId") or word_at(event, "message.externalId"),
            gateway_message_id=message_id,
            code=word_at(cause, "channelErrorCode"),
            text=word_at(cause, "reason")
            or word_at(event, "messageStatus.cause")
            or word_at(event, "messageStatus.description"),
        )
