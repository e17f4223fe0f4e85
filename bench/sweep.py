"""One sweep beside many messages: open ones that wait for their report, and closed ones.

Nothing is due, so what is measured is what the sweeper costs by itself, every five seconds for ever.
"""

from __future__ import annotations

import statistics
import time
from datetime import timedelta

import sqlalchemy as sa

from app.jobs.sweep import sweep
from app.services import services
from app.store.database import utcnow, writing
from bench.rows import fill
from bench.sections import Section, table
from bench.worlds import MODES, a_portal, product_on

SWEEPS = 20


def measure(*, short: bool) -> Section:
    count = 200 if short else 100_000
    figures = {
        f"{mode}, {kind}": _measure(mode, kind, count)
        for mode in (MODES[:1] if short else MODES)
        for kind in ("none", "open", "closed")
    }
    rows = [[name, *each.values()] for name, each in figures.items()]
    return Section(
        title="What a sweep costs",
        text=f"One sweep that finds nothing due, beside {count:,} messages; median of {SWEEPS}.",
        table=table(["database, messages", "ms by the clock", "ms of our processor time"], rows),
        figures=figures,
    )


def _measure(mode: str, kind: str, count: int) -> dict[str, float]:
    with product_on(mode):
        _fill(kind, count if kind != "none" else 0)
        wall_ms, cpu_ms = _sweeps()
    return {"wall_ms": round(wall_ms, 1), "cpu_ms": round(cpu_ms, 1)}


def _fill(kind: str, count: int) -> None:
    due = utcnow() + timedelta(days=1)
    is_open = {"status": "sent", "work": "waiting", "due_at": due, "deadline_at": due}
    fill(a_portal(), count, **(is_open if kind == "open" else {}))


def _sweeps() -> tuple[float, float]:
    """Milliseconds of one sweep: on the clock, and of this process's processor time."""
    parts = services()
    parts.engine.hint = lambda *_, **__: True  # type: ignore[method-assign]
    parts.engine.pending = lambda: 0  # type: ignore[method-assign]
    sweep(parts)  # the first one also does the hourly work
    wall, cpu = [], []
    for _ in range(SWEEPS):
        _let_it_run_again()
        began, began_cpu = time.perf_counter(), time.process_time()
        sweep(parts)
        wall.append(time.perf_counter() - began)
        cpu.append(time.process_time() - began_cpu)
    return statistics.median(wall) * 1000, statistics.median(cpu) * 1000


def _let_it_run_again() -> None:
    with writing() as connection:
        connection.execute(sa.text("UPDATE job_runs SET last_run_at = NULL WHERE name = 'sweep'"))
