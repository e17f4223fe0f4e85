"""MSG91, flows of API v5: approved templates, of which only the variables travel. Source: https://docs.msg91.com/sms"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from app.domain.outcomes import Accepted, DeliveryReport, Outcome, RefusalKind, Refused, Reports, Unknown
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
    SettingsInvalid,
)
from app.transport import TransportError

# https://docs.msg91.com/sms/webhook: by number, and by the word beside it, which counts where both are there
# and the number is not known.
_STATUSES = {
    "1": MessageStatus.DELIVERED,
    "DELIVERED": MessageStatus.DELIVERED,
    "2": MessageStatus.UNDELIVERED,
    "FAILED": MessageStatus.UNDELIVERED,
    "5": MessageStatus.SENT,
    "PENDING": MessageStatus.SENT,
    "8": MessageStatus.SENT,
    "SUBMITTED": MessageStatus.SENT,
    "9": MessageStatus.FAILED,
    "NDNC": MessageStatus.FAILED,
    "16": MessageStatus.FAILED,
    "25": MessageStatus.FAILED,
    "REJECTED": MessageStatus.FAILED,
    "17": MessageStatus.FAILED,
    "BLOCKED": MessageStatus.FAILED,
    "28": MessageStatus.FAILED,
    "NUMBER BLOCKED": MessageStatus.FAILED,
}

_CONFIG, _PERMANENT = RefusalKind.CONFIG, RefusalKind.PERMANENT

# https://docs.msg91.com/sms/error-codes: with HTTP 200, and not always with a code.
_CODES: dict[str, RefusalKind] = {
    "101": _PERMANENT,  # no number
    "102": _PERMANENT,  # no text
    "105": _PERMANENT,  # country
    "201": _CONFIG,  # wrong sign-in
    "202": _PERMANENT,  # a wrong number
    "203": _CONFIG,  # originator
    "207": _CONFIG,  # wrong key
    "208": _CONFIG,  # the address is on the black list
    "209": _CONFIG,  # no such route
    "301": _CONFIG,  # no money
    "302": _CONFIG,  # the account has expired
    "303": _CONFIG,  # the account is blocked
    "418": _CONFIG,  # this address may not call
    "506": RefusalKind.TEMPORARY,
}
_ERRORS = ErrorTable(code_path="code", text_path="message", kinds={**_CODES, "200": None})
# Without a code, the words decide; first found, first served.
_WORDS: tuple[tuple[str, RefusalKind], ...] = (
    (r"auth|ip (is )?not|whitelist|blacklist", _CONFIG),
    (r"balance|credit|expired|banned|blocked account", _CONFIG),
    (r"template|flow", _CONFIG),
    (r"rate limit|too many", RefusalKind.THROTTLE),
)

_EXPLANATIONS = {
    "101": why.BAD_NUMBER,
    "102": why.NO_TEXT,
    "105": why.COUNTRY,
    "201": why.WRONG_KEY,
    "202": why.BAD_NUMBER,
    "203": why.BAD_ORIGINATOR,
    "207": why.WRONG_KEY,
    "208": why.ADDRESS_NOT_ALLOWED,
    "209": why.CONTRACT,
    "301": why.NO_MONEY,
    "302": why.ACCOUNT_STOPPED,
    "303": why.ACCOUNT_STOPPED,
    "418": why.ADDRESS_NOT_ALLOWED,
    "506": why.GATEWAY_FAULT,
    "no_template": why.TEMPLATE,
    "2": why.UNDELIVERABLE,
    "9": why.STOP_LIST,
    "16": why.BLOCKED,
    "17": why.BLOCKED,
    "25": why.BLOCKED,
    "28": why.STOP_LIST,
}

_VARIABLE = re.compile(r"##([A-Za-z][A-Za-z0-9_]{0,31})##|\{#([A-Za-z][A-Za-z0-9_]{0,31})#\}")


class Msg91(Gateway):
    """Bitrix24 hands over a finished text; matching it with the templates finds their variables again."""

    slug = "msg91"
    title = "MSG91"
    regions = ("IN", "*")
    needs = "An authentication key, and approved templates"
    docs_url = "https://docs.msg91.com/sms"
    sign_up_url = "https://control.msg91.com/signup/"
    key_url = "https://control.msg91.com/app/m/l/settings/authkey"
    capabilities = Capabilities(reports="callback")
    explanations = _EXPLANATIONS
    fields = (
        Field("authkey", "Authentication key", "secret", required=True),
        Field(
            "originator",
            "Originator",
            "originator",
            "The header of the templates. Empty: that of the template.",
            pattern=r"[A-Za-z0-9]{1,11}",
            example="ACMEIN",
        ),
        Field(
            "template_id",
            "Template",
            help="Id of a template whose only variable takes the whole text, for what no other one fits.",
            pattern=r"[A-Za-z0-9_-]{1,64}",
            example="64f0c1d2e3a4b5c6d7e8f901",
        ),
        Field(
            "variable",
            "Variable of the template",
            help="The name of that variable.",
            default="VAR1",
            pattern=r"[A-Za-z][A-Za-z0-9_]{0,31}",
            advanced=True,
        ),
        Field(
            "templates",
            "Templates",
            "json",
            "Approved texts with their variables as ##NAME##, and the id of each template.",
            example='{"Hello ##NAME##, your order ##ORDER## is ready.": "64f0c1d2e3a4b5c6d7e8f901"}',
            advanced=True,
        ),
    )

    @classmethod
    def validate_settings(cls, settings: Mapping[str, str]) -> None:
        templates = json.loads(settings.get("templates") or "{}")
        if not all(
            isinstance(found, str) and re.fullmatch(r"[A-Za-z0-9_-]{1,64}", found)
            for found in templates.values()
        ):
            raise SettingsInvalid({"templates": N_("Each text needs the id of its template.")})
        if not templates and not settings.get("template_id"):
            text = N_("Give the id of a template, or a list of templates.")
            raise SettingsInvalid({"template_id": text})

    # --- outward

    def submit(self, message: Outgoing) -> Outcome:
        found = self._template(message.text)
        if found is None:
            text = N_("The text matches no template of the settings.")
            return Refused(_PERMANENT, "no_template", text)
        template_id, variables = found
        recipient = {"mobiles": message.recipient.removeprefix("+"), **variables}
        body = {"template_id": template_id, "short_url": "0", "recipients": [recipient]}
        if originator := message.originator or self.originator:
            body["sender"] = originator
        answer = self.context.http.request(
            "POST",
            "https://control.msg91.com/api/v5/flow/",
            headers={"authkey": self.settings["authkey"], "Accept": "application/json"},
            json=body,
        )
        if against := refusal(answer, _ERRORS):
            return against
        return _outcome(json_or_none(answer))

    def _template(self, text: str) -> tuple[str, dict[str, str]] | None:
        """The template that a text was written from, with what stood in the place of its variables."""
        for template, template_id in self._templates:
            if (variables := _variables(template, text.strip())) is not None:
                return template_id, variables
        default = self.settings["template_id"]
        return (default, {self.settings["variable"]: text}) if default else None

    @property
    def _templates(self) -> list[tuple[str, str]]:
        """Those with the most fixed words first, so that a loose one does not take another's texts."""
        given: dict[str, str] = json.loads(self.settings["templates"] or "{}")
        return sorted(given.items(), key=lambda item: len(_VARIABLE.sub("", item[0])), reverse=True)

    def check(self) -> CheckResult:
        """Asks for a template of the settings: that needs the key, and shows whether the account has it."""
        template_id = self.settings["template_id"] or next(template for _, template in self._templates)
        try:
            answer = self.context.http.request(
                "POST",
                "https://control.msg91.com/api/v5/sms/getTemplateVersions",
                headers={"authkey": self.settings["authkey"], "Accept": "application/json"},
                json={"template_id": template_id},
            )
            body = body_of(answer, _ERRORS)
        except TransportError as error:
            return CheckResult.unreachable(error)
        except QuestionRefused as error:
            return CheckResult.refused(error)
        versions = at_path(body, "data")
        if _is_complaint(body) or not isinstance(versions, list):
            words = word_at(body, "errors.0") or word_at(body, "errors") or word_at(body, "message")
            return CheckResult.refused(QuestionRefused(Refused(_CONFIG, word_at(body, "code"), words)))
        if not versions:
            text = N_("MSG91 accepts the key, but has no template with the id of the settings.")
            return CheckResult(False, text, words=template_id)
        return CheckResult(ok=True, text=N_("The gateway answers and accepts the sign-in."))

    # --- reports

    def parse_reports(self, request: GatewayCall) -> Reports:
        """A list of requests in a form field, each with its numbers; or one flat report in JSON."""
        return Reports(tuple(_reports_in(_content(request))))


