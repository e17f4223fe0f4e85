"""What keeps a portal in step: its senders and events as they should be, its tokens alive."""

from __future__ import annotations

import logging

from app.bitrix.errors import (
    PortalError,
    PortalGone,
)
from app.domain.portals import PortalState
from app.jobs.hints import hint_push
from app.jobs.portals.standing import note_portal_error
from app.registration import TRY_AGAIN, NotNow, reconcile
from app.services import Services
from app.store.portals import portals, states, tokens
from app.transport import TransportError

log = logging.getLogger(__name__)


def keep_in_step(services: Services, portal_id: int, *, only_missing: bool = False) -> None:
    """The daily reconcile, which is also the probe of a portal that stands badly."""
    portal = portals.by_id(portal_id)
    if portal.state is PortalState.UNINSTALLED:
        return
    tokens.revive(portal.id)
    try:
        done = reconcile(services, portal, wait_s=0, only_missing=only_missing)
    except NotNow:
        return  # who is at it sees what changed
    except (PortalError, TransportError) as error:
        pause = note_portal_error(services, portal, error)
        if portals.by_id(portal.id).state.can_be_told and not isinstance(error, PortalGone):
            states.postpone_reconcile(portal, services.now() + max(pause, TRY_AGAIN))
        return
    if done.changed:
        log.info("registration mended", extra={"install": portal.id, "added": done.added})
    hint_push(services, portal.id)


def keep_tokens_alive(services: Services, portal_id: int) -> None:
    """Refresh what a quiet portal's admins left with us, the spares as well, before its 180 days are over."""
    portal = portals.by_id(portal_id)
    client = services.portal_client(portal)
    idle_since = services.now() - services.timing.span("keep_alive_s")
    for credential in tokens.idle_of(portal_id, idle_since):
        try:
            client.refresh_now(credential)
        except (PortalError, TransportError) as error:
            note_portal_error(services, portal, error)
