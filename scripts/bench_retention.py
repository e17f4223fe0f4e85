"""Measure what the HANDLER's store notices of a purge.

    python scripts/bench_retention.py --messages 100000

Half of the messages lose their text and half go altogether, by the job that does it every hour, in a process
of its own; this one stores a call every 20 milliseconds, first alone and then beside it.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from app import create_app
from app.config import Timing, load_config
from app.domain.messages import IncomingMessage
from app.domain.portals import Portal
from app.jobs.retention import purge_from
from app.services import services
from app.store import messages, portals, retention
from app.store.database import utcnow
from app.store.retention import Removed
from scripts.bench_rows import DATABASES, fill, product_on, share_of
from tests.product import ENVIRONMENT, a_portal

ALONE_S = 15.0
EVERY_S = 0.02


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--messages", type=int, default=100_000)
    parser.add_argument("--database", choices=DATABASES, action="append")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--purge", metavar="ENVIRONMENT", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.purge:
        _purge(json.loads(options.purge))
        return 0
    figures = {name: _measure(name, options.messages) for name in options.database or DATABASES}
    print(json.dumps(figures, indent=2) if options.json else _lines(figures))
    return 0


def _measure(database: str, count: int) -> dict[str, Any]:
    with product_on(database) as url:
        portal = a_portal()
        days = portal.settings
        now = utcnow()
        fill(portal, count // 2, prefix="old", received_at=now - timedelta(days=days.row_days + 1))
        fill(portal, count // 2, prefix="young", received_at=now - timedelta(days=days.text_days + 1))
        ends = time.monotonic() + ALONE_S
        alone = _store_until(portal, "alone", lambda: time.monotonic() > ends)
        began = time.monotonic()
        environment = json.dumps({**ENVIRONMENT, "DATABASE_URL": url})
        with subprocess.Popen([sys.executable, __file__, "--purge", environment]) as purging:  # noqa: S603
            beside = _store_until(portal, "beside", lambda: purging.poll() is not None)
        assert purging.returncode == 0
        took_s = time.monotonic() - began
    return {
        "messages": count,
        "purge_s": round(took_s, 1),
        "store_p50_ms": [share_of(alone, 0.5), share_of(beside, 0.5)],
        "store_p99_ms": [share_of(alone, 0.99), share_of(beside, 0.99)],
    }


def _store_until(portal: Portal, name: str, is_over: Callable[[], bool]) -> list[float]:
    """Milliseconds from the moment that each call was meant for: who waits holds up the next one, too."""
    seen = portals.by_handler_secret(portals.handler_secret(portal.id))
    assert seen is not None
    waits, intended = [], time.monotonic()
    while not is_over():
        intended += EVERY_S
        time.sleep(max(0.0, intended - time.monotonic()))
        incoming = IncomingMessage(f"{name}-{len(waits)}", "+4915112345678", "hello", "sms")
        messages.accept(seen, incoming, now=utcnow(), timing=Timing())
        waits.append((time.monotonic() - intended) * 1000)
    return sorted(waits)


def _purge(environment: dict[str, str]) -> None:
    """What a worker does, until nothing is left to remove."""
    with create_app(load_config(environment)).app_context():
        parts = services()
        parts.engine.hint = lambda *_, **__: True  # type: ignore[method-assign]
        while any(retention.count_due(p, now=parts.now()) != Removed() for p in portals.all_portals()):
            purge_from(parts, 0)


def _lines(figures: dict[str, Any]) -> str:
    rows = [f"{'':<12}{'messages':>10}{'purge s':>9}   {'':<6}{'alone ms':>9}{'beside ms':>10}{'ratio':>7}"]
    for name, found in figures.items():
        for share in ("p50", "p99"):
            alone, beside = found[f"store_{share}_ms"]
            rows.append(
                f"{name:<12}{found['messages']:>10}{found['purge_s']:>9}   {share:<6}{alone:>9}{beside:>10}"
                f"{beside / max(alone, 0.1):>7.2f}"
            )
    return "\n".join(rows)


if __name__ == "__main__":
    sys.exit(main())
