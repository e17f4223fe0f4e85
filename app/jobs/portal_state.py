"""What an error of a portal means for the portal as a whole: its state, and when to come back."""

from __future__ import annotations

import logging
from datetime import timedelta

from app.bitrix.errors import (
    AccessDenied,
    NoRest,
    PaymentRequired,
    PortalBusy,
    PortalGone,
    ScopeMissing,
    ServerConfigError,
    TokenExpired,
    TokenRefused,
)
from app.domain.portals import Portal, PortalState
from app.services import Services
from app.store import portals

log = logging.getLogger(__name__)

BUSY_PAUSE = timedelta(seconds=5)
PROBE_PAUSE = timedelta(hours=6)

# What the portal is after such an error; messages still go out, statuses wait.
_STATES: tuple[tuple[type[Exception], PortalState], ...] = (
    (PaymentRequired, PortalState.PAYMENT),
    (NoRest, PortalState.NO_REST),
    (PortalGone, PortalState.GONE),
    (TokenRefused, PortalState.RECONNECT),
    (TokenExpired, PortalState.RECONNECT),
    (AccessDenied, PortalState.RECONNECT),
    (ScopeMissing, PortalState.RECONNECT),
)


def note_portal_error(services: Services, portal: Portal, error: Exception) -> timedelta:
    """Remember what the error says of the portal; returns how long to leave it alone."""
    for kind, state in _STATES:
        if isinstance(error, kind):
            portals.set_state(portal.id, state, str(error))
            log.warning("portal state", extra={"install": portal.id, "state": state, "why": str(error)})
            return PROBE_PAUSE
    if isinstance(error, ServerConfigError):
        log.error("the authorization server refuses our application", extra={"why": str(error)})
        return timedelta(minutes=5)
    if isinstance(error, PortalBusy) and error.code == "QUERY_LIMIT_EXCEEDED":
        portals.fill_bucket(portal.id, now=services.now(), burst=services.call_burst)
    after_s = getattr(error, "retry_after_s", None)
    return max(BUSY_PAUSE, timedelta(seconds=after_s)) if after_s else BUSY_PAUSE
