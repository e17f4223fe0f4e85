"""The gateway: choose one, fill in its settings; they are tried first, and saved when they work."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from flask import Response, abort, request

from app import gateway_accounts
from app.domain.incidents import IncidentKind
from app.gateway_accounts import AccountChanged, Draft
from app.gateways.base import CheckResult, Context, Gateway, SettingsInvalid
from app.services import services
from app.store.accounts import accounts, checks
from app.store.accounts.accounts import Account, Check
from app.store.messages import messages
from app.store.portals import renewing
from app.transport import TransportError
from app.web.admin.frame import document, sessions
from app.web.admin.parts import gateway_form
from app.web.admin.parts.gateway_cards import cards
from app.web.admin.words.adapters import text_of
from app.web.admin.words.language import gettext as _
from app.web.admin.words.troubles import Trouble
from app.web.outward import need_turn

blueprint = document.page_blueprint("ui_gateway")


# --- choosing


@blueprint.get("/gateway")
def show() -> Response:
    """The form that is asked for, else that of the account that sends; without any the cards."""
    adapter, account = chosen(request.args.get("gateway"), request.args.get("account"))
    if adapter is None:
        return document.page("gateways.html", **_card_facts())
    return document.page("gateway.html", **facts(adapter, account))


@blueprint.get("/gateway/new")
def choose() -> Response:
    return document.page("gateways.html", **_card_facts())


def _card_facts() -> dict[str, Any]:
    query = request.args.get("q", "").strip()[:100]
    adapters = services().gateways.adapters
    return {
        "tab": "gateway",
        "query": query,
        "cards": cards(adapters, query),
        "has_any": bool(accounts.of_portal(sessions.this().portal.id)),
    }


def chosen(slug: str | None, account_id: str | None = None) -> tuple[type[Gateway] | None, Account | None]:
    """An adapter and the account that is meant; no account where a new one is to be made.

    A gateway alone means its account, if the portal has one.
    """
    adapters, mine = services().gateways.adapters, accounts.of_portal(sessions.this().portal.id)
    if account_id:
        wanted = next((a for a in mine if str(a.id) == account_id), None) or abort(404)
        return adapters.get(wanted.slug) or abort(404), wanted
    if slug:
        adapter = adapters.get(slug) or abort(404)
        is_new = "new" in request.args
        return adapter, None if is_new else next((a for a in mine if a.slug == slug), None)
    account = next((a for a in mine if a.is_default), None)
    return (adapters.get(account.slug), account) if account else (None, None)


# --- saving


@blueprint.post("/gateway")
def save_and_check() -> Response:
    """Try the settings, then save them. Settings that fail are saved by a second, explicit step only."""
    need_turn()  # or the settings would be saved, and their check refused
    adapter, base = _meant()
    given = gateway_form.typed(adapter)
    if not _is_current(adapter, base):
        return _conflict(adapter)
    try:
        draft = draft_of(adapter, given, base)
    except SettingsInvalid as invalid:
        page = facts(adapter, base, given=given, errors=invalid.errors)
        return document.page("gateway.html", status=422, **page)
    if base is None and _has_it(draft):
        return _conflict(adapter)
    result = _check(draft)
    if not result.ok and "anyway" not in request.form:
        page = facts(adapter, base, given=given, result=_not_saved(result))
        return document.page("gateway.html", status=502, **page)
    try:
        account = gateway_accounts.save(draft, now=services().now())
    except AccountChanged:
        return _conflict(adapter)
    check = Check(result.ok, result.summary, result.balance, services().now())
    checks.record_check(account.id, check)
    page = facts(adapter, account, result=_saved(result, _webhooks(account) if result.ok else ""))
    return document.page("gateway.html", status=200 if result.ok else 502, **page)


def _meant() -> tuple[type[Gateway], Account | None]:
    """The adapter and the account of a form; an account that is gone meanwhile is none."""
    adapter = services().gateways.adapters.get(request.form.get("gateway", "")) or abort(404)
    mine = accounts.of_portal(sessions.this().portal.id)
    wanted = request.form.get("account", "")
    return adapter, next((a for a in mine if str(a.id) == wanted and a.slug == adapter.slug), None)


def _is_current(adapter: type[Gateway], base: Account | None) -> bool:
    """Whether the form shows the account as it is: it carries the account's version."""
    if base is None:
        return not request.form.get("account")
    return request.form.get("version") == str(base.version)


def draft_of(adapter: type[Gateway], given: Mapping[str, str], base: Account | None) -> Draft:
    """The checked settings of a form; raises SettingsInvalid."""
    portal, reach = sessions.this().portal, services().vendors.reach
    return gateway_accounts.draft(portal, adapter, given, base=base, reach=reach)


def _has_it(draft: Draft) -> bool:
    """Whether the portal has this very account already: two of them would report to two addresses."""
    mine = [a for a in accounts.of_portal(draft.portal.id) if a.slug == draft.adapter.slug]
    return any(gateway_accounts.is_same_account(draft.adapter, a.settings, draft.settings) for a in mine)


