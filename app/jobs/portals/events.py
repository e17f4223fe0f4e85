"""Events of a portal's life: install, update, payment, removal; verified, and acted upon."""

from __future__ import annotations

import logging
from datetime import datetime, timedelta

from app.bitrix.errors import (
    PortalError,
    TokenExpired,
    TokenRefused,
)
from app.bitrix.opener import OpenerRefused
from app.domain.messages import CallAuth
from app.domain.portals import Opener, Portal
from app.domain.retry import pause_before
from app.jobs.portals.removal import NotYet, act_on_removal
from app.jobs.portals.upkeep import keep_in_step
from app.services import Services
from app.store.portals import events, portals, states, tokens
from app.store.portals.events import StoredEvent
from app.transport import TransportError

log = logging.getLogger(__name__)

EVENT_TRIES = 12

CALLS_FOR_AN_EVENT = 12  # of the portal and the authorization server, at most

REMOVALS_ASKED = timedelta(days=30)


def act_on_event(services: Services, event_id: int) -> None:
    """Act on one stored event; one that could not be verified at its arrival is verified first."""
    event = events.claim(
        event_id, now=services.now(), lease_s=CALLS_FOR_AN_EVENT * services.timing.portal_call_s
    )
    if event is None:
        return
    try:
        result = _act(services, event)
    except OpenerRefused as refused:
        result = f"refused: {refused}"
        log.warning("forged event", extra={"event_name": event.event, "why": str(refused)})
    except NotYet as wait:
        events.postpone(event, wait.until)
        return
    except (PortalError, TransportError, portals.StaleProof) as error:
        now = services.now()
        if not _is_too_late(event, now):
            pause = pause_before(event.tries + 1, base_s=services.timing.retry_base_s)
            events.postpone(event, now + pause)
            return
        result = f"given up: {error}"
    events.close(event, result)


def _is_too_late(event: StoredEvent, now: datetime) -> bool:
    """A removal is asked about for a month: nothing else would tell us."""
    if event.event == events.REMOVAL:
        return now >= event.received_at + REMOVALS_ASKED
    return event.tries >= EVENT_TRIES


def _act(services: Services, event: StoredEvent) -> str:
    auth = CallAuth(**event.payload["auth"])
    portal = portals.by_member(event.member_id)
    if event.event in ("ONAPPINSTALL", "ONAPPUPDATE"):
        return _installed_or_updated(services, event, auth, portal)
    if portal is None:
        return "no such portal"
    if event.event == events.REMOVAL:
        return act_on_removal(services, event, portal)
    if event.event == "ONAPPPAYMENT":
        return _looked(services, event, portal)
    log.info("event noted", extra={"install": portal.id, "event_name": event.event})
    return "noted"


def _installed_or_updated(
    services: Services, event: StoredEvent, auth: CallAuth, known: Portal | None
) -> str:
    """An administrator's tokens prove it, and its application_token counts from now on.

    With less proof it only makes us look, with the tokens that we have: the app was updated even where
    the user who installed it is no administrator any more.
    """
    opener = _administrator(services, event, auth, known)
    if opener is None:
        if known is None:
            raise OpenerRefused("the token is not an administrator's")
        return _looked(services, event, known)
    now = services.now()
    portal = portals.save_opener(opener, now=now)
    tokens.keep(portal, opener, now=now)
    if auth.application_token:
        portals.keep_application_token(portal, auth.application_token, now=now)
    keep_in_step(services, portal.id)
    return f"looked: {portals.by_id(portal.id).state}"


def _administrator(
    services: Services, event: StoredEvent, auth: CallAuth, known: Portal | None
) -> Opener | None:
    """The administrator whose tokens the event carries; None when the event is the portal's and its user
    is no administrator.

    Raises:
        OpenerRefused: the event proves nothing.
    """
    said = event.payload["server_endpoint"]
    try:
        opener = services.openers.verify(
            member_id=event.member_id,
            access_token=auth.access_token,
            refresh_token=auth.refresh_token,
            expires_in_s=auth.expires_in_s,
            server=known.oauth_server if known else services.oauth.server_of(said),
            received_at=event.received_at,
            asked_at=services.now(),
            said_server=said,
        )
    except (OpenerRefused, TokenExpired, TokenRefused):
        if event.is_verified:  # by its application_token; its tokens ran out on the way
            return None
        raise
    return opener if opener.is_admin else None


def _looked(services: Services, event: StoredEvent, portal: Portal) -> str:
    """Nobody proved anything, so the event changes nothing: the portal's own answers count. Whoever says so
    how often, it is looked at once a minute, and one look answers all who said so before."""
    began = services.now()
    every = services.timing.span("unproved_look_s")
    if (until := states.claim_look(portal.id, now=began, every=every)) is not None:
        raise NotYet(until)
    keep_in_step(services, portal.id, only_missing=True)
    result = f"looked: {portals.by_id(portal.id).state}"
    events.close_answered(event, result, before=began)
    return result
