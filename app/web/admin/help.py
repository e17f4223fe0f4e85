"""Help and diagnostics: every link of the chain with what to do, answers, and a report for the support."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from flask import Response, abort, url_for

from app.domain.portals import Portal, PortalState
from app.services import services
from app.store.messages import messages
from app.web.admin.frame import document, sessions
from app.web.admin.overview import gateway_light
from app.web.admin.parts import rest_errors, support
from app.web.admin.parts.diagnosis import Diagnosis, diagnose
from app.web.admin.parts.support_report import support_report
from app.web.admin.words.language import gettext as _
from app.web.admin.words.troubles import portal_trouble

blueprint = document.page_blueprint("ui_help")

# Above this many a backlog is shown as one: some messages are always on their way.
MANY_WAITING = 100
TOKEN_AGE = timedelta(days=90)  # half of what a quiet portal's access lives; it is renewed after 60 days


@blueprint.get("/help")
def show() -> Response:
    portal = sessions.this().portal
    return document.page("help.html", **_facts(portal, diagnose(portal)))


@blueprint.get(f"/help/messages/{document.ROW}")
def show_report(row_id: int) -> Response:
    """The report about one message, for whoever helps."""
    portal = sessions.this().portal
    message = messages.by_row(portal.id, row_id) or abort(404)
    report = support_report(portal, message)
    return document.page(
        "support_report.html",
        tab="messages",
        message=message,
        report=report,
        support=support.reached(report, f"{portal.domain} #{message.id}"),
    )


def _facts(portal: Portal, found: Diagnosis) -> dict[str, Any]:
    report = support_report(portal)
    return {
        "tab": "help",
        "links": list(_chain(found)),
        "portal": portal,
        "client_id": services().config.client_id,
        "errors": rest_errors.grouped(portal.id),
        "report": report,
        "support": support.reached(report, portal.domain),
        "docs_url": _docs_url(found),
        "privacy_url": url_for("legal.privacy", _external=False),
        "license_url": url_for("legal.license_agreement", _external=False),
        "operator": services().config.operator_name,
    }


def _docs_url(found: Diagnosis) -> str:
    adapter = services().gateways.get(found.account.slug) if found.account else None
    return adapter.docs_url if adapter else ""


@dataclass(frozen=True)
class Link:
    """One link of the chain. `todo` says what a link that is not well means, and what helps."""

    title: str
    label: str
    tone: str
    at: datetime | None = None
    todo: str = ""
    url: str = ""
    action: str = ""


def _chain(found: Diagnosis) -> Iterator[Link]:
    yield _server(found)
    yield _installation(found.portal)
    yield _access(found)
    yield _senders(found)
    yield _events(found)
    yield _webhook(found)
    yield _gateway(found)
    yield _reports(found)
    yield _told(found)
    yield _backlog(found)


def _server(found: Diagnosis) -> Link:
    """The job engine and the worker in an administrator's words; the report names them for the support."""
    title = _("This app’s server")
    if not found.worker_is_alive:
        todo = _("Messages are accepted and kept, but not sent until it works again. Contact support.")
        return Link(title, _("Not sending"), "bad", found.swept_at, todo)
    if not found.engine_answers:
        todo = _("Messages are still sent, only more slowly. If this lasts, contact support.")
        return Link(title, _("Slow"), "wait", found.swept_at, todo)
    return Link(title, _("Works"), "ok", found.swept_at)


def _installation(portal: Portal) -> Link:
    title = _("Installation in Bitrix24")
    if portal.state is PortalState.ACTIVE:
        return Link(title, _("Complete"), "ok", portal.finished_at)
    text = portal_trouble(portal.state)
    return Link(title, _("Problem"), "bad", portal.finished_at, f"{text.title}. {text.means} {text.todo}")


