"""A stopped account is asked whether it works again."""

from __future__ import annotations

import logging

from app.services import Services
from app.store.accounts import accounts, stops
from app.store.messages import messages

log = logging.getLogger(__name__)


def probe_account(services: Services, account_id: int) -> None:
    """Ask a stopped account whether it works again; if so its messages go out."""
    account = accounts.by_id(account_id)
    if account is None or account.stopped_since is None:
        return
    gateway = services.gateway(account)
    stops.postpone_probe(account.id, services.now() + services.timing.span("account_probe_s"))
    if gateway is None or not gateway.check().ok:
        return
    if not stops.lift(account):
        return
    messages.wake_account(account.id, account.portal_id, now=services.now())
    log.info("gateway account works again", extra={"install": account.portal_id, "account": account.id})
