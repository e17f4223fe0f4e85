"""Stop 3 of a message's walk: delivery reports, as each gateway sends them."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from flask import Blueprint, Response, request

from app.domain.outcomes import DeliveryReport, Reports
from app.gateways.base import Gateway, GatewayCall, ReportRejected
from app.services import services
from app.store.accounts import accounts
from app.store.accounts.accounts import Account
from app.store.database import StoreUnavailable
from app.store.database.deadlines import within
from app.store.messages import parked, reports
from app.web import caller
from app.web.calls import bodies
from app.web.calls.known import Known
from app.web.operator import metrics

log = logging.getLogger(__name__)
blueprint = Blueprint("reports", __name__)

BODY_LIMIT_BYTES = 8 * 1024 * 1024  # some gateways report once an hour, and everything at once
BATCH = 50  # more reports in one call are stored together, and matched by a job
STORE_WITHIN_S = 1.8


def _look_up(address: tuple[str, str], now: datetime) -> tuple[Account, Gateway] | None:
    account = accounts.by_report_secret(*address, now=now)
    gateway = services().gateway(account) if account else None
    return (account, gateway) if account is not None and gateway is not None else None


_known = Known(_look_up)


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
    now = services().now()
    known, _ = _known.find((gateway_slug, secret), now)
    if known is None:
        return _text(404, "unknown address")
    call = _inbound(reference)
    if request.method == "HEAD" or not (call.query or call.body.strip()):
        return _text(200, "delivery reports are welcome here")
    found = _parse(known, call)
    if isinstance(found, _NotTaken) or any(report.status is None for report in found.items):
        # Perhaps only by settings that were changed since.
        known = _known.find_anew((gateway_slug, secret), now)
        if known is None:
            return _text(404, "unknown address")
        found = _parse(known, call)
    account, _ = known
    if isinstance(found, _NotTaken):
        fields = {"install": account.portal_id, "gateway": gateway_slug, "why": found.why}
        log.warning("report not taken", extra=fields)
        return _text(found.status, found.answer)
    _take(account, found.items, now)
    return Response(found.reply_body, status=found.reply_status, content_type=found.reply_type)


@dataclass(frozen=True)
class _NotTaken:
    """Why a call is no delivery report: for the gateway, and for us."""

    status: int
    answer: str
    why: str


def _parse(known: tuple[Account, Gateway], call: GatewayCall) -> Reports | _NotTaken:
    try:
        found = known[1].parse_reports(call)
        return replace(found, items=tuple(found.items))
    except ReportRejected as error:
        return _NotTaken(403, "signature refused", str(error))
    except (ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
        return _NotTaken(400, "not a delivery report of this gateway", type(error).__name__)


def _take(account: Account, items: Sequence[DeliveryReport], now: datetime) -> None:
    reports.note_report_call(account.id, now)
    for item in items:
        metrics.report(account.slug, item.status)
    if len(items) > BATCH:
        parked.park_all(account.id, items, now=now)
        services().engine.hint("match_reports", account.id)
        return
    due_at = reports.apply_reports(account.id, items, now=now, timing=services().timing)
    if due_at is not None:
        delay_s = max(0.0, (due_at - now).total_seconds())
        services().engine.hint("push", account.portal_id, delay_s=delay_s)


def _inbound(reference: str) -> GatewayCall:
    query = request.query_string.decode("latin-1")
    return GatewayCall(
        method=request.method,
        # As the gateway called it: signatures cover the public address, not the one behind our proxy.
        url=services().config.public_url + request.path + (f"?{query}" if query else ""),
        query=query,
        headers={name.lower(): value for name, value in request.headers.items()},
        body=bodies.read(),
        reference=reference,
        address=caller.address(),
    )


def _text(status: int, text: str) -> Response:
    return Response(text + "\n", status=status, content_type="text/plain; charset=utf-8")