def _variables(template: str, text: str) -> dict[str, str] | None:
    """What stands in a text where its template has variables; None when it was not written from it.

    The fixed words are looked for from left to right, each at its first place, so that a text of any length
    is read once, whatever the template.
    """
    first, *rest = _VARIABLE.split(template.strip())
    if not text.startswith(first):
        return None
    if not rest:
        return {} if text == first else None
    found: dict[str, str] = {}
    place = len(first)
    # Each variable comes as the two spellings of its name, one of them None, and the words after it.
    for n in range(0, len(rest), 3):
        name, words = rest[n] or rest[n + 1], rest[n + 2]
        is_last = n + 3 == len(rest)
        end = len(text) - len(words) if is_last and text.endswith(words) else text.find(words, place)
        if end < place or (is_last and not text.endswith(words)):
            return None
        found.setdefault(name, text[place:end])
        place = end + len(words)
    return found


def _is_complaint(body: Any) -> bool:
    """Errors come with HTTP 200, in the form of either of MSG91's interfaces."""
    return at_path(body, "hasError") is True or "error" in (
        word_at(body, "type").lower(),
        word_at(body, "status").lower(),
    )


def _outcome(body: Any) -> Outcome:
    kind = word_at(body, "type").lower()
    text = word_at(body, "message")
    if kind == "error":
        code = word_at(body, "code")
        by_words = next(
            (found for pattern, found in _WORDS if re.search(pattern, text, re.IGNORECASE)), _PERMANENT
        )
        return Refused(_CODES.get(code, by_words), code or "error", text)
    request_id = word_at(body, "request_id") or (text if kind == "success" else "")
    if kind != "success" or not re.fullmatch(r"[A-Za-z0-9_-]{4,100}", request_id):
        return Unknown(why.NO_ID)
    return Accepted((request_id,), MessageStatus.QUEUED)


def _content(request: GatewayCall) -> list[Any]:
    if request.body.lstrip()[:1] == b"[":
        return list(request.json)
    content = json.loads(request.fields["data"]) if "data" in request.fields else request.fields
    return content if isinstance(content, list) else [content]


def _reports_in(items: list[Any]) -> Iterator[DeliveryReport]:
    for item in items:
        request_id = word_at(item, "requestId") or word_at(item, "request_id")
        nested = item.get("report") if isinstance(item, Mapping) else None
        for report in nested if isinstance(nested, list) else [item]:
            number, desc = word_at(report, "status"), word_at(report, "desc")
            if not request_id or not (number or desc):
                raise ValueError("no status of a request")
            to = word_at(report, "number").removeprefix("+")
            yield DeliveryReport(
                status=_STATUSES.get(number) or _STATUSES.get(number.upper()) or _STATUSES.get(desc.upper()),
                raw_status=number or desc,
                gateway_message_id=request_id,
                recipient=f"+{to}" if to.isdecimal() else word(to),
                text=word_at(report, "failedReason") or desc,
            )
