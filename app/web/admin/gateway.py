"""The gateway: choose one, fill in its settings, save and check in one step."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from flask import Response, abort, request

from app import gateway_accounts
from app.domain.incidents import IncidentKind
from app.gateways.base import CheckResult, Field, Gateway, SettingsInvalid
from app.services import services
from app.store import accounts, renewing
from app.store.accounts import Account, Check
from app.transport import TransportError
from app.web.admin.frame import document, sessions
from app.web.admin.words.adapters import problem_text, text_of
from app.web.admin.words.language import gettext as _
from app.web.admin.words.troubles import Trouble
from app.web.outward import need_turn

blueprint = document.page_blueprint("ui_gateway")

PREFIX = "set-"  # a setting may be called like a field of ours
SHOWN_END = 4
LONG_SECRET = 16  # the end of a shorter one would give too much away


@blueprint.get("/gateway")
def show() -> Response:
    return document.page("gateway.html", **_facts(_chosen(request.args.get("gateway"))))


@blueprint.post("/gateway")
def save_and_check() -> Response:
    """Save, then ask the gateway. A failed check is shown and kept; the settings stay saved."""
    need_turn()  # or the settings would be saved, and their check refused
    adapter = _chosen(request.form.get("gateway"))
    given = _given(adapter)
    try:
        account = gateway_accounts.connect(
            sessions.this().portal,
            adapter,
            given,
            reach=services().vendors.reach,
            now=services().now(),
        )
    except SettingsInvalid as invalid:
        facts = _facts(adapter, given=given, errors=invalid.errors)
        return document.page("gateway.html", status=422, **facts)
    result = _check(account)
    accounts.record_check(account.id, Check(result.ok, result.summary, result.balance, services().now()))
    return document.page(
        "gateway.html", status=200 if result.ok else 502, **_facts(adapter, result=_result_text(result))
    )


@blueprint.post("/gateway/renew-address")
def renew_report_address() -> Response:
    """A new secret in the address at which the connected gateway reports."""
    account = accounts.default_of(sessions.this().portal.id) or abort(404)
    try:
        renewing.renew_report(sessions.this().portal, account.id, now=services().now())
    except renewing.NothingToRenew:
        abort(404)
    return document.page("gateway.html", **_facts(_chosen(account.slug)), renewed=True)


def _check(account: Account) -> CheckResult:
    gateway = services().gateway(account)
    assert gateway is not None  # it was found a moment ago
    try:
        return gateway.check()
    except TransportError as error:
        return CheckResult.unreachable(error)


@dataclass(frozen=True)
class Result:
    ok: bool
    text: Trouble
    balance: str


def _result_text(result: CheckResult) -> Result:
    if result.ok:
        text = Trouble(_("Saved and connected"), text_of(result.text), "")
    else:
        text = Trouble(
            _("Saved, but the check failed"),
            " ".join(filter(None, (text_of(result.text), text_of(result.why), result.words))),
            _("Messages will wait or fail until this is mended. Correct the settings and check again."),
        )
    return Result(result.ok, text, result.balance)


def _chosen(slug: str | None) -> type[Gateway]:
    """The adapter that is asked for, else the connected one, else the first."""
    adapters = services().gateways.adapters
    if slug:
        return adapters.get(slug) or abort(404)
    account = accounts.default_of(sessions.this().portal.id)
    connected = adapters.get(account.slug) if account else None
    return connected or next(iter(adapters.values()))


def _given(adapter: type[Gateway]) -> dict[str, str]:
    """What was typed. Browsers leave out a box that is not ticked, and what is left out means the default."""
    values = {}
    for field in adapter.fields:
        name = PREFIX + field.name
        default = "false" if field.kind == "bool" else ""
        values[field.name] = request.form.get(name, default).replace("\r\n", "\n")
    return values


def _facts(
    adapter: type[Gateway],
    *,
    given: Mapping[str, str] | None = None,
    errors: Mapping[str, str] | None = None,
    result: Result | None = None,
) -> dict[str, Any]:
    mine = accounts.of_portal(sessions.this().portal.id)
    account = next((a for a in mine if a.slug == adapter.slug), None)
    inputs = [_input(field, account, given, errors or {}) for field in adapter.fields]
    return {
        "tab": "gateway",
        "choices": [(slug, text_of(a.title)) for slug, a in services().gateways.adapters.items()],
        "adapter": adapter,
        "account": account if account and account.is_default else None,
        "connected": next((a for a in mine if a.is_default), None),
        "inputs": [i for i in inputs if not i.field.advanced],
        "advanced": [i for i in inputs if i.field.advanced],
        "errors": [i for i in inputs if i.error],
        "result": result,
        "told": (IncidentKind.GATEWAY,) if result else (),  # the result says it
        **_report_facts(account),
    }


@dataclass(frozen=True)
class Input:
    """One setting as the form shows it. A secret's value is never in here."""

    field: Field
    id: str
    label: str
    hint: str
    value: str
    error: str
    is_saved_secret: bool
    keeps_typed: bool  # the browser keeps what was typed into a secret, since we do not send it back
    choices: tuple[tuple[str, str], ...]


def _input(
    field: Field, account: Account | None, given: Mapping[str, str] | None, errors: Mapping[str, str]
) -> Input:
    stored = account.settings.get(field.name, field.default) if account else field.default
    hints = [text_of(field.help)] if field.help else []
    is_saved_secret = field.secret and bool(stored)
    if is_saved_secret:
        hints.insert(0, _saved(stored))
    elif field.example:
        hints.append(_("Example: %(example)s", example=field.example))
    error = problem_text(errors.get(field.name, ""), field)
    return Input(
        field=field,
        id=PREFIX + field.name,
        label=text_of(field.label),
        hint=" ".join(hints),
        value="" if field.secret else (given or {}).get(field.name, stored),
        error=error,
        is_saved_secret=is_saved_secret,
        keeps_typed=field.secret and given is not None and not error,
        choices=tuple((value, text_of(label)) for value, label in field.choices),
    )


def _saved(secret: str) -> str:
    if len(secret) < LONG_SECRET or not secret.isalnum():
        return _("Saved. Leave it empty to keep it.")
    return _("Saved, ends in %(end)s. Leave it empty to keep it.", end=secret[-SHOWN_END:])


def _report_facts(account: Account | None) -> dict[str, Any]:
    """The address that a person pastes at the gateway, where it is not sent along with each message."""
    gateway = services().gateway(account) if account else None
    if account is None or gateway is None:
        return {"report_url": "", "has_reports": False}
    abilities = gateway.active_capabilities
    calls_us = abilities.reports in ("callback", "both")
    return {
        "has_reports": calls_us,
        "report_url": (
            services().report_url(account) if calls_us and not abilities.per_message_callback else ""
        ),
    }
