"""The work that all are measured at: messages from portals, a gateway, two reports each, the end told."""

from __future__ import annotations

import time
from collections.abc import Sequence

from sandbox.client import PortalSandbox

GATEWAY_S = 0.2  # what the gateway takes for a call
PATIENCE_S = 240.0


def hand_over(portal: PortalSandbox, numbers: Sequence[int], count: int, *, rate: float = 0.0) -> float:
    """Hand messages over as fast as they are taken; seconds until the portals have heard of all ends."""
    before = _delivered(portal)
    began = time.monotonic()
    campaign = portal.campaign(
        count, rate, portals=list(numbers), to="+491510000000", text=f"{time.time_ns()} {{n}}", auth="none"
    )
    while (done := _delivered(portal) - before) < count:
        if time.monotonic() - began > PATIENCE_S:
            raise RuntimeError(
                f"{done} of {count} messages were delivered: {portal.campaign_progress(campaign)}"
            )
        time.sleep(0.05)
    took_s = time.monotonic() - began
    answers = portal.campaign_progress(campaign)["answers"]
    if set(answers) != {"200"}:
        raise RuntimeError(f"the HANDLER answered {answers}")
    return took_s


def _delivered(portal: PortalSandbox) -> int:
    return int(portal.count_messages(portal="*")["statuses"].get("delivered", 0))
