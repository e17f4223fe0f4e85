"""What happens to a portal over its life: events acted upon, senders kept in step, tokens kept alive."""

from __future__ import annotations

import logging
from datetime import datetime, timedelta

from app.bitrix.errors import (
    MessageNotFound,
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
from app.jobs.removal import NotYet, act_on_removal
from app.jobs.submit import hint_push
from app.registration import TRY_AGAIN, NotNow, reconcile
from app.services import Services
from app.store.accounts import accounts, stops
from app.store.messages import held as message_held
from app.store.messages import messages
from app.store.portals import events, portals, states, tokens
from app.store.portals.events import StoredEvent
from app.transport import TransportError

log = logging.getLogger(__name__)

EVENT_TRIES = 12
CALLS_FOR_AN_EVENT = 12  # of the portal and the authorization server, at most
REMOVALS_ASKED = timedelta(days=30)
HELD_AGAIN = timedelta(minutes=1)


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


def verify_held(services: Services, row_id: int) -> None:
    """A message whose call did not fit its portal: is it the portal's after all?"""
    held = message_held.held_call(row_id)
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
        message_held.postpone(row_id, until=services.now() + pause)
        return
    if application_token and _is_administrators(services, portal, access_token):
        portals.keep_application_token(portal, application_token, now=services.now())
    if message_held.release(row_id, now=services.now()):
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


def probe_account(services: Services, account_id: int) -> None:
    """Ask a stopped account whether it works again; if so its messages go out."""
    account = accounts.by_id(account_id)
    if account is None or account.stopped_since is None:
        return
    gateway = services.gateway(account)
    stops.postpone_probe(account.id, services.now() + services.timing.span("account_probe_s"))
    if gateway is None or not gateway.check().ok:
        return
    if not stops.lift(account):
        return
    messages.wake_account(account.id, account.portal_id, now=services.now())
    log.info("gateway account works again", extra={"install": account.portal_id, "account": account.id})
