"""Measure one sweep beside many messages: open ones that wait for their report, and closed ones.

    python scripts/bench_sweep.py --messages 100000

Nothing is due, so what is measured is what the sweeper costs by itself, every five seconds for ever.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import sqlalchemy as sa

from app.jobs.sweep import sweep
from app.services import services
from app.store.database import utcnow, writing
from app.store.tables import messages
from tests.product import a_portal, product
from tests.services import Postgres, ServiceMissing

SWEEPS = 20
CHUNK = 5_000


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--messages", type=int, default=100_000)
    options = parser.parse_args()
    print(f"{'database':<12}{'messages':>20}{'ms a sweep':>12}{'of our CPU':>12}")
    for database in ("SQLite", "PostgreSQL"):
        for kind in ("none", "open", "closed"):
            with _product(database):
                _fill(kind, options.messages if kind != "none" else 0)
                wall_ms, cpu_ms = _sweeps()
            print(f"{database:<12}{kind:>20}{wall_ms:>12.1f}{cpu_ms:>12.1f}", flush=True)
    return 0


@contextmanager
def _product(database: str) -> Iterator[None]:
    with tempfile.TemporaryDirectory(prefix="sms-bench-") as folder:
        if database == "SQLite":
            with product(Path(folder)):
                yield
            return
        try:
            cluster = Postgres()
        except ServiceMissing as missing:
            sys.exit(str(missing))
        with cluster, product(Path(folder), DATABASE_URL=cluster.create_database()):
            yield


def _fill(kind: str, count: int) -> None:
    portal, now = a_portal(), utcnow()
    is_open = kind == "open"
    due = now + timedelta(days=1) if is_open else None
    row = {
        "portal_id": portal.id,
        "origin": "portal",
        "bindings": [],
        "extra": {},
        "recipient": "+4915112345678",
        "text": "hello",
        "body_hash": "0" * 64,
        "sender_code": "sms",
        "received_at": now,
        "expires_at": now + timedelta(days=1),
        "status": "sent" if is_open else "delivered",
        "work": "waiting" if is_open else "closed",
        "due_at": due,
        "deadline_at": due,
    }
    for start in range(0, count, CHUNK):
        with writing() as connection:
            connection.execute(
                sa.insert(messages),
                [{**row, "message_id": f"m-{number}"} for number in range(start, start + CHUNK)],
            )


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
