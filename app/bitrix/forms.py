"""Form bodies with PHP brackets, read defensively: `auth[member_id]=x` becomes nested mappings.

What Bitrix24 sends is what PHP's http_build_query writes. A body comes from anybody who knows the
address, so its size, the number of its fields and their depth are bounded before anything is built.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qsl

MAX_FIELDS = 1000
MAX_DEPTH = 8


class BadBody(ValueError):
    """The body is not a form that we read; the text says what is wrong with it."""


def parse_form(body: bytes) -> dict[str, Any]:
    """Nested dictionaries of texts; a list arrives as a dictionary with the keys "0", "1", ...

    Bytes that are not UTF-8 become U+FFFD. Where keys contradict each other the later one counts, as in PHP.

    Raises:
        BadBody: too many fields, too deep.
    """
    try:
        pairs = parse_qsl(
            body.decode("utf-8", errors="replace"),
            keep_blank_values=True,
            max_num_fields=MAX_FIELDS,
            errors="replace",
        )
    except ValueError:
        raise BadBody(f"more than {MAX_FIELDS} fields") from None
    root: dict[str, Any] = {}
    for key, value in pairs:
        _place(root, key, value)
    return root


def _place(root: dict[str, Any], key: str, value: str) -> None:
    path = _path(key)
    node = root
    for name in path[:-1]:
        name = name or str(len(node))
        below = node.get(name)
        if not isinstance(below, dict):
            below = node[name] = {}
        node = below
    node[path[-1] or str(len(node))] = value


def _path(key: str) -> list[str]:
    head, bracket, rest = key.partition("[")
    if not bracket or not head or not key.endswith("]"):
        return [key]
    path = [head, *rest[:-1].split("][")]
    if len(path) > MAX_DEPTH:
        raise BadBody(f"keys deeper than {MAX_DEPTH} levels")
    return path


def text_of(node: Mapping[str, Any], name: str, limit: int = 500) -> str:
    """The text under `name`, empty when it is missing or no text; at most `limit` characters."""
    value = node.get(name, "")
    return value[:limit] if isinstance(value, str) else ""


def node_of(node: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """The mapping under `name`, empty when it is missing or no mapping."""
    value = node.get(name)
    return value if isinstance(value, Mapping) else {}
