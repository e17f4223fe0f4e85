"""Infobip SMS API v3. Source: https://www.infobip.com/docs/api/channels/sms/outbound-sms"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any
from urllib.parse import quote

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
    Submitted,
)
from app.transport import HttpAnswer

# https://www.infobip.com/docs/essentials/response-status-and-error-codes: the groups of statuses ...
_GROUPS = {
    "0": "ACCEPTED",
    "1": "PENDING",
    "2": "UNDELIVERABLE",
    "3": "DELIVERED",
    "4": "EXPIRED",
    "5": "REJECTED",
}
_GROUP_STATUSES = {
    "ACCEPTED": MessageStatus.QUEUED,
    "PENDING": MessageStatus.QUEUED,
    "UNDELIVERABLE": MessageStatus.UNDELIVERED,
    "DELIVERED": MessageStatus.DELIVERED,
    "EXPIRED": MessageStatus.UNDELIVERED,
    "REJECTED": MessageStatus.FAILED,
}
# ... and the few that stand in a group whose word says too much or too little, by id and name.
_STATUSES = {
    "2": MessageStatus.SENT,
    "DELIVERED_TO_OPERATOR": MessageStatus.SENT,
    "3": MessageStatus.SENT,
    "PENDING_WAITING_DELIVERY": MessageStatus.SENT,
    "7": MessageStatus.SENT,
    "PENDING_ENROUTE": MessageStatus.SENT,
}

_CONFIG, _PERMANENT = RefusalKind.CONFIG, RefusalKind.PERMANENT
_TEMPORARY, _THROTTLE = RefusalKind.TEMPORARY, RefusalKind.THROTTLE

# A message that an answer of 200 rejects. What is not listed is a matter of this message alone.
_REJECTIONS = {
    "REJECTED_NOT_ENOUGH_CREDITS": _CONFIG,
    "REJECTED_PREPAID_PACKAGE_EXPIRED": _CONFIG,
    "REJECTED_SYSTEM_ERROR": _TEMPORARY,
}
_REPEATED = "REJECTED_DUPLICATE_MESSAGE_ID"  # our own reference: the message is there already

# Answers of 4xx name an error; the HTTP status says what it means. Older endpoints wrap it differently.
_ERRORS = ErrorTable(code_path="errorCode", text_path="description", statuses={404: _CONFIG})
_OLD_ERRORS = ErrorTable(
    code_path="requestError.serviceException.messageId",
    text_path="requestError.serviceException.text",
    statuses={404: _CONFIG},
)

_EXPLANATIONS = {
    "UNAUTHORIZED": why.WRONG_KEY,
    "E401": why.WRONG_KEY,
    "FORBIDDEN": why.WRONG_KEY,
    "E403": why.WRONG_KEY,
    "BAD_REQUEST": why.BAD_REQUEST,
    "E400": why.BAD_REQUEST,
    "TOO_MANY_REQUESTS": why.TOO_FAST,
    "E429": why.TOO_FAST,
    "REJECTED_NOT_ENOUGH_CREDITS": why.NO_MONEY,
    "REJECTED_PREPAID_PACKAGE_EXPIRED": why.NO_MONEY,
    "REJECTED_SYSTEM_ERROR": why.GATEWAY_FAULT,
    "REJECTED_NETWORK": why.NO_ROUTE,
    "REJECTED_PREFIX_MISSING": why.BAD_NUMBER,
    "REJECTED_DND": why.STOP_LIST,
    "REJECTED_SOURCE": why.BAD_ORIGINATOR,
    "REJECTED_SENDER": why.BAD_ORIGINATOR,
    "REJECTED_DESTINATION": why.STOP_LIST,
    "REJECTED_INVALID_DESTINATION": why.BAD_NUMBER,
    "REJECTED_DESTINATION_NOT_REGISTERED": why.TRIAL,
    "REJECTED_ROUTE_NOT_AVAILABLE": why.NO_ROUTE,
    "REJECTED_FLOODING_FILTER": why.REPEATED,
    "REJECTED_MESSAGE_TOO_LONG": why.TEXT_TOO_LONG,
    "MISSING_TO": why.BAD_NUMBER,
    "EC_UNKNOWN_SUBSCRIBER": why.NOBODY,
    "EC_ABSENT_SUBSCRIBER": why.OUT_OF_REACH,
    "EC_ABSENT_SUBSCRIBER_SM": why.OUT_OF_REACH,
    "EC_ILLEGAL_SUBSCRIBER": why.BLOCKED,
    "EXPIRED_EXPIRED": why.EXPIRED,
    "EXPIRED_DLR_UNKNOWN": why.UNDELIVERABLE,
    "UNDELIVERABLE_REJECTED_OPERATOR": why.BLOCKED,
}

_VALIDITY_MINUTES = (1, 48 * 60)


class Infobip(Gateway):
    """Our reference is Infobip's message id and its `callbackData`, so every report names it twice."""

    slug = "infobip"
    title = "Infobip"
    regions = ("*",)
    needs = "The address of your account's API, and an API key"
    docs_url = "https://www.infobip.com/docs/api/channels/sms"
    sign_up_url = "https://www.infobip.com/signup"
    key_url = "https://portal.infobip.com/dev/api-keys"
    capabilities = Capabilities(
        reports="both",
        per_message_callback=True,
        lookup=True,
        balance=True,
        bulk_max=100,
        poll_max=50,
    )
    explanations = _EXPLANATIONS
    fields = (
        Field(
            "base_url",
            "API address",
            help="Each account has its own; the console's start page shows it.",
            required=True,
            pattern=r"(https?://)?[A-Za-z0-9.-]+(:[0-9]{1,5})?/?",
            example="xyz123.api.infobip.com",
            names_account=True,
            is_place=True,
        ),
        Field("api_key", "API key", "secret", required=True),
        Field(
            "originator",
            "Originator",
            "originator",
            "A name or number that is released for the countries you send to.",
            required=True,
            pattern=r".{1,16}",
            example="ACME",
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

    # --- outward

    def submit(self, message: Outgoing) -> Outcome:
        return self.submit_many([message])[0]

    def submit_many(self, messages: Sequence[Outgoing]) -> list[Outcome]:
        """One call for all; each message has its place in the answer, found by our reference."""
        body = {"messages": [self._message(message) for message in messages]}
        answer = self._call("POST", "sms/3/messages", json=body)
        if against := _refusal(answer):
            return [against] * len(messages)
        items = at_path(json_or_none(answer), "messages")
        found = _in_order(messages, items if isinstance(items, list) else [])
        return [_outcome(item) for item in found]

    def _message(self, message: Outgoing) -> dict[str, Any]:
        minutes = min(max(message.validity_s // 60, _VALIDITY_MINUTES[0]), _VALIDITY_MINUTES[1])
        options: dict[str, Any] = {"validityPeriod": {"amount": minutes, "timeUnit": "MINUTES"}}
        if entity := self.settings["dlt_entity_id"]:
            dlt = {"principalEntityId": entity, "contentTemplateId": self.settings["dlt_template_id"]}
            options["regional"] = {"indiaDlt": {name: value for name, value in dlt.items() if value}}
        return {
            "sender": message.originator or self.originator,
            "destinations": [{"to": message.recipient.removeprefix("+"), "messageId": message.reference}],
            "content": {"text": message.text},
            "options": options,
            "webhooks": {
                "delivery": {"url": message.report_url, "intermediateReport": True, "notify": True},
                "contentType": "application/json",
                "callbackData": message.reference,
            },
        }

    def look_up(self, reference: str, recipient: str) -> Outcome | None:
        """Found in the log: taken. Not found proves nothing, for the log may lag behind."""
        found = self._log([reference])
        return Accepted((reference,), MessageStatus.QUEUED) if reference in found else None

    def poll(self, sent: Sequence[Submitted]) -> list[DeliveryReport]:
        """From the log: asking for reports would take them away from whoever else reads them."""
        found = self._log([part.gateway_message_id for part in sent])
        return [report for item in found.values() if (report := _report(item)) is not None]

    def _log(self, ids: Sequence[str]) -> dict[str, Any]:
        query = "&".join(f"messageId={quote(message_id, safe='')}" for message_id in ids)
        answer = self._call("GET", f"sms/3/logs?{query}")
        results = None if _refusal(answer) else at_path(json_or_none(answer), "results")
        items = results if isinstance(results, list) else []
        by_id = {word_at(item, "messageId"): item for item in items}
        return {message_id: by_id[message_id] for message_id in ids if message_id in by_id}

    def balance(self) -> Balance | None:
        answer = self._call("GET", "account/1/balance")
        if against := _refusal(answer):
            raise QuestionRefused(against)
        body = body_of(answer)
        return Balance.read(word_at(body, "balance"), word_at(body, "currency"))

    def _call(self, method: str, page: str, **more: Any) -> HttpAnswer:
        base = self.settings["base_url"].rstrip("/")
        base = base if "://" in base else f"https://{base}"
        headers = {"Authorization": f"App {self.settings['api_key']}", "Accept": "application/json"}
        return self.context.http.request(method, f"{base}/{page}", headers=headers, **more)

    # --- reports

    def parse_reports(self, request: GatewayCall) -> Reports:
        """Up to a hundred reports in one call; our reference is in each."""
        results = at_path(request.json, "results")
        if not isinstance(results, list):
            raise ValueError("no list of results")
        found = [report for item in results if (report := _report(item)) is not None]
        if results and not found:
            raise ValueError("no result has an id and a status")
        return Reports(tuple(found))


def _refusal(answer: HttpAnswer) -> Refused | Unknown | None:
    against = refusal(answer, _ERRORS)
    if isinstance(against, Refused) and word_at(json_or_none(answer), "requestError.serviceException.text"):
        return refusal(answer, _OLD_ERRORS)
    return against


def _in_order(messages: Sequence[Outgoing], items: Sequence[Any]) -> list[Any]:
    """The answer's item of each message: by our reference; where it has none of them, by its place."""
    by_id = {word_at(item, "messageId"): item for item in items}
    if len(items) == len(messages) and not any(message.reference in by_id for message in messages):
        return list(items)
    return [by_id.get(message.reference) for message in messages]


def _outcome(item: Any) -> Outcome:
    status = at_path(item, "status")
    group, name, message_id = _group(status), word_at(status, "name"), word_at(item, "messageId")
    if group not in _GROUP_STATUSES:
        return Unknown(why.NO_OUTCOME)
    if name != _REPEATED and _GROUP_STATUSES[group] in (MessageStatus.FAILED, MessageStatus.UNDELIVERED):
        kind = _REJECTIONS.get(name, _PERMANENT)
        return Refused(kind, name or group, word_at(status, "description"))
    if not message_id:
        return Unknown(why.NO_ID)
    count = word_at(item, "details.messageCount")
    return Accepted(
        (message_id,),
        MessageStatus.QUEUED,
        segments=int(count) if count.isdecimal() and 0 < int(count) < 1000 else None,
    )


def _group(status: Any) -> str:
    """The group's name: the submission's answer, reports and logs give its number, its name or both."""
    number, name = word_at(status, "groupId"), word_at(status, "groupName")
    return _GROUPS.get(number, name)


def _report(item: Any) -> DeliveryReport | None:
    status = at_path(item, "status")
    number, name, group = word_at(status, "id"), word_at(status, "name"), _group(status)
    message_id, reference = word_at(item, "messageId"), word_at(item, "callbackData")
    if not (message_id or reference) or not (name or group):
        return None
    known = _STATUSES.get(name) or _STATUSES.get(number) or _GROUP_STATUSES.get(group)
    has_error = word_at(item, "error.groupId") not in ("", "0") or word_at(item, "error.id") not in ("", "0")
    return DeliveryReport(
        status=known,
        raw_status=name or group,
        reference=reference,
        gateway_message_id=message_id,
        recipient=_e164(word_at(item, "to") or word_at(item, "destination")),
        code=word_at(item, "error.name") if has_error else "",
        text=word_at(item, "error.description") if has_error else "",
        at=_time(item),
    )


def _e164(number: str) -> str:
    digits = number.removeprefix("+")
    return f"+{digits}" if digits.isdecimal() else number


def _time(item: Mapping[str, Any]) -> datetime | None:
    """`2026-11-28T10:00:00.000+0000`, the form that Infobip writes; anything else says nothing."""
    text = word(at_path(item, "doneAt"))
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return moment if moment.tzinfo else None