def _conflict(adapter: type[Gateway]) -> Response:
    """Somebody else was here: nothing is saved, nothing is sent, and the form shows what there is now."""
    account = next((a for a in accounts.of_portal(sessions.this().portal.id) if a.slug == adapter.slug), None)
    text = Trouble(
        _("Not saved: the settings were changed meanwhile"),
        _("Someone else, or you in another window, saved this gateway after this page was opened."),
        _("Below is what is saved now. Enter your change again."),
    )
    page = facts(adapter, account, result=Result(False, text))
    return document.page("gateway.html", status=409, **page)


def _check(draft: Draft) -> CheckResult:
    gateway = draft.adapter(draft.settings, Context(services().gateway_http(draft.adapter.slug)))
    try:
        return gateway.check()
    except TransportError as error:
        return CheckResult.unreachable(error)


def _webhooks(account: Account) -> str:
    gateway = services().gateway(account)
    if gateway is None or not gateway.active_capabilities.webhooks:
        return ""
    return gateway_accounts.keep_webhooks(gateway, services().report_url(account))


@dataclass(frozen=True)
class Result:
    ok: bool
    text: Trouble
    balance: str = ""
    words: str = ""  # the gateway's own
    may_save: bool = False  # the settings failed and are not saved; a second step saves them all the same


def _saved(result: CheckResult, no_webhook: str) -> Result:
    if not result.ok:
        title = _("Saved, but the check failed")
        todo = _("Messages will wait or fail until this is fixed. Correct the settings and check again.")
        return Result(False, Trouble(title, _said(result), todo), words=result.words)
    todo = ""
    if no_webhook:
        todo = _("The gateway was not told where to report. Paste the address below into its console.")
    text = Trouble(_("Saved and connected"), text_of(result.text), todo)
    return Result(True, text, result.balance, no_webhook)


def _not_saved(result: CheckResult) -> Result:
    text = Trouble(
        _("Not saved: the check failed"),
        _said(result),
        _("Messages go on as before. Correct the settings and check again, or save them all the same."),
    )
    return Result(False, text, words=result.words, may_save=True)


def _said(result: CheckResult) -> str:
    why = f"({text_of(result.why)})" if result.why else ""
    return " ".join(filter(None, (text_of(result.text), why)))


@blueprint.post("/gateway/renew-address")
def renew_report_address() -> Response:
    """A new secret in the address at which the connected gateway reports."""
    need_turn()  # the gateway may have to be told
    sends = accounts.default_of(sessions.this().portal.id) or abort(404)
    old_url = services().report_url(sends)
    try:
        renewing.renew_report(sessions.this().portal, sends.id, now=services().now())
    except renewing.NothingToRenew:
        abort(404)
    adapter, account = chosen(None, str(sends.id))
    assert adapter is not None
    assert account is not None
    gateway, new_url = services().gateway(account), services().report_url(account)
    problem = gateway_accounts.move_webhooks(gateway, old_url, new_url) if gateway else ""
    return document.page("gateway.html", **facts(adapter, account), renewed=True, no_webhook=problem)


# --- several accounts


@blueprint.post("/gateway/default")
def make_default() -> Response:
    portal, account_id = sessions.this().portal, request.form.get("account", "")
    if not account_id.isdigit() or not accounts.make_default(portal.id, int(account_id[:18])):
        abort(404)
    messages.wake_account(None, portal.id, now=services().now())
    return show()


@blueprint.get("/gateway/remove")
def ask_to_remove() -> Response:
    adapter, account = chosen(None, request.args.get("account"))
    if account is None:
        abort(404)
    return document.page("gateway_remove.html", tab="gateway", account=account, adapter=adapter)


@blueprint.post("/gateway/remove")
def remove() -> Response:
    """The account goes; what waits for its answers and reports still finds it."""
    account_id, version = (request.form.get(name, "") for name in ("account", "version"))
    if not (account_id.isdigit() and version.isdigit()):
        abort(404)
    portal = sessions.this().portal
    accounts.retire(portal.id, int(account_id[:18]), version=int(version[:9]), now=services().now())
    return show()


# --- the page


def facts(
    adapter: type[Gateway],
    account: Account | None,
    *,
    given: Mapping[str, str] | None = None,
    errors: Mapping[str, str] | None = None,
    result: Result | None = None,
    is_example: bool = False,
) -> dict[str, Any]:
    """All that the form shows."""
    mine = accounts.of_portal(sessions.this().portal.id)
    inputs = gateway_form.inputs_of(adapter, account, given, errors or {}, is_example=is_example)
    return {
        "tab": "gateway",
        "adapter": adapter,
        "title": text_of(adapter.title),
        "account": account,
        "connected": next((a for a in mine if a.is_default), None),
        "accounts": mine,
        "inputs": [i for i in inputs if not i.field.advanced],
        "advanced": [i for i in inputs if i.field.advanced],
        "errors": [i for i in inputs if i.error],
        "result": result,
        "told": (IncidentKind.GATEWAY,) if result else (),  # the result says it
        **_report_facts(account),
    }


def _report_facts(account: Account | None) -> dict[str, Any]:
    """The address that a person pastes at the gateway, where it is not sent along with each message."""
    gateway = services().gateway(account) if account else None
    if account is None or gateway is None:
        return {"report_url": "", "has_reports": False, "makes_webhook": False}
    can = gateway.active_capabilities
    calls_us = can.reports in ("callback", "both")
    return {
        "has_reports": calls_us,
        "makes_webhook": can.webhooks,
        "report_url": services().report_url(account) if calls_us and not can.per_message_callback else "",
    }
