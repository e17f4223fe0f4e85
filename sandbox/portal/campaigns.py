"""Many messages at a given rate, from one portal or spread over several."""

from __future__ import annotations

import itertools
import threading
import time
from collections import Counter
from dataclasses import dataclass, field, replace
from typing import Any

from sandbox.portal.sms import SmsOrder, send_sms
from sandbox.portal.world import Message, Portal, World


@dataclass
class Campaign:
    id: int
    count: int
    rate: float  # messages a second; 0: as fast as possible
    started_at: float
    messages: list[Message] = field(default_factory=list)
    done: bool = False
    stopped: bool = False

    def brief(self) -> dict[str, Any]:
        return {"campaign": self.id, "count": self.count, "sent": len(self.messages), "done": self.done}

    def view(self) -> dict[str, Any]:
        """Progress, the statuses in the portal, and how the application answered."""
        messages = list(self.messages)
        posts = [post for message in messages for post in message.posts]
        latencies = sorted(seconds for _, _, seconds in posts)
        return {
            **self.brief(),
            "answered": len(posts),
            "answers": dict(Counter(str(status) for _, status, _ in posts)),
            "statuses": dict(Counter(message.status for message in messages)),
            "latency_ms": {
                name: round(latencies[min(len(latencies) - 1, int(len(latencies) * share))] * 1000, 2)
                for name, share in (("p50", 0.5), ("p95", 0.95), ("p99", 0.99), ("max", 1.0))
                if latencies
            },
        }


class Campaigns:
    def __init__(self, world: World) -> None:
        self._world = world
        self._ids = itertools.count(1)
        self.all: dict[int, Campaign] = {}

    def start(self, portals: list[Portal], order: SmsOrder, count: int, rate: float) -> Campaign:
        """Begin in the background. `{n}` in text and number becomes the message's position from 1.

        Numbers without `{n}` count up from the given one, so that every recipient is another.
        """
        campaign = Campaign(next(self._ids), count, rate, time.time())
        self.all[campaign.id] = campaign
        threading.Thread(target=self._run, args=(campaign, portals, order), daemon=True).start()
        return campaign

    def _run(self, campaign: Campaign, portals: list[Portal], order: SmsOrder) -> None:
        started = time.monotonic()
        for index in range(campaign.count):
            if campaign.stopped:
                break
            if campaign.rate > 0:
                ahead = started + index / campaign.rate - time.monotonic()
                if ahead > 0:
                    time.sleep(ahead)
            numbered = replace(
                order,
                to=_nth_number(order.to, index),
                text=order.text.replace("{n}", str(index + 1)),
                campaign=campaign.id,
            )
            campaign.messages.append(send_sms(self._world, portals[index % len(portals)], numbered))
        campaign.done = True


def _nth_number(to: str, index: int) -> str:
    if "{n}" in to:
        return to.replace("{n}", str(index + 1))
    digits = to.removeprefix("+")
    if not digits.isdecimal():
        return to
    counted = str(int(digits) + index).zfill(len(digits))
    return f"+{counted}" if to.startswith("+") else counted
