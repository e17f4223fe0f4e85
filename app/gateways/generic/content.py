"""Bodies as values that a dotted path can walk: JSON, XML, name=value pairs, and plain words."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qsl
from xml.etree import ElementTree

from app.transport import decode_text, parse_json

XML_LIMIT = 200_000
TEXT_LIMIT = 2_000
_DEPTH_LIMIT = 30
_BETWEEN_WORDS = re.compile(r"[\s:;,|=\"'<>()\[\]{}]+")
_PAIRS = re.compile(r"[A-Za-z_][\w.-]{0,40}=[^&\n]*([&\n]\s*[A-Za-z_][\w.-]{0,40}=[^&\n]*)*")


def value_of(body: bytes, content_type: str = "") -> Any:
    """The parsed body. Plain text is `{"text": ..., "words": [...]}` and its name=value pairs.

    The words of `OK: 12345` are `OK` and `12345`, so the path `words.1` finds the id.
    """
    try:
        found = parse_json(body, content_type)
        if isinstance(found, (Mapping, list)):
            return found
    except ValueError:
        pass
    text = decode_text(body[:XML_LIMIT], content_type).strip()
    if text.startswith("<") and "html" not in text[:100].lower():
        return _xml(text)
    short = text[:TEXT_LIMIT]
    pairs = dict(parse_qsl(short.replace("\n", "&"))) if _PAIRS.fullmatch(short) else {}
    return {**pairs, "text": short, "words": [word for word in _BETWEEN_WORDS.split(short) if word]}


def _xml(text: str) -> Any:
    """Elements become objects, attributes `@name`; repeated elements a list. The root is the first step."""
    if "<!DOCTYPE" in text or "<!ENTITY" in text:
        return None  # entities are how a small document becomes a large one
    text = re.sub(r"^<\?xml[^>]*\?>", "", text)
    try:
        root = ElementTree.fromstring(text)  # noqa: S314 - without a document type nothing expands
    except ElementTree.ParseError:
        return None
    return {_name(root.tag): _element(root, 0)}


def _element(element: ElementTree.Element, depth: int) -> Any:
    if depth > _DEPTH_LIMIT:
        return None
    found: dict[str, Any] = {f"@{_name(name)}": value for name, value in element.attrib.items()}
    for child in element:
        name, value = _name(child.tag), _element(child, depth + 1)
        if name not in found:
            found[name] = value
        elif isinstance(found[name], list):
            found[name].append(value)
        else:
            found[name] = [found[name], value]
    text = (element.text or "").strip()
    if not found:
        return text
    return {**found, "#text": text} if text else found


def _name(tag: str) -> str:
    return tag.rpartition("}")[2]


def items_at(value: Any, path: str) -> list[Any]:
    """All reports at a path. A list on the way is walked through, and what is beside it is handed down."""
    found = [value]
    for step in path.split(".") if path else []:
        found = [inner for item in found for inner in _step(item, step)]
    return [inner for item in found for inner in _unfolded(item)]


def _step(item: Any, step: str) -> list[Any]:
    """What one step leads to; a list stays one, until the next step walks through it or picks from it."""
    item = _as_list(item)
    if isinstance(item, list) and step.isdigit():
        return item[int(step) : int(step) + 1] if len(step) < 6 else []
    if isinstance(item, list):
        return [inner for one in item for inner in _step(one, step)]
    if not isinstance(item, Mapping):
        return []
    inner = list(item.values()) if step == "*" else [item[step]] if step in item else []
    beside = {name: value for name, value in item.items() if not isinstance(value, (Mapping, list))}
    return [_with(beside, _as_list(found)) for found in inner]


def _with(beside: Mapping[str, Any], item: Any) -> Any:
    if isinstance(item, list):
        return [_with(beside, one) for one in item]
    return {**beside, **item} if isinstance(item, Mapping) else item


def _as_list(item: Any) -> Any:
    """An object whose names are just the numbers of a list is that list."""
    if isinstance(item, Mapping) and item and all(str(name).isdigit() for name in item):
        return list(item.values())
    return item


def _unfolded(item: Any) -> list[Any]:
    found = _as_list(item)
    return found if isinstance(found, list) else [found]
