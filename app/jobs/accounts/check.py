"""The regular check of a gateway account: its balance, and whether it still lets us in."""

from __future__ import annotations

import logging
import random
from datetime import timedelta

from app.domain.incidents import FAILED_CHECKS_TO_TELL
from app.gateway_accounts import keep_webhooks
from app.gateways.base import CheckResult, Gateway
from app.services import Services
from app.store.accounts import accounts, checks
from app.store.accounts.accounts import Check
from app.transport import TransportError

log = logging.getLogger(__name__)

ACCOUNTS_A_ROUND = 5000


def plan_checks(services: Services) -> None:
    """Give every account that has something to check regularly a moment of its own, spread over the span."""
    adapters = services.gateways.adapters.items()
    slugs = [slug for slug, a in adapters if a.capabilities.balance or a.capabilities.webhooks]
    span = services.timing.span("regular_check_s")
    for account_id in checks.unplanned_checks(slugs, limit=ACCOUNTS_A_ROUND):
        checks.plan_check(account_id, services.now() + span * random.random())  # noqa: S311 - spreads


def check_account(services: Services, account_id: int) -> None:
    """Ask one account. Its messages are not touched by what it says: they find out by themselves."""
    now, account = services.now(), accounts.by_id(account_id)
    span = services.timing.span("regular_check_s") * random.uniform(0.8, 1.2)  # noqa: S311 - spreads
    if account is None or not checks.claim_check(account_id, now=now, next_at=now + span):
        return
    gateway = services.gateway(account)
    if gateway is None:
        return
    can = gateway.active_capabilities
    if can.webhooks:
        keep_webhooks(gateway, services.report_url(account))
    if not can.balance:
        return
    failed = checks.record_regular_check(account, _check(services, gateway))
    if 0 < failed < FAILED_CHECKS_TO_TELL:
        checks.plan_check(account.id, now + timedelta(seconds=services.timing.account_probe_s))
    if failed:
        log.warning("regular check failed", extra={"install": account.portal_id, "in_a_row": failed})


def close_account(services: Services, account_id: int) -> None:
    """The end of an account that was replaced or removed: its webhooks and its secrets go."""
    account = accounts.by_id(account_id)
    gateway = services.gateway(account) if account else None
    if account is None or account.retired_at is None:
        return
    if gateway is not None and gateway.active_capabilities.webhooks:
        try:
            gateway.on_disable(services.report_url(account))
        except Exception as error:
            log.warning(
                "webhook not taken back", extra={"gateway": gateway.slug, "why": type(error).__name__}
            )
    accounts.wipe(account.id)


def accounts_over(services: Services) -> list[int]:
    """Retired accounts that nothing waits for any more: no message, and no late report."""
    before = services.now() - services.timing.span("report_deadline_s")
    return accounts.over(before, limit=100)


def _check(services: Services, gateway: Gateway) -> Check:
    try:
        result = gateway.check()
    except TransportError as error:
        result = CheckResult.unreachable(error)
    return Check(result.ok, result.summary, result.balance, services.now())
