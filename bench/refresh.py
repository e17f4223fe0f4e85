"""The storm of token refreshes: all portals' tokens run out together, and many processes notice.

One answer in ten of the authorization server gets lost after it has changed the tokens. It is tried with a
server that lets the old refresh token live until the new one is used ("grace"), and with one where it dies
at once ("strict"). Everything is real: sandbox portals, the product's web and worker, PostgreSQL.
"""

from __future__ import annotations

import multiprocessing
import os
import random
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import sqlalchemy as sa

from app import create_app
from app.bitrix.errors import PortalBusy, TokenRefused
from app.config import Config, load_config
from app.domain.portals import Portal
from app.gateway_accounts import connect
from app.services import services
from app.store.database import StoreUnavailable, statement, utcnow, writing
from app.store.messages import messages
from app.store.portals import portals
from app.store.tables import credentials, portal_events
from app.store.tables import portals as portal_rows
from app.transport import TransportError
from bench.sections import Section, table
from bench.worlds import POSTGRES, SQLITE, world_on
from sandbox.client import PortalSandbox
from sandbox.stack import Stack

LOST_EVERY = 10
PATIENCE_S = 120.0
MEANINGS = {
    "grace": "the old token lives until the new one is used",
    "strict": "the old token dies at once",
}


def measure(*, short: bool) -> Section:
    mode, processes, count = (SQLITE, 4, 12) if short else (POSTGRES, 64, 500)
    env = {"TIMING": "first_push_s=0,push_fill_s=0,sweep_s=1"}
    with world_on(mode, env=env, web_workers=1, web_threads=16, settings={"max_connections": "400"}) as world:
        figures = Bench(world.stack, processes, count).run()
    rows = [
        [f"{kind}: {name.replace('_', ' ')}", value]
        for kind in MEANINGS
        for name, value in figures[kind].items()
    ]
    meanings = "; ".join(f"{kind}: {meaning}" for kind, meaning in MEANINGS.items())
    return Section(
        title="A storm of token refreshes",
        text=f"{processes} processes notice at once that the tokens of {count} portals ran out; one answer in"
        f" {LOST_EVERY} gets lost. {meanings}.",
        table=table(["", "figure"], rows),
        figures=figures,
        is_as_promised=all(figures[kind]["as_promised"] for kind in MEANINGS),
    )


class Bench:
    def __init__(self, stack: Stack, processes: int, count: int) -> None:
        self.processes = processes
        self.count = count
        self.sandbox = PortalSandbox(stack.portal_url)
        self.config = load_config({**stack.env, "WORKER_THREADS": "4"})
        self.app = create_app(self.config)

    def run(self) -> dict[str, Any]:
        figures: dict[str, Any] = {"processes": self.processes, "portals": self.count}
        self._install_all()
        with self.app.app_context():
            for mode in ("grace", "strict"):
                figures[mode] = self._storm(mode)
        return figures

    def _install_all(self) -> None:
        self.sandbox.configure(bucket={"enabled": False}, races={"enabled": False})
        if self.count > 1:
            self.sandbox.create_portals(self.count - 1, bucket=False)

        def install(number: int) -> None:
            portal = PortalSandbox(self.sandbox.url, number)
            for _ in range(20):  # who is told "busy, try again" does so
                opened = portal.install(finish=True)
                if opened["status"] != 503:
                    break
                time.sleep(0.5)
            if opened["status"] != 200:
                raise RuntimeError(f"portal {number} was not installed: {opened}")

        with ThreadPoolExecutor(4) as threads:
            list(threads.map(install, range(1, self.count + 1)))

    def _storm(self, mode: str) -> dict[str, Any]:
        self.sandbox.wait_rest()
        self.sandbox.set_auth(rotation=mode, lost_every=LOST_EVERY)
        self.sandbox.clear_ledger()
        _wait(_events_at_rest, True)  # an event of the installation brings tokens, too
        before = _versions()
        self.sandbox.expire_tokens(everywhere=True)
        with writing() as connection:
            connection.execute(sa.update(credentials).values(expires_at=utcnow() - timedelta(seconds=1)))
        started = time.monotonic()
        outcomes = _in_processes(self.config, self.processes)
        seconds = time.monotonic() - started
        lost = {entry["portal"] for entry in self._token_calls() if entry["outcome"] == "lost"}
        figures: dict[str, Any] = {
            "seconds": round(seconds, 1),
            "calls_for_a_token": sum(outcomes.values()),
            "outcomes": dict(outcomes),
            "portals_with_a_lost_answer": len(lost),
        }
        self.sandbox.set_auth(rotation=mode, lost_every=0)
        effective = {portal: version - before[portal] for portal, version in _versions().items()}
        broken = _broken()
        figures["refreshed_once"] = sum(changes == 1 for changes in effective.values())
        figures["refreshed_more_than_once"] = sum(changes > 1 for changes in effective.values())
        figures["disconnected"] = len(broken)
        if mode == "strict":
            figures["disconnected_are_those_with_a_lost_answer"] = broken == self._members(lost)
        figures["tokens_that_work"] = self._tokens_that_work()
        if broken:
            figures |= self._heal(broken)
        figures["as_promised"] = self._is_as_promised(mode, figures)
        return figures

    def _token_calls(self) -> list[dict[str, Any]]:
        return self.sandbox.ledger("token", portal="*", limit=1_000_000)

    def _members(self, numbers: set[int]) -> set[str]:
        return {each["member_id"] for each in self.sandbox.portals() if each["portal"] in numbers}

    def _tokens_that_work(self) -> int:
        """How many portals take the token that we hold."""
        good = 0
        for portal in portals.all_portals():
            try:
                services().portal_client(portal).app_info()
                good += 1
            except TokenRefused:
                continue
        return good

    def _heal(self, broken: set[str]) -> dict[str, Any]:
        """Their messages go out all the same; an opened app heals the one half, an event the other."""
        numbers = {each["member_id"]: each["portal"] for each in self.sandbox.portals()}
        sent: dict[str, str] = {}
        for member_id in broken:
            _connect_demo(member_id)
            portal = self.sandbox.on(numbers[member_id])
            sent[member_id] = portal.send_sms("+4915112345678", auth="none")["message_id"]
        delivered = _wait(lambda: _count_delivered(sent), len(sent))
        kept = sum(not _is_told(self.sandbox, numbers[m], sent[m]) for m in broken)
        for index, member_id in enumerate(sorted(broken)):
            portal = self.sandbox.on(numbers[member_id])
            if index % 2:
                portal.open(user=2)
            else:
                portal.fire_event("ONAPPUPDATE", {"VERSION": "1"}, with_tokens=True)
        told = _wait(lambda: sum(_is_told(self.sandbox, numbers[m], sent[m]) for m in broken), len(broken))
        return {
            "messages_delivered_meanwhile": delivered,
            "statuses_kept_meanwhile": kept,
            "healed": len(broken - _broken()),
            "statuses_told_after": told,
        }

    def _is_as_promised(self, mode: str, figures: dict[str, Any]) -> bool:
        lost = figures["portals_with_a_lost_answer"]
        if figures["refreshed_more_than_once"]:
            return False
        if mode == "grace":
            return bool(figures["refreshed_once"] == figures["tokens_that_work"] == self.count)
        after = ("messages_delivered_meanwhile", "healed", "statuses_told_after")
        return bool(
            figures["disconnected"] == lost
            and figures["disconnected_are_those_with_a_lost_answer"]
            and figures["refreshed_once"] == figures["tokens_that_work"] == self.count - lost
            and all(figures[name] == lost for name in after if lost)
        )


