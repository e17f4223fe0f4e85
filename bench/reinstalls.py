"""A hundred portals remove the app and install it again, one after the other, while messages flow.

In any order: at once, after a moment, twice; the event of the removal comes early, late or after the next
installation; with and without CLEAN; and employees say in between that the app is gone. How many work then?
"""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa
from flask import Flask

from app import create_app
from app.config import load_config
from app.domain.portals import Portal, PortalState
from app.gateway_accounts import connect
from app.services import services
from app.store.accounts import accounts
from app.store.database import statement
from app.store.portals import portals
from app.store.tables import messages, portal_events
from app.store.tables import portals as portal_rows
from bench.sections import Section, table
from bench.worlds import POSTGRES, SQLITE, World, world_on
from sandbox.client import PortalSandbox, SandboxError

TIMING = (
    "first_push_s=0.2,push_fill_s=0.1,push_repeat_s=0,sweep_s=1,rehint_s=2,retry_base_s=0.5,"
    "confirm_gone_s=5,portal_call_s=10,unproved_look_s=1"
)
RATE = 10.0  # messages a second, over all portals
LATE_S = 2.0  # so much the event of a removal is late at most
SETTLES_S = 240.0
FINAL = ("delivered", "undelivered", "failed")


def measure(*, short: bool) -> Section:
    """All of them must work."""
    count = 8 if short else 100
    modes = (SQLITE,) if short else (SQLITE, POSTGRES)
    figures = {}
    for mode in modes:
        with world_on(mode, env={"TIMING": TIMING}) as world:
            # The product's own code beside its processes: to connect gateways and to look at rows.
            app = create_app(load_config(world.stack.env))
            with app.app_context():
                figures[mode] = _Run(world, app, count).run()
    names = list(next(iter(figures.values())))
    return Section(
        title="Removed and installed again",
        text=f"{count} portals remove the app and install it again in a row, in any order and with messages"
        " flowing; employees say in between that it is gone.",
        table=table(["", *figures], [[name, *(found[name] for found in figures.values())] for name in names]),
        figures=figures,
        is_as_promised=all(
            found["portals that work"] == found["portals"] and not found["messages told wrongly"]
            for found in figures.values()
        ),
    )


