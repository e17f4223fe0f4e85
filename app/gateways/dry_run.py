"""The request that an adapter would make, without making it and without a secret in it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from app.gateways.base import Context, Gateway, Outgoing
from app.transport import HttpAnswer, NotSent, as_written

HIDDEN = "*****"
BODY_LIMIT = 8_000
_NOTHING_WENT_OUT = "only a dry run"


@dataclass(frozen=True)
class WrittenCall:
    """A request as it would go out, its secrets hidden."""

    method: str
    url: str
    headers: tuple[tuple[str, str], ...]
    body: str


class _Recorder:
    """Takes the first call that an adapter makes, and makes none."""

    def __init__(self) -> None:
        self.calls: list[WrittenCall] = []

    def request(self, method: str, url: str, **options: Any) -> HttpAnswer:
        auth = options.get("auth")
        parts = {name: options.get(name) for name in ("params", "headers", "data", "json")}
        target, headers, body = as_written(method, url, **parts)
        if auth is not None:
            headers = {**headers, "Authorization": f"Basic base64({auth[0]}:{HIDDEN})"}
        shown = tuple((name, value) for name, value in headers.items() if name != "Content-Length")
        self.calls.append(WrittenCall(method, target, shown, _readable(body)[:BODY_LIMIT]))
        raise NotSent(_NOTHING_WENT_OUT)


def _readable(body: str) -> str:
    """JSON a line for each field; how it is laid out means nothing to a gateway."""
    try:
        return json.dumps(json.loads(body), indent=2, ensure_ascii=False)
    except ValueError:
        return body


def dry_run(adapter: type[Gateway], settings: Mapping[str, str], message: Outgoing) -> WrittenCall | None:
    """What would be sent first for this message; None when the adapter calls nobody."""
    recorder = _Recorder()
    gateway = adapter(hidden(adapter, settings), Context(recorder))
    try:
        gateway.submit(message)
    except Exception:  # noqa: S110 - the call that stops it is what we came for; without secrets much may fail
        pass
    return recorder.calls[0] if recorder.calls else None


def hidden(adapter: type[Gateway], settings: Mapping[str, str]) -> dict[str, str]:
    """Settings with every secret replaced, so that nothing that is made of them holds one."""
    secret = {field.name: field.kind for field in adapter.fields if field.secret}
    return {
        name: value if name not in secret or not value else _hidden(value, secret[name])
        for name, value in settings.items()
    }


def _hidden(value: str, kind: str) -> str:
    if kind != "json":
        return HIDDEN
    try:
        return json.dumps({name: _without_words(text) for name, text in json.loads(value).items()})
    except (ValueError, AttributeError):
        return "{}"


def _without_words(text: Any) -> str:
    """A header's placeholders stay, to show where they stand; all that was typed goes."""
    return str(text) if isinstance(text, str) and text in ("{secret}", "Bearer {secret}") else HIDDEN
