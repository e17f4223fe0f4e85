"""What the gateway tests share: samples, adapters that talk to a peer, and messages."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from app.gateways.base import Context, Gateway, GatewayCall
from app.gateways.kit.case import MESSAGE, Rerouted, inbound
from app.gateways.registry import load_registry
from app.gateways.settings import validate_settings
from app.transport import HttpAnswer

__all__ = [
    "ADAPTERS",
    "MESSAGE",
    "SAMPLES",
    "Recorded",
    "Rerouted",
    "form",
    "inbound",
    "json_answer",
    "make",
    "query",
    "sample",
]

SAMPLES = Path(__file__).parent.parent / "samples" / "gateways"
ADAPTERS = load_registry().adapters


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


def form(slug: str, fields: Mapping[str, str], *, reference: str = "") -> GatewayCall:
    """A report in form fields."""
    return _report(slug, "POST", body=urlencode(fields).encode(), reference=reference)


def query(slug: str, fields: Mapping[str, str], *, reference: str = "") -> GatewayCall:
    """A report in the query of a GET."""
    return _report(slug, "GET", query=urlencode(fields), reference=reference)


def posted_json(slug: str, body: Any, *, reference: str = "", **headers: str) -> GatewayCall:
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
) -> GatewayCall:
    kind = "application/json" if body[:1] in (b"{", b"[") else "application/x-www-form-urlencoded"
    named = {name.lower().replace("_", "-"): value for name, value in (headers or {}).items()}
    path = f"https://sms.example.org/reports/{slug}/K7" + (f"/{reference}" if reference else "")
    url = f"{path}?{query}" if query else path
    return GatewayCall(method, url, query, {"content-type": kind, **named}, body, reference)


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
