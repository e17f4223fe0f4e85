"""Any gateway with an HTTP interface, connected by settings alone: what is sent, and where answers are."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from functools import cached_property
from typing import Any
from urllib.parse import quote, urlsplit

from app.domain.outcomes import Accepted, DeliveryReport, Outcome, RefusalKind, Refused, Reports, Unknown
from app.domain.status import MessageStatus
from app.gateways.answers import ErrorTable, QuestionRefused, at_path, json_or_none, refusal, word, word_at
from app.gateways.base import (
    Capabilities,
    CheckResult,
    Field,
    Gateway,
    InboundHttp,
    Outgoing,
    SettingsInvalid,
)
from app.transport import HttpAnswer, TransportError, check_header

# The words of SMPP 3.4, which many HTTP gateways pass on, and our own.
_DEFAULT_STATUS_MAP = {
    "ENROUTE": "sent",
    "ACCEPTD": "sent",
    "SENT": "sent",
    "DELIVRD": "delivered",
    "DELIVERED": "delivered",
    "UNDELIV": "undelivered",
    "UNDELIVERED": "undelivered",
    "EXPIRED": "undelivered",
    "REJECTD": "failed",
    "REJECTED": "failed",
    "DELETED": "failed",
    "FAILED": "failed",
}
_DEFAULT_TEMPLATE = {"to": "{to}", "from": "{from}", "text": "{text}", "reference": "{reference}"}

_STATUSES = {status.value: status for status in MessageStatus if status is not MessageStatus.UNKNOWN}
_KINDS: dict[str, RefusalKind | None] = {"ok": None, **{kind.value: kind for kind in RefusalKind}}
# A wrong path is a setting to mend, and a conflict may well be our own earlier try.
_HTTP_STATUSES: dict[int, RefusalKind | None] = {
    404: RefusalKind.CONFIG,
    405: RefusalKind.CONFIG,
    409: None,
}

_PLACEHOLDER = re.compile(r"\{([a-z_]+)\}")
_CHECK_VALUE = frozenset({"user", "secret"})
_HEADER_VALUE = _LOOKUP_VALUE = _CHECK_VALUE | {"reference", "to", "to_digits"}
_ANY_VALUE = _HEADER_VALUE | {"text", "from", "report_url", "segments", "validity_s", "encoding"}


class HttpGateway(Gateway):
    """A gateway described by the admin. Accepted is any 2xx that says nothing against it."""

    slug = "http"
    title = "Any HTTP gateway"
    docs_url = "https://en.wikipedia.org/wiki/SMS_gateway"
    capabilities = Capabilities(
        reports="callback", per_message_callback=True, idempotent=True, lookup=True, balance=True
    )
    fields = (
        Field(
            "url",
            "Address",
            "url",
            "Where messages are sent to. Placeholders are allowed in the path and the query.",
            required=True,
            example="https://api.example.com/v1/messages",
        ),
        Field(
            "method",
            "Method",
            "choice",
            default="POST",
            choices=(("POST", "POST"), ("GET", "GET"), ("PUT", "PUT")),
        ),
        Field(
            "body",
            "What is sent",
            "choice",
            "Where the fields of the template go.",
            default="json",
            choices=(("json", "JSON"), ("form", "Form fields"), ("query", "Query of the address")),
        ),
        Field(
            "template",
            "Template",
            "json",
            "Field names and values. Placeholders: {to} {to_digits} {text} {from} {reference} {report_url} "
            "{segments} {validity_s} {encoding} {user} {secret}.",
            default=json.dumps(_DEFAULT_TEMPLATE),
            example='{"to": "{to}", "text": "{text}", "from": "{from}"}',
        ),
        Field(
            "headers",
            "Headers",
            "json",
            "Sent with every call, keys and tokens included. {reference}, {user} and {secret} are replaced.",
            write_only=True,
            example='{"Authorization": "Bearer {secret}"}',
        ),
        Field(
            "auth",
            "Sign in",
            "choice",
            default="none",
            choices=(
                ("none", "As headers and template say"),
                ("basic", "HTTP Basic: user and secret"),
                ("bearer", "Bearer token: secret"),
            ),
        ),
        Field("user", "User", help="For HTTP Basic, and wherever {user} stands."),
        Field("secret", "Secret", "secret", "Password, key or token; stands in for {secret}."),
        Field("originator", "Originator", "originator", "What the phone shows as the sender."),
        Field(
            "id_path",
            "Path of the id",
            help="Where the answer has the gateway's id of the message. When set, an answer without an id "
            "counts as an unknown outcome.",
            example="messages.0.id",
        ),
        Field(
            "error_path",
            "Path of the error code",
            help="Needed for gateways that answer 200 with an error inside.",
            example="error.code",
            advanced=True,
        ),
        Field("error_text_path", "Path of the error text", example="error.message", advanced=True),
        Field(
            "error_map",
            "Error codes",
            "json",
            "The gateway's code to ok, permanent, temporary, throttle or config; * stands for all others.",
            example='{"0": "ok", "12": "config", "*": "permanent"}',
            advanced=True,
        ),
        Field(
            "report_reference_path",
            "Path of our reference in a report",
            help="Not needed when the gateway is given {report_url} with each message.",
            example="reference",
        ),
        Field("report_id_path", "Path of the gateway's id in a report", example="id"),
        Field("report_status_path", "Path of the status in a report", example="status"),
        Field("report_items_path", "Path of the list in a report", example="results", advanced=True),
        Field("report_code_path", "Path of the error code in a report", example="err", advanced=True),
        Field(
            "status_map",
            "Status words",
            "json",
            "The gateway's word to sent, delivered, undelivered, failed or queued; upper and lower case "
            "are the same; * stands for all others.",
            default=json.dumps(_DEFAULT_STATUS_MAP),
        ),
        Field(
            "report_reply",
            "Answer to reports",
            help="What the gateway wants to hear.",
            default="OK",
            advanced=True,
        ),
        Field(
            "idempotent",
            "Drops repeated references",
            "bool",
            "The gateway sends a message once only, however often the same reference is submitted.",
            default="false",
        ),
        Field("check_url", "Address for the check", "url", "Called with GET by “Save and check”."),
        Field("balance_path", "Path of the balance", example="balance", advanced=True),
        Field(
            "lookup_url",
            "Address for looking up a reference",
            "url",
            "Called with GET when an outcome is unknown: 404 means that the gateway does not have it.",
            example="https://api.example.com/v1/messages?reference={reference}",
            advanced=True,
        ),
    )

    @property
    def active_capabilities(self) -> Capabilities:
        """Settings decide what this gateway can do."""
        return Capabilities(
            reports="callback" if self.settings.get("report_status_path") else "none",
            per_message_callback=_has_report_url(self.settings),
            idempotent=self.settings.get("idempotent") == "true",
            lookup=bool(self.settings.get("lookup_url")),
            balance=bool(self.settings.get("check_url") and self.settings.get("balance_path")),
        )

    # --- outward

    def submit(self, message: Outgoing) -> Outcome:
        answer = self._call(self.settings["method"], self.settings["url"], self._values(message), fill=True)
        against = refusal(answer, self._errors)
        if against is not None:
            return against
        path = self.settings.get("id_path", "")
        if not path:
            return Accepted(())
        found = word_at(json_or_none(answer), path)
        return Accepted((found,)) if found else Unknown(f"The answer has no id at {path!r}.")

    def look_up(self, reference: str, recipient: str) -> Outcome | None:
        """Taken when the gateway shows the reference, not taken when it answers 404, else unknown."""
        url = self.settings.get("lookup_url", "")
        if not url:
            return None
        answer = self._call("GET", url, {"reference": reference, **_recipient_values(recipient)})
        if answer.status == 404:
            return Refused(RefusalKind.TEMPORARY, "not_found", "The gateway does not have this message.")
        found = word_at(json_or_none(answer), self.settings.get("id_path") or "id")
        return Accepted((found,)) if answer.ok and found else None

    def check(self) -> CheckResult:
        url = self.settings.get("check_url", "")
        try:
            return self._check_account(url) if url else self._check_address()
        except TransportError as error:
            return CheckResult.unreachable(error)
        except QuestionRefused as error:
            return CheckResult.refused(error)

    def _check_account(self, url: str) -> CheckResult:
        answer = self._call("GET", url, {})
        against = refusal(answer, self._errors)
        if against is not None:
            raise QuestionRefused(against)
        path = self.settings.get("balance_path", "")
        balance = word_at(json_or_none(answer), path) if path else ""
        return CheckResult(ok=True, text="The gateway answers and accepts the sign-in.", balance=balance)

    def _check_address(self) -> CheckResult:
        """Any answer to a call that asks for nothing and carries no key shows that the server is there."""
        parts = urlsplit(self.settings["url"])
        self.context.http.request("OPTIONS", f"{parts.scheme}://{parts.netloc}/")
        text = "The server answers. Without an address for the check, key and template were not tried: "
        return CheckResult(ok=True, text=text + "send a test SMS.")

    def _call(self, method: str, url: str, values: Mapping[str, str], *, fill: bool = False) -> HttpAnswer:
        values = {**values, "user": self._user, "secret": self._secret}
        fields: Any = _substituted(self._template, values) if fill else None
        body = self.settings["body"] if fill else ""
        return self.context.http.request(
            method,
            _replace(url, values, lambda value: quote(value, safe="")),
            headers=self._headers(values),
            json=fields if body == "json" else None,
            data=_flat(fields) if body == "form" else None,
            params=_flat(fields) if body == "query" else None,
            auth=(self._user, self._secret) if self.settings.get("auth") == "basic" else None,
        )

    def _headers(self, values: Mapping[str, str]) -> dict[str, str]:
        headers = {name: _replace(value, values) for name, value in self._object("headers").items()}
        if self.settings.get("auth") == "bearer":
            headers.setdefault("Authorization", f"Bearer {self._secret}")
        return headers

    def _values(self, message: Outgoing) -> dict[str, str]:
        return {
            **_recipient_values(message.recipient),
            "text": message.text,
            "from": message.originator or self.originator,
            "reference": message.reference,
            "report_url": message.report_url,
            "segments": str(message.segments),
            "validity_s": str(message.validity_s),
            "encoding": message.encoding,
        }

    # --- reports

    def parse_reports(self, request: InboundHttp) -> Reports:
        items = tuple(self._reports(request))
        if not items:
            raise ValueError("the call has no report that can be read")
        return Reports(items, reply_body=self.settings.get("report_reply") or "OK")

    def _reports(self, request: InboundHttp) -> Iterator[DeliveryReport]:
        found = _report_items(request, self.settings.get("report_items_path", ""))
        for item in found:
            raw = word_at(item, self.settings.get("report_status_path") or "status")
            reference = self._named(item, "report_reference_path")
            gateway_id = self._named(item, "report_id_path")
            if not reference and not gateway_id and len(found) == 1:
                reference = word(request.reference)
            if raw and (reference or gateway_id):
                yield DeliveryReport(
                    status=self._status(raw),
                    raw_status=raw,
                    reference=reference,
                    gateway_message_id=gateway_id,
                    code=self._named(item, "report_code_path"),
                )

    def _named(self, item: Any, setting: str) -> str:
        path = self.settings.get(setting, "")
        return word_at(item, path) if path else ""

    def _status(self, raw: str) -> MessageStatus | None:
        return self._status_words.get(raw.casefold(), self._status_words.get("*"))

    # --- settings

    @cached_property
    def _template(self) -> dict[str, Any]:
        return self._object("template")

    @cached_property
    def _status_words(self) -> dict[str, MessageStatus]:
        words = self._object("status_map") or _DEFAULT_STATUS_MAP
        return {str(word).casefold(): _STATUSES[str(ours).lower()] for word, ours in words.items()}

    @cached_property
    def _errors(self) -> ErrorTable:
        kinds = {str(code): _KINDS[str(kind).lower()] for code, kind in self._object("error_map").items()}
        return ErrorTable(
            code_path=self.settings.get("error_path", ""),
            text_path=self.settings.get("error_text_path", ""),
            kinds={code: kind for code, kind in kinds.items() if code != "*"},
            other=kinds.get("*"),
            statuses=_HTTP_STATUSES,
        )

    @property
    def _user(self) -> str:
        return self.settings.get("user", "")

    @property
    def _secret(self) -> str:
        return self.settings.get("secret", "")

    def _object(self, name: str) -> dict[str, Any]:
        return json.loads(self.settings.get(name) or "{}")  # type: ignore[no-any-return]

    @classmethod
    def validate_settings(cls, settings: Mapping[str, str]) -> None:
        errors = {name: text for name, check in _CHECKS.items() if (text := check(settings))}
        if errors:
            raise SettingsInvalid(errors)


# --- checks of the settings: a sentence, or nothing


def _check_template(settings: Mapping[str, str]) -> str:
    template = json.loads(settings["template"] or "{}")
    if settings["body"] != "json" and any(isinstance(value, (dict, list)) for value in template.values()):
        return "Form fields and queries cannot be nested."
    used = _placeholders(*_leaves(template))
    if unknown := used - _ANY_VALUE:
        return f"There is no placeholder {{{min(unknown)}}}."
    used |= _placeholders(settings["url"])
    if "text" not in used or not used & {"to", "to_digits"}:
        return "The template needs {text} and {to} or {to_digits}."
    return ""


def _check_headers(settings: Mapping[str, str]) -> str:
    for name, value in json.loads(settings["headers"] or "{}").items():
        if not isinstance(value, str):
            return f"The value of the header {name} must be a text."
        if problem := check_header(name, value):
            return problem
        if unknown := _placeholders(value) - _HEADER_VALUE:
            return f"{{{min(unknown)}}} cannot be used in a header."
    return ""


def _check_placeholders(name: str, allowed: frozenset[str]) -> Callable[[Mapping[str, str]], str]:
    def check(settings: Mapping[str, str]) -> str:
        unknown = _placeholders(settings[name]) - allowed
        return f"{{{min(unknown)}}} cannot be used here." if unknown else ""

    return check


def _check_method(settings: Mapping[str, str]) -> str:
    has_body = settings["method"] != "GET"
    return "" if has_body or settings["body"] == "query" else "GET has no body: choose the query for it."


def _check_map(name: str, known: Mapping[str, object]) -> Callable[[Mapping[str, str]], str]:
    def check(settings: Mapping[str, str]) -> str:
        for key, value in json.loads(settings[name] or "{}").items():
            if not isinstance(value, str) or value.lower() not in known:
                return f"The value of {key!r} must be one of: {', '.join(known)}."
        return ""

    return check


def _check_reports(settings: Mapping[str, str]) -> str:
    names = settings["report_reference_path"] or settings["report_id_path"]
    if not settings["report_status_path"] or names or _has_report_url(settings):
        return ""
    return "A report must name its message: set the path of our reference or of the gateway's id."


def _check_ids(settings: Mapping[str, str]) -> str:
    by_id_alone = settings["report_id_path"] and not settings["report_reference_path"]
    if not by_id_alone or settings["id_path"] or _has_report_url(settings):
        return ""
    return "Reports that name a message by the gateway's id need the id from the answer."


def _has_report_url(settings: Mapping[str, str]) -> bool:
    return "{report_url}" in settings["url"] + settings["template"]


def _check_sign_in(settings: Mapping[str, str]) -> str:
    return "Signing in needs the secret." if settings["auth"] != "none" and not settings["secret"] else ""


_CHECKS: dict[str, Callable[[Mapping[str, str]], str]] = {
    "url": _check_placeholders("url", _ANY_VALUE),
    "method": _check_method,
    "template": _check_template,
    "headers": _check_headers,
    "secret": _check_sign_in,
    "id_path": _check_ids,
    "error_map": _check_map("error_map", _KINDS),
    "report_status_path": _check_reports,
    "status_map": _check_map("status_map", _STATUSES),
    "check_url": _check_placeholders("check_url", _CHECK_VALUE),
    "lookup_url": _check_placeholders("lookup_url", _LOOKUP_VALUE),
}


# --- templates


def _placeholders(*texts: str) -> set[str]:
    return {name for text in texts for name in _PLACEHOLDER.findall(text)}


def _leaves(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for inner in value.values():
            yield from _leaves(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _leaves(inner)


def _substituted(value: Any, values: Mapping[str, str]) -> Any:
    """A parsed template with its texts filled in; a message can never change its structure."""
    if isinstance(value, str):
        return _replace(value, values)
    if isinstance(value, dict):
        kept = {name: inner for name, inner in value.items() if not _is_left_out(inner, values)}
        return {name: _substituted(inner, values) for name, inner in kept.items()}
    if isinstance(value, list):
        return [_substituted(inner, values) for inner in value]
    return value


def _is_left_out(leaf: Any, values: Mapping[str, str]) -> bool:
    """An account without an originator sends no originator: many gateways refuse an empty one."""
    return leaf in ("{from}", "{report_url}") and not values.get(leaf.strip("{}"))


def _replace(text: str, values: Mapping[str, str], escape: Callable[[str], str] = str) -> str:
    """One pass, so a placeholder inside a message stays what the sender wrote."""
    return _PLACEHOLDER.sub(lambda match: escape(values.get(match[1], "")), text)


def _flat(fields: Mapping[str, Any]) -> dict[str, str]:
    """Form fields: numbers and truth values as JSON writes them; null leaves a field out."""
    return {
        name: value if isinstance(value, str) else json.dumps(value)
        for name, value in fields.items()
        if value is not None
    }


def _recipient_values(recipient: str) -> dict[str, str]:
    return {"to": recipient, "to_digits": recipient.removeprefix("+")}


# --- reports


def _report_items(request: InboundHttp, items_path: str) -> list[Any]:
    """The reports of a call: a JSON object or list, form fields, or the query."""
    body = request.body.strip()
    if not body:
        return [request.args]
    is_json = "json" in request.headers.get("content-type", "").lower() or body[:1] in (b"{", b"[")
    if not is_json:
        return [{**request.args, **request.form}]
    parsed = request.json
    found = at_path(parsed, items_path) if items_path else parsed
    if isinstance(found, list):
        return found
    return [{**request.args, **found}] if isinstance(found, dict) else []
