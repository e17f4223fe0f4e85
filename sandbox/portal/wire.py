"""How Bitrix24 writes and reads the wire: PHP brackets, PHP-shaped JSON, requests as the kernel sees them."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any
from urllib.parse import parse_qsl, urlencode

from werkzeug.formparser import parse_form_data

Environ = dict[str, Any]
StartResponse = Callable[..., Any]
Pairs = list[tuple[str, str]]

_SEGMENT = re.compile(r"\[([^\[\]]*)\]")


def flatten(value: Any, name: str = "") -> Pairs:
    """Turn nested maps and lists into bracketed names, as PHP's http_build_query does.

    Empty lists and maps vanish, None too, and booleans become "1" and "0".
    """
    if isinstance(value, Mapping):
        items: Iterable[tuple[Any, Any]] = value.items()
    elif isinstance(value, list | tuple):
        items = enumerate(value)
    elif value is None:
        return []
    elif isinstance(value, bool):
        return [(name, "1" if value else "0")]
    else:
        return [(name, str(value))]
    pairs: Pairs = []
    for key, item in items:
        pairs.extend(flatten(item, f"{name}[{key}]" if name else str(key)))
    return pairs


def encode_form(value: Mapping[str, Any]) -> bytes:
    """Write a bracketed urlencoded body, brackets percent-encoded."""
    return urlencode(flatten(value)).encode("ascii")


def nest(pairs: Iterable[tuple[str, str]]) -> dict[str, Any]:
    """Read bracketed names into maps as PHP does: later values win, `[]` counts up, nothing fails."""
    root: dict[str, Any] = {}
    for name, value in pairs:
        bracket = name.find("[")
        if bracket <= 0 or "]" not in name[bracket:]:
            root[name] = value
            continue
        keys = [name[:bracket], *_SEGMENT.findall(name[bracket:])]
        here = root
        for key, following in zip(keys, [*keys[1:], None], strict=True):
            if key == "" and here is not root:
                key = str(len(here))
            if following is None:
                here[key] = value
                break
            below = here.get(key)
            if not isinstance(below, dict):
                below = here[key] = {}
            here = below
    return root


def decode_form(text: str) -> dict[str, Any]:
    return nest(parse_qsl(text, keep_blank_values=True))


def php_array(value: Mapping[str, Any]) -> dict[str, Any] | list[Any]:
    """Give a map the JSON shape that PHP would: a list when its keys count up from 0, and `[]` when empty."""
    if all(key == str(index) for index, key in enumerate(value)):
        return list(value.values())
    return dict(value)


def as_map(value: Any) -> dict[str, Any]:
    """PHP makes no difference between a list and a map; a scalar is neither."""
    if isinstance(value, dict):
        return {str(key): item for key, item in value.items()}
    if isinstance(value, list):
        return {str(index): item for index, item in enumerate(value)}
    return {}


def is_filled(value: Any) -> bool:
    """The opposite of PHP's empty()."""
    return value not in (None, "", "0", 0, False, [], {})


def scalar(value: Any) -> str:
    if value is None or isinstance(value, dict | list):
        return ""
    if isinstance(value, bool):
        return "1" if value else ""
    return str(value)


def upper_keys(params: Mapping[str, Any]) -> dict[str, Any]:
    return {str(key).upper(): value for key, value in params.items()}


def read_params(environ: Environ) -> dict[str, Any]:
    """Query and body as one map, the body winning.

    JSON counts only for a POST whose form is empty, and JSON that cannot be read is an empty request.
    """
    params = decode_form(environ.get("QUERY_STRING", ""))
    if environ["REQUEST_METHOD"] != "POST":
        return params
    kind = environ.get("CONTENT_TYPE", "").partition(";")[0].strip().lower()
    if kind == "multipart/form-data":
        _, form, _ = parse_form_data(environ)
        params.update(nest(form.items(multi=True)))
        return params
    body: bytes = environ["wsgi.input"].read()
    if kind == "application/x-www-form-urlencoded":
        params.update(decode_form(body.decode("utf-8", "replace")))
    elif body:
        try:
            parsed = json.loads(body)
        except ValueError:
            parsed = None
        params.update(as_map(parsed))
    return params


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole HTTP answer, or the lack of one: `aborted` drops the connection."""

    status: int
    body: bytes
    content_type: str = "application/json; charset=utf-8"
    headers: tuple[tuple[str, str], ...] = ()
    aborted: bool = False

    def send(self, start_response: StartResponse) -> list[bytes]:
        try:
            phrase = HTTPStatus(self.status).phrase
        except ValueError:
            phrase = "Status"
        headers = [("Content-Type", self.content_type), ("Access-Control-Allow-Origin", "*"), *self.headers]
        start_response(f"{self.status} {phrase}", headers)
        return [self.body]


def json_answer(value: Any, status: int = 200) -> Answer:
    return Answer(status, json.dumps(value, ensure_ascii=False).encode())


def shorten(value: str) -> str:
    """Enough of a secret to recognise it in the ledger, and no more."""
    return value if len(value) <= 8 else f"{value[:6]}…"


_SECRET_NAMES = {
    "auth",
    "access_token",
    "refresh_token",
    "client_secret",
    "auth_id",
    "refresh_id",
    "application_token",
    "code_verifier",
}


def without_secrets(value: Any) -> Any:
    """A copy fit for the ledger: the values of well-known secret names are shortened."""
    if isinstance(value, dict):
        return {
            key: shorten(item)
            if isinstance(item, str) and str(key).lower() in _SECRET_NAMES
            else without_secrets(item)
            for key, item in value.items()
        }
    if isinstance(value, list):
        return [without_secrets(item) for item in value]
    return value
