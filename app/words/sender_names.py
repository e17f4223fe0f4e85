"""How our sender describes itself in a portal's list, by Bitrix24's own codes of languages."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache

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
