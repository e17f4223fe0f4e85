"""The weekly summary: one line to the administrators who want it, on Monday morning."""

from __future__ import annotations

import logging
from datetime import datetime, timedelta

from app.actions.test_notice import SCOPE
from app.bitrix.errors import PortalError
from app.domain.portals import Portal
from app.domain.weeks import WeekFigures, week_before, zone_of
from app.services import Services
from app.store.figures import statistics
from app.store.figures.statistics import Span
from app.store.portals import portals, tokens, weekly
from app.transport import TransportError
from app.words.notices import week_text

log = logging.getLogger(__name__)

AGAIN_AFTER = timedelta(hours=1)
LATEST_HOUR = 18  # of the local Monday: what could not be told by then is left out


def tell_week(services: Services, portal_id: int) -> None:
    """Tell a portal's summary that is due; nothing where nothing was sent."""
    portal, now = portals.by_id(portal_id), services.now()
    if not weekly.claim_weekly(portal, now=now) or not portal.state.can_be_told:
        return
    figures = _figures(portal, now=now)
    if figures.messages:
        _tell(services, portal, figures, now)


def _tell(services: Services, portal: Portal, figures: WeekFigures, now: datetime) -> None:
    client = services.portal_client(portal)
    try:
        may_tell = SCOPE in client.granted_scope()
    except (PortalError, TransportError) as error:
        log.warning("week not told", extra={"install": portal.id, "why": str(error)})
        local = now.astimezone(zone_of(portal.settings.time_zone))
        if local.weekday() == 0 and local.hour < LATEST_HOUR:
            weekly.put_weekly_off(portal.id, now + AGAIN_AFTER)
        return
    if not may_tell:
        return
    for user_id, language in tokens.administrators(portal.id):
        if not portal.settings.wants_notices(user_id):
            continue
        text = week_text(
            figures, language=portal.settings.language or language, app_name=services.config.app_name
        )
        try:
            client.notify(user_id, text, tag=f"sms-week-{now:%G-%V}")
        except (PortalError, TransportError) as error:
            # It may have got through all the same, so this person is not told again.
            log.warning("week not told", extra={"install": portal.id, "why": str(error)})
    log.info("week told", extra={"install": portal.id, "messages": figures.messages})


def _figures(portal: Portal, *, now: datetime) -> WeekFigures:
    since, until = week_before(now, zone_of(portal.settings.time_zone))
    return WeekFigures.of(statistics.by_status(portal.id, Span(since, until)))
