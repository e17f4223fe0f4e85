"""Stop 3 of a message's walk: delivery reports, as each gateway sends them."""

from __future__ import annotations

import logging

from flask import Blueprint, Response, request

from app.gateways.base import InboundHttp, ReportRejected
from app.services import services
from app.store import accounts, outbox, reports
from app.store.database import StoreUnavailable
from app.store.watch import within
from app.web.calls import bodies
from app.web.operator import metrics

log = logging.getLogger(__name__)
blueprint = Blueprint("reports", __name__)

BODY_LIMIT_BYTES = 8 * 1024 * 1024  # some gateways report once an hour, and everything at once
BATCH = 50  # more reports in one call are stored together, and matched by a job
STORE_WITHIN_S = 1.8


@blueprint.route("/reports/<gateway>/<secret>", methods=["GET", "POST"])
@blueprint.route("/reports/<gateway>/<secret>/<reference>", methods=["GET", "POST"])
def receive_reports(gateway: str, secret: str, reference: str = "") -> Response:
    """Take a gateway's call at the report URL of one account.

    Answers what that gateway wants to hear, after the commit. 404 for an unknown secret, 403 for a wrong
    signature, 400 for junk, 503 while the database is down: gateways call again. A call that says nothing
    at all is a console that tries whether the address works: 200.
    """
    bodies.limit(BODY_LIMIT_BYTES)
    try:
        with within(STORE_WITHIN_S):
            return _receive(gateway, secret, reference)
    except StoreUnavailable as error:
        log.error("report not stored: the database does not answer", extra={"why": str(error)})
        return _text(503, "try again")


def _receive(gateway_slug: str, secret: str, reference: str) -> Response:
    account = accounts.by_report_secret(gateway_slug, secret, now=services().now())
    gateway = services().gateway(account) if account else None
    if account is None or gateway is None:
        return _text(404, "unknown address")
    call = _inbound(reference)
    if request.method == "HEAD" or not (call.query or call.body.strip()):
        return _text(200, "delivery reports are welcome here")
    try:
        found = gateway.parse_reports(call)
        items = list(found.items)
    except ReportRejected as error:
        log.warning(
            "report refused", extra={"install": account.portal_id, "gateway": gateway_slug, "why": str(error)}
        )
        return _text(403, "signature refused")
    except (ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
        log.warning(
            "report not understood",
            extra={"install": account.portal_id, "gateway": gateway_slug, "why": type(error).__name__},
        )
        return _text(400, "not a delivery report of this gateway")
    now, timing = services().now(), services().timing
    reports.note_report_call(account.id, now)
    for item in items:
        metrics.report(gateway_slug, item.status)
    if len(items) > BATCH:
        reports.park_all(account.id, items, now=now)
        services().engine.hint("match_reports", account.id)
        items = []
    told = False
    for item in items:
        portal_id = reports.apply_report(account.id, item, now=now, timing=timing)
        told |= portal_id is not None
    if told and (delay_s := outbox.seconds_to_push(account.portal_id, now=now)) is not None:
        services().engine.hint("push", account.portal_id, delay_s=delay_s)
    return Response(found.reply_body, status=found.reply_status, content_type=found.reply_type)


def _inbound(reference: str) -> InboundHttp:
    query = request.query_string.decode("latin-1")
    return InboundHttp(
        method=request.method,
        # As the gateway called it: signatures cover the public address, not the one behind our proxy.
        url=services().config.public_url + request.path + (f"?{query}" if query else ""),
        query=query,
        headers={name.lower(): value for name, value in request.headers.items()},
        body=bodies.read(),
        reference=reference,
    )


def _text(status: int, text: str) -> Response:
    return Response(text + "\n", status=status, content_type="text/plain; charset=utf-8")
