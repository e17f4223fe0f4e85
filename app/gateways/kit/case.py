"""One gateway under test: its class, its samples, and ways to call it without its vendor."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import pytest

from app.gateways.base import Context, Gateway, GatewayCall, Http, Outgoing
from app.gateways.settings import validate_settings
from app.transport import HttpAnswer, HttpClient, Reach

MESSAGE = Outgoing(
    reference="r1",
    recipient="+14155552345",
    text="Hello",
    originator="",
    report_url="https://sms.example.org/reports/x/K7/r1",
    encoding="gsm7",
    segments=1,
    validity_s=3600,
)
_NEEDED = ("source", "settings")


class Rerouted:
    """The real client, with every host replaced by a peer on the loopback."""

    _client: HttpClient | None = None

    def __init__(self, peer_url: str, timeout_s: float = 5.0) -> None:
        self._peer = urlsplit(peer_url)
        self._timeout_s = timeout_s

    def request(self, method: str, url: str, **more: Any) -> HttpAnswer:
        rerouted = urlsplit(url)._replace(scheme=self._peer.scheme, netloc=self._peer.netloc)
        more["timeout_s"] = min(more.get("timeout_s") or self._timeout_s, self._timeout_s)
        if Rerouted._client is None:
            Rerouted._client = HttpClient(reach=Reach(everywhere=True), timeout_s=5)
        return Rerouted._client.request(method, urlunsplit(rerouted), **more)


class Nobody:
    """No network: whoever calls has misunderstood something."""

    def request(self, method: str, url: str, **more: Any) -> HttpAnswer:
        raise AssertionError(f"this method must make no call, and it calls {method} {url}")


@dataclass(frozen=True)
class Case:
    """A gateway and its file of samples, read when a test asks for it."""

    gateway: type[Gateway]
    file: Path

    @cached_property
    def sample(self) -> dict[str, Any]:
        """The samples; the test fails with a sentence on what to write when they are not there."""
        if not self.file.exists():
            pytest.fail(f"{self.gateway.slug} has no samples: write {self.file}", pytrace=False)
        loaded: dict[str, Any] = json.loads(self.file.read_text(encoding="utf-8"))
        if missing := [key for key in _NEEDED if key not in loaded]:
            pytest.fail(f"{self.file} lacks {', '.join(missing)}", pytrace=False)
        return loaded

    def make(self, http: Http | None = None, **changes: str) -> Gateway:
        """The gateway with its sample settings, some of them changed, validated as by form and command."""
        given = {**self.sample["settings"], **changes}
        settings = validate_settings(self.gateway, given, reach=Reach(everywhere=True))
        return self.gateway(settings, Context(http or Nobody()))

    def secrets(self) -> list[str]:
        settings = self.sample["settings"]
        return [
            settings[field.name] for field in self.gateway.fields if field.secret and field.name in settings
        ]

    @property
    def is_networked(self) -> bool:
        return "accepted" in self.sample

    @property
    def checks(self) -> bool:
        """Whether "Save and check" asks the gateway anything."""
        has_own = self.gateway.check is not Gateway.check
        return self.is_networked and (self.gateway.capabilities.balance or has_own)

    @property
    def is_called_back(self) -> bool:
        return "report" in self.sample


def inbound(report: dict[str, Any], **changes: Any) -> GatewayCall:
    """A call at a report URL, from a sample."""
    request = GatewayCall(
        method=report["method"],
        url=report["url"],
        query=urlsplit(report["url"]).query,
        headers=report["headers"],
        body=report["body"].encode(),
        reference=report.get("reference", ""),
    )
    return replace(request, **changes)
