"""The process `smpp`: keeps the lines of the accounts that need one, and drains these accounts over them.

The queue is the same as for HTTP: `jobs.submit` takes rows and records outcomes; only the call goes over
a line.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import timedelta
from functools import partial

from app.domain.outcomes import Outcome, RefusalKind, Refused
from app.gateways.adapters.smpp import line_settings
from app.gateways.base import NotMade, Outgoing
from app.gateways.smpp.lines import Lines, Owner
from app.gateways.smpp.pdu import RX_T_APPN, ShortMessage
from app.jobs.messages import receipts, submit
from app.jobs.tick import keep_counts
from app.services import HandOver, Services
from app.store.accounts import accounts
from app.store.accounts import lines as store
from app.store.accounts.accounts import Account
from app.store.accounts.lines import Wanted
from app.store.database import StoreUnavailable

log = logging.getLogger(__name__)

LOOK_S = 0.2  # for messages; no hint comes here
OWNERS_S = 2.0  # for accounts that are new, changed or free
REPLACED_S = 30.0  # for replaced accounts whose messages are over
PARKED_S = 1.0  # for receipts that outran the answers to their submissions, and
PARKED_FOR_S = 60.0  # how long after the last receipt
DOWN_S = 60.0  # how often an account whose line is down is drained all the same: messages end there, too
AT_ONCE = 32


@dataclass
class _Held:
    """An account whose line this process keeps. `until`, of `time.monotonic`: when its lease is over if it
    cannot be kept, and nothing is sent any more."""

    account: Account
    lease: str
    until: float
    replaced: tuple[int, ...] = ()  # earlier accounts of the same login: their receipts come over this line
    draining: Future[None] | None = None
    stands: bool = False
    refused: str = ""  # why the message centre does not let us in
    tried_at: float = 0.0
    heard_at: float = field(default_factory=time.monotonic)
    matching: Future[None] | None = None
    matched_at: float = 0.0
    is_leaving: bool = False

    @property
    def may_speak(self) -> bool:
        return time.monotonic() < self.until


class LineKeeper:
    """The accounts whose lines this process keeps. `run` until `stopping` is set."""

    def __init__(self, services: Services, in_app: Callable[[Callable[[], None]], None]) -> None:
        self._lines = Lines(services.vendors.connect)
        self._services = replace(services, line_of=self._line_of)
        self._in_app = in_app
        self._lease_s = services.timing.line_s
        self._held: dict[int, _Held] = {}
        self._leaving: dict[int, Future[None]] = {}
        self._replaced: list[Wanted] = []
        self._drains = ThreadPoolExecutor(AT_ONCE, thread_name_prefix="drain")
        self._aside = ThreadPoolExecutor(AT_ONCE, thread_name_prefix="aside")
        self._owners_at = self._kept_at = self._replaced_at = float("-inf")

    @property
    def held(self) -> set[int]:
        """The accounts whose lines are kept here, those among them that are being let go."""
        return set(self._held)

    def run(self, stopping: threading.Event) -> None:
        try:
            while not stopping.is_set():
                try:
                    self._round()
                except StoreUnavailable as error:
                    log.warning("lines wait for the database", extra={"why": str(error)})
                    stopping.wait(1.0)
                except Exception:
                    log.exception("a round of the lines failed; it is tried again")
                    stopping.wait(1.0)
                stopping.wait(LOOK_S)
        finally:
            self._end()

    def _end(self) -> None:
        self._services.engine.stopping.set()  # what is open is recorded, nothing more is taken
        for account_id in list(self._held):
            self._let_go(account_id)
        while self._leaving:
            with suppress(StoreUnavailable):
                self._keep_leases()
            self._forget_those_that_left()
            time.sleep(LOOK_S)
        self._drains.shutdown(wait=True)
        self._aside.shutdown(wait=True)
        self._lines.stop()
        keep_counts(self._services)

    def _round(self) -> None:
        self._forget_those_that_left()
        if time.monotonic() - self._kept_at >= self._lease_s / 4:
            self._keep_leases()
            keep_counts(self._services)
        if time.monotonic() - self._owners_at >= OWNERS_S:
            self._owners_at = time.monotonic()
            self._look_for_owners()
        self._drain_what_is_due()
        self._match_receipts()

    # --- who is held

    def _keep_leases(self) -> None:
        self._kept_at = began = time.monotonic()
        until = self._services.now() + timedelta(seconds=self._lease_s)
        for account_id, held in list(self._held.items()):
            if store.keep(account_id, held.lease, until=until):
                held.until = began + self._lease_s
            elif not held.is_leaving:
                log.error("line lost to another process", extra={"account": account_id})
                held.until = began
                self._let_go(account_id)

    def _look_for_owners(self) -> None:
        wanted = self._wanted()
        for account_id in set(self._held) - set(wanted):
            self._let_go(account_id)
        for account_id, (each, replaced) in wanted.items():
            held = self._held.get(account_id)
            if held is None:
                self._take(account_id, replaced)
            elif held.account.version != each.version and not each.is_replaced:
                # Its settings were changed: it is taken anew.
                self._let_go(account_id)
            else:
                held.replaced = replaced

    def _wanted(self) -> Mapping[int, tuple[Wanted, tuple[int, ...]]]:
        """The accounts whose lines are needed, each with those that it replaced under the same login.

        Two lines of one login are no good: one of them gets the other's receipts, or none is let in.
        """
        registry = self._services.gateways.adapters
        slugs = [slug for slug, adapter in registry.items() if adapter.capabilities.needs_line]
        connected = {each.account_id: each for each in store.connected(slugs)}
        is_gone = bool(set(self._held) - set(connected) - {each.account_id for each in self._replaced})
        if is_gone or time.monotonic() - self._replaced_at >= REPLACED_S:
            self._replaced_at = time.monotonic()
            self._replaced = store.waiting(slugs)
        heirs = {(each.portal_id, each.login): each.account_id for each in connected.values()}
        heir_of = {each.account_id: heirs.get((each.portal_id, each.login)) for each in self._replaced}
        alone = {each.account_id: each for each in self._replaced if heir_of[each.account_id] is None}
        return {
            account_id: (each, tuple(old for old, heir in heir_of.items() if heir == account_id))
            for account_id, each in {**connected, **alone}.items()
        }

    def _take(self, account_id: int, replaced: tuple[int, ...]) -> None:
        began = time.monotonic()
        lease = store.take(account_id, now=self._services.now(), lease_s=self._lease_s)
        account = accounts.by_id(account_id) if lease is not None else None
        if lease is None or account is None:
            return
        held = self._held[account_id] = _Held(account, lease, began + self._lease_s, replaced)
        self._lines.open(account_id, line_settings(account.settings), self._owner(held))

    def _owner(self, held: _Held) -> Owner:
        account = held.account

        def changed(why: str, is_refused: bool) -> None:
            held.stands = not why
            held.refused = why if is_refused else ""
            event = "line is down" if why else "line stands"
            fields = {"install": account.portal_id, "account": account.id, "why": why, "refused": is_refused}
            (log.warning if why else log.info)(event, extra=fields)

        def keep(message: ShortMessage) -> int:
            held.heard_at = time.monotonic()
            done: list[int] = []
            store_it = partial(receipts.store, self._services, account, held.replaced, message)
            self._in_app(lambda: done.append(store_it()))
            return done[0] if done else RX_T_APPN

        def late(reference: str, outcome: Outcome) -> None:
            self._in_app(lambda: receipts.store_late_answer(self._services, account, reference, outcome))

        return Owner(keep, changed, late, lambda: held.may_speak)

    def _let_go(self, account_id: int) -> None:
        """Take nothing more, and part in a thread: open calls are recorded, the line is ended, the lease is
        given back. Until then it is kept."""
        held = self._held[account_id]
        if not held.is_leaving:
            held.is_leaving = True
            self._leaving[account_id] = self._aside.submit(self._in_app, partial(self._part, held))

    def _part(self, held: _Held) -> None:
        if held.draining is not None:
            held.draining.exception()  # it is logged where it happened
        self._lines.close(held.account.id)
        try:
            store.release(held.account.id, held.lease)
        except StoreUnavailable as error:
            log.warning("lease is left to end by itself", extra={"why": str(error)})

    def _forget_those_that_left(self) -> None:
        for account_id, parting in list(self._leaving.items()):
            if parting.done():
                del self._leaving[account_id], self._held[account_id]

    # --- messages out

    def _line_of(self, account_id: int) -> HandOver | None:
        held = self._held.get(account_id)
        if held is None or held.is_leaving or not held.may_speak:
            return None

        def hand_over(message: Outgoing, ends: float) -> Outcome:
            if held.is_leaving or not held.may_speak:
                raise NotMade("this process does not keep the line any more")
            if held.refused:  # stops the account, which is probed from then on
                return Refused(RefusalKind.CONFIG, "bind", held.refused)
            return self._lines.submit(account_id, message, ends)

        return hand_over

    def _drain_what_is_due(self) -> None:
        ready = {each.account.id: each for each in self._held.values() if self._may_drain(each)}
        for account_id in store.with_due(ready, self._services.now()) if ready else ():
            held = ready[account_id]
            held.tried_at = time.monotonic()
            held.draining = self._drains.submit(self._in_app, partial(self._drain, held))

    def _may_drain(self, held: _Held) -> bool:
        if held.is_leaving or (held.draining is not None and not held.draining.done()):
            return False
        return held.stands or bool(held.refused) or time.monotonic() - held.tried_at >= DOWN_S

    def _drain(self, held: _Held) -> None:
        try:
            submit.submit_over_line(self._services, held.account.id)
        except StoreUnavailable as error:
            log.warning("account is drained later", extra={"why": str(error)})
        except Exception:
            log.exception("account is drained later", extra={"account": held.account.id})

    # --- receipts that came too early

    def _match_receipts(self) -> None:
        now = time.monotonic()
        for held in self._held.values():
            is_at_it = held.matching is not None and not held.matching.done()
            if is_at_it or held.is_leaving or now - held.matched_at < PARKED_S:
                continue
            if now - held.heard_at < PARKED_FOR_S:
                held.matched_at = now
                held.matching = self._aside.submit(self._in_app, partial(self._match, held))

    def _match(self, held: _Held) -> None:
        try:
            receipts.match_parked(self._services, held.account)
        except StoreUnavailable as error:
            log.warning("receipts are matched later", extra={"why": str(error)})
        except Exception:
            log.exception("receipts are matched later", extra={"account": held.account.id})
