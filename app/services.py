"""The parts that a running process is made of, wired by `create_app` and found through the application."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial

from flask import current_app

from app.bitrix.client import PortalClient
from app.bitrix.errors import PortalError
from app.bitrix.oauth import OAuth
from app.bitrix.opener import OpenerCheck
from app.config import Config
from app.domain.counting import Counts
from app.domain.outcomes import Outcome
from app.domain.portals import Portal
from app.domain.rest_calls import RestCall
from app.domain.retry import Timing
from app.engine import Engine
from app.gateways.base import Context, Gateway, Outgoing, Registry
from app.store.accounts.accounts import Account
from app.store.database import StoreUnavailable, utcnow
from app.store.portals import portals, rest_budget, rest_log, tokens
from app.transport import HttpClient

log = logging.getLogger(__name__)

# Below the portal's own limit of 50 and 2 a second: other applications share our address with us.
CALLS_PER_S = 2.0
CALL_BURST = 40.0


# Hands a message over a line; nothing is written after this moment of `time.monotonic`.
HandOver = Callable[[Outgoing, float], Outcome]


@dataclass(frozen=True)
class PortalLimits:
    """One portal's limits, as `app.bitrix.rest.CallLimits` asks for them."""

    portal_id: int
    clock: Callable[[], datetime]
    rate: float
    burst: float

    def wait_s(self, methods: Sequence[str]) -> float:
        return rest_budget.take_call(
            self.portal_id, methods, now=self.clock(), rate=self.rate, burst=self.burst
        )

    def bucket_is_full(self) -> None:
        rest_budget.fill_bucket(self.portal_id, now=self.clock(), burst=self.burst)

    def pause(self, method: str, until: datetime) -> None:
        rest_budget.pause_calls(self.portal_id, method, until=until, now=self.clock())

    def known_reset(self, method: str) -> float | None:
        return rest_budget.known_reset(self.portal_id, method, now=self.clock())

    def strikes(self, method: str) -> int:
        return rest_budget.strikes(self.portal_id, method, now=self.clock())


@dataclass(frozen=True)
class Services:
    """One set per process. `now` is the clock of everything that has to do with rows."""

    config: Config
    http: HttpClient  # for portals and authorization servers
    vendors: HttpClient  # for gateways
    oauth: OAuth
    openers: OpenerCheck
    engine: Engine
    gateways: Registry
    on_portal_error: Callable[[Services, Portal, PortalError], object]  # what it says of the portal is kept
    now: Callable[[], datetime] = utcnow
    counts: Counts = field(default_factory=Counts)
    # In the process that keeps lines: how messages of this account go over its line; None where another
    # process keeps it.
    line_of: Callable[[int], HandOver | None] | None = None
    calls_per_s: float = CALLS_PER_S
    call_burst: float = CALL_BURST

    @property
    def warnings(self) -> tuple[str, ...]:
        """What the operator should know, said at every start and by `doctor`."""
        unknown = sorted(set(self.config.gateway_hosts) - set(self.gateways.adapters))
        said = (f"GATEWAY_HOSTS: no gateway is called {slug}; see `gateways list`" for slug in unknown)
        return (*self.config.warnings, *said)

    def fingerprints(self) -> dict[str, str]:
        """What this process must have in common with all others of the installation."""
        engine = self.engine.fingerprint()
        return {**self.config.fingerprints(), **({"REDIS_URL": engine} if engine else {})}

    @property
    def timing(self) -> Timing:
        return self.config.timing

    def portal_client(self, portal: Portal) -> PortalClient:
        """REST calls to this portal with its own tokens, limits and journal."""

        def write_down(call: RestCall) -> None:
            self.write_down(portal.id, call)

        return PortalClient(
            http=self.http,
            oauth=self.oauth,
            oauth_server=self.oauth.server_of(portal.oauth_server),
            member_id=portal.member_id,
            client_endpoint=portal.client_endpoint,
            tokens=tokens.PortalTokens(portal.id, portal.member_id, self.now),
            limits=PortalLimits(portal.id, self.now, self.calls_per_s, self.call_burst),
            journal=write_down,
            clock=self.now,
            timeout_s=self.timing.portal_call_s,
            on_error=partial(self.on_portal_error, self, portal),
        )

    def write_down(self, portal_id: int, call: RestCall) -> None:
        """Keep a call in the journal; it is not worth failing for."""
        try:
            rest_log.add(portal_id, call, at=self.now())
        except StoreUnavailable as error:
            log.warning("call not written down", extra={"install": portal_id, "why": str(error)})

    def gateway(self, account: Account) -> Gateway | None:
        """The adapter of an account, ready to use; None when this build does not have it any more."""
        adapter = self.gateways.get(account.slug)
        if adapter is None:
            return None
        http = self.gateway_http(account.slug)
        return adapter(account.settings, Context(http, open_socket=lambda *place: http.connect(*place)))

    def gateway_http(self, slug: str) -> HttpClient:
        """The client of one kind of gateway; its calls go to the double that GATEWAY_HOSTS names for it."""
        double = self.config.gateway_hosts.get(slug)
        return self.vendors.towards(double) if double else self.vendors

    def handler_url(self, secret: str) -> str:
        return f"{self.config.public_url}/sms/{secret}"

    @property
    def events_url(self) -> str:
        return f"{self.config.public_url}/events"

    def report_url(self, account: Account, reference: str = "") -> str:
        base = f"{self.config.public_url}/reports/{account.slug}/{account.report_secret}"
        return f"{base}/{reference}" if reference else base


def write_down_for(member_id: str, call: RestCall) -> None:
    """Calls about who opens the app come before its portal is at hand, the first one before its row."""
    portal = portals.by_member(member_id)
    if portal is not None:
        services().write_down(portal.id, call)


def services() -> Services:
    found: Services = current_app.extensions["services"]
    return found
