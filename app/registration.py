"""Brings a portal in step with us: its senders and its events. Harmless to repeat, and repeated often,
because a portal drops our senders at every update of the application.

Called where a person waits (install page, opened app), by jobs and by commands.
"""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta

from app.bitrix.client import PortalClient
from app.bitrix.errors import AlreadyBound, PortalError
from app.domain.portals import Portal
from app.domain.sender_texts import DESCRIPTIONS, LANGUAGES
from app.services import Services
from app.store import portals, senders
from app.transport import TransportError

EVENTS = ("ONAPPINSTALL", "ONAPPUPDATE", "ONAPPUNINSTALL", "ONAPPPAYMENT")


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


def reconcile(services: Services, portal: Portal) -> Reconciled:
    """Register what is missing, update what changed, remove what should not be there.

    Raises:
        PortalError, TransportError: the portal is as far as it got; the error is kept with the senders.
    """
    client = services.portal_client(portal)
    now = services.now()
    texts = dict.fromkeys(LANGUAGES, services.config.app_name)
    descriptions = {language: DESCRIPTIONS[language] for language in LANGUAGES}
    senders.ensure_first(portal.id, name=texts, description=descriptions)
    try:
        done = _senders(services, portal, client)
        bound = _events(client, services.events_url)
    except (PortalError, TransportError) as error:
        senders.record_error(portal.id, str(error), now=now)
        portals.postpone_reconcile(portal.id, now + timedelta(minutes=10))
        raise
    day = services.timing.span("reconcile_s")
    portals.finish_installation(
        portal.id,
        registration={"events": list(EVENTS), "url": services.events_url},
        reconcile_at=now + day * random.uniform(0.8, 1.2),  # noqa: S311 - spreads the portals over the day
    )
    return Reconciled(*done, bound=bound)


def _senders(
    services: Services, portal: Portal, client: PortalClient
) -> tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]:
    handler = services.handler_url(portals.handler_secret(portal.id))
    present = {code.lower(): code for code in client.sender_codes()}
    added, updated, deleted = [], [], []
    for sender in senders.of_portal(portal.id):
        if sender.is_removed:
            continue
        there = present.pop(sender.code, None)
        told = _hash(handler, sender.name, sender.description)
        if there is None:
            client.put_sender_anew(sender.code, handler, sender.name, sender.description)
            added.append(sender.code)
        elif told != sender.told_hash:
            client.put_sender(sender.code, handler, sender.name, sender.description)
            updated.append(sender.code)
        senders.record_told(sender.id, told_hash=told, now=services.now())
    for code in present.values():
        # Ours by its client id, and unknown here: what is sent through it would be lost.
        client.delete_sender(code)
        deleted.append(code)
    return tuple(added), tuple(updated), tuple(deleted)


def _hash(handler: str, name: Mapping[str, str], description: Mapping[str, str]) -> str:
    return hashlib.sha256(json.dumps([handler, name, description], sort_keys=True).encode()).hexdigest()


def _events(client: PortalClient, url: str) -> tuple[str, ...]:
    bound = client.bound_events()
    for event, handler in bound:
        if event in EVENTS and handler != url:
            client.unbind_event(event, handler)
    missing = [event for event in EVENTS if (event, url) not in bound]
    for event in missing:
        try:
            client.bind_event(event, url)
        except AlreadyBound:
            pass
    return tuple(missing)