def _in_processes(config: Config, count: int) -> Counter[str]:
    fork = multiprocessing.get_context("fork")
    ready, results = fork.Barrier(count), fork.Queue()
    workers = [fork.Process(target=_work, args=(config, ready, results)) for _ in range(count)]
    for worker in workers:
        worker.start()
    total: Counter[str] = Counter()
    for _ in workers:
        total.update(results.get())
    for worker in workers:
        worker.join()
    return total


def _work(config: Config, ready: Any, results: Any) -> None:
    """One process: make sure of a token of every portal, in an order of its own."""
    random.seed(os.getpid())
    outcomes: Counter[str] = Counter()
    app = create_app(config)
    with app.app_context():
        found = _patiently(portals.all_portals)
        random.shuffle(found)
        ready.wait()
        for portal in found:
            outcomes[_outcome(lambda portal=portal: services().portal_client(portal).connect())] += 1
    results.put(dict(outcomes))
    results.close()
    results.join_thread()
    os._exit(0)  # what the parent made is not ours to tidy up


def _outcome(call: Callable[[], None]) -> str:
    for _ in range(20):  # as its job would, only sooner
        try:
            call()
            return "token"
        except TokenRefused:
            return "needs_reconnect"
        except (PortalBusy, TransportError, StoreUnavailable) as error:
            again = type(error).__name__
            time.sleep(random.uniform(0.5, 2.0))
    return again


def _patiently(read: Callable[[], list[Portal]]) -> list[Portal]:
    """So many processes on few cores wait longer for a connection than a web process should."""
    deadline = time.monotonic() + PATIENCE_S
    while True:
        try:
            return read()
        except StoreUnavailable:
            if time.monotonic() > deadline:
                raise
            time.sleep(random.uniform(0.5, 2.0))


def _versions() -> dict[str, int]:
    query = sa.select(portal_rows.c.member_id, credentials.c.version).join(
        credentials, credentials.c.portal_id == portal_rows.c.id
    )
    with statement() as connection:
        rows = connection.execute(query.where(credentials.c.user_id == "1"))
        return {row.member_id: row.version for row in rows}


def _events_at_rest() -> bool:
    with statement() as connection:
        waiting = sa.select(portal_events.c.id).where(portal_events.c.due_at.is_not(None))
        return connection.scalar(waiting.limit(1)) is None


def _broken() -> set[str]:
    """Portals without any token that works."""
    working = sa.select(credentials.c.portal_id).where(credentials.c.broken == "")
    with statement() as connection:
        query = sa.select(portal_rows.c.member_id).where(portal_rows.c.id.not_in(working))
        return set(connection.scalars(query))


def _connect_demo(member_id: str) -> None:
    portal = portals.by_member(member_id)
    adapter = services().gateways.get("demo")
    assert portal is not None
    assert adapter is not None
    connect(portal, adapter, {}, allow_private=True, now=utcnow())


def _count_delivered(sent: dict[str, str]) -> int:
    delivered = 0
    for member_id, message_id in sent.items():
        portal = portals.by_member(member_id)
        message = messages.find(portal.id, message_id) if portal else None
        delivered += message is not None and message.status == "delivered"
    return delivered


def _is_told(sandbox: PortalSandbox, number: int, message_id: str) -> bool:
    return bool(sandbox.on(number).message(message_id)["status"] == "delivered")


def _wait(count: Callable[[], int], wanted: int) -> int:
    deadline = time.monotonic() + PATIENCE_S
    while (found := count()) < wanted and time.monotonic() < deadline:
        time.sleep(0.5)
    return found
