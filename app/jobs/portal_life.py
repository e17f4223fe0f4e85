"""What happens to a portal over its life: events acted upon, senders kept in step, tokens kept alive."""

from __future__ import annotations

import logging
from datetime import UTC, datetime, timedelta

from app.bitrix.errors import PortalError
from app.bitrix.opener import OpenerRefused
from app.domain.messages import CallAuth, Reason, Work
from app.domain.portals import Portal, PortalState
from app.domain.retry import pause_before
from app.domain.status import MessageStatus
from app.jobs.portal_state import PROBE_PAUSE, note_portal_error
from app.jobs.submit import hint_push
from app.registration import reconcile
from app.services import Services
from app.store import accounts, erasure, messages, portal_events, portals, senders, tokens
from app.store.portal_events import StoredEvent
from app.transport import TransportError

log = logging.getLogger(__name__)

EVENT_TRIES = 12


def act_on_event(services: Services, event_id: int) -> None:
    """Act on one stored event; one that could not be verified at its arrival is verified first."""
    event = portal_events.open_event(event_id)
    if event is None:
        return
    try:
        result = _act(services, event)
    except OpenerRefused as refused:
        result = f"refused: {refused}"
        log.warning("forged event", extra={"event": event.event, "why": str(refused)})
    except (PortalError, TransportError) as error:
        if event.tries < EVENT_TRIES:
            pause = pause_before(event.tries + 1, base_s=services.timing.retry_base_s)
            portal_events.postpone(event.id, services.now() + pause)
            return
        result = f"given up: {error}"
    portal_events.close(event.id, result)


def _act(services: Services, event: StoredEvent) -> str:
    auth = CallAuth(**event.payload["auth"])
    if event.event in ("ONAPPINSTALL", "ONAPPUPDATE"):
        return _installed_or_updated(services, event, auth)
    portal = portals.by_member(event.member_id)
    if portal is None:
        return "no such portal"
    if event.event == "ONAPPUNINSTALL" and event.is_verified:
        return _uninstalled(services, event, portal)
    if event.event == "ONAPPPAYMENT":
        keep_in_step(services, portal.id)  # whatever the event says, the portal's own answers count
        return f"looked: {portals.by_id(portal.id).state}"
    return "noted"


def _installed_or_updated(services: Services, event: StoredEvent, auth: CallAuth) -> str:
    """The event's own tokens prove it, and its application_token counts from now on."""
    now = services.now()
    known = portals.by_member(event.member_id)
    server = known.oauth_server if known else services.oauth.server_of(event.payload["server_endpoint"])
    opener = services.openers.verify(
        member_id=event.member_id,
        access_token=auth.access_token,
        refresh_token=auth.refresh_token,
        expires_in_s=auth.expires_in_s,
        server=server,
        now=now,
    )
    if not opener.is_admin:  # any employee has a token of ours; only an administrator installs
        raise OpenerRefused("the token is not an administrator's")
    portal = portals.save_opener(opener, now=now)
    if auth.refresh_token:
        tokens.keep(portal.id, opener, now=now)
    if auth.application_token:
        portals.keep_application_token(portal.id, auth.application_token, now=now)
    if event.event == "ONAPPUPDATE":
        senders.forget_registration(portal.id)
    done = reconcile(services, portal)
    return f"in step; changed: {done.changed}"


def _uninstalled(services: Services, event: StoredEvent, portal: Portal) -> str:
    """Tokens go at once, unsent messages end; with CLEAN everything else goes too."""
    now = services.now()
    is_clean = bool(event.payload["is_clean"])
    # An event that was late on its way must not remove an installation that came after it.
    sent_at = event.payload["sent_at"]
    happened_at = datetime.fromtimestamp(sent_at, UTC) if sent_at is not None else event.received_at
    if not portals.uninstall(portal.id, happened_at=happened_at, clean=is_clean, now=now):
        return "ignored: older than the present installation"
    tokens.erase(portal.id)
    messages.end_unsent(portal.id, now=now)
    senders.forget_registration(portal.id)
    if is_clean:
        erasure.erase_portal_data(portal.id)
    log.info("portal uninstalled", extra={"install": portal.id, "clean": is_clean})
    return "uninstalled"


def keep_in_step(services: Services, portal_id: int) -> None:
    """The daily reconcile, which is also the probe of a portal that stands badly."""
    portal = portals.by_id(portal_id)
    if portal.state is PortalState.UNINSTALLED:
        return
    try:
        done = reconcile(services, portal)
    except (PortalError, TransportError) as error:
        pause = note_portal_error(services, portal, error)
        portals.postpone_reconcile(portal.id, services.now() + max(pause, timedelta(minutes=10)))
        return
    if done.changed:
        log.info("registration mended", extra={"install": portal.id, "added": done.added})
    hint_push(services, portal.id)


def keep_tokens_alive(services: Services, portal_id: int) -> None:
    portal = portals.by_id(portal_id)
    try:
        services.portal_client(portal).refresh_now()
    except (PortalError, TransportError) as error:
        note_portal_error(services, portal, error)


def verify_held(services: Services, row_id: int) -> None:
    """A message whose call did not fit its portal: ask whether its token is the portal's after all."""
    held = messages.held_call(row_id)
    if held is None:
        return
    message, application_token, sealed = held
    portal = portals.by_id(message.portal_id)
    try:
        if not sealed:
            raise OpenerRefused("the call carries no access token")
        services.openers.vouched(sealed, portal.member_id, server=portal.oauth_server)
    except OpenerRefused as refused:
        messages.finish(
            row_id,
            expected=[Work.HELD],
            status=MessageStatus.FAILED,
            reason=Reason.NOT_VERIFIED,
            text=str(refused),
            now=services.now(),
            timing=services.timing,
        )
        log.error(
            "forged message refused", extra={"install": portal.id, "message_row": row_id, "why": str(refused)}
        )
        hint_push(services, portal.id)
        return
    except (PortalError, TransportError):
        messages.postpone_held(row_id, until=services.now() + PROBE_PAUSE / 360)
        return
    if application_token:
        portals.keep_application_token(portal.id, application_token, now=services.now())
    if messages.release_held(row_id, now=services.now()):
        services.engine.hint("submit", row_id)


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
