"""What the gateway tests share: samples, adapters that talk to a peer, and messages."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit, urlunsplit

from app.gateways.base import Context, Gateway, InboundHttp, Outgoing
from app.gateways.registry import load_registry
from app.gateways.settings import validate_settings
from app.transport import HttpAnswer, HttpClient

SAMPLES = Path(__file__).parent.parent / "samples" / "gateways"
ADAPTERS = load_registry().adapters

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

_CLIENT = HttpClient(allow_private=True, timeout_s=5)


class Rerouted:
    """The real client, with every host replaced by a peer on the loopback."""

    def __init__(self, peer_url: str, timeout_s: float = 5.0) -> None:
        self._peer = urlsplit(peer_url)
        self._timeout_s = timeout_s

    def request(self, method: str, url: str, **more: Any) -> HttpAnswer:
        rerouted = urlsplit(url)._replace(scheme=self._peer.scheme, netloc=self._peer.netloc)
        more["timeout_s"] = min(more.get("timeout_s") or self._timeout_s, self._timeout_s)
        return _CLIENT.request(method, urlunsplit(rerouted), **more)


class Recorded:
    """Answers everything alike and keeps what it was asked."""

    def __init__(self, *answers: HttpAnswer) -> None:
        self.calls: list[dict[str, Any]] = []
        self._answers = list(answers)

    def request(self, method: str, url: str, **more: Any) -> HttpAnswer:
        self.calls.append({"method": method, "url": url, **more})
        return self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]


def json_answer(body: Any, status: int = 200, **headers: str) -> HttpAnswer:
    """An answer with JSON in it."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return HttpAnswer(status, {"Content-Type": "application/json", **named}, json.dumps(body).encode())


def sample(slug: str) -> dict[str, Any]:
    """The samples of a gateway."""
    loaded: dict[str, Any] = json.loads((SAMPLES / f"{slug}.json").read_text())
    return loaded


def make(slug: str, http: Any, **changes: str) -> Gateway:
    """An adapter with its sample settings, some of them changed, validated as by form and command."""
    adapter = ADAPTERS[slug]
    settings = validate_settings(adapter, {**sample(slug)["settings"], **changes}, allow_private=True)
    return adapter(settings, Context(http))


def inbound(report: dict[str, Any], **changes: Any) -> InboundHttp:
    """A call at a report URL, from a sample."""
    request = InboundHttp(
        method=report["method"],
        url=report["url"],
        query=urlsplit(report["url"]).query,
        headers=report["headers"],
        body=report["body"].encode(),
        reference=report.get("reference", ""),
    )
    return replace(request, **changes)


def form(slug: str, fields: Mapping[str, str], *, reference: str = "") -> InboundHttp:
    """A report in form fields."""
    return _report(slug, "POST", body=urlencode(fields).encode(), reference=reference)


def query(slug: str, fields: Mapping[str, str], *, reference: str = "") -> InboundHttp:
    """A report in the query of a GET."""
    return _report(slug, "GET", query=urlencode(fields), reference=reference)


def posted_json(slug: str, body: Any, *, reference: str = "", **headers: str) -> InboundHttp:
    """A report in JSON; header names are written with _ for -."""
    return _report(slug, "POST", body=json.dumps(body).encode(), reference=reference, headers=headers)


def _report(
    slug: str,
    method: str,
    *,
    body: bytes = b"",
    query: str = "",
    reference: str = "",
    headers: Mapping[str, str] | None = None,
) -> InboundHttp:
    kind = "application/json" if body[:1] in (b"{", b"[") else "application/x-www-form-urlencoded"
    named = {name.lower().replace("_", "-"): value for name, value in (headers or {}).items()}
    path = f"https://sms.example.org/reports/{slug}/K7" + (f"/{reference}" if reference else "")
    url = f"{path}?{query}" if query else path
    return InboundHttp(method, url, query, {"content-type": kind, **named}, body, reference)


def page(slug: str) -> str:
    """The documentation of a gateway."""
    return (Path(__file__).parents[2] / "docs" / "gateways" / f"{slug}.md").read_text()


def assert_page_has(slug: str, statuses: Mapping[str, Any], codes: Mapping[str, Any]) -> None:
    """The tables of a page are those of the code."""
    text = page(slug)
    for word, status in statuses.items():
        assert f"| `{word}` | {status} |" in text
    for code, kind in codes.items():
        assert f"| {code} | {kind} |" in text
