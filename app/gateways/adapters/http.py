"""Any gateway with an HTTP interface, connected by settings alone: what is sent, and where answers are."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from functools import cached_property
from typing import Any

from app.domain.sentences import N_, Sentence
from app.gateways.base import Capabilities, Field, SettingsInvalid
from app.gateways.generic.gateway import GenericGateway
from app.gateways.generic.plan import DEFAULT_STATUS_MAP, KINDS, STATUSES, Plan
from app.gateways.generic.signatures import ALGORITHMS, SIGNED_PART, networks
from app.gateways.generic.templates import placeholders, unknown_filters
from app.transport import check_header

_DEFAULT_TEMPLATE = {"to": "{to}", "from": "{from}", "text": "{text}", "reference": "{reference}"}
_CHARSETS = ("utf-8", "windows-1251", "windows-1252", "iso-8859-1", "iso-8859-9", "iso-8859-2", "utf-16-be")

_CHECK_VALUE = frozenset({"user", "secret"})
_LOOKUP_VALUE = _CHECK_VALUE | {"reference", "to", "to_digits", "to_e164"}
_POLL_VALUE = _LOOKUP_VALUE | {"id"}
_HEADER_VALUE = _LOOKUP_VALUE
_ANY_VALUE = _HEADER_VALUE | {"text", "from", "report_url", "segments", "validity_s", "encoding", "coding"}

_REQUEST = (
    Field(
        "url",
        "Address",
        "url",
        "Where messages are sent to. Placeholders are allowed in the path and the query.",
        required=True,
        example="https://api.example.com/v1/messages",
        names_account=True,
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
        choices=(
            ("json", "JSON"),
            ("form", "Form fields"),
            ("query", "Query of the address"),
            ("xml", "XML"),
            ("raw", "Any other text"),
        ),
    ),
    Field(
        "template",
        "Template",
        "json",
        "Field names and values. Placeholders: {to} {to_digits} {text} {from} {reference} {report_url} "
        "{segments} {validity_s} {encoding} {user} {secret}; with a filter: {text|base64}, {text|hexucs2}, "
        "{validity_s|minutes}, {segments|number}.",
        default=json.dumps(_DEFAULT_TEMPLATE),
        example='{"to": "{to}", "text": "{text}", "from": "{from}"}',
    ),
    Field(
        "body_text",
        "XML or text",
        "long",
        "In place of the template, with the same placeholders.",
        example="<sms><to>{to}</to><text>{text}</text></sms>",
        advanced=True,
    ),
    Field(
        "charset",
        "Charset",
        "choice",
        "Of forms, queries, XML and text. JSON needs none.",
        default="utf-8",
        choices=tuple((name, name) for name in _CHARSETS),
        advanced=True,
    ),
    Field(
        "number_format",
        "Form of numbers",
        "choice",
        "How {to} is written.",
        default="e164",
        choices=(
            ("e164", "+491512345678"),
            ("digits", "491512345678"),
            ("00", "00491512345678"),
            ("national", "1512345678"),
        ),
        advanced=True,
    ),
    Field(
        "text_transform",
        "Letters of the text",
        "choice",
        "In Latin letters a part holds 160 characters and not 70. The log keeps what was written.",
        default="none",
        choices=(("none", "As written"), ("latin", "In Latin letters: Привет is sent as Privet")),
        advanced=True,
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
            ("header", "A header of its own: secret"),
            ("query", "In the query of the address: secret"),
        ),
    ),
    Field("auth_name", "Name of the header or of the field", example="X-Api-Key", advanced=True),
    Field("user", "User", help="For HTTP Basic, and wherever {user} stands.", names_account=True),
    Field("secret", "Secret", "secret", "Password, key or token; stands in for {secret}."),
    Field("originator", "Originator", "originator", "What the phone shows as the sender."),
    Field("timeout_s", "Longest wait in seconds", "int", "At most 20.", advanced=True),
    Field("rate", "Messages a second", "int", "The most that the gateway takes.", advanced=True),
)
_ANSWER = (
    Field(
        "id_path",
        "Path of the id",
        help="Where the answer has the gateway's id of the message: of JSON and XML a path, of plain words "
        "their place, such as words.1 in “OK 12345”. When set, an answer without an id counts as an unknown "
        "outcome.",
        example="messages.0.id",
    ),
    Field(
        "success_path",
        "Path of the word of success",
        help="Empty: the beginning of an answer in plain words.",
        example="status",
        advanced=True,
    ),
    Field(
        "success_values",
        "Words of success",
        help="When set, every other answer is a refusal. Several are separated by commas.",
        example="OK, 0",
        advanced=True,
    ),
    Field(
        "success_statuses",
        "HTTP statuses of success",
        help="Empty: all from 200 to 299.",
        example="200, 202",
        advanced=True,
        pattern=r"[0-9, ]*",
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
    Field("segments_path", "Path of the number of parts", example="parts", advanced=True),
    Field("cost_path", "Path of the price", example="price.amount", advanced=True),
    Field("currency_path", "Path of its currency", example="price.currency", advanced=True),
)
_REPORT = (
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
    Field("report_text_path", "Path of the error text in a report", example="reason", advanced=True),
    Field("report_recipient_path", "Path of the number in a report", example="to", advanced=True),
    Field(
        "report_when_path",
        "Path of the kind of event",
        help="For gateways that report other events, too.",
        example="event",
        advanced=True,
    ),
    Field("report_when_values", "Kinds that are delivery reports", example="dlr, status", advanced=True),
    Field(
        "status_map",
        "Status words",
        "json",
        "The gateway's word to sent, delivered, undelivered, failed or queued; upper and lower case "
        "are the same; * stands for all others.",
        default=json.dumps(DEFAULT_STATUS_MAP),
    ),
    Field(
        "report_reply",
        "Answer to reports",
        help="What the gateway wants to hear.",
        default="OK",
        advanced=True,
    ),
    Field(
        "report_check",
        "Proof of a report",
        "choice",
        "The secret in the address of reports is always checked; this comes on top.",
        default="none",
        choices=(
            ("none", "The address alone"),
            ("header", "A header has the secret"),
            ("query", "The query has the secret"),
            ("hmac", "HMAC over the report"),
            ("hash", "Hash over the report and the secret"),
            ("ed25519", "Ed25519 signature; the secret is the public key"),
        ),
        advanced=True,
    ),
    Field("report_check_name", "Where the proof stands", example="X-Signature", advanced=True),
    Field(
        "report_check_algorithm",
        "Hash function",
        "choice",
        default="sha256",
        choices=tuple((name, name) for name in ALGORITHMS),
        advanced=True,
    ),
    Field(
        "report_signed",
        "What is signed",
        help="{body}, {body_md5}, {method}, {url}, {header.NAME}, {field.NAME} and, for a hash, {secret}.",
        default="{body}",
        example="{header.X-Timestamp}{body}",
        advanced=True,
    ),
    Field("report_secret", "Secret of reports", "secret", advanced=True),
    Field(
        "report_addresses",
        "Where reports come from",
        help="Addresses or networks, separated by commas. When set, reports from elsewhere are refused.",
        example="192.0.2.10, 198.51.100.0/24",
        advanced=True,
    ),
)
_MORE = (
    Field(
        "idempotent",
        "Drops repeated references",
        "bool",
        "The gateway sends a message once only, however often the same reference is submitted.",
        default="false",
    ),
    Field("check_url", "Address for the check", "url", "Called with GET by “Save and check”."),
    Field("balance_path", "Path of the balance", example="balance", advanced=True),
    Field("balance_currency_path", "Path of the balance's currency", example="currency", advanced=True),
    Field(
        "poll_url",
        "Address for asking what became of a message",
        "url",
        "Called with GET while no report comes. {id} is the gateway's id.",
        example="https://api.example.com/v1/messages/{id}",
        advanced=True,
    ),
    Field("poll_items_path", "Path of the list in that answer", example="messages", advanced=True),
    Field("poll_id_path", "Path of the id in that answer", example="id", advanced=True),
    Field("poll_status_path", "Path of the status in that answer", example="status", advanced=True),
    Field(
        "lookup_url",
        "Address for looking up a reference",
        "url",
        "Called with GET when an outcome is unknown: 404 means that the gateway does not have it.",
        example="https://api.example.com/v1/messages?reference={reference}",
        advanced=True,
    ),
)


class HttpGateway(GenericGateway):
    """A gateway described by the admin. Accepted is any 2xx that says nothing against it."""

    slug = "http"
    title = N_("Any HTTP gateway")
    needs = "The documentation of your gateway's HTTP interface"
    regions = ("*",)
    capabilities = Capabilities(
        reports="both",
        per_message_callback=True,
        signed_callback=True,
        idempotent=True,
        lookup=True,
        balance=True,
        poll_max=5,
    )
    fields = (*_REQUEST, *_ANSWER, *_REPORT, *_MORE)

    @cached_property
    def plan(self) -> Plan:
        # An id or reference is enough for polling; a report needs neither path to be readable by its status.
        return Plan({**self.settings, "report_secret": "{report_secret}"})

    @cached_property
    def _own_values(self) -> dict[str, str]:
        return {name: self.settings.get(name, "") for name in ("user", "secret", "report_secret")}

    @classmethod
    def validate_settings(cls, settings: Mapping[str, str]) -> None:
        errors = {name: text for name, check in _CHECKS.items() if (text := check(settings))}
        if errors:
            raise SettingsInvalid(errors)


# --- checks of the settings: a sentence, or nothing


def _is_text(settings: Mapping[str, str]) -> bool:
    return settings["body"] in ("xml", "raw")


def _template_problem(settings: Mapping[str, str], template: Any) -> str:
    if unknown := placeholders(template) - _ANY_VALUE:
        return Sentence("There is no placeholder %(name)s.", name=f"{{{min(unknown)}}}")
    if odd := unknown_filters(template):
        return Sentence("There is no filter %(name)s.", name=min(odd))
    used = placeholders(template, settings["url"])
    if "text" not in used or not used & {"to", "to_digits", "to_e164"}:
        return N_("The template needs {text} and {to} or {to_digits}.")
    return ""


def _check_template(settings: Mapping[str, str]) -> str:
    if _is_text(settings):
        return ""
    template = json.loads(settings["template"] or "{}")
    if settings["body"] != "json" and any(isinstance(value, (dict, list)) for value in template.values()):
        return N_("Form fields and queries cannot be nested.")
    return _template_problem(settings, template)


def _check_body_text(settings: Mapping[str, str]) -> str:
    return _template_problem(settings, settings["body_text"]) if _is_text(settings) else ""


def _check_headers(settings: Mapping[str, str]) -> str:
    for name, value in json.loads(settings["headers"] or "{}").items():
        if not isinstance(value, str):
            return Sentence("The value of the header %(name)s must be a text.", name=name)
        if problem := check_header(name, value):
            return problem
        if unknown := placeholders(value) - _HEADER_VALUE:
            return Sentence("%(name)s cannot be used in a header.", name=f"{{{min(unknown)}}}")
    return ""


def _check_placeholders(name: str, allowed: frozenset[str]) -> Callable[[Mapping[str, str]], str]:
    def check(settings: Mapping[str, str]) -> str:
        unknown = placeholders(settings[name]) - allowed
        return Sentence("%(name)s cannot be used here.", name=f"{{{min(unknown)}}}") if unknown else ""

    return check


def _check_method(settings: Mapping[str, str]) -> str:
    has_body = settings["method"] != "GET"
    if has_body or settings["body"] == "query":
        return ""
    return N_("GET has no body: choose the query for it.")


def _check_map(name: str, known: Mapping[str, object]) -> Callable[[Mapping[str, str]], str]:
    def check(settings: Mapping[str, str]) -> str:
        for key, value in json.loads(settings[name] or "{}").items():
            if not isinstance(value, str) or value.lower() not in known:
                return Sentence(
                    "The value of “%(key)s” must be one of: %(choices)s.", key=key, choices=", ".join(known)
                )
        return ""

    return check


def _check_reports(settings: Mapping[str, str]) -> str:
    names = settings["report_reference_path"] or settings["report_id_path"]
    if not settings["report_status_path"] or names or _has_report_url(settings):
        return ""
    return N_("A report must name its message: set the path of our reference or of the gateway's id.")


def _check_ids(settings: Mapping[str, str]) -> str:
    by_id_alone = settings["report_id_path"] and not settings["report_reference_path"]
    if settings["id_path"] or not (by_id_alone or settings["poll_url"]):
        return ""
    if by_id_alone and _has_report_url(settings):
        return ""
    return N_("Reports that name a message by the gateway's id need the id from the answer.")


def _has_report_url(settings: Mapping[str, str]) -> bool:
    template = settings["body_text" if _is_text(settings) else "template"]
    return "report_url" in placeholders(settings["url"], template)


def _check_sign_in(settings: Mapping[str, str]) -> str:
    lacks_it = settings["auth"] != "none" and not settings["secret"]
    return N_("Signing in needs the secret.") if lacks_it else ""


def _check_auth_name(settings: Mapping[str, str]) -> str:
    if settings["auth"] not in ("header", "query"):
        return ""
    if not settings["auth_name"]:
        return N_("This way of signing in needs a name.")
    return check_header(settings["auth_name"], "") if settings["auth"] == "header" else ""


def _check_proof(settings: Mapping[str, str]) -> str:
    if settings["report_check"] == "none" or settings["report_secret"]:
        return ""
    return N_("The proof of reports needs their secret.")


def _check_proof_name(settings: Mapping[str, str]) -> str:
    needs_name = settings["report_check"] != "none" and not settings["report_check_name"]
    return N_("Say where the proof stands.") if needs_name else ""


def _check_report_addresses(settings: Mapping[str, str]) -> str:
    try:
        networks(settings["report_addresses"])
    except ValueError:
        return N_("Only IP addresses and networks can be listed.")
    return ""


def _check_signed(settings: Mapping[str, str]) -> str:
    left = SIGNED_PART.sub("", settings["report_signed"])
    if "{" not in left:
        return ""
    return N_("Only what the hint names can be signed.")


def _check_timeout(settings: Mapping[str, str]) -> str:
    is_fine = not settings["timeout_s"] or 1 <= int(settings["timeout_s"]) <= 20
    return "" if is_fine else Sentence("From %(least)s to %(most)s.", least=1, most=20)


def _check_rate(settings: Mapping[str, str]) -> str:
    is_fine = not settings["rate"] or 1 <= int(settings["rate"]) <= 1000
    return "" if is_fine else Sentence("From %(least)s to %(most)s.", least=1, most=1000)


_CHECKS: dict[str, Callable[[Mapping[str, str]], str]] = {
    "url": _check_placeholders("url", _ANY_VALUE),
    "method": _check_method,
    "template": _check_template,
    "body_text": _check_body_text,
    "headers": _check_headers,
    "auth_name": _check_auth_name,
    "secret": _check_sign_in,
    "timeout_s": _check_timeout,
    "rate": _check_rate,
    "id_path": _check_ids,
    "error_map": _check_map("error_map", KINDS),
    "report_status_path": _check_reports,
    "report_check_name": _check_proof_name,
    "report_signed": _check_signed,
    "report_secret": _check_proof,
    "report_addresses": _check_report_addresses,
    "status_map": _check_map("status_map", STATUSES),
    "check_url": _check_placeholders("check_url", _CHECK_VALUE),
    "poll_url": _check_placeholders("poll_url", _POLL_VALUE),
    "lookup_url": _check_placeholders("lookup_url", _LOOKUP_VALUE),
}
