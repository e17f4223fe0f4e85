"""The regular check of a gateway account: its balance, and whether it still lets us in."""

from __future__ import annotations

import logging
import random
from datetime import timedelta

from app.domain.incidents import FAILED_CHECKS_TO_TELL
from app.gateways.base import CheckResult, Gateway
from app.services import Services
from app.store import accounts
from app.store.accounts import Check
from app.transport import TransportError

log = logging.getLogger(__name__)

ACCOUNTS_A_ROUND = 5000


def plan_checks(services: Services) -> None:
    """Give every account of a gateway that can tell its balance a moment of its own, spread over the span."""
    slugs = [slug for slug, adapter in services.gateways.adapters.items() if adapter.capabilities.balance]
    span = services.timing.span("regular_check_s")
    for account_id in accounts.unplanned_checks(slugs, limit=ACCOUNTS_A_ROUND):
        accounts.plan_check(account_id, services.now() + span * random.random())  # noqa: S311 - spreads


def check_account(services: Services, account_id: int) -> None:
    """Ask one account. Its messages are not touched by what it says: they find out by themselves."""
    now, account = services.now(), accounts.by_id(account_id)
    span = services.timing.span("regular_check_s") * random.uniform(0.8, 1.2)  # noqa: S311 - spreads
    if account is None or not accounts.claim_check(account_id, now=now, next_at=now + span):
        return
    gateway = services.gateway(account)
    if gateway is None or not gateway.active_capabilities.balance:
        return
    failed = accounts.record_regular_check(account, _check(services, gateway))
    if 0 < failed < FAILED_CHECKS_TO_TELL:
        accounts.plan_check(account.id, now + timedelta(seconds=services.timing.account_probe_s))
    if failed:
        log.warning("regular check failed", extra={"install": account.portal_id, "in_a_row": failed})


def _check(services: Services, gateway: Gateway) -> Check:
    try:
        result = gateway.check()
    except TransportError as error:
        result = CheckResult.unreachable(error)
    return Check(result.ok, result.summary, result.balance, services.now())
