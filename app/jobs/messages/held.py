"""Messages whose call did not fit their portal: proved, or refused."""

from __future__ import annotations

import logging
from datetime import timedelta

from app.bitrix.errors import (
    MessageNotFound,
    PortalError,
)
from app.bitrix.opener import OpenerRefused, TokenUnknown
from app.domain.messages import Message, Reason
from app.domain.portals import Portal
from app.domain.status import MessageStatus
from app.jobs.hints import hint_push
from app.services import Services
from app.store.messages import held, messages
from app.store.portals import portals
from app.transport import TransportError

log = logging.getLogger(__name__)

HELD_AGAIN = timedelta(minutes=1)


def verify_held(services: Services, row_id: int) -> None:
    """A message whose call did not fit its portal: is it the portal's after all?"""
    call = held.call_of(row_id)
    if call is None:
        return
    message, application_token, access_token = call
    portal = portals.by_id(message.portal_id)
    try:
        _prove(services, portal, message, access_token)
    except OpenerRefused as refused:
        _refuse_held(services, message, str(refused))
        return
    except (PortalError, TransportError) as error:
        if services.now() >= message.expires_at:
            _refuse_held(services, message, f"not proved in time: {error}")
            return
        pause = services.timing.span("retry_base_s") if isinstance(error, MessageNotFound) else HELD_AGAIN
        held.postpone(row_id, until=services.now() + pause)
        return
    if application_token and _is_administrators(services, portal, access_token):
        portals.keep_application_token(portal, application_token, now=services.now())
    if held.release(row_id, now=services.now()):
        services.engine.hint("submit", portal.id)


def _is_administrators(services: Services, portal: Portal, access_token: str) -> bool:
    """Whether an administrator made the call: only theirs proves a new application_token. Any employee could
    bring one of their own making, and the portal's real calls would not fit any more.
    """
    if not access_token:
        return False
    now = services.now()
    try:
        opener = services.openers.verify(
            member_id=portal.member_id,
            access_token=access_token,
            refresh_token="",
            expires_in_s=0,
            server=portal.oauth_server,
            received_at=now,
        )
    except (OpenerRefused, PortalError, TransportError):
        return False  # the next call may prove it
    return opener.is_admin


def _prove(services: Services, portal: Portal, message: Message, access_token: str) -> None:
    """The authorization server knows the call's access token as this portal's; or, where the call has none
    that lives, the portal itself knows the message. After an update of the app that nobody could report to
    us with an administrator's token this is all there is.

    Raises:
        OpenerRefused: the call is somebody else's.
        MessageNotFound: the portal may store the message a moment later: ask again.
        PortalError, TransportError: nobody could be asked.
    """
    try:
        if access_token:
            services.openers.vouched(access_token, portal.member_id, server=portal.oauth_server)
            return
    except TokenUnknown:
        pass
    try:
        services.portal_client(portal).assert_message(message.sender_code, message.message_id)
    except MessageNotFound:
        if services.now() < message.received_at + services.timing.span("push_not_found_s"):
            raise
        raise OpenerRefused("the portal does not know this message") from None


def _refuse_held(services: Services, message: Message, why: str) -> None:
    messages.finish(
        message,
        MessageStatus.FAILED,
        Reason.NOT_VERIFIED,
        why,
        now=services.now(),
        timing=services.timing,
    )
    log.error(
        "forged message refused",
        extra={"install": message.portal_id, "message_row": message.id, "why": why},
    )
    hint_push(services, message.portal_id)
