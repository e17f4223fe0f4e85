"""The process `smpp`: keeps the lines of the accounts that need one, and drains these accounts over them.

The queue is the same as for HTTP: `jobs.submit` takes rows and records outcomes; only the call goes over
a line.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import partial

from app.domain.outcomes import DeliveryReport, Outcome, RefusalKind, Refused
from app.gateways.adapters.smpp import line_settings
from app.gateways.base import Outgoing
from app.gateways.smpp.lines import Lines
from app.gateways.smpp.pdu import ROK, RX_T_APPN, ShortMessage
from app.gateways.smpp.receipts import is_receipt, other_spellings, receipt_of
from app.jobs.messages import submit
from app.jobs.tick import keep_counts
from app.services import Services
from app.store.accounts import accounts
from app.store.accounts import lines as store
from app.store.accounts.accounts import Account
from app.store.database import StoreUnavailable
from app.store.messages import gateway_ids, reports

log = logging.getLogger(__name__)

LOOK_S = 0.2  # for messages; no hint comes here
OWNERS_S = 2.0  # for accounts that are new, changed or free
DOWN_S = 60.0  # how often an account whose line is down is drained all the same: messages end there, too
AT_ONCE = 32


@dataclass
class _Held:
    account: Account
    lease: str
    draining: Future[None] | None = None
    stands: bool = False
    refused: str = ""  # why the message centre does not let us in
    tried_at: float = 0.0


class LineKeeper:
    """The accounts whose lines this process keeps. `run` until `stopping` is set."""

    def __init__(self, services: Services, in_app: Callable[[Callable[[], None]], None]) -> None:
        self._lines = Lines(services.vendors.connect)
        self._services = replace(services, line_of=self._line_of)
        self._in_app = in_app
        self._held: dict[int, _Held] = {}
        self._drains = ThreadPoolExecutor(AT_ONCE, thread_name_prefix="drain")
        self._owners_at = self._kept_at = 0.0

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
            self._services.engine.stopping.set()  # what is open is recorded, nothing more is taken
            self._drains.shutdown(wait=True)
            for account_id in list(self._held):
                self._let_go(account_id)
            self._lines.stop()
            keep_counts(self._services)

    def _round(self) -> None:
        if time.monotonic() - self._kept_at >= store.LEASE_S / 4:
            self._kept_at = time.monotonic()
            self._keep_leases()
            keep_counts(self._services)
        if time.monotonic() - self._owners_at >= OWNERS_S:
            self._owners_at = time.monotonic()
            self._look_for_owners()
        self._drain_what_is_due()

    # --- who is held

    def _keep_leases(self) -> None:
        until = self._services.now() + timedelta(seconds=store.LEASE_S)
        for account_id, held in list(self._held.items()):
            if not store.keep(account_id, held.lease, until=until):
                log.error("line lost to another process", extra={"account": account_id})
                self._held.pop(account_id)
                self._lines.close(account_id)

    def _look_for_owners(self) -> None:
        registry = self._services.gateways.adapters
        wanted = store.to_keep(
            [slug for slug, adapter in registry.items() if adapter.capabilities.needs_line]
        )
        for account_id in set(self._held) - set(wanted):
            self._let_go(account_id)
        for account_id in wanted:
            account = accounts.by_id(account_id)
            held = self._held.get(account_id)
            if account is None or (held is not None and held.account.version == account.version):
                continue
            if held is not None:  # settings were changed
                self._let_go(account_id)
            lease = store.take(account_id, now=self._services.now())
            if lease is not None:
                self._hold(account, lease)

    def _hold(self, account: Account, lease: str) -> None:
        held = self._held[account.id] = _Held(account, lease)

        def changed(why: str, is_refused: bool) -> None:
            held.stands = not why
            held.refused = why if is_refused else ""
            event = "line is down" if why else "line stands"
            fields = {"install": account.portal_id, "account": account.id, "why": why, "refused": is_refused}
            (log.warning if why else log.info)(event, extra=fields)

        def keep(message: ShortMessage) -> int:
            return self._store(account, message)

        self._lines.open(account.id, line_settings(account.settings), keep, changed)

    def _let_go(self, account_id: int) -> None:
        held = self._held.pop(account_id)
        if held.draining is not None:
            held.draining.result()
        self._lines.close(account_id)
        store.release(account_id, held.lease)

    # --- messages out

    def _line_of(self, account_id: int) -> Callable[[Outgoing], Outcome]:
        # Less than the whole call may take, so that the line's own limits speak first.
        within_s = self._services.timing.gateway_deadline_s * 0.9

        def hand_over(message: Outgoing) -> Outcome:
            held = self._held.get(account_id)
            if held is not None and held.refused:  # stops the account, which is probed from then on
                return Refused(RefusalKind.CONFIG, "bind", held.refused)
            return self._lines.submit(account_id, message, within_s)

        return hand_over

    def _drain_what_is_due(self) -> None:
        ready = [held for held in self._held.values() if self._may_drain(held)]
        if not ready:
            return
        due = store.portals_with_due({held.account.portal_id for held in ready}, self._services.now())
        for held in ready:
            if held.account.portal_id in due:
                held.tried_at = time.monotonic()
                held.draining = self._drains.submit(self._in_app, partial(self._drain, held))

    def _may_drain(self, held: _Held) -> bool:
        if held.draining is not None and not held.draining.done():
            return False
        return held.stands or bool(held.refused) or time.monotonic() - held.tried_at >= DOWN_S

    def _drain(self, held: _Held) -> None:
        try:
            submit.submit_messages(self._services, held.account.portal_id)
        except StoreUnavailable as error:
            log.warning("account is drained later", extra={"why": str(error)})

    # --- receipts in

    def _store(self, account: Account, message: ShortMessage) -> int:
        """Commit, then the status to answer with. What cannot be stored now comes again."""
        done: list[int] = []
        self._in_app(lambda: done.append(self._store_in_app(account, message)))
        return done[0] if done else RX_T_APPN

    def _store_in_app(self, account: Account, message: ShortMessage) -> int:
        if not is_receipt(message):
            log.info("a text that somebody wrote is not kept", extra={"account": account.id})
            return ROK
        receipt = receipt_of(message)
        if not receipt.message_id:
            log.warning("receipt without an id", extra={"account": account.id, "word": receipt.word})
            return ROK
        now = self._services.now()
        try:
            message_id = receipt.message_id
            if not gateway_ids.knows(account.id, message_id):
                other = gateway_ids.spelt_otherwise(account.id, other_spellings(message_id), receipt.number)
                message_id = other or message_id
            report = DeliveryReport(
                receipt.status, receipt.word, gateway_message_id=message_id, code=receipt.error
            )
            reports.note_report_call(account.id, now)
            due_at = reports.apply_reports(account.id, [report], now=now, timing=self._services.timing)
        except StoreUnavailable:
            return RX_T_APPN
        if due_at is not None:
            self._services.engine.hint(
                "push", account.portal_id, delay_s=max(0.0, (due_at - now).total_seconds())
            )
        return ROK
