"""What happens to a portal over its life: events acted upon, senders kept in step, tokens kept alive."""

from __future__ import annotations

import logging
from datetime import UTC, datetime, timedelta

from app.bitrix.errors import (
    MessageNotFound,
    PortalBusy,
    PortalError,
    PortalGone,
    TokenExpired,
    TokenRefused,
)
from app.bitrix.opener import OpenerRefused, TokenUnknown
from app.domain.messages import CallAuth, Message, Reason
from app.domain.portals import Opener, Portal, PortalState
from app.domain.retry import pause_before
from app.domain.status import MessageStatus
from app.jobs.portal_state import note_portal_error
from app.jobs.submit import hint_push
from app.registration import TRY_AGAIN, NotNow, reconcile
from app.services import Services
from app.store import accounts, erasure, messages, portal_events, portals, senders, tokens
from app.store.portal_events import StoredEvent
from app.transport import TransportError

log = logging.getLogger(__name__)

EVENT_TRIES = 12
LOOKED_LATELY = timedelta(seconds=60)
CLOCKS_DIFFER = timedelta(minutes=2)
KEPT_FOR_RETURN = timedelta(days=30)
HELD_AGAIN = timedelta(minutes=1)


def act_on_event(services: Services, event_id: int) -> None:
    """Act on one stored event; one that could not be verified at its arrival is verified first."""
    event = portal_events.open_event(event_id)
    if event is None:
        return
    try:
        result = _act(services, event)
    except OpenerRefused as refused:
        result = f"refused: {refused}"
        log.warning("forged event", extra={"event_name": event.event, "why": str(refused)})
    except (PortalError, TransportError) as error:
        if event.tries < EVENT_TRIES:
            pause = pause_before(event.tries + 1, base_s=services.timing.retry_base_s)
            portal_events.postpone(event.id, services.now() + pause)
            return
        result = f"given up: {error}"
    portal_events.close(event.id, result)


def _act(services: Services, event: StoredEvent) -> str:
    auth = CallAuth(**event.payload["auth"])
    portal = portals.by_member(event.member_id)
    if event.event in ("ONAPPINSTALL", "ONAPPUPDATE"):
        return _installed_or_updated(services, event, auth, portal)
    if portal is None:
        return "no such portal"
    if event.event == "ONAPPUNINSTALL" and event.is_verified:
        return _uninstalled(services, event, portal)
    if event.event == "ONAPPPAYMENT":
        return _paid_or_not(services, event, portal)
    log.info("event noted", extra={"install": portal.id, "event_name": event.event})
    return "noted"


def _installed_or_updated(
    services: Services, event: StoredEvent, auth: CallAuth, known: Portal | None
) -> str:
    """An administrator's tokens prove it, and its application_token counts from now on.

    With less proof it only makes us look, with the tokens that we have: the app was updated even where
    the user who installed it is no administrator any more.
    """
    now = services.now()
    opener = _administrator(services, event, auth, known)
    if opener is not None:
        portal = portals.save_opener(opener, now=now)
        tokens.keep(portal.id, opener, now=now)
        if auth.application_token:
            portals.keep_application_token(portal.id, auth.application_token, now=now)
    elif known is not None:
        portal = known
    else:
        raise OpenerRefused("the token is not an administrator's")
    if event.event == "ONAPPUPDATE":
        senders.forget_registration(portal.id)
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
            said_server=said,
        )
    except (OpenerRefused, TokenExpired, TokenRefused):
        if event.is_verified:  # by its application_token; its tokens ran out on the way
            return None
        raise
    return opener if opener.is_admin else None


def _paid_or_not(services: Services, event: StoredEvent, portal: Portal) -> str:
    """Whatever the event says, the portal's own answers count. An unproved one is not listened to twice."""
    lately = services.now() - LOOKED_LATELY
    if not event.is_verified and portal_events.acted_lately(event.member_id, event.event, since=lately):
        return "looked lately"
    keep_in_step(services, portal.id)
    return f"looked: {portals.by_id(portal.id).state}"


