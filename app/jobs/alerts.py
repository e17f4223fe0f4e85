"""Tells a portal's administrators of troubles that last: once when they begin, once when they are over."""

from __future__ import annotations

import logging
from datetime import datetime, timedelta

from app.actions.test_notice import SCOPE
from app.bitrix.client import PortalClient
from app.bitrix.errors import AccessDenied, PortalError, Refused
from app.domain.incidents import IncidentKind
from app.domain.portals import Portal
from app.domain.retry import pause_before
from app.services import Services
from app.store.figures import incidents
from app.store.figures.incidents import Notice
from app.store.portals import portals, tokens
from app.transport import TransportError
from app.words.notices import notice_text

log = logging.getLogger(__name__)

TRIES = 5  # over some two hours; who has not heard by then finds the banner in the app
FIRST_PAUSE_S = 60.0
LEASE = timedelta(minutes=5)  # longer than telling a portal's few administrators takes


def look_for_incidents(services: Services, _: int = 0) -> None:
    """Bring the incidents of all portals in step with what is wrong at this moment."""
    now = services.now()
    incidents.note(incidents.present(now=now), now=now)


def tell(services: Services, incident_id: int) -> None:
    """Tell one incident's due notice to those who have not got it yet."""
    notice = incidents.claim_notice(incident_id, now=services.now(), lease=LEASE)
    if notice is None:
        return
    portal = portals.by_id(notice.portal_id)
    told, is_done = list(notice.told), True
    if portal.state.can_be_told:
        is_done = _tell(services, portal, notice, told)
    elif notice.kind is not IncidentKind.PORTAL:
        is_done = False  # a portal's own trouble is what keeps it from being told
    again_at = None if is_done else _next_try(services, notice)
    incidents.record_notice(notice, told, again_at=again_at, now=services.now())


def _tell(services: Services, portal: Portal, notice: Notice, told: list[str]) -> bool:
    """Adds to `told` whoever was reached. False when it is worth another try."""
    client = services.portal_client(portal)
    try:
        if SCOPE not in client.granted_scope():
            return True
        for user_id, language in tokens.administrators(portal.id):
            wants_it = portal.settings.wants_notices(user_id) and user_id not in told
            if wants_it and _notify(services, client, portal, notice, user_id, language):
                told.append(user_id)
    except (PortalError, TransportError) as error:
        log.warning("notice not told", extra={"install": portal.id, "kind": notice.kind, "why": str(error)})
        return False
    log.info("notice told", extra={"install": portal.id, "kind": notice.kind, "notice": notice.event})
    return True


def _notify(
    services: Services, client: PortalClient, portal: Portal, notice: Notice, user_id: str, language: str
) -> bool:
    """False when the portal does not want this user to be told; the others still are."""
    text = notice_text(
        notice.kind,
        notice.cause,
        is_over=notice.event == "over",
        language=portal.settings.language or language,
        app_name=services.config.app_name,
    )
    try:
        client.notify(user_id, text, tag=f"sms-{notice.kind}-{notice.incident_id}")
    except (Refused, AccessDenied) as refused:
        log.warning("user not told", extra={"install": portal.id, "why": str(refused)})
        return False
    return True


def _next_try(services: Services, notice: Notice) -> datetime | None:
    if notice.tries >= TRIES:
        return None
    return services.now() + pause_before(notice.tries, base_s=FIRST_PAUSE_S)
