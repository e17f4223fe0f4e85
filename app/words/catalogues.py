"""The translators' catalogues, read as they are written: nothing is compiled, so nothing can be out of date.

Reading one takes some milliseconds, once in a process and language. A text that a catalogue lacks is shown in
English, so whoever writes a new one writes it once; `make texts` lists what is to be translated.
"""

from __future__ import annotations

import io
from functools import cache
from pathlib import Path

from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po
from babel.support import NullTranslations, Translations

from app.domain.sentences import N_

__all__ = ["ADAPTERS", "N_", "PAGES", "PORTAL", "catalogue", "file_of", "locales"]

FOLDER = Path(__file__).parent / "translations"

PAGES = "messages"  # the admin's pages
ADAPTERS = "gateways"  # what adapters say: labels, hints, complaints, explanations, why a call failed
PORTAL = "portal"  # what Bitrix24 shows for us: the sender's description, notices


def file_of(domain: str, locale: str) -> Path:
    return FOLDER / locale / "LC_MESSAGES" / f"{domain}.po"


@cache
def locales(domain: str) -> frozenset[str]:
    """The locales that there is a catalogue for, English apart."""
    return frozenset(path.parents[1].name for path in FOLDER.glob(f"*/LC_MESSAGES/{domain}.po"))


@cache
def catalogue(domain: str, locale: str) -> NullTranslations:
    """The texts of one locale; what it lacks stays as it is."""
    file = file_of(domain, locale)
    if not file.exists():
        return NullTranslations()
    with file.open("rb") as source:
        texts = read_po(source, locale=locale)
    compiled = io.BytesIO()
    write_mo(compiled, texts)
    compiled.seek(0)
    return Translations(compiled, domain=domain)
