"""What an error of a portal means for the portal as a whole: its state, and when to look again.

Messages go out in every state but the last; statuses wait for two weeks. A bad state is probed by the
reconcile job: every hour on the first day, then daily, and after thirty days no more. Whatever an admin
or an event of the portal brings meanwhile heals it at once.
"""

from __future__ import annotations

import logging
from datetime import datetime, timedelta

from app.bitrix.errors import (
    AccessDenied,
    AppNotFound,
    ClientRefused,
    MethodMissing,
    NoRest,
    PaymentRequired,
    PortalGone,
    Refused,
    ScopeMissing,
    ServerConfigError,
    TokenExpired,
    TokenRefused,
)
from app.domain.portals import Portal, PortalState
from app.services import Services
from app.store.portals import rest_log, states, tokens

log = logging.getLogger(__name__)

BUSY_PAUSE = timedelta(seconds=5)
REFUSED_PAUSE = timedelta(hours=1)
PROBED_HOURLY = timedelta(days=1)
PROBED_AT_ALL = timedelta(days=30)

_STATES: tuple[tuple[type[Exception], PortalState], ...] = (
    (PaymentRequired, PortalState.PAYMENT),
    (NoRest, PortalState.NO_REST),
    (PortalGone, PortalState.GONE),
    (TokenRefused, PortalState.RECONNECT),
    (TokenExpired, PortalState.RECONNECT),
    (AccessDenied, PortalState.RECONNECT),
    (ScopeMissing, PortalState.RECONNECT),
)
_NO_TOKEN = (TokenRefused, TokenExpired, AccessDenied)


def note_portal_error(services: Services, portal: Portal, error: Exception) -> timedelta:
    """Remember what the error says of the portal; returns how long to leave it alone."""
    if (pause := conclude(services, portal, error)) is not None:
        return pause
    if isinstance(error, ServerConfigError):
        log.error("the authorization server refuses our application", extra={"why": str(error)})
        return timedelta(minutes=5)
    if isinstance(error, Refused | MethodMissing):
        log.error("a call was refused for good", extra={"install": portal.id, "why": str(error)})
        return REFUSED_PAUSE  # unchanged it would be refused again; perhaps not by the next version
    after_s = getattr(error, "retry_after_s", None)
    return max(BUSY_PAUSE, timedelta(seconds=after_s)) if after_s else BUSY_PAUSE


def conclude(services: Services, portal: Portal, error: Exception) -> timedelta | None:
    """Keep what the error says of the portal as a whole, whoever made the call: a job, a page, a command.

    Returns how long to leave it alone; None when it says nothing of the kind. `portal` is as it was read
    before the call: what was found since then counts more.
    """
    if isinstance(error, AppNotFound | ClientRefused):
        return _doubt(services, portal, error)
    if isinstance(error, _NO_TOKEN) and tokens.has_working(portal.id):
        return BUSY_PAUSE  # an admin came by in this very moment
    for kind, state in _STATES:
        if isinstance(error, kind):
            return _set_state(services, portal, state, str(error))
    return None


def _set_state(services: Services, portal: Portal, state: PortalState, why: str) -> timedelta:
    if states.set_state(portal, state, why, now=services.now()):
        log.warning("portal state", extra={"install": portal.id, "state": state, "why": why})
    present, since = states.standing(portal.id)
    if present is not state:
        return BUSY_PAUSE  # it was found to work meanwhile
    return plan_probe(services, portal, since or services.now())


def plan_probe(services: Services, portal: Portal, since: datetime) -> timedelta:
    """When a portal that stands badly since then is looked at again; returns the pause until then."""
    now = services.now()
    if now - since >= PROBED_AT_ALL:
        _stop_probing(portal)
        return PROBED_AT_ALL
    hour = services.timing.span("probe_s")
    pause = hour if now - since < PROBED_HOURLY else hour * 24
    states.postpone_reconcile(portal, now + pause)
    return pause


def _stop_probing(portal: Portal) -> None:
    states.postpone_reconcile(portal, None)
    tokens.erase_abandoned(portal.id)  # nobody will come back for them, and they are not ours to keep
    log.warning("portal given up; its next admin or event revives it", extra={"install": portal.id})


def _doubt(services: Services, portal: Portal, error: PortalGone) -> timedelta:
    """The app is said to be gone: believed when it is said again some minutes later.

    When the authorization server says it, and serves no other portal either, our own secret is the likelier
    reason: then no portal is to blame.
    """
    now, confirm = services.now(), services.timing.span("confirm_gone_s")
    if portal.state is PortalState.GONE:
        return _set_state(services, portal, PortalState.GONE, str(error))
    since = states.suspect(portal, now=now)
    if now - since < confirm:
        states.postpone_reconcile(portal, since + confirm)
        return confirm
    if isinstance(error, ClientRefused) and not serves_others(portal.id, since):
        log.error(
            "the authorization server accepts our client id and secret for no portal; check them",
            extra={"install": portal.id, "why": str(error)},
        )
        states.postpone_reconcile(portal, now + confirm)
        return confirm
    return _set_state(services, portal, PortalState.GONE, str(error))


def serves_others(portal_id: int, since: datetime) -> bool:
    """Whether the authorization server takes our client id and secret, as far as that can be known."""
    return states.count_others(portal_id) == 0 or rest_log.refreshed_elsewhere(portal_id, since)
