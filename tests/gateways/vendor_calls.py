"""What a call says, ours or that of a vendor's own client, in a form that can be compared."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from unittest.mock import patch
from urllib.parse import parse_qsl, urlsplit

import requests
from requests.adapters import HTTPAdapter


@dataclass(frozen=True)
class Sent:
    """A request without what every client writes in its own way (User-Agent, order of fields)."""

    method: str
    address: str  # without the query
    query: Mapping[str, str]
    fields: Any  # of the form, or the JSON
    authorization: str


def ours(call: Mapping[str, Any]) -> Sent:
    """One of the calls that `world.Recorded` kept."""
    parts = {name: call.get(name) for name in ("params", "headers", "data", "json", "auth")}
    return read(requests.Request(call["method"], call["url"], **parts).prepare())


def read(written: requests.PreparedRequest) -> Sent:
    """A request as it would go out."""
    url = urlsplit(str(written.url))
    body = written.body or ""
    text = body.decode() if isinstance(body, bytes) else str(body)
    is_json = "json" in str(written.headers.get("Content-Type", "")) and text
    return Sent(
        method=str(written.method),
        address=f"{url.scheme}://{url.netloc}{url.path}",
        query=dict(parse_qsl(url.query, keep_blank_values=True)),
        fields=json.loads(text) if is_json else dict(parse_qsl(text, keep_blank_values=True)),
        authorization=str(written.headers.get("Authorization", "")),
    )


@contextmanager
def vendor_calls(answer: Any) -> Iterator[list[Sent]]:
    """Every call that a client makes through requests; it gets `answer` as JSON, and nothing goes out."""
    calls: list[Sent] = []

    def send(_: HTTPAdapter, request: requests.PreparedRequest, **__: Any) -> requests.Response:
        calls.append(read(request))
        response = requests.Response()
        response.status_code, response.url, response.request = 200, str(request.url), request
        response.headers["Content-Type"] = "application/json"
        response._content = json.dumps(answer).encode()
        return response

    with patch.object(HTTPAdapter, "send", send):
        yield calls
