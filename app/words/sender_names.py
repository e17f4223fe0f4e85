"""How our sender describes itself in a portal's list, by Bitrix24's own codes of languages.

The portal keeps one row for each language and merges: what an update leaves out stays as it was, for ever,
and a plain text changes only the row for everybody else. So every text goes there as a map of all languages
that the portal may have a row of.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cache

from app.domain.senders import ENGLISH, Text
from app.words.catalogues import N_, PORTAL, catalogue, locales
from app.words.languages import LOCALES

_DESCRIPTION = N_("SMS through the gateway that your administrator connected, with delivery status")


def _described(locale: str) -> str:
    return catalogue(PORTAL, locale).gettext(_DESCRIPTION)


@cache
def descriptions() -> Mapping[str, str]:
    """English comes first: the portal shows the first entry to everybody whose language is missing."""
    return {
        code: _described(locale)
        for code, locale in LOCALES.items()
        if code == "en" or (locale in locales(PORTAL) and _described(locale) != _DESCRIPTION)
    }


def languages() -> tuple[str, ...]:
    """Those in which the sender describes itself, English first."""
    return tuple(descriptions())


def in_all_languages(own: Text, products: Mapping[str, str], more: Iterable[str]) -> dict[str, str]:
    """A sender's text in each of our languages and in `more` of them, English first.

    A language without a text of its own has the sender's English one, and where there is none the product's.
    """
    texts = {language.lower(): text for language, text in own.items()} if not isinstance(own, str) else {}
    general = texts.get(ENGLISH) or (own if isinstance(own, str) else "")
    return {
        language: texts.get(language) or general or products.get(language) or products[ENGLISH]
        for language in dict.fromkeys((*languages(), *more))
    }
