"""Brings a portal in step with us: its senders and its events. Harmless to repeat, and repeated often,
because a portal drops our senders at every update of the application.

Called where a person waits (install page, opened app), by jobs and by commands.
"""

from __future__ import annotations

import hashlib
import json
import logging
import random
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import Any

from app.bitrix.client import SENDER_UPDATE, PortalClient
from app.bitrix.errors import AlreadyBound, MethodMissing, PortalBusy, PortalError, Refused
from app.bitrix.sender_names import Localized
from app.domain.portals import Portal
from app.domain.senders import ENGLISH, languages_of
from app.services import Services
from app.store.portals import portals, reconciling, senders
from app.store.portals.reconciling import Turn
from app.store.portals.senders import Sender
from app.transport import TransportError
from app.words.sender_names import descriptions, in_all_languages

log = logging.getLogger(__name__)

EVENTS = ("ONAPPINSTALL", "ONAPPUPDATE", "ONAPPUNINSTALL", "ONAPPPAYMENT")
TRY_AGAIN = timedelta(minutes=10)
LOOK_AGAIN_S = 0.1
ROUNDS = 5


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


class NotNow(PortalBusy):
    """Nothing was changed: another process is at it, or there is nothing to register."""


def texts_of(sender: Sender, app_name: str) -> tuple[dict[str, str], dict[str, str]]:
    """Name and description in every language that the portal may have a row of, English first."""
    label = f"{app_name} {sender.originator}".strip() if sender.code != senders.FIRST_CODE else app_name
    more = [*languages_of(sender.name, sender.description), *sorted(sender.told)]
    return (
        in_all_languages(sender.name, {ENGLISH: label}, more),
        in_all_languages(sender.description, descriptions(), more),
    )


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
    found: dict[str, InPortal] = {}
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


def reconcile(
    services: Services, portal: Portal, *, wait_s: float = 5.0, only_missing: bool = False
) -> Reconciled:
    """Register what is missing, update what changed, remove what should not be there.

    With `only_missing` nothing that is there is touched: for those who look because somebody said so who
    proved nothing. What they see besides is due at once, for a look of our own.

    One at a time: for who is at it already, `wait_s` is waited. They find themselves what changed meanwhile,
    and what they do not get to is due at once.

    Raises:
        NotNow: somebody else is at it, or the app was removed.
        PortalError, TransportError: the portal is as far as it got; the error is kept with the senders.
    """
    turn = _turn(services, portal.id, wait_s)
    try:
        return _Reconcile(services, portals.by_id(portal.id), turn, only_missing=only_missing).run()
    finally:
        reconciling.release(turn)


def _turn(services: Services, portal_id: int, wait_s: float) -> Turn:
    ends = time.monotonic() + wait_s
    try:
        while (turn := reconciling.take(portal_id, now=services.now())) is None:
            while reconciling.is_taken(portal_id, services.now()):
                if time.monotonic() > ends:
                    raise NotNow("RECONCILING", "another process tells this portal its senders just now")
                time.sleep(LOOK_AGAIN_S)
    except reconciling.NothingToRegister:
        raise NotNow("NOT_INSTALLED", "the app is not installed in this portal") from None
    return turn


class _Reconcile:
    """One turn at one portal."""

    def __init__(self, services: Services, portal: Portal, turn: Turn, *, only_missing: bool) -> None:
        self._only_missing = only_missing
        self._left_alone = False
        self._services = services
        self._portal = portal
        self._turn = turn
        self._client = services.portal_client(portal)
        self._changed: dict[str, list[str]] = {"added": [], "updated": [], "deleted": []}

    def run(self) -> Reconciled:
        senders.ensure_first(self._portal.id)
        try:
            self._all_senders()
            bound, unbound = _events(self._client, self._services.events_url)
            knows_update = _knows_update(self._client, self._portal)
        except NotNow:
            raise
        except (PortalError, TransportError) as error:
            now = self._services.now()
            if not reconciling.fail(self._turn, str(error), again_at=now + TRY_AGAIN, now=now):
                reconciling.doubt(self._portal.id, now=now)
            raise
        self._finish(unbound, knows_update)
        return Reconciled(**{what: tuple(codes) for what, codes in self._changed.items()}, bound=bound)

    def _finish(self, unbound: Mapping[str, str], knows_update: bool) -> None:
        services, day = self._services, self._services.timing.span("reconcile_s")
        now = services.now()
        reconciling.finish(
            self._turn,
            registration={
                "events": [event for event in EVENTS if event not in unbound],
                "refused_events": dict(unbound),
                "url": services.events_url,
                "sender_update": knows_update,
            },
            now=now,
            reconcile_at=now if self._left_alone else now + day * random.uniform(0.8, 1.2),  # noqa: S311 - spread
        )

    def _all_senders(self) -> None:
        """Until nobody changes one any more."""
        for _ in range(ROUNDS):
            seen = self._turn.version
            self._senders_as_they_are()
            self._keep_turn()
            if self._turn.version == seen:
                return

    def _keep_turn(self) -> None:
        kept = reconciling.keep(self._turn, now=self._services.now())
        if kept is None:
            reconciling.doubt(self._portal.id, now=self._services.now())
            raise NotNow("TURN_LOST", "the app was removed, or another process went on")
        self._turn = kept

    def _senders_as_they_are(self) -> None:
        handler = self._services.handler_url(self._turn.handler_secret)
        present = {code.lower(): code for code in self._client.sender_codes()}
        for sender in senders.of_portal(self._portal.id):
            if sender.is_removed:
                continue
            there = present.pop(sender.code, None) is not None
            self._one_sender(sender, handler, there=there)
        if self._only_missing:
            self._left_alone = self._left_alone or bool(present)
            return
        for code in present.values():
            # Ours by its client id, and removed or unknown here: what is sent through it would be lost.
            self._keep_turn()
            self._client.delete_sender(code)
            self._changed["deleted"].append(code)

    def _one_sender(self, sender: Sender, handler: str, *, there: bool) -> None:
        name, description = texts_of(sender, self._services.config.app_name)
        told = _hash(handler, name, description)
        if there and self._only_missing:
            self._left_alone = self._left_alone or told != sender.told_hash
            return
        if not there or told != sender.told_hash:
            by_language = {language: [name[language], description[language]] for language in name}
            if not reconciling.begin(self._turn, sender.id, by_language, now=self._services.now()):
                return  # removed, changed, or our turn is over: the next round sees to it
            if there:
                self._client.put_sender(sender.code, handler, name, description)
            else:
                self._client.put_sender_anew(sender.code, handler, name, description)
            self._changed["updated" if there else "added"].append(sender.code)
        if not reconciling.record(self._turn, sender.id, told, now=self._services.now()):
            self._keep_turn()


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
