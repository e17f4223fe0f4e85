"""Brings a portal in step with us: its senders and its events. Harmless to repeat, and repeated often,
because a portal drops our senders at every update of the application.

Called where a person waits (install page, opened app), by jobs and by commands.
"""

from __future__ import annotations

import hashlib
import json
import logging
import random
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import Any

from app.bitrix.client import SENDER_UPDATE, PortalClient
from app.bitrix.errors import AlreadyBound, MethodMissing, PortalError, Refused
from app.bitrix.sender_names import Localized, matched
from app.domain.portals import Portal
from app.services import Services
from app.store import portals, senders
from app.store.senders import Sender
from app.transport import TransportError
from app.words.sender_names import descriptions, languages

log = logging.getLogger(__name__)

EVENTS = ("ONAPPINSTALL", "ONAPPUPDATE", "ONAPPUNINSTALL", "ONAPPPAYMENT")
TRY_AGAIN = timedelta(minutes=10)


@dataclass(frozen=True)
class Reconciled:
    """What was changed in the portal; all empty when it was in step."""

    added: tuple[str, ...] = ()
    updated: tuple[str, ...] = ()
    deleted: tuple[str, ...] = ()
    bound: tuple[str, ...] = ()

    @property
    def changed(self) -> bool:
        return bool(self.added or self.updated or self.deleted or self.bound)


def texts_of(sender: Sender, app_name: str) -> tuple[Localized, Localized]:
    """Name and description as the portal shows them; what the admin left empty is the product's own."""
    label = f"{app_name} {sender.originator}".strip() if sender.code != senders.FIRST_CODE else app_name
    name = sender.name or dict.fromkeys(languages(), label)
    return matched(name, sender.description or dict(descriptions()))


class InPortal(StrEnum):
    """How one sender in the portal's list stands beside ours."""

    IN_STEP = "in_step"
    MISSING = "missing"
    OUTDATED = "outdated"  # there, with an older text or address
    STRAY = "stray"  # there, and removed or unknown here


def compare(services: Services, portal: Portal) -> dict[str, InPortal]:
    """Ask the portal for its list and compare, by CODE; nothing is changed.

    Raises:
        PortalError, TransportError: the portal could not be asked.
    """
    present = {code.lower() for code in services.portal_client(portal).sender_codes()}
    handler = services.handler_url(portals.handler_secret(portal.id))
    found = {}
    for sender in senders.of_portal(portal.id):
        if sender.is_removed:
            continue
        if sender.code not in present:
            found[sender.code] = InPortal.MISSING
        elif _hash(handler, *texts_of(sender, services.config.app_name)) != sender.told_hash:
            found[sender.code] = InPortal.OUTDATED
        else:
            found[sender.code] = InPortal.IN_STEP
    return found | dict.fromkeys(sorted(present - set(found)), InPortal.STRAY)


def reconcile(services: Services, portal: Portal) -> Reconciled:
    """Register what is missing, update what changed, remove what should not be there.

    Raises:
        PortalError, TransportError: the portal is as far as it got; the error is kept with the senders.
    """
    client = services.portal_client(portal)
    now = services.now()
    senders.ensure_first(portal.id)
    try:
        done = _senders(services, portal, client)
        bound, unbound = _events(client, services.events_url)
        knows_update = _knows_update(client, portal)
    except (PortalError, TransportError) as error:
        senders.record_error(portal.id, str(error), now=now)
        portals.postpone_reconcile(portal.id, now + TRY_AGAIN)
        raise
    day = services.timing.span("reconcile_s")
    portals.finish_installation(
        portal.id,
        registration={
            "events": [event for event in EVENTS if event not in unbound],
            "refused_events": unbound,
            "url": services.events_url,
            "sender_update": knows_update,
        },
        now=now,
        reconcile_at=now + day * random.uniform(0.8, 1.2),  # noqa: S311 - spreads the portals over the day
    )
    return Reconciled(*done, bound=bound)


def _senders(
    services: Services, portal: Portal, client: PortalClient
) -> tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]:
    handler = services.handler_url(portals.handler_secret(portal.id))
    # The portal is asked first: a sender that another process adds meanwhile is in our rows by then.
    present = {code.lower(): code for code in client.sender_codes()}
    added, updated, deleted = [], [], []
    for sender in senders.of_portal(portal.id):
        if sender.is_removed:
            continue
        name, description = texts_of(sender, services.config.app_name)
        there = present.pop(sender.code, None)
        told = _hash(handler, name, description)
        if there is None:
            client.put_sender_anew(sender.code, handler, name, description)
            added.append(sender.code)
        elif told != sender.told_hash:
            client.put_sender(sender.code, handler, name, description)
            updated.append(sender.code)
        senders.record_told(sender.id, told_hash=told, now=services.now())
    for code in present.values():
        # Ours by its client id, and removed or unknown here: what is sent through it would be lost.
        client.delete_sender(code)
        deleted.append(code)
    return tuple(added), tuple(updated), tuple(deleted)


def _hash(handler: str, name: Localized, description: Localized) -> str:
    return hashlib.sha256(json.dumps([handler, name, description], sort_keys=True).encode()).hexdigest()


def _events(client: PortalClient, url: str) -> tuple[tuple[str, ...], dict[str, str]]:
    """Which events were bound now, and which the portal refuses to bind. One it does not know is no obstacle:
    what the event would have told us is also found by looking."""
    try:
        bound = client.bound_events()
    except (MethodMissing, Refused):  # a portal that cannot tell; binding again is harmless
        bound = []
    for event, handler in bound:
        if event in EVENTS and handler != url:
            client.unbind_event(event, handler)
    now_bound, refused = [], {}
    for event in [event for event in EVENTS if (event, url) not in bound]:
        try:
            client.bind_event(event, url)
        except AlreadyBound:
            pass
        except Refused as error:
            log.warning("event not bound", extra={"event_name": event, "why": str(error)})
            refused[event] = error.code
            continue
        now_bound.append(event)
    return tuple(now_bound), refused


def _knows_update(client: PortalClient, portal: Portal) -> bool:
    """Whether the portal can change a sender in place. One that cannot is asked again: it may be updated."""
    known: Mapping[str, Any] = portal.registration
    if known.get("sender_update") is True:
        return True
    try:
        return client.has_method(SENDER_UPDATE)
    except (MethodMissing, Refused):
        return False
