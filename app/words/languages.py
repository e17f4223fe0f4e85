"""Bitrix24's own codes of languages, and what the rest of the world calls them."""

from __future__ import annotations

# Not ISO: `la` is Spanish, `br` Portuguese, `ua` Ukrainian, `sc` and `tc` Chinese.
LOCALES = {
    "en": "en",
    "ru": "ru",
    "de": "de",
    "la": "es",
    "br": "pt_BR",
    "fr": "fr",
    "it": "it",
    "pl": "pl",
    "ua": "uk",
    "tr": "tr",
    "id": "id",
    "ms": "ms",
    "th": "th",
    "ja": "ja",
    "ar": "ar",
    "vn": "vi",
    "kz": "kk",
    "in": "hi",
    "sc": "zh_Hans",
    "tc": "zh_Hant",
}
RIGHT_TO_LEFT = frozenset({"ar"})


def locale_of(language: str) -> str:
    """English for a code that nobody knows."""
    return LOCALES.get(language, "en")
