"""The parts that a running process is made of, wired by `create_app` and found through the application."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from functools import partial

from flask import current_app

from app.bitrix.client import Journal, PortalClient
from app.bitrix.oauth import OAuth
from app.bitrix.opener import OpenerCheck
from app.config import Config, Timing
from app.domain.portals import Portal
from app.engine import Engine
from app.gateways.base import Context, Gateway, Registry
from app.store import portals, rest_log, tokens
from app.store.accounts import Account
from app.store.database import utcnow
from app.transport import HttpClient

# Below the portal's own limit of 50 and 2 a second: other applications share our address with us.
CALLS_PER_S = 2.0
CALL_BURST = 40.0


@dataclass(frozen=True)
class Services:
    """One set per process. `now` is the clock of everything that has to do with rows."""

    config: Config
    http: HttpClient
    oauth: OAuth
    openers: OpenerCheck
    engine: Engine
    gateways: Registry
    now: Callable[[], datetime] = utcnow

    @property
    def call_burst(self) -> float:
        return CALL_BURST

    @property
    def timing(self) -> Timing:
        return self.config.timing

    def portal_client(self, portal: Portal) -> PortalClient:
        """REST calls to this portal with its own tokens, limits and journal."""

        def write_down(call: Journal) -> None:
            rest_log.add(
                portal.id,
                rest_log.RestCall(
                    self.now(),
                    call.method,
                    call.params,
                    call.http_status,
                    call.error,
                    call.answer,
                    call.took_ms,
                ),
            )

        return PortalClient(
            http=self.http,
            oauth=self.oauth,
            oauth_server=portal.oauth_server,
            member_id=portal.member_id,
            client_endpoint=portal.client_endpoint,
            tokens=tokens.PortalTokens(portal.id, portal.member_id, self.now),
            take_call=partial(self._take_call, portal.id),
            journal=write_down,
            clock=self.now,
            timeout_s=self.timing.portal_call_s,
        )

    def _take_call(self, portal_id: int) -> float:
        return portals.take_call(portal_id, now=self.now(), rate=CALLS_PER_S, burst=CALL_BURST)

    def gateway(self, account: Account) -> Gateway | None:
        """The adapter of an account, ready to use; None when this build does not have it any more."""
        adapter = self.gateways.get(account.slug)
        return adapter(account.settings, Context(http=self.http)) if adapter else None

    def handler_url(self, secret: str) -> str:
        return f"{self.config.public_url}/sms/{secret}"

    @property
    def events_url(self) -> str:
        return f"{self.config.public_url}/events"

    def report_url(self, account: Account, reference: str = "") -> str:
        base = f"{self.config.public_url}/reports/{account.slug}/{account.report_secret}"
        return f"{base}/{reference}" if reference else base


def services() -> Services:
    found: Services = current_app.extensions["services"]
    return found