@dataclass
class _Run:
    world: World
    app: Flask
    count: int
    chance: random.Random = field(default_factory=lambda: random.Random("reinstalls"))
    done: Counter[str] = field(default_factory=Counter)

    def run(self) -> dict[str, Any]:
        front = self.world.portal
        self.portals = [front.on(made["portal"]) for made in front.create_portals(self.count)]
        self._all(self._set_up, self.portals)
        campaign = front.campaign(
            100_000,
            RATE,
            portals=[portal.portal for portal in self.portals],
            to="+4915000000000",
            auth="none",
        )
        began = time.monotonic()
        for portal in self.portals:
            self._reinstall(portal)
        took_s = time.monotonic() - began
        front._call("POST", "/sandbox/campaigns/stop", body={"campaign": campaign})
        front.wait_rest()
        self._settle()
        works = self._working()
        self._settle()
        return {
            "portals": self.count,
            "portals that work": works,
            "reinstalls": self.done["reinstalls"],
            "of these with CLEAN": self.done["clean"],
            "forged events": self.done["forged"],
            "seconds for all reinstalls": round(took_s, 1),
            **self._messages(),
        }

    def _all(self, deed: Callable[[PortalSandbox], Any], which: Iterable[PortalSandbox]) -> list[Any]:
        with ThreadPoolExecutor(4) as threads:
            return list(threads.map(deed, which))

    def _set_up(self, portal: PortalSandbox) -> None:
        portal.configure(races={"enabled": False})
        _until_it_opens(portal, portal.install(finish=True))
        portal.set_queue(delay_s=[0, LATE_S])
        self._connect(portal)

    def _connect(self, portal: PortalSandbox) -> None:
        """As the administrator does, who finds no gateway after a removal with CLEAN."""
        with self.app.app_context():
            row = self._row(portal)
            if accounts.default_of(row.id) is not None:
                return
            adapter = services().gateways.get("http")
            assert adapter is not None
            settings = {name: value for name, value in self.world.gateway.settings().items() if value}
            connect(row, adapter, settings, reach=services().vendors.reach, now=services().now())

    def _reinstall(self, portal: PortalSandbox) -> None:
        for _ in range(self.chance.choice((1, 1, 1, 2))):
            clean = self.chance.random() < 0.5
            self._forge(portal)
            match self.chance.choice(("at once", "soon", "when it is known")):
                case "at once":
                    _until_it_opens(portal, portal.reinstall(clean=clean, finish=True))
                case "soon":
                    portal.uninstall(clean=clean)
                    time.sleep(self.chance.uniform(0, 1.5))
                    _until_it_opens(portal, portal.install(finish=True))
                case _:
                    portal.uninstall(clean=clean)
                    self._wait_known(portal)
                    _until_it_opens(portal, portal.install(finish=True))
            self._forge(portal)
            self.done.update(reinstalls=1, clean=int(clean))

    def _wait_known(self, portal: PortalSandbox) -> None:
        """The product has believed it; what it erases may still be going on."""
        ends = time.monotonic() + 2 * LATE_S
        while self._row(portal).state is not PortalState.UNINSTALLED and time.monotonic() < ends:
            time.sleep(0.05)

    def _row(self, portal: PortalSandbox) -> Portal:
        row = portals.by_member(portal.info()["member_id"])
        assert row is not None
        return row

    def _forge(self, portal: PortalSandbox) -> None:
        if self.chance.random() < 0.5:
            return
        event = self.chance.choice(("ONAPPUNINSTALL", "ONAPPUNINSTALL", "ONAPPUPDATE"))
        with suppress(SandboxError):  # no employee can open it while it is being installed
            portal.forge_event(event, {"CLEAN": self.chance.choice("01")}, times=3)
            self.done.update(forged=3)

    # --- afterwards

    def _settle(self) -> None:
        """Until every event is acted upon, every message over, and every word told."""
        ends = time.monotonic() + SETTLES_S
        while time.monotonic() < ends:
            with statement() as connection:
                events = connection.scalar(_count(portal_events, portal_events.c.due_at.is_not(None)))
                rows = connection.scalar(
                    _count(
                        messages,
                        sa.or_(messages.c.work != "closed", messages.c.push_due_at.is_not(None)),
                        messages.c.portal_id.in_(
                            sa.select(portal_rows.c.id).where(portal_rows.c.state != PortalState.UNINSTALLED)
                        ),
                    )
                )
            if not events and not rows:
                return
            time.sleep(1.0)

    def _working(self) -> int:
        """How many portals hand over a message now, and hear that it arrived. Nobody opens the app first."""
        self._all(self._connect, self.portals)
        for portal in self.portals:
            portal.set_queue(delay_s=[0, 0])
        return sum(self._all(self._works, self.portals))

    def _works(self, portal: PortalSandbox) -> bool:
        sent = portal.send_sms(to="+4915111111111", auth="none")
        try:
            portal.wait_status(sent["message_id"], *FINAL, timeout_s=60)
        except (TimeoutError, SandboxError, KeyError):
            return False
        return portal.message(sent["message_id"])["status"] == "delivered" and len(portal.senders()) == 1

    def _messages(self) -> dict[str, int]:
        found: Counter[str] = Counter()
        for portal in self.portals:
            ours = self._ours(portal)
            for shown in portal.messages(limit=100_000):
                if not any(post["status"] == 200 for post in shown["posts"]):
                    found["not handed over"] += 1  # the app was not there
                    continue
                found["handed over"] += 1
                known = ours.get(shown["message_id"])
                if known is None:
                    found["erased"] += 1  # by a removal with CLEAN
                elif known != shown["status"]:
                    found["wrong"] += 1
        return {
            "messages handed over": found["handed over"],
            "of these erased with CLEAN": found["erased"],
            "messages told wrongly": found["wrong"],
        }

    def _ours(self, portal: PortalSandbox) -> dict[str, str]:
        query = sa.select(messages.c.message_id, messages.c.status).where(
            messages.c.portal_id == self._row(portal).id
        )
        with statement() as connection:
            return {found.message_id: found.status for found in connection.execute(query)}


def _until_it_opens(portal: PortalSandbox, opened: dict[str, Any]) -> None:
    """An administrator who is told "busy, try again" does so."""
    ends = time.monotonic() + 60
    while opened["status"] != 200 and time.monotonic() < ends:
        time.sleep(0.5)
        opened = portal.open(finish=True)
    assert opened["status"] == 200, opened["status"]


def _count(source: sa.Table, *conditions: sa.ColumnElement[bool]) -> sa.Select[tuple[int]]:
    return sa.select(sa.func.count()).select_from(source).where(*conditions)