def _access(found: Diagnosis) -> Link:
    title = _("Access to Bitrix24")
    if found.token_problem:
        todo = _("Statuses wait. Open this app as an administrator; your rights are used from then on.")
        return Link(title, _("Does not work"), "bad", found.token_refreshed_at, todo)
    if found.token_refreshed_at and found.at - found.token_refreshed_at > TOKEN_AGE:
        todo = _("It should have been renewed automatically. Open this app again to renew it now.")
        return Link(title, _("Old"), "wait", found.token_refreshed_at, todo)
    if found.administrators > 1:
        return Link(title, _("Works"), "ok", found.token_refreshed_at)
    return Link(
        title,
        _("Works"),
        "ok",
        found.token_refreshed_at,
        _("It depends on one administrator. Ask a second administrator to open this app once as a backup."),
    )


def _senders(found: Diagnosis) -> Link:
    title = _("Senders registered")
    url, action = url_for("ui_senders.show"), _("Open the senders")
    count = _("%(count)s of %(all)s", count=found.registered, all=len(found.senders))
    if found.registered == len(found.senders) and not any(sender.error for sender in found.senders):
        newest = max((s.checked_at for s in found.senders if s.checked_at), default=None)
        return Link(title, count, "ok", newest)
    todo = _("A sender that is missing in Bitrix24 cannot be chosen, and automation rules that use it fail.")
    return Link(title, count, "bad", todo=todo, url=url, action=action)


def _events(found: Diagnosis) -> Link:
    title = _("Bitrix24 events subscribed")
    count = _("%(count)s of %(all)s", count=found.bound_events, all=found.all_events)
    if found.bound_events == found.all_events:
        return Link(title, count, "ok")
    return Link(
        title,
        count,
        "wait",
        todo=_("Messages are not affected. The app checks once a day for what these events would report."),
    )


def _webhook(found: Diagnosis) -> Link:
    title = _("Last message from Bitrix24")
    if found.last_received_at:
        return Link(title, _("Received"), "ok", found.last_received_at)
    todo = _("Send an SMS from a CRM item and choose this app as the provider.")
    return Link(title, _("None yet"), "wait", todo=todo)


def _gateway(found: Diagnosis) -> Link:
    title = _("SMS gateway")
    light = gateway_light(found.account)
    at = found.account.check.at if found.account and found.account.check else None
    if light.tone == "ok":
        return Link(title, light.label, light.tone, at)
    todo = _("Messages wait or fail until the gateway accepts its settings: open it, save and check.")
    return Link(title, light.label, light.tone, at, todo, url_for("ui_gateway.show"), _("Open the gateway"))


def _reports(found: Diagnosis) -> Link:
    title = _("Last delivery report")
    account = found.account
    if account is not None and account.last_report_at:
        return Link(title, _("Received"), "ok", account.last_report_at)
    if account is None or found.gateway_reports:
        todo = _("Without reports messages stay “Sent”. The gateway’s page says where to set up its address.")
        return Link(
            title,
            _("None yet"),
            "wait",
            todo=todo,
            url=url_for("ui_gateway.show"),
            action=_("Open the gateway"),
        )
    return Link(title, _("None expected"), "", todo=_("This gateway, as it is set up, sends no reports."))


def _told(found: Diagnosis) -> Link:
    title = _("Last status sent to Bitrix24")
    if found.portal.last_pushed_at:
        return Link(title, _("Sent"), "ok", found.portal.last_pushed_at)
    return Link(title, _("None yet"), "wait", todo=_("The first one follows soon after the first message."))


def _backlog(found: Diagnosis) -> Link:
    title = _("On their way now")
    label = _("%(waiting)s messages, %(to_tell)s statuses", waiting=found.waiting, to_tell=found.to_tell)
    if found.waiting + found.to_tell <= MANY_WAITING:
        return Link(title, label, "ok")
    todo = _("That is a lot, unless a campaign is running. Check the lines above for what does not work.")
    return Link(
        title, label, "wait", todo=todo, url=url_for("ui_messages.show_log"), action=_("Open the messages")
    )
