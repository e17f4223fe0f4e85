"""Stop 1 of a message's walk: the HANDLER. Bitrix24 calls once, so: store durably, then answer 200."""

from __future__ import annotations

import logging
import time
from datetime import datetime

from flask import Blueprint, Response

from app.bitrix.callbacks import parse_message
from app.bitrix.forms import BadBody
from app.domain.messages import Lane
from app.engine import PRIORITY_SINGLE
from app.services import services
from app.store.database import StoreUnavailable
from app.store.database.deadlines import within
from app.store.database.spool import SpooledCall
from app.store.messages import acceptance
from app.store.portals import portals
from app.store.portals.portals import HandlerPortal
from app.web.calls import bodies, spooling
from app.web.calls.known import Known
from app.web.operator import metrics

log = logging.getLogger(__name__)
blueprint = Blueprint("handler", __name__)

BODY_LIMIT_BYTES = 512 * 1024
STORE_WITHIN_S = 1.5  # Bitrix24 hears of a dead database in two seconds
MANY = 20  # messages of one portal while it is known: more is a campaign, and lets single messages pass


_known: Known[str, HandlerPortal] = Known(lambda secret, now: portals.by_handler_secret(secret, now=now))


@blueprint.post("/sms/<secret>")
def receive_message(secret: str) -> Response:
    """Take one outgoing message from the portal's queue.

    200 after the commit, also for a repeat. 404 for an unknown secret, 400 for a body without a usable
    message, 413 for one that is too long, 503 when it could neither be stored nor spooled: the portal will
    not call again, but nobody is told that a message was taken which was not.
    """
    started = time.perf_counter()
    bodies.limit(BODY_LIMIT_BYTES)
    try:
        with within(STORE_WITHIN_S):
            answer, result = _receive(secret)
    except (StoreUnavailable, MemoryError) as error:
        log.error("message not stored by the database", extra={"why": str(error) or type(error).__name__})
        answer, result = _without_database(secret)
    metrics.handler_call(result, time.perf_counter() - started)
    return answer


def _without_database(secret: str) -> tuple[Response, str]:
    """Kept in the spool and taken from there later; 503 without a spool, or when the disk fails, too."""
    body = bodies.read()
    try:
        parse_message(body)
    except BadBody as error:
        return _answer(400, str(error)), "bad_body"
    try:
        if spooling.keep(SpooledCall(secret, body, services().now())):
            return _answer(200, "ok"), "spooled"
    except StoreUnavailable as error:
        log.error("message not spooled", extra={"why": str(error)})
    return _answer(503, "the message could not be stored; try again", retry_after_s=5), "unavailable"


def take_spooled(call: SpooledCall) -> None:
    """As if the call came at its time. An address that nobody has is dropped, as it would have been."""
    answer, result = _take(call.secret, call.body, call.at)
    if answer.status_code != 200:
        log.warning("spooled call dropped", extra={"result": result})


def _receive(secret: str) -> tuple[Response, str]:
    return _take(secret, None, services().now())


def _take(secret: str, body: bytes | None, now: datetime) -> tuple[Response, str]:
    portal, load = _known.find(secret, now)
    if portal is None:
        return _answer(404, "unknown address"), "unknown"
    if body is None:
        body = bodies.read()  # 413 when it is too long
    try:
        incoming = parse_message(body)
    except BadBody as error:
        log.warning("unusable handler call", extra={"install": portal.id, "why": str(error)})
        return _answer(400, str(error)), "bad_body"
    auth = incoming.auth
    fits = portal.recognises(application_token=auth.application_token, member_id=auth.member_id, now=now)
    if not fits:
        portal = _known.find_anew(secret, now) or portal
        fits = portal.recognises(application_token=auth.application_token, member_id=auth.member_id, now=now)
    lane = Lane.SINGLE if load <= MANY else Lane.CAMPAIGN
    accepted = acceptance.accept(
        portal, incoming, now=now, timing=services().timing, hold=not fits, lane=lane
    )
    if accepted.row_id is None:
        if accepted.is_conflict:
            log.error(
                "message id repeated with another text; the first one counts", extra={"install": portal.id}
            )
        return _answer(200, "ok"), "conflict" if accepted.is_conflict else "repeat"
    if fits:
        services().engine.hint("submit", portal.id, priority=PRIORITY_SINGLE)
    else:
        services().engine.hint("verify_held", accepted.row_id)
    return _answer(200, "ok"), "stored" if fits else "held"


def _answer(status: int, text: str, *, retry_after_s: int | None = None) -> Response:
    response = Response(text + "\n", status=status, content_type="text/plain; charset=utf-8")
    if retry_after_s is not None:
        response.headers["Retry-After"] = str(retry_after_s)
    return response
