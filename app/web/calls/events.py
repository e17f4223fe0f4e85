"""Events of the portal's life: stored and answered. Their job finds out whether they are true, and acts.

Nobody is asked here, and the answer is the same for a portal that we know and for one that we do not.
"""

from __future__ import annotations

import logging
import time
from dataclasses import asdict

from flask import Blueprint, Response, request

from app.bitrix.callbacks import PortalEvent, parse_event
from app.bitrix.forms import BadBody
from app.services import services
from app.store.database import StoreUnavailable
from app.store.portals import events, portals
from app.web.calls import bodies
from app.web.rates import Rate

log = logging.getLogger(__name__)
blueprint = Blueprint("events", __name__)

BODY_LIMIT_BYTES = 64 * 1024
INSTALLING = ("ONAPPINSTALL", "ONAPPUPDATE")
ONLY_ASKS_US_TO_LOOK = ("ONAPPPAYMENT", "ONAPPMETHODCONFIRM")
OPEN_LIMIT = 20  # of one portal, not proved: each of them only makes us look
AN_HOUR = 60  # of one portal, not proved, in one process
STRANGERS_AN_HOUR = 200  # of all portals that we do not know; who installs the app opens it, too

_unproved = Rate(span_s=3600)


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
    now, auth = services().now(), event.auth
    is_verified = portals.knows_application_token(auth.member_id, auth.application_token, now=now)
    if not is_verified and not _may_be_true(event):
        log.warning("event refused", extra={"event_name": event.event})
        return _text(403, "the call could not be verified")
    if not is_verified and not _has_room(event):
        return _text(200, "ok")
    payload = {
        "auth": asdict(auth),
        "data": {key: value for key, value in event.data.items() if isinstance(value, str)},
        "is_clean": event.is_clean,
        "sent_at": event.sent_at.timestamp() if event.sent_at else None,
        "server_endpoint": event.server_endpoint,
    }
    event_id = events.store(auth.member_id, event.event, payload, is_verified=is_verified, now=now)
    services().engine.hint("portal_event", event_id)
    return _text(200, "ok")


def _may_be_true(event: PortalEvent) -> bool:
    """Whether its job can prove it, or it does no more than make us look.

    An access token alone is a proof of very little: every employee has one. It lets an installation, whose
    application_token nobody knows yet, through to the job, which asks for an administrator.
    """
    if event.event in INSTALLING:
        return bool(event.auth.access_token)
    return event.event in ONLY_ASKS_US_TO_LOOK and not event.auth.application_token


def _has_room(event: PortalEvent) -> bool:
    """Anybody can post these, so their rows are bounded, for each portal and for all that we do not know."""
    member_id = event.auth.member_id
    is_known = portals.by_member(member_id) is not None
    if not is_known and event.event not in INSTALLING:
        return False  # there is nothing to look at
    if is_known and events.count_open(member_id) >= OPEN_LIMIT:
        log.warning("event dropped: too many unproved ones wait", extra={"event_name": event.event})
        return False
    limit = AN_HOUR if is_known else STRANGERS_AN_HOUR
    if not _unproved.allow(member_id if is_known else "", limit, now=time.monotonic()):
        log.warning("event dropped: too many unproved ones this hour", extra={"event_name": event.event})
        return False
    return True


def _text(status: int, text: str) -> Response:
    return Response(text + "\n", status=status, content_type="text/plain; charset=utf-8")
