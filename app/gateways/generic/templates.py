"""Templates: texts with placeholders such as `{to}` and `{text|base64}`, filled in one pass.

A value can never change the structure around it: JSON is filled leaf by leaf, forms and addresses are quoted,
XML is escaped, and a placeholder inside a message stays what the sender wrote.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any
from urllib.parse import quote
from xml.sax.saxutils import escape as xml_escape

Escape = Callable[[str], str]

PLACEHOLDER = re.compile(r"\{([a-z][a-z0-9_]*)((?:\|[a-z0-9]+)*)\}")


def _seconds(value: str) -> int:
    return int(value) if value.isascii() and value.isdigit() else 0


FILTERS: dict[str, Escape] = {
    "json": lambda value: json.dumps(value)[1:-1],
    "url": lambda value: quote(value, safe=""),
    "xml": lambda value: xml_escape(value, {'"': "&quot;", "'": "&apos;"}),
    "hexucs2": lambda value: value.encode("utf-16-be", errors="surrogatepass").hex().upper(),
    "base64": lambda value: base64.b64encode(value.encode()).decode(),
    "digits": lambda value: re.sub(r"\D", "", value),
    "minutes": lambda value: str(max(1, -(-_seconds(value) // 60))),
    "hours": lambda value: str(max(1, -(-_seconds(value) // 3600))),
    "milliseconds": lambda value: str(_seconds(value) * 1000),
    "number": str,  # alone in a leaf of JSON: written without quotes
    "base": lambda value: value.rstrip("/").removesuffix("/send"),  # the root of a server's API
    "raw": str,  # as it stands: no escaping follows
}


def fill(text: str, values: Mapping[str, str], escape: Escape = str) -> str:
    """A text with its placeholders replaced; a placeholder without a value becomes empty."""

    def replaced(match: re.Match[str]) -> str:
        value = values.get(match[1], "")
        filters = match[2].split("|")[1:]
        for name in filters:
            value = FILTERS[name](value)
        return value if filters and filters[-1] in ("raw", "url", "xml", "json", "base") else escape(value)

    return PLACEHOLDER.sub(replaced, text)


def fill_leaves(value: Any, values: Mapping[str, str]) -> Any:
    """A parsed template with its texts filled in. A leaf that is one empty placeholder is left out."""
    if isinstance(value, str):
        return _leaf(value, values)
    if isinstance(value, dict):
        kept = {name: inner for name, inner in value.items() if not _is_left_out(inner, values)}
        return {name: fill_leaves(inner, values) for name, inner in kept.items()}
    if isinstance(value, list):
        return [fill_leaves(inner, values) for inner in value]
    return value


def _leaf(text: str, values: Mapping[str, str]) -> Any:
    filled = fill(text, values)
    alone = PLACEHOLDER.fullmatch(text)
    if alone and alone[2].endswith("|number") and re.fullmatch(r"-?[0-9]{1,15}", filled):
        return int(filled)
    return filled


def _is_left_out(leaf: Any, values: Mapping[str, str]) -> bool:
    """An account without an originator sends no originator: many gateways refuse an empty one."""
    alone = PLACEHOLDER.fullmatch(leaf) if isinstance(leaf, str) else None
    return alone is not None and alone[1] not in ("text", "to") and not values.get(alone[1])


def flat(fields: Mapping[str, Any]) -> dict[str, str]:
    """Form fields: numbers and truth values as JSON writes them; null leaves a field out."""
    return {
        name: value if isinstance(value, str) else json.dumps(value)
        for name, value in fields.items()
        if value is not None
    }


def placeholders(*values: Any) -> set[str]:
    """The names of all placeholders in texts and parsed templates."""
    return {match[1] for value in values for text in leaves(value) for match in PLACEHOLDER.finditer(text)}


def unknown_filters(*values: Any) -> set[str]:
    """Filters that do not exist."""
    found = (match[2] for value in values for text in leaves(value) for match in PLACEHOLDER.finditer(text))
    return {name for filters in found for name in filters.split("|")[1:]} - FILTERS.keys()


def leaves(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for inner in value.values():
            yield from leaves(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from leaves(inner)
