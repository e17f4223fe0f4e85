"""How long callers wait: the HANDLER at a part of its maximum, and a single message on an idle system.

Open loop: the calls come at a given rate whatever the answers do, and a call's time counts from the moment
that it was meant for.
"""

from __future__ import annotations

import time
from typing import Any

from bench.caller import Heard, call
from bench.handler_calls import handler_order, handler_url
from bench.sections import Section, share_of, table
from bench.worlds import MODES, World, world_on

SHARES = (0.3, 0.7)
CONNECTIONS = 64


def measure(*, short: bool) -> Section:
    seconds, singles = (0.5, 3) if short else (6.0, 30)
    figures: dict[str, Any] = {}
    for mode in MODES[:1] if short else MODES:
        with world_on(mode) as world:
            figures[mode] = {**_single(world, singles), **_open_loop(world, seconds)}
    rows = [[f"{mode}: {name}", *values] for mode, found in figures.items() for name, values in found.items()]
    return Section(
        title="How long callers wait",
        text="The HANDLER without workers, in the open loop, at shares of the most that it answers; and"
        f" {singles} single messages on an idle system, one after the other, from the HANDLER's call to the"
        " gateway's. Milliseconds.",
        table=table(["", "a second", "p50", "p99"], rows),
        figures=figures,
    )


def _single(world: World, count: int) -> dict[str, list[object]]:
    [portal] = world.several(1)
    waits = []
    for number in range(count + 2):
        text = f"single {number}"
        portal.send_sms(text=text, auth="none")
        while not (found := [each for each in world.gateway.messages() if each["text"] == text]):
            time.sleep(0.02)
        [row] = [each for each in portal.messages() if each["text"] == text]
        waits.append(max(0.0, found[0]["at"] - row["posts"][0]["at"]) * 1000)
    waits = sorted(waits[2:])  # the first ones open connections
    return {"HANDLER to gateway, idle": ["–", share_of(waits, 0.5), share_of(waits, 0.99)]}


def _open_loop(world: World, seconds: float) -> dict[str, list[object]]:
    [portal] = world.several(1)
    world.stack.worker.terminate()
    url = handler_url(portal)
    most = call(handler_order(url, seconds=seconds)).must_be(200)
    found = {"HANDLER, as fast as it answers": _figures(most)}
    for share in SHARES:
        order = handler_order(
            url, seconds=seconds, connections=CONNECTIONS, rate_per_s=max(1.0, most.per_s * share)
        )
        found[f"HANDLER at {share:.0%}"] = _figures(call(order).must_be(200))
    return found


def _figures(heard: Heard) -> list[object]:
    return [round(heard.per_s), heard.p50_ms, heard.p99_ms]
