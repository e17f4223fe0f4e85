"""A notice to one person, to see whether notices get through: what Bitrix24 says of it."""

from __future__ import annotations

import logging
from enum import StrEnum

from app.bitrix.errors import AccessDenied, PortalError, Refused, ScopeMissing
from app.domain.portals import Portal
from app.services import Services
from app.transport import TransportError
from app.words.notices import test_text

log = logging.getLogger(__name__)

SCOPE = "im"


class Told(StrEnum):
    DONE = "done"
    NO_SCOPE = "no_scope"  # the portal did not give the app the right to write notices
    REFUSED = "refused"
    NO_ANSWER = "no_answer"


def send_test_notice(services: Services, portal: Portal, user_id: str, language: str) -> Told:
    """`language` is Bitrix24's code of the one that the person reads."""
    client = services.portal_client(portal)
    text = test_text(language=language, app_name=services.config.app_name)
    try:
        if SCOPE not in client.granted_scope():
            return Told.NO_SCOPE
        client.notify(user_id, text, tag=f"sms-test-{user_id}")
    except ScopeMissing:
        return Told.NO_SCOPE
    except (Refused, AccessDenied) as refused:
        log.warning("test notice refused", extra={"install": portal.id, "why": str(refused)})
        return Told.REFUSED
    except (PortalError, TransportError) as error:
        log.warning("test notice not told", extra={"install": portal.id, "why": str(error)})
        return Told.NO_ANSWER
    return Told.DONE
