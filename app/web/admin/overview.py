"""The overview: what is left to set up, then how everything stands; and the retry of the registration."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from flask import Response, request, url_for

from app import registration
from app.bitrix.errors import PortalError
from app.domain.audit import Action
from app.domain.incidents import FAILED_CHECKS_TO_TELL, IncidentKind
from app.domain.messages import Message
from app.domain.portals import Portal
from app.services import services
from app.store import audit
from app.store.accounts import accounts
from app.store.accounts.accounts import Account
from app.store.figures import overview
from app.store.portals import portals, senders
from app.transport import TransportError
from app.web.admin.frame import document, privacy, sessions
from app.web.admin.frame.sessions import Session
from app.web.admin.parts import setup_steps
from app.web.admin.parts.today import today, waiting
from app.web.admin.words import language
from app.web.admin.words.language import gettext as _
from app.web.admin.words.messages import reason_text, status_label, status_tone
from app.web.admin.words.troubles import Trouble, registration_trouble, system_text
from app.web.outward import TooManyWaiting

log = logging.getLogger(__name__)
blueprint = document.page_blueprint("ui_overview")

DAY = timedelta(hours=24)
TROUBLED_LIMIT = 5


@blueprint.get("/overview")
def show() -> Response:
    return document.page("overview.html", **facts(sessions.this()))


@blueprint.post("/sender")
def register_again() -> Response:
    """Bring the portal in step now, because somebody asks for it."""
    session = sessions.this()
    trouble = register_as_asked(session.portal)
    return document.page("overview.html", status=502 if trouble else 200, **facts(_anew(session), trouble))


@blueprint.post("/install")
def retry_install() -> Response:
    """The installer page's "Try again"."""
    trouble = register_as_asked(sessions.this().portal)
    return document.page("install.html", status=502 if trouble else 200, trouble=trouble)


def register_as_asked(portal: Portal) -> Trouble | None:
    """The same because somebody pressed a button for it."""
    audit.note(Action.SENDERS_REGISTERED, portal.id)
    return register(portal)


@blueprint.post("/setup/country")
def choose_country() -> Response:
    """The answer of the set-up's question; none is an answer, too."""
    session = sessions.this()
    portal, country = session.portal, request.form.get("country", "")
    known = country if country in dict(language.countries()) else ""
    settings = replace(portal.settings, default_country=known, country_asked=True)
    try:
        portals.save_settings(portal.id, settings, version=portal.settings_version)
    except portals.SettingsConflict:
        return document.page("overview.html", status=409, **facts(_anew(session)))
    return document.page("overview.html", **facts(_anew(session)))


def register(portal: Portal) -> Trouble | None:
    """Bring the portal in step; what went wrong, in words for its admin, or None."""
    try:
        registration.reconcile(services(), portal)
    except TooManyWaiting:
        return system_text("busy")
    except (PortalError, TransportError) as error:
        log.warning("registration failed", extra={"install": portal.id, "why": str(error)})
        return registration_trouble(error)
    return None


def _anew(session: Session) -> Session:
    return replace(session, portal=portals.by_id(session.portal.id))


def _now() -> datetime:
    return services().now()


def facts(session: Session, trouble: Trouble | None = None) -> dict[str, Any]:
    """What the page shows; `trouble` is why the portal could not be brought in step just now."""
    portal, now = session.portal, _now()
    sender = next((s for s in senders.of_portal(portal.id) if not s.is_removed), None)
    account = accounts.default_of(portal.id)
    steps = setup_steps.steps(session, sender, account)
    return {
        "tab": "overview",
        "portal": portal,
        "trouble_now": trouble,  # the banner has what lasts
        "told": (IncidentKind.PORTAL,) if trouble else (),
        "steps": steps,
        "is_set_up": all(step.done for step in steps),
        "sender": sender,
        "is_registered": setup_steps.is_registered(sender),
        "account": account,
        "gateway": gateway_light(account),
        "last_received_at": overview.last_received_at(portal.id),
        "today": today(portal.id, now),
        "waiting": waiting(portal.id, account, now),
        "troubled": [_troubled(m) for m in overview.troubled(portal.id, now - DAY, limit=TROUBLED_LIMIT)],
    }


@dataclass(frozen=True)
class Light:
    label: str
    tone: str
    words: str = ""


def gateway_light(account: Account | None) -> Light:
    if account is None:
        return Light(_("Not connected"), "wait")
    if services().gateways.get(account.slug) is None:
        return Light(_("Not available"), "bad", _("This version of the app does not have this gateway."))
    if account.stopped_since is not None:
        return Light(_("Stopped"), "bad")  # the banner above has the gateway's words
    if setup_steps.is_trial(account):
        return Light(_("Test mode"), "wait", _("No SMS leaves this app."))
    if account.check is None:
        return Light(_("Not checked"), "wait")
    if not account.check.ok or account.failed_checks >= FAILED_CHECKS_TO_TELL:
        return Light(_("Check failed"), "bad")
    return Light(_("Connected"), "ok", account.check.text)


def _troubled(message: Message) -> dict[str, Any]:
    reason = reason_text(message)
    return {
        "url": url_for("ui_messages.show_message", row_id=message.id),
        "at": message.received_at,
        "recipient": privacy.number_in_list(message.recipient),
        "status": status_label(message.status),
        "tone": status_tone(message.status),
        "reason": reason.title if reason else "",
    }
