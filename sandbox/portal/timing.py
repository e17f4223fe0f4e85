"""The `time` block of an answer, with the operating time that newer portals count per method."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Any

from sandbox.portal.world import Portal, World

_WINDOW_S = 600


def time_block(world: World, portal: Portal, method: str, started: float) -> dict[str, Any]:
    block = plain_time_block(started)
    if not portal.is_old:
        reset_in = world.rest_faults.operating_reset_in(method, portal.number)
        block["operating_reset_at"] = int(world.clock.now() + (_WINDOW_S if reset_in is None else reset_in))
        operating = portal.operating.get(method, 0.0) + block["duration"]
        portal.operating[method] = operating
        block["operating"] = operating
    return block


def plain_time_block(started: float) -> dict[str, Any]:
    finish = time.time()
    return {
        "start": started,
        "finish": finish,
        "duration": finish - started,
        "processing": finish - started,
        "date_start": iso(started),
        "date_finish": iso(finish),
    }


def iso(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="seconds")
