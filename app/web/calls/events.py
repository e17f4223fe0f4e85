"""Events of the portal's life. Verified first; acted upon by a job, so a slow portal costs no event."""

from __future__ import annotations

import logging
from dataclasses import asdict

from flask import Blueprint, Response, request

from app.bitrix.callbacks import PortalEvent, parse_event
from app.bitrix.errors import PortalError
from app.bitrix.forms import BadBody
from app.bitrix.opener import OpenerRefused
from app.services import services
from app.store import portal_events, portals
from app.store.database import StoreUnavailable
from app.transport import TransportError
from app.web.calls import bodies

log = logging.getLogger(__name__)
blueprint = Blueprint("events", __name__)

BODY_LIMIT_BYTES = 64 * 1024
INSTALLING = ("ONAPPINSTALL", "ONAPPUPDATE")
ONLY_ASKS_US_TO_LOOK = ("ONAPPPAYMENT", "ONAPPMETHODCONFIRM")
OPEN_LIMIT = 20  # of one portal, not proved: each of them only makes us look


@blueprint.route("/events", methods=["GET", "POST"])
def receive_event() -> Response:
    """Take one event. 200 after the commit; 403 for one that proves nothing; GET and HEAD are probes."""
    if request.method != "POST":
        return _text(200, "events are posted here by Bitrix24")
    bodies.limit(BODY_LIMIT_BYTES)
    try:
        event = parse_event(bodies.read())
    except BadBody as error:
        return _text(400, str(error))
    try:
        return _take(event)
    except StoreUnavailable as error:
        log.error("event not stored: the database does not answer", extra={"why": str(error)})
        return _text(503, "try again")


def _take(event: PortalEvent) -> Response:
    try:
        is_verified = _verify(event)
    except OpenerRefused as refused:
        log.warning("event refused", extra={"event": event.event, "why": str(refused)})
        return _text(403, "the call could not be verified")
    if not is_verified and portal_events.count_open(event.auth.member_id) >= OPEN_LIMIT:
        log.warning("event dropped: too many unproved ones", extra={"event_name": event.event})
        return _text(200, "ok")
    payload = {
        "auth": asdict(event.auth),
        "data": {key: value for key, value in event.data.items() if isinstance(value, str)},
        "is_clean": event.is_clean,
        "sent_at": event.sent_at.timestamp() if event.sent_at else None,
        "server_endpoint": event.server_endpoint,
    }
    event_id = portal_events.store(
        event.auth.member_id, event.event, payload, is_verified=is_verified, now=services().now()
    )
    services().engine.hint("portal_event", event_id)
    return _text(200, "ok")


def _verify(event: PortalEvent) -> bool:
    """True when the call is proved by its application_token; False when its job has to prove it.

    An access token alone is a proof of very little: every employee has one. It lets an installation
    through to the job, which asks for an administrator; for anything else it counts nothing.

    Raises:
        OpenerRefused: it proves nothing, or something else.
    """
    now, auth = services().now(), event.auth
    if portals.knows_application_token(auth.member_id, auth.application_token, now=now):
        return True
    known = portals.by_member(auth.member_id)
    if event.event in INSTALLING and auth.access_token:
        server = known.oauth_server if known else services().oauth.server_of(event.server_endpoint)
        try:
            services().openers.vouched(
                auth.access_token, auth.member_id, server=server, said_server=event.server_endpoint
            )
        except (PortalError, TransportError):
            log.info("event to be verified later", extra={"event": event.event})
        return False
    if event.event in ONLY_ASKS_US_TO_LOOK and known is not None:
        return False
    raise OpenerRefused("neither a known application_token nor an access token")


def _text(status: int, text: str) -> Response:
    return Response(text + "\n", status=status, content_type="text/plain; charset=utf-8")
