"""Drives the sandbox gateway's controls; for the demo, the tests and whoever plays with it.

gateway = GatewayClient("http://127.0.0.1:8081")
gateway.behave(answer="hang", next=3)
gateway.settings()  # what the product's `http` gateway needs to use it
"""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from typing import Any

from sandbox.gateway.behaviour import DEFAULT_KEY

STATUS_MAP = {
    "ENROUTE": "sent",
    "DELIVRD": "delivered",
    "UNDELIV": "undelivered",
    "EXPIRED": "undelivered",
    "REJECTD": "failed",
}
ERROR_MAP = {
    "1001": "permanent",
    "unauthorized": "config",
    "no_money": "config",
    "too_fast": "throttle",
    "unavailable": "temporary",
}


class GatewayClientError(Exception):
    """A control call was refused; the text is the gateway's."""


class GatewayClient:
    """The controls of one sandbox gateway. `account` is an API key; None speaks to all accounts."""

    def __init__(self, url: str, *, timeout_s: float = 30.0) -> None:
        self.url = url.rstrip("/")
        self._timeout_s = timeout_s
        self._opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))

    def behave(
        self,
        account: str | None = None,
        *,
        suffix: str | None = None,
        next: int | None = None,
        **behaviour: Any,
    ) -> None:
        """Change how it behaves: for good, for recipients that end in `suffix`, or for the `next` calls."""
        order = {"account": account, "suffix": suffix, "next": next, "behaviour": behaviour}
        self._call("POST", "/sandbox/behaviour", {name: value for name, value in order.items() if value})

    def make_account(self, key: str, *, credit: int | None = None) -> None:
        """Add an account, or set how many messages it has paid for (None: without end)."""
        self._call("POST", "/sandbox/accounts", {"key": key, "credit": credit})

    def reset(self, *, keep_ledger: bool = False) -> None:
        """Back to good behaviour; and forget all messages, unless told otherwise."""
        self._call("POST", "/sandbox/reset", {"keep_ledger": keep_ledger})

    def ledger(self) -> dict[str, Any]:
        """The counts: submissions, accepted, distinct, doubles, answers, reports, reports_waiting."""
        return self._call("GET", "/sandbox/ledger")

    def messages(self, **query: str) -> Iterator[dict[str, Any]]:
        """All messages that were taken, in order; filtered by `to` or `reference`."""
        after: int | None = 0
        while after is not None:
            page = self._call("GET", "/sandbox/messages?" + urllib.parse.urlencode({**query, "after": after}))
            yield from page["messages"]
            after = page["next"]

    def report(self, message_id: str, status: str) -> int:
        """Send one more report about a message; returns the status of the answer."""
        answer = self._call("POST", "/sandbox/report", {"id": message_id, "status": status})
        return int(answer["answer"])

    def wait_for(self, *, timeout_s: float = 30.0, **at_least: int) -> dict[str, Any]:
        """Wait until the ledger's counts are at least these, for example `accepted=10`; returns it."""
        deadline = time.monotonic() + timeout_s
        while True:
            ledger = self.ledger()
            if all(ledger[name] >= count for name, count in at_least.items()):
                return ledger
            if time.monotonic() > deadline:
                raise GatewayClientError(f"waited {timeout_s} s for {at_least}, there is {ledger}")
            time.sleep(0.05)

    def settings(
        self, key: str = DEFAULT_KEY, *, idempotent: bool = False, body: str = "json"
    ) -> dict[str, str]:
        """The settings of the product's `http` gateway that connect it to this one.

        `idempotent` says that the account was told to `deduplicate`.
        """
        template = {
            "to": "{to}",
            "text": "{text}",
            "from": "{from}",
            "reference": "{reference}",
            "callback": "{report_url}",
        }
        return {
            "url": f"{self.url}/v1/messages",
            "method": "POST",
            "body": body,
            "template": json.dumps(template),
            "headers": json.dumps({"Authorization": f"Bearer {key}"}),
            "originator": "SANDBOX",
            "id_path": "id",
            "error_path": "error.code",
            "error_text_path": "error.text",
            "error_map": json.dumps(ERROR_MAP),
            "report_reference_path": "reference",
            "report_status_path": "status",
            "status_map": json.dumps(STATUS_MAP),
            "idempotent": "true" if idempotent else "false",
            "check_url": f"{self.url}/v1/balance",
            "balance_path": "balance",
        }

    def lookup_settings(self, key: str = DEFAULT_KEY) -> dict[str, str]:
        """The same for an account whose messages can be looked up by our reference."""
        return {**self.settings(key), "lookup_url": f"{self.url}/v1/references/{{reference}}"}

    def _call(self, method: str, path: str, order: dict[str, Any] | None = None) -> dict[str, Any]:
        body = None if order is None else json.dumps(order).encode()
        request = urllib.request.Request(
            self.url + path, body, {"Content-Type": "application/json"}, method=method
        )
        try:
            with self._opener.open(request, timeout=self._timeout_s) as answer:
                parsed: dict[str, Any] = json.load(answer)
        except urllib.error.HTTPError as error:
            with error:
                raise GatewayClientError(error.read().decode(errors="replace")) from None
        return parsed
