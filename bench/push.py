"""How fast a backlog of statuses is told to one portal under its limit of requests.

The backlog grows while the app is not paid for; then the payment comes, and everything is told. The portal
allows 2 requests a second after a burst, and a request tells 50 statuses: 100 a second is the most.
"""

from __future__ import annotations

import time
from typing import Any

from bench.sections import Section, table
from bench.worlds import SQLITE, world_on
from sandbox.client import PortalSandbox
from sandbox.stack import Stack

WANTED_PER_S = 90.0
BATCH = 50
OUR_BURST = 40  # requests that the product allows itself at once


def measure(*, short: bool) -> Section:
    count = 2_400 if short else 5_000
    # No final word is told twice here, so that each status is one command.
    with world_on(SQLITE, env={"TIMING": "push_repeat_s=0"}) as world:
        figures = _measure(world.stack, world.portal, count)
    rows = [[name.replace("_", " "), value] for name, value in figures.items()]
    return Section(
        title="Statuses told to one portal",
        text=f"A backlog of {count:,} statuses under the portal's limit: a burst of {OUR_BURST} requests,"
        f" then two a second of {BATCH} statuses each, so 100 a second is the most.",
        table=table(["", "figure"], rows),
        figures=figures,
        is_as_promised=figures["as_promised"],
    )


def _measure(stack: Stack, portal: PortalSandbox, count: int) -> dict[str, Any]:
    portal.configure(races={"enabled": False})
    portal.install(finish=True)
    member_id = portal.info()["member_id"]
    stack.worker.terminate()
    # An impossible number has its final status without a gateway.
    portal.wait_campaign(portal.campaign(count, to="12", auth="none"), timeout_s=600)
    portal.payment(expired=True)
    stack.worker.start()
    _wait_backlog(stack, member_id, count)
    portal.clear_ledger()
    started = time.time()
    portal.payment(expired=False)
    _wait_told(portal, count)
    return _figures(portal, count, started)


def _wait_backlog(stack: Stack, member_id: str, count: int) -> None:
    while stack.flask("portals", "show", member_id)["backlog"].get("to_tell", 0) < count:
        time.sleep(2)


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
