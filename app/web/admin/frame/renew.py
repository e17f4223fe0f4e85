"""A new token for an old one: the portal's frame brings fresh access, and everything is proved anew."""

from __future__ import annotations

import logging
from dataclasses import replace

from flask import Response, jsonify, request

from app.bitrix.callbacks import parse_entry
from app.bitrix.errors import PortalError
from app.bitrix.forms import BadBody
from app.bitrix.opener import OpenerRefused
from app.transport import TransportError
from app.web import outward
from app.web.admin.frame import document, sessions

log = logging.getLogger(__name__)
blueprint = document.open_blueprint("ui_renew")
blueprint.before_request(document.same_origin)

BODY_LIMIT_BYTES = 16 * 1024


@blueprint.post("/ui/session")
def renew() -> tuple[Response, int]:
    """A token for the same person with the same rights in the same portal.

    403: open the app again, whoever lost a right or gained one. 503: try again.
    """
    request.max_content_length = BODY_LIMIT_BYTES
    old = sessions.current(may_be_old=True)
    if old is None:
        return jsonify(error="session ended"), 401
    outward.on_behalf_of(old.portal.member_id, is_proved=True)
    try:
        entry = parse_entry({}, request.form)
        opener = sessions.verify(entry) if entry.member_id == old.portal.member_id else None
    except (BadBody, OpenerRefused) as error:
        log.warning("renewal refused", extra={"install": old.portal.id, "why": str(error)})
        return jsonify(error="not confirmed by Bitrix24"), 403
    except (PortalError, TransportError, outward.TooManyWaiting) as error:
        log.warning("renewal failed", extra={"install": old.portal.id, "why": str(error)})
        return jsonify(error="Bitrix24 did not answer"), 503
    if opener is None or opener.user_id != old.user_id or (old.is_admin and not opener.is_admin):
        return jsonify(error="another person"), 403
    fresh = replace(old, time_zone=opener.time_zone)
    return jsonify(token=sessions.issue(fresh)), 200
