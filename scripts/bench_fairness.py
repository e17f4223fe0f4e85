"""Measure what other portals notice of one whose gateway hangs.

    python scripts/bench_fairness.py --backlog 500 --messages 400

The same load of the other portals is sent twice: alone, and beside a portal with a backlog whose gateway
takes each call and answers 20 seconds later. Compared are the HANDLER's answers and the time from the
HANDLER's call to the gateway's. Everything is real: sandbox, the product's web and workers, a database.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from sandbox.client import PortalSandbox
from sandbox.gateway_client import GatewayClient
from sandbox.stack import Stack
from scripts.bench_rows import share_of
from tests.services import Postgres, Redis, ServiceMissing

HANG_S = 20.0
RATE_PER_S = 10.0  # of all other portals together


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--backlog", type=int, default=500)
    parser.add_argument("--messages", type=int, default=400, help="of the other portals together")
    parser.add_argument("--portals", type=int, default=4)
    parser.add_argument("--sqlite", action="store_true", help="one file instead of PostgreSQL and Redis")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    with ExitStack() as ending:
        urls = {}
        if not options.sqlite:
            try:
                urls["database_url"] = ending.enter_context(Postgres()).create_database()
                urls["redis_url"] = ending.enter_context(Redis()).url()
            except ServiceMissing as missing:
                sys.exit(f"{missing}; or try --sqlite")
        stack = ending.enter_context(Stack(**urls, worker_processes=2, env={"LOG_LEVEL": "ERROR"}))
        figures = Bench(stack, options.portals).run(options.messages, options.backlog)
    print(json.dumps(figures, indent=2) if options.json else _lines(figures))
    return 0


class Bench:
    def __init__(self, stack: Stack, others: int) -> None:
        self._stack = stack
        self._gateway = GatewayClient(stack.gateway_url)
        self._hanging = PortalSandbox(stack.portal_url)
        made = [self._hanging.on(portal["portal"]) for portal in self._hanging.create_portals(others)]
        self._others = {f"other-{number}": portal for number, portal in enumerate(made)}
        for key, portal in {"hanging": self._hanging, **self._others}.items():
            portal.install(finish=True)
            self._gateway.make_account(key)
            self._gateway.behave(key, reports={"words": []})
            settings = self._gateway.settings(key)
            pairs = (f"{name}={value}" for name, value in settings.items() if value)
            stack.flask("gateways", "set", portal.info()["member_id"], "http", *pairs)

    def run(self, messages: int, backlog: int) -> dict[str, Any]:
        self._load("warm", 2 * len(self._others))
        alone = self._load("alone", messages)
        self._gateway.behave("hanging", answer="hang", hang_s=HANG_S)
        waiting = self._hanging.campaign(backlog, to="+491520000000", text="backlog {n}", auth="none")
        self._hanging.wait_campaign(waiting)
        beside = self._load("beside", messages)
        return {
            "messages": messages,
            "backlog": backlog,
            "alone": alone,
            "beside": beside,
            "ratio": {name: round(beside[name] / max(alone[name], 0.1), 2) for name in alone},
        }

    def _load(self, name: str, count: int) -> dict[str, float]:
        """Milliseconds of the HANDLER's answers, and until the gateway had the messages."""
        numbers = [portal.portal for portal in self._others.values()]
        campaign = self._hanging.campaign(
            count, RATE_PER_S, portals=numbers, to="+491510000000", text=f"{name} {{n}}", auth="none"
        )
        latency = self._hanging.wait_campaign(campaign, timeout_s=600)["latency_ms"]
        waits = self._waits(name, count)
        return {
            "handler_p50_ms": latency["p50"],
            "handler_p99_ms": latency["p99"],
            "to_gateway_p50_ms": share_of(waits, 0.5),
            "to_gateway_p99_ms": share_of(waits, 0.99),
        }

    def _waits(self, name: str, count: int) -> list[float]:
        while len(taken := self._taken(name)) < count:
            time.sleep(0.5)
        called = {
            row["text"]: row["posts"][0]["at"]
            for portal in self._others.values()
            for row in portal.messages(limit=10_000)
        }
        return sorted(max(0.0, at - called[text]) * 1000 for text, at in taken.items())

    def _taken(self, name: str) -> dict[str, float]:
        return {
            message["text"]: message["at"]
            for message in self._gateway.messages()
            if message["text"].startswith(f"{name} ")
        }


def _lines(figures: dict[str, Any]) -> str:
    names = list(figures["alone"])
    rows = [f"{'':<20}{'alone':>12}{'beside':>12}{'ratio':>8}"]
    rows += [
        f"{name:<20}{figures['alone'][name]:>12}{figures['beside'][name]:>12}{figures['ratio'][name]:>8}"
        for name in names
    ]
    return "\n".join(rows)


if __name__ == "__main__":
    sys.exit(main())
