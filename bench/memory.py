"""Memory over a long run: the product under a steady load, looked at every few seconds.

And at rest, with many portals: what an installation costs that nobody uses.
"""

from __future__ import annotations

import time
from datetime import timedelta

import sqlalchemy as sa

from app import create_app
from app.config import load_config
from app.store.database import db, utcnow, writing
from app.store.tables import portals as portals_table
from bench.sections import Section, table
from bench.usage import Meter, memory_mb
from bench.work import hand_over
from bench.worlds import POSTGRES, SQLITE, World, a_portal, world_on

RATE_PER_S = 15.0


def measure(*, short: bool) -> Section:
    mode, portals, count, idle_s = (SQLITE, 3, 20, 1.0) if short else (POSTGRES, 5_000, 3_000, 30.0)
    with world_on(mode, env={"TIMING": "first_push_s=0,push_repeat_s=0"}) as world:
        made = world.several(4)
        _install(world, portals)
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


def _install(world: World, count: int) -> None:
    """So many portals that are in step, and that nobody uses."""
    app = create_app(load_config(world.stack.env))
    with app.app_context():
        for number in range(count):
            a_portal(f"{number:032x}")
        in_step = {"state": "active", "finished_at": utcnow(), "reconcile_at": utcnow() + timedelta(days=1)}
        with writing() as connection:
            connection.execute(sa.update(portals_table).values(in_step))
        db.engine.dispose()


def _memory(world: World) -> float:
    return round(sum(memory_mb(pid) for pid in (world.stack.web.pid, world.stack.worker.pid)), 1)


def _idle(world: World, seconds: float) -> dict[str, float]:
    time.sleep(2)
    meter = Meter({"web": world.stack.web.pid, "worker": world.stack.worker.pid})
    time.sleep(seconds)
    used = sum(meter.used_s().values())
    return {"share of a core at rest, %": round(used / seconds * 100, 2)}
