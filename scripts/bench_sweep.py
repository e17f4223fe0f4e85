"""Measure one sweep beside many messages: open ones that wait for their report, and closed ones.

    python scripts/bench_sweep.py --messages 100000

Nothing is due, so what is measured is what the sweeper costs by itself, every five seconds for ever.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from datetime import timedelta
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import sqlalchemy as sa

from app.jobs.sweep import sweep
from app.services import services
from app.store.database import utcnow, writing
from scripts.bench_rows import DATABASES, fill, product_on
from tests.product import a_portal

SWEEPS = 20


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--messages", type=int, default=100_000)
    options = parser.parse_args()
    print(f"{'database':<12}{'messages':>20}{'ms a sweep':>12}{'of our CPU':>12}")
    for database in DATABASES:
        for kind in ("none", "open", "closed"):
            with product_on(database):
                _fill(kind, options.messages if kind != "none" else 0)
                wall_ms, cpu_ms = _sweeps()
            print(f"{database:<12}{kind:>20}{wall_ms:>12.1f}{cpu_ms:>12.1f}", flush=True)
    return 0


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


if __name__ == "__main__":
    sys.exit(main())
