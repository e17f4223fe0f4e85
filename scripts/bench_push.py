"""Measure how fast a backlog of statuses is told to one portal under its limit of requests.

    python scripts/bench_push.py --messages 10000

The backlog grows while the app is not paid for; then the payment comes, and everything is told. The portal
allows 2 requests a second after a burst, and a request tells 50 statuses: 100 a second is the most.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from sandbox.client import PortalSandbox
from sandbox.stack import Stack

WANTED_PER_S = 90.0
BATCH = 50
OUR_BURST = 40  # requests that the product allows itself at once


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--messages", type=int, default=10_000)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    # No final word is told twice here, so that each status is one command.
    env = {"LOG_LEVEL": "ERROR", "TIMING": "push_repeat_s=0"}
    with Stack(env=env, web_threads=8) as stack:
        figures = _measure(stack, PortalSandbox(stack.portal_url), options.messages)
    print(json.dumps(figures, indent=2) if options.json else _lines(figures))
    return 0 if figures["as_promised"] else 1


def _measure(stack: Stack, portal: PortalSandbox, count: int) -> dict[str, Any]:
    portal.configure(races={"enabled": False})
    portal.install(finish=True)
    member_id = portal.info()["member_id"]
    stack.worker.terminate()
    # An impossible number has its final status without a gateway.
    portal.wait_campaign(portal.campaign(count, to="12", auth="none"), timeout_s=600)
    portal.payment(expired=True)
    stack.worker.start()
    print("backlog is being prepared", file=sys.stderr)
    _wait_backlog(stack, member_id, count)
    portal.clear_ledger()
    started = time.time()
    portal.payment(expired=False)
    _wait_told(portal, count)
    return _figures(portal, count, started)


def _wait_backlog(stack: Stack, member_id: str, count: int) -> None:
    while stack.flask("portals", "show", member_id)["backlog"].get("to_tell", 0) < count:
        time.sleep(5)


def _wait_told(portal: PortalSandbox, count: int) -> None:
    while int(portal.count_messages()["statuses"].get("failed", 0)) < count:
        time.sleep(1)


def _figures(portal: PortalSandbox, count: int, started: float) -> dict[str, Any]:
    told = sorted(
        entry["at"]
        for row in portal.messages(limit=count + 10)
        for entry in row["history"]
        if entry["by"] == "app"
    )
    burst = OUR_BURST * BATCH
    after = told[burst:]
    per_s = (len(after) - 1) / (after[-1] - after[0]) if len(after) > BATCH else 0.0
    refused = portal.counts().get("rest:QUERY_LIMIT_EXCEEDED", 0)
    return {
        "statuses": len(told),
        "seconds": round(told[-1] - started, 1),
        "burst": burst,
        "burst_seconds": round(told[min(burst, len(told)) - 1] - told[0], 1),
        "per_second_after_the_burst": round(per_s, 1),
        "query_limit_exceeded": refused,
        "as_promised": len(told) == count and per_s >= WANTED_PER_S and not refused,
    }


def _lines(figures: dict[str, Any]) -> str:
    return "\n".join(f"{name.replace('_', ' '):<28} {value}" for name, value in figures.items())


if __name__ == "__main__":
    sys.exit(main())
