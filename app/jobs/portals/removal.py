"""The app was removed, somebody says: is it so? Then its installation ends.

Every employee can say so: the portal gives them its application_token. Only our own tokens tell the truth:
after a removal they are dead where they come from, so they are asked there, every one of them. Where all of
them were dead before anybody said anything, that proves nothing, and a day without any sign of life has to
pass.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from datetime import datetime, timedelta

from app.bitrix.errors import (
    AccessDenied,
    ClientRefused,
    NoRest,
    PaymentRequired,
    PortalBusy,
    PortalError,
    PortalGone,
    ScopeMissing,
    TokenExpired,
    TokenRefused,
)
from app.domain.portals import Portal, PortalState
from app.jobs.portals.standing import serves_others
from app.services import Services
from app.store.portals import events, portals, states, tokens
from app.store.portals.events import StoredEvent
from app.store.portals.tokens import Credential, PortalTokens
from app.store.upkeep import installations
from app.store.upkeep.installations import Look
from app.transport import TransportError

log = logging.getLogger(__name__)

SILENCE = timedelta(days=1)
OUR_SECRET_WORKED = timedelta(hours=1)
REFRESH_LEASE_S = 40.0

STILL_INSTALLED = "ignored: the app is still installed"
IN_USE = "ignored: the portal is in use"
EARLIER = "ignored: of an earlier installation"
REMOVED = "uninstalled"

_IS_THERE = (PaymentRequired, NoRest, AccessDenied, ScopeMissing)
_IS_DEAD = (TokenRefused, TokenExpired, PortalGone)


class NotYet(Exception):
    """Nobody knows it yet: look again at `until`."""

    def __init__(self, until: datetime) -> None:
        super().__init__(f"look again at {until}")
        self.until = until


def act_on_removal(services: Services, event: StoredEvent, portal: Portal) -> str:
    """What became of it.

    Raises:
        NotYet: time has to pass.
        PortalError, TransportError: nobody answers.
    """
    if event.generation != portal.generation:
        return EARLIER
    if portal.state is PortalState.UNINSTALLED:
        installations.uninstall(
            portal, clean=False, now=services.now(), timing=services.timing
        )  # what another worker began
        return REMOVED
    if event.tries == 0:
        every = services.timing.span("unproved_look_s")
        if (until := states.claim_look(portal.id, now=services.now(), every=every)) is not None:
            raise NotYet(until)
    began = services.now()
    held = tokens.all_of(portal.id)
    if _any_answers(services, portal, held):
        if event.tries == 0:  # the portal may still be at it
            raise PortalBusy("STILL_INSTALLED", "asked again in a moment")
        events.close_answered(event, STILL_INSTALLED, before=began)
        return STILL_INSTALLED
    silent_since = None
    if not _lived_then(held, event.received_at):
        silent_since = event.received_at
        seen_at = installations.seen_at(portal.id)
        if seen_at is not None and seen_at > silent_since:
            return IN_USE
        if services.now() < silent_since + SILENCE:
            raise NotYet(silent_since + SILENCE)
    look = Look({credential.id: credential.version for credential in held}, silent_since)
    is_clean = bool(event.payload["is_clean"])
    if not installations.uninstall(
        portal, clean=is_clean, now=services.now(), timing=services.timing, look=look
    ):
        raise PortalBusy("CHANGED", "somebody came by meanwhile; asked again in a moment")
    log.info("portal uninstalled", extra={"install": portal.id, "clean": is_clean})
    return REMOVED


def _lived_then(held: Sequence[Credential], moment: datetime) -> bool:
    """Whether any of these tokens worked, as far as we knew, when it was said that the app is gone."""
    return any(
        not credential.broken or (credential.broken_at is not None and credential.broken_at >= moment)
        for credential in held
    )


def _any_answers(services: Services, portal: Portal, held: Sequence[Credential]) -> bool:
    """Whether any of the tokens is alive.

    Raises:
        PortalError, TransportError: not as far as we know, and not everybody answered.
    """
    silent: PortalError | TransportError | None = None
    for credential in held:
        try:
            if _is_alive(services, portal, credential):
                return True
        except (PortalError, TransportError) as error:
            silent = error
    if silent is not None:
        raise silent
    return False


def _is_alive(services: Services, portal: Portal, credential: Credential) -> bool:
    server = services.oauth.server_of(portal.oauth_server)
    try:
        info = services.oauth.app_info(server, credential.tokens.access_token)
    except _IS_THERE:
        return True
    except PortalGone:
        return False
    except (TokenRefused, TokenExpired):
        return _is_refreshed(services, portal, credential)
    return info.member_id == portal.member_id


def _is_refreshed(services: Services, portal: Portal, credential: Credential) -> bool:
    """Its hour is over: then the refresh token knows. The new pair is kept, as with every refresh."""
    if not credential.tokens.refresh_token:
        return False
    keeper = PortalTokens(portal.id, portal.member_id, services.now)
    lease = keeper.claim_refresh(REFRESH_LEASE_S)
    if lease is None:
        raise PortalBusy("REFRESHING", "another process is refreshing the token")
    try:
        now = tokens.by_id(credential.id)
        if now is None or now.version != credential.version:
            raise PortalBusy("CHANGED", "another process has refreshed the token")
        server = services.oauth.server_of(portal.oauth_server)
        fresh = services.oauth.refresh(server, credential.tokens.refresh_token, now=services.now())
        if fresh.member_id and fresh.member_id != portal.member_id:
            return False
        keeper.store(credential, fresh)
        return True
    except _IS_THERE:
        return True
    except ClientRefused as error:
        if not serves_others(portal.id, services.now() - OUR_SECRET_WORKED):
            raise PortalBusy(error.code, "nobody is served: our own secret is the likelier reason") from error
        return False
    except _IS_DEAD:
        return False
    finally:
        keeper.release_refresh(lease)


def erase_what_was_kept(services: Services) -> None:
    """What removed apps' portals kept for their return."""
    now = services.now()
    for portal_id in installations.removed_before(now - installations.KEPT_FOR_RETURN):
        if installations.erase_what_was_kept(portals.by_id(portal_id), now=now):
            log.info("data of a removed portal erased", extra={"install": portal_id})
