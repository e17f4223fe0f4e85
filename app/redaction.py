"""What must not be read by whoever reads a log: one rule for every logger of the product and for Sentry.

gunicorn's configuration runs this file by its path, so it imports nothing of ours.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any

HIDDEN = "***"
LONGEST = 50_000  # characters of one text; nobody reads more of a line
DEEPEST = 12
SHORT = 32
SHORTEST_VALUE = 8  # a shorter secret would hide words of the language, too

# Names of ours for what was written down on purpose; they look like tokens and are none.
_NAMES_OF_ROWS = frozenset({"message_id", "member_id", "gateway_message_id", "reference", "request_id"})

_KEY = (
    r"(?<![a-z])auth|token|secret|passw|pwd|api_?key|api_?id|signing|signature|credential|refresh_id|cookie|session"
    r"|message_to|message_body|message_text|phone|recipient"
)
_RULES = (
    # HANDLER and report addresses, also percent-encoded: what follows the slug is a secret.
    (re.compile(r"(?i)((?:/|%2f)reports(?:/|%2f)[a-z0-9_]{1,32}(?:/|%2f))[^\s'\"<>]+"), rf"\1{HIDDEN}"),
    (
        re.compile(r"(?i)((?:/|%2f)(?:sms|reports)(?:/|%2f))(?![a-z0-9_]{1,32}/\*\*\*)[^\s'\"<>]+"),
        rf"\1{HIDDEN}",
    ),
    # Queries carry tokens, texts and numbers of every server that we call or that calls us.
    (re.compile(r"\?[^\s'\"<>=?]{1,200}=[^\s'\"<>]*"), f"?{HIDDEN}"),
    (re.compile(r"(://)[^\s/@'\"]{1,400}@"), rf"\1{HIDDEN}@"),
    (re.compile(r"(?i)\b(bearer|basic) +[a-z0-9+/=._~:-]{6,}"), rf"\1 {HIDDEN}"),
    # name=value, "name": "value", ('name', 'value'), as forms, JSON and Python write them.
    (
        re.compile(
            rf"(?i)((?:\b|%5b|_)[\w\[\]%.-]{{0,40}}(?:{_KEY})[\w\[\]%.-]{{0,40}}['\"]?(?:\s*[=:]\s*|',\s*|\",\s*))"
            r"(?:b?\"(?:[^\"\\]|\\.)*\"|b?'(?:[^'\\]|\\.)*'|[^\s&,;'\"()\[\]{}<>]+)"
        ),
        rf"\1{HIDDEN}",
    ),
    (re.compile(r"(?i)(\+|%2b)(\d{2})\d{3,11}(\d{2})(?!\d)"), rf"\1\2{HIDDEN}\3"),
)
_SECRET_NAME = re.compile(rf"(?i){_KEY}")
_WORD = re.compile(r"[A-Za-z0-9_-]{24,}")
_HEX = re.compile(r"[0-9a-f]{33,}")
_KINDS = (re.compile(r"[a-z]"), re.compile(r"[A-Z]"), re.compile(r"[0-9]"))

_values: tuple[str, ...] = ()


def know(values: Iterable[str]) -> None:
    """Secrets of this process; they are hidden wherever they stand."""
    global _values
    _hide_word.cache_clear()
    _values = tuple(sorted((v for v in set(values) if len(v) >= SHORTEST_VALUE), key=len, reverse=True))


def hide(text: str) -> str:
    """`text` without secrets, texts of messages and full numbers."""
    return _hide_word(text) if len(text) <= SHORT else _hide(text)


@lru_cache(maxsize=4096)
def _hide_word(text: str) -> str:
    """Names of fields, events and states come again in every line."""
    return _hide(text)


def _hide(text: str) -> str:
    if len(text) > LONGEST:
        text = text[:LONGEST] + " ... (cut)"
    for value in _values:
        text = text.replace(value, HIDDEN)
    for rule, instead in _RULES:
        text = rule.sub(instead, text)
    return _WORD.sub(_unless_plain, text)


def _unless_plain(found: re.Match[str]) -> str:
    """A long word of small and capital letters and digits is a token; so is long hexadecimal."""
    word = found[0]
    is_token = all(kind.search(word) for kind in _KINDS) or _HEX.fullmatch(word)
    return HIDDEN if is_token else word


def hide_all(value: Any, depth: int = 0) -> Any:
    """The same for every text inside of lists and mappings; what is neither becomes its text."""
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, str) or depth >= DEEPEST:
        return hide(str(value))
    if isinstance(value, Mapping):
        return {hide(str(key)): _hide_field(str(key), inner, depth) for key, inner in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [hide_all(inner, depth + 1) for inner in value]
    return hide(str(value))


def _hide_field(name: str, value: Any, depth: int) -> Any:
    if isinstance(value, str) and name in _NAMES_OF_ROWS and "/" not in value:
        return value[:200]
    if isinstance(value, str) and value and _SECRET_NAME.search(name):
        return HIDDEN
    return hide_all(value, depth + 1)
