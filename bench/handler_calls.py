"""A HANDLER's address, and what Bitrix24 posts there."""

from __future__ import annotations

import itertools
import time

from bench.caller import Order
from sandbox.client import PortalSandbox

_runs = itertools.count(1)


def handler_url(portal: PortalSandbox) -> str:
    """As it was registered in the portal."""
    return str(portal.info()["senders"][0]["handler"])


def handler_order(url: str, *, seconds: float, connections: int = 16, rate_per_s: float = 0.0) -> Order:
    """Calls of an automatic message, which has no `auth`; no two runs use the same ids."""
    form = {
        "module_id": "crm",
        "type": "SMS",
        "code": "sms",
        "message_id": f"bench-{time.time_ns()}-{next(_runs)}-{{n}}",
        "message_to": "+491510000000",
        "message_body": "Message number {n} of the benchmark",
        "properties[phone_number]": "+491510000000",
        "properties[message_text]": "Message number {n} of the benchmark",
        "bindings[0][OWNER_TYPE_ID]": "3",
        "bindings[0][OWNER_ID]": "123",
        "ts": str(int(time.time())),
    }
    return Order(url, seconds, connections, rate_per_s, form)
