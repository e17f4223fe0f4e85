"""Memory over a long run: the product under a steady load, looked at every few seconds.

And at rest, with many portals: what an installation costs that nobody uses.
"""

from __future__ import annotations

import time

from bench.sections import Section, table
from bench.usage import Meter, memory_mb
from bench.work import hand_over
from bench.worlds import POSTGRES, SQLITE, World, world_on

RATE_PER_S = 15.0


def measure(*, short: bool) -> Section:
    mode, portals, count, idle_s = (SQLITE, 3, 20, 1.0) if short else (POSTGRES, 200, 3_000, 20.0)
    with world_on(mode, env={"TIMING": "first_push_s=0,push_repeat_s=0"}) as world:
        made = world.several(4)
        world.portal.create_portals(portals)
        for number in range(len(made) + 2, portals + len(made) + 2):
            world.portal.on(number).install(finish=True)
        figures = {"at rest": _memory(world), **_idle(world, idle_s)}
        for part in range(1, 5):
            hand_over(world.portal, [each.portal for each in made], count // 4, rate=RATE_PER_S)
            figures[f"after {part * count // 4:,} messages"] = _memory(world)
    return Section(
        title="Memory",
        text=f"{mode}, {portals} portals; {count:,} messages at {RATE_PER_S:g} a second. Megabytes (PSS) of"
        " web and worker together.",
        table=table(["", "figure"], [[name, value] for name, value in figures.items()]),
        figures=figures,
    )


def _memory(world: World) -> float:
    return round(sum(memory_mb(pid) for pid in (world.stack.web.pid, world.stack.worker.pid)), 1)


def _idle(world: World, seconds: float) -> dict[str, float]:
    time.sleep(2)
    meter = Meter({"web": world.stack.web.pid, "worker": world.stack.worker.pid})
    time.sleep(seconds)
    used = sum(meter.used_s().values())
    return {"share of a core at rest, %": round(used / seconds * 100, 2)}
