"""Unknown outcomes: what may follow them, and claims whose worker died."""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import partial

from app.domain.life import Answered
from app.domain.outcomes import Unknown
from app.domain.portals import Portal
from app.gateways.base import Gateway
from app.jobs.hints import hint_push
from app.services import Services
from app.store.accounts import accounts
from app.store.messages import claims, outcomes
from app.store.portals import portals

log = logging.getLogger(__name__)


def answering(
    services: Services, portal: Portal, gateway: Gateway | None, *, is_fault: bool = False
) -> Callable[..., Answered]:
    """How to say what came of a claim, with what this gateway can do about it: it fetches its reports, it can
    be asked, or it drops repeats."""
    can = gateway.active_capabilities if gateway is not None else None
    return partial(
        Answered,
        poll_s=can.poll_after_s if can is not None and can.reports in ("poll", "both") else None,
        look_up_s=services.timing.look_up_s if can is not None and can.lookup else None,
        may_repeat=may_repeat(portal, gateway),
        is_fault=is_fault,
    )


def may_repeat(portal: Portal, gateway: Gateway | None) -> bool:
    """Whether an unknown outcome may be submitted again: the gateway drops repeats, or the admin said so."""
    if gateway is None:
        return False
    return gateway.active_capabilities.idempotent or portal.settings.unknown_policy == "resend"


def recover_message(services: Services, row_id: int) -> None:
    """A claim whose lease is over: its worker died or sleeps, and what the gateway heard is unknown."""
    claim = claims.lost_claim(row_id, now=services.now())
    if claim is None:
        return
    account = accounts.by_id(claim.account_id)
    gateway = services.gateway(account) if account else None
    why = "the worker stopped before the gateway's answer was recorded"
    portal = portals.by_id(claim.portal_id)
    lost = answering(services, portal, gateway, is_fault=True)(claim, Unknown(why))
    outcomes.record([lost], now=services.now(), timing=services.timing)
    services.counts.add("sms_lease_lost_total")
    log.warning("lease lost", extra={"install": claim.portal_id, "message_row": row_id})
    hint_push(services, claim.portal_id)
