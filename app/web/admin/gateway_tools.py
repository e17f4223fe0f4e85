"""Aids beside the gateway's form: the exact request, a sample report, an example from any documentation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from flask import Response, abort, request, url_for

from app.domain.outcomes import DeliveryReport
from app.gateways.adapters.http import HttpGateway
from app.gateways.base import Context, Gateway, GatewayCall, Outgoing, ReportRejected, SettingsInvalid
from app.gateways.dry_run import dry_run
from app.gateways.generic.examples import Example, NotUnderstood, read_example
from app.services import services
from app.store.accounts import accounts
from app.store.accounts.accounts import Account
from app.store.messages import gateway_ids
from app.web.admin.frame import document, sessions
from app.web.admin.gateway import draft_of, facts
from app.web.admin.parts import gateway_form
from app.web.admin.words.adapters import text_of
from app.web.admin.words.language import gettext as _
from app.web.admin.words.messages import status_label

blueprint = document.page_blueprint("ui_gateway_tools")

SAMPLE_NUMBER = "+4915112345678"
REPORTS_SHOWN = 20


# --- the exact request


@blueprint.post("/gateway/request")
def show_request() -> Response:
    """What would be sent for a sample message with the settings as they are typed, secrets hidden."""
    adapter, account = _meant()
    try:
        settings = draft_of(adapter, gateway_form.typed(adapter), account).settings
    except SettingsInvalid as invalid:
        return _fragment("_gateway_request.html", problems=_problems(adapter, invalid))
    call = dry_run(adapter, settings, _sample(settings, account))
    return _fragment("_gateway_request.html", call=call, problems=[])


def _sample(settings: Any, account: Account | None) -> Outgoing:
    base = f"{services().config.public_url}/reports"
    url = services().report_url(account, "REFERENCE") if account else f"{base}/GATEWAY/SECRET/REFERENCE"
    return Outgoing(
        reference="REFERENCE",
        recipient=SAMPLE_NUMBER,
        text=_("Hello, your order is ready."),
        originator=str(settings.get("originator", "")),
        report_url=url.replace(account.report_secret, "SECRET") if account else url,
        encoding="gsm7",
        segments=1,
        validity_s=86_400,
    )


# --- a sample report


@blueprint.post("/gateway/sample")
def try_report() -> Response:
    """What a pasted report would be read as; nothing changes by it."""
    adapter, account = _meant()
    try:
        settings = draft_of(adapter, gateway_form.typed(adapter), account).settings
    except SettingsInvalid as invalid:
        return _fragment("_gateway_sample.html", problems=_problems(adapter, invalid))
    gateway = adapter(settings, Context(services().gateway_http(adapter.slug)))
    text = request.form.get("sample", "").strip()
    try:
        found = list(gateway.read_unproved(_call(text)).items)
    except ReportRejected:
        problem = _("This gateway signs its reports, and a pasted one has no signature that fits.")
        return _fragment("_gateway_sample.html", problems=[problem])
    except (ValueError, KeyError, TypeError, AttributeError, IndexError):
        problem = _("No report can be read in this. Compare the paths in the form with what you pasted.")
        return _fragment("_gateway_sample.html", problems=[problem])
    read = [_read(report, account) for report in found[:REPORTS_SHOWN]]
    return _fragment("_gateway_sample.html", read=read, count=len(found), problems=[])


def _call(text: str) -> GatewayCall:
    """A call that says what was pasted: a body, or an address or query for gateways that call with GET."""
    is_body = text[:1] in ("{", "[", "<") or ("\n" in text and "?" not in text.partition("\n")[0])
    query = text.partition("?")[2] if text.startswith(("http", "/", "?")) else ""
    if query and not is_body:
        return GatewayCall("GET", text, query, {}, b"", "REFERENCE")
    kind = "application/json" if text[:1] in ("{", "[") else "application/x-www-form-urlencoded"
    url = f"{services().config.public_url}/reports"
    return GatewayCall("POST", url, "", {"content-type": kind}, text.encode(), "REFERENCE")


@dataclass(frozen=True)
class ReadReport:
    """One report as a person sees it. `status` is ours, empty for a word that nobody knows."""

    status: str
    raw: str
    names: str
    code: str
    message_url: str


def _read(report: DeliveryReport, account: Account | None) -> ReadReport:
    row_id = gateway_ids.message_of(account.id, report) if account else None
    code = " ".join(filter(None, (report.code, report.text)))
    return ReadReport(
        status=status_label(report.status) if report.status else "",
        raw=report.raw_status,
        names=report.gateway_message_id or report.reference,
        code=code,
        message_url=url_for("ui_messages.show_message", row_id=row_id) if row_id else "",
    )


# --- an example


@blueprint.post("/gateway/example")
def use_example() -> Response:
    """Fill the generic form from a curl line or an address, and say what is left to do."""
    try:
        example = read_example(request.form.get("example", ""))
    except NotUnderstood as error:
        page = facts(HttpGateway, None)
        return document.page("gateway.html", status=422, example_problem=text_of(str(error)), **page)
    defaults = {field.name: field.default for field in HttpGateway.fields}
    given = {**defaults, **{name: value for name, value in example.settings.items() if value}}
    page = facts(HttpGateway, None, given=given, is_example=True)
    return document.page("gateway.html", understood=_understood(example), left=_left(example), **page)


def _understood(example: Example) -> list[str]:
    names = {
        "to": _("the recipient's number"),
        "text": _("the text"),
        "from": _("the originator"),
        "reference": _("our reference"),
        "report_url": _("the address for reports"),
        "user": _("the user name"),
    }
    return [text for name, text in names.items() if name in example.understood]


def _left(example: Example) -> list[str]:
    missing = {
        "to": _("Say where the recipient's number goes: put {to} into the template."),
        "text": _("Say where the text goes: put {text} into the template."),
        "secret": _("Enter your key or password as the secret. It is not taken from an example."),
    }
    left = [missing[name] for name in example.missing]
    left.append(_("Say where the answer has the gateway's id, if its documentation shows an answer."))
    left.append(_("Describe its delivery reports, and try a sample report."))
    return left


# --- common


def _meant() -> tuple[type[Gateway], Account | None]:
    adapter = services().gateways.adapters.get(request.form.get("gateway", "")) or abort(404)
    mine = accounts.of_portal(sessions.this().portal.id)
    wanted = request.form.get("account", "")
    return adapter, next((a for a in mine if str(a.id) == wanted and a.slug == adapter.slug), None)


def _problems(adapter: type[Gateway], invalid: SettingsInvalid) -> list[str]:
    fields = {field.name for field in adapter.fields}
    return [text_of(text) for name, text in invalid.errors.items() if name in fields]


def _fragment(template: str, **values: Any) -> Response:
    return document.page(template, **{"call": None, "read": [], "count": 0, **values})