def _uninstalled(services: Services, event: StoredEvent, portal: Portal) -> str:
    """Tokens go at once, unsent messages end; with CLEAN everything else goes too."""
    if _is_of_an_earlier_installation(services, event, portal):
        return "ignored: older than the present installation"
    now, is_clean = services.now(), bool(event.payload["is_clean"])
    portals.uninstall(portal.id, clean=is_clean, now=now)
    tokens.erase(portal.id)
    messages.end_unsent(portal.id, now=now)
    senders.forget_registration(portal.id)
    if is_clean:
        erasure.erase_portal_data(portal.id)
    log.info("portal uninstalled", extra={"install": portal.id, "clean": is_clean})
    return "uninstalled"


def _is_of_an_earlier_installation(services: Services, event: StoredEvent, portal: Portal) -> bool:
    """An event that was late on its way must not remove an installation that came after it.

    Near the moment of the installation two clocks decide nothing, so the portal is asked: after a removal
    our tokens are dead there. It may still be at it, so its first "installed" is not believed.
    """
    sent_at = event.payload["sent_at"]
    happened_at = datetime.fromtimestamp(sent_at, UTC) if sent_at is not None else event.received_at
    if portal.installed_at is None or happened_at - portal.installed_at > CLOCKS_DIFFER:
        return False
    if portal.installed_at - happened_at > CLOCKS_DIFFER:
        return True
    try:
        services.portal_client(portal).app_info()
    except (TokenRefused, TokenExpired, PortalGone):
        return False
    if event.tries == 0:
        raise PortalBusy("STILL_INSTALLED", "asked again in a moment")
    return True


def keep_in_step(services: Services, portal_id: int) -> None:
    """The daily reconcile, which is also the probe of a portal that stands badly."""
    portal = portals.by_id(portal_id)
    if portal.state is PortalState.UNINSTALLED:
        return
    tokens.revive(portal.id)
    try:
        done = reconcile(services, portal, wait_s=0)
    except NotNow:
        return  # who is at it sees what changed
    except (PortalError, TransportError) as error:
        pause = note_portal_error(services, portal, error)
        if portals.by_id(portal.id).state.can_be_told and not isinstance(error, PortalGone):
            portals.postpone_reconcile(portal.id, services.now() + max(pause, TRY_AGAIN))
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


def erase_what_was_kept(services: Services) -> None:
    """What a removed app's portal kept for its return: after a month nobody returns."""
    now = services.now()
    for portal_id in portals.uninstalled_before(now - KEPT_FOR_RETURN):
        erasure.erase_portal_data(portal_id)
        portals.note_erased(portal_id, now)
        log.info("data of a removed portal erased", extra={"install": portal_id})


def verify_held(services: Services, row_id: int) -> None:
    """A message whose call did not fit its portal: is it the portal's after all?"""
    held = messages.held_call(row_id)
    if held is None:
        return
    message, application_token, access_token = held
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
        messages.postpone_held(row_id, until=services.now() + pause)
        return
    if application_token:
        portals.keep_application_token(portal.id, application_token, now=services.now())
    if messages.release_held(row_id, now=services.now()):
        services.engine.hint("submit", row_id)


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


def probe_account(services: Services, account_id: int) -> None:
    """Ask a stopped account whether it works again; if so its messages go out."""
    account = accounts.by_id(account_id)
    if account is None or account.circuit_open_since is None:
        return
    gateway = services.gateway(account)
    accounts.postpone_probe(account.id, services.now() + services.timing.span("account_probe_s"))
    if gateway is None or not gateway.check().ok:
        return
    accounts.close_circuit(account.id)
    messages.wake_account(account.id, account.portal_id, now=services.now())
    log.info("gateway account works again", extra={"install": account.portal_id, "account": account.id})
