"""What the HANDLER's store notices of a purge.

Half of the messages lose their text and half go altogether, by the job that does it every hour, in a process
of its own; this one stores a call every 20 milliseconds, first alone and then beside it.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any

from app import create_app
from app.config import load_config
from app.domain.messages import HandedMessage
from app.domain.portals import Portal
from app.domain.retry import Timing
from app.jobs.retention import purge_from
from app.services import services
from app.store.database import utcnow
from app.store.messages import acceptance
from app.store.portals import portals
from app.store.upkeep import retention
from app.store.upkeep.retention import Removed
from bench.rows import fill
from bench.sections import Section, share_of, table
from bench.worlds import ENVIRONMENT, MODES, a_portal, product_on

EVERY_S = 0.02


def measure(*, short: bool) -> Section:
    count, alone_s = (100, 1.0) if short else (20_000, 15.0)
    figures = {mode: _measure(mode, count, alone_s) for mode in (MODES[:1] if short else MODES)}
    rows = [
        [f"{mode}, {share}", f"{found['purge_s']} s", alone, beside, beside / max(alone, 0.1)]
        for mode, found in figures.items()
        for share in ("p50", "p99")
        for alone, beside in [found[f"store_{share}_ms"]]
    ]
    return Section(
        title="Storing beside a purge",
        text=f"{count:,} messages, half of which lose their text while half go altogether; a call is stored"
        " every 20 ms, and its time counts from the moment that it was meant for.",
        table=table(["", "purge", "alone, ms", "beside, ms", "ratio"], rows),
        figures=figures,
    )


def _measure(mode: str, count: int, alone_s: float) -> dict[str, Any]:
    with product_on(mode) as url:
        portal = a_portal()
        days = portal.settings
        now = utcnow()
        fill(portal, count // 2, prefix="old", received_at=now - timedelta(days=days.row_days + 1))
        fill(portal, count // 2, prefix="young", received_at=now - timedelta(days=days.text_days + 1))
        ends = time.monotonic() + alone_s
        alone = _store_until(portal, "alone", lambda: time.monotonic() > ends)
        began = time.monotonic()
        environment = json.dumps({**ENVIRONMENT, "DATABASE_URL": url})
        with subprocess.Popen([sys.executable, "-m", "bench.retention", environment]) as purging:
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
        incoming = HandedMessage(f"{name}-{len(waits)}", "+4915112345678", "hello", "sms")
        acceptance.accept(seen, incoming, now=utcnow(), timing=Timing())
        waits.append((time.monotonic() - intended) * 1000)
    return sorted(waits)


def _purge(environment: dict[str, str]) -> None:
    """What a worker does, until nothing is left to remove."""
    with create_app(load_config(environment)).app_context():
        parts = services()
        parts.engine.hint = lambda *_, **__: True  # type: ignore[method-assign]
        while any(retention.count_due(p, now=parts.now()) != Removed() for p in portals.all_portals()):
            purge_from(parts, 0)


if __name__ == "__main__":
    _purge(json.loads(sys.argv[1]))
