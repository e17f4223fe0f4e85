"""The portal opens us: the installer page and the application page, which both repair all they can."""

from __future__ import annotations

import logging

from flask import Response, request

from app.bitrix.callbacks import Entry, parse_entry
from app.bitrix.errors import AccessDenied, NoRest, PaymentRequired, PortalError, TokenExpired, TokenRefused
from app.bitrix.forms import BadBody
from app.bitrix.opener import OpenerRefused, PortalNotListed, UnknownServer
from app.domain.portals import Opener, Portal, PortalState
from app.services import services
from app.store.portals import portals, states, tokens
from app.transport import NotSent, TransportError
from app.web import outward
from app.web.admin import overview
from app.web.admin.frame import document, headers, sessions
from app.web.admin.frame.sessions import Session
from app.web.admin.words import language

log = logging.getLogger(__name__)
blueprint = document.open_blueprint("install")

ENTRY_LIMIT_BYTES = 64 * 1024
METHODS = ["GET", "HEAD", "POST"]


@blueprint.route("/install", methods=METHODS)
def install() -> Response:
    """The installer URL. The browser finishes the installation only after our side is complete."""
    return _enter(is_installer=True)


@blueprint.route("/app", methods=METHODS)
def open_app() -> Response:
    """The application URL; what the installer left undone is done here."""
    return _enter(is_installer=False)


def _enter(*, is_installer: bool) -> Response:
    language.use(request.args.get("LANG", "")[:8])
    _let_the_caller_see_errors()
    if request.method != "POST":
        return document.system_page("outside", 200)
    request.max_content_length = ENTRY_LIMIT_BYTES
    try:
        entry = parse_entry(request.args, request.form)
    except BadBody:
        return document.system_page("outside", 403)
    try:
        opener = sessions.verify(entry)
    except (OpenerRefused, PortalError, TransportError) as error:
        return _refuse(entry, error)
    headers.allow_framing_by(opener.client_endpoint)
    if not opener.is_admin:
        return _show_log(entry, opener)
    return _show(entry, opener, is_installer=is_installer)


def _let_the_caller_see_errors() -> None:
    """Nothing is secret before anybody is verified, so the page may be seen where it was asked from."""
    try:
        entry = parse_entry(request.args, {"member_id": "0" * 32, "AUTH_ID": "-"})
    except BadBody:
        return
    if entry.domain:
        headers.allow_framing_by(f"{'https' if entry.is_https else 'http'}://{entry.domain}")


def _refuse(entry: Entry, error: Exception) -> Response:
    log.warning("opening refused", extra={"member_id": entry.member_id, "why": str(error)})
    match error:
        case PaymentRequired() | NoRest():
            return document.system_page("plan", 403)
        case UnknownServer():
            return document.system_page("unknown_server", 403)
        case PortalNotListed():
            return document.system_page("not_listed", 403, detail=error.entry)
        case NotSent():
            return document.system_page("not_reached", 503, detail=str(error))
        case OpenerRefused() | TokenExpired() | TokenRefused() | AccessDenied():
            return document.system_page("refused", 403)
    return document.system_page("no_answer", 503)


def _show_log(entry: Entry, opener: Opener) -> Response:
    """An employee may read the log where the administrator allows it. Nothing of theirs is stored."""
    portal = portals.by_member(opener.member_id)
    if portal is None or portal.state is PortalState.UNINSTALLED:
        return document.system_page("not_admin", 200)
    states.note_opened(portal, now=services().now())
    session = Session(portal, opener.user_id, entry.language, opener.time_zone, is_admin=False)
    if not session.is_allowed:
        return document.system_page("not_admin", 200, detail=_whom_to_ask(portal))
    document.enter(session)
    return document.render("reader.html", token=sessions.issue(session))


def _whom_to_ask(portal: Portal) -> str:
    """An administrator's name: the portal is asked for it now, since no name is stored."""
    try:
        return services().portal_client(portal).own_name()
    except (PortalError, TransportError, outward.TooManyWaiting) as error:
        log.info("no administrator can be named", extra={"install": portal.id, "why": str(error)})
        return ""


def _show(entry: Entry, opener: Opener, *, is_installer: bool) -> Response:
    now = services().now()
    document.identify(opener.user_id)
    try:
        portal = portals.save_opener(opener, now=now)
    except portals.StaleProof:
        return document.system_page("no_answer", 503)
    tokens.keep(portal, opener, now=now, language=entry.language)
    if entry.application_token:
        portals.keep_application_token(portal, entry.application_token, now=now)
    trouble = overview.register(portal)
    session = Session(
        portals.by_id(portal.id), opener.user_id, entry.language, opener.time_zone, is_admin=True
    )
    document.enter(session)
    token = sessions.issue(session)
    if is_installer:
        return document.render("install.html", token=token, trouble=trouble)
    return document.render("overview.html", token=token, **overview.facts(session, trouble))
