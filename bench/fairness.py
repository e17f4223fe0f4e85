"""What other portals notice of one whose gateway hangs, and of one that dumps a campaign.

The same load of the other portals is sent three times: alone, beside a portal with a backlog whose gateway
takes each call and answers 20 seconds later, and beside one that hands over thousands at once. Compared are
the HANDLER's answers and the time from the HANDLER's call to the gateway's.
"""

from __future__ import annotations

import time
from typing import Any

from bench.sections import Section, share_of, table
from bench.worlds import MODES, World, world_on

HANG_S = 20.0
RATE_PER_S = 10.0  # of all other portals together
LOADS = ("alone", "hang", "dump")


def measure(*, short: bool) -> Section:
    modes, others, messages, backlog = (MODES[:1], 2, 20, 20) if short else (MODES, 4, 250, 500)
    dump = 20 if short else 3_000
    figures = {}
    for mode in modes:
        with world_on(mode, workers=2, web_workers=1) as world:
            figures[mode] = _Bench(world, others).run(messages, backlog, dump)
    rows = [
        [f"{mode}: {name}", found["alone"][name], *(_beside(found, load, name) for load in LOADS[1:])]
        for mode, found in figures.items()
        for name in found["alone"]
    ]
    return Section(
        title="Beside a gateway that hangs, and beside a campaign",
        text=f"{others} portals send {RATE_PER_S:g} messages a second, alone; then beside a portal with"
        f" {backlog} waiting messages whose gateway is silent for {HANG_S:g} seconds; then beside one that"
        f" hands over {dump:,} at once. Milliseconds, and the ratio to alone. One web process, two workers.",
        table=table(["of the other portals", "alone", "gateway hangs", "campaign"], rows),
        figures=figures,
    )


def _beside(found: dict[str, Any], load: str, name: str) -> str:
    return f"{found[load][name]:.1f} ({found[load][name] / max(found['alone'][name], 0.1):.2f})"


class _Bench:
    def __init__(self, world: World, others: int) -> None:
        self._world = world
        self._gateway = world.gateway
        self._greedy, *self._others = world.several(others + 1)
        self._gateway.behave(reports={"words": []})

    def run(self, messages: int, backlog: int, dump: int) -> dict[str, dict[str, float]]:
        self._load("warm", 2 * len(self._others))
        found = {"alone": self._load("alone", messages)}
        account = f"0-{self._greedy.portal}"
        self._gateway.behave(account, answer="hang", hang_s=HANG_S)
        waiting = self._greedy.campaign(backlog, to="+491520000000", text="backlog {n}", auth="none")
        self._greedy.wait_campaign(waiting)
        found["hang"] = self._load("hang", messages)
        self._gateway.behave(account, answer="accept")
        self._greedy.campaign(dump, to="+491530000000", text="dump {n}", auth="none")
        found["dump"] = self._load("dump-beside", messages)
        return found

    def _load(self, name: str, count: int) -> dict[str, float]:
        """Milliseconds of the HANDLER's answers, and until the gateway had the messages."""
        numbers = [portal.portal for portal in self._others]
        campaign = self._greedy.campaign(
            count, RATE_PER_S, portals=numbers, to="+491510000000", text=f"{name} {{n}}", auth="none"
        )
        while not (progress := self._greedy.campaign_progress(campaign))["done"]:
            time.sleep(0.5)
        waits = self._waits(name, count)
        latency = progress["latency_ms"]
        return {
            "HANDLER p50": latency["p50"],
            "HANDLER p99": latency["p99"],
            "to the gateway p50": share_of(waits, 0.5),
            "to the gateway p99": share_of(waits, 0.99),
        }

    def _waits(self, name: str, count: int) -> list[float]:
        while len(taken := self._taken(name)) < count:
            time.sleep(0.5)
        called = {
            row["text"]: row["posts"][0]["at"]
            for portal in self._others
            for row in portal.messages(limit=10_000)
            if row["posts"]
        }
        return sorted(max(0.0, at - called[text]) * 1000 for text, at in taken.items())

    def _taken(self, name: str) -> dict[str, float]:
        return {
            message["text"]: message["at"]
            for message in self._gateway.messages()
            if message["text"].startswith(f"{name} ")
        }
