"""Catalogues: what is there is sound, and what is not there is English."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from babel.messages.catalog import Catalog, Message
from babel.messages.pofile import read_po

from app.gateways.base import CheckResult
from app.transport import NoAnswer, NotSent, TransportError
from app.words import catalogues
from app.words.catalogues import ADAPTERS, FOLDER, PAGES, PORTAL, catalogue, file_of, locales

ROOT = Path(__file__).resolve().parents[2]
CATALOGUES = sorted(FOLDER.glob("*/LC_MESSAGES/*.po"))
_BRACES = re.compile(r"\{\w+\}")
_PLACEHOLDER = re.compile(r"%\(\w+\)s")


def _texts(path: Path) -> list[Message]:
    with path.open("rb") as file:
        found: Catalog = read_po(file, locale=path.parents[1].name)
    return [message for message in found if message.id]


def _forms(message: Message) -> list[tuple[str, list[str]]]:
    """Each translated form beside the source forms that it may follow."""
    sources = list(message.id) if isinstance(message.id, tuple) else [message.id]
    forms = message.string if isinstance(message.string, tuple) else (message.string,)
    return [(form, sources) for form in forms if form]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The catalogues in a folder where a test may change them."""
    copy = shutil.copytree(FOLDER, tmp_path / "translations")
    monkeypatch.setattr(catalogues, "FOLDER", copy)
    catalogue.cache_clear()
    yield copy
    catalogue.cache_clear()


def test_the_languages_that_we_promise_are_there() -> None:
    assert {"ru", "de", "es", "pt_BR", "fr", "pl", "tr", "uk", "ar"} <= locales(PAGES) & locales(PORTAL)


@pytest.mark.parametrize("path", CATALOGUES, ids=lambda path: f"{path.parents[1].name}-{path.stem}")
def test_a_translation_has_the_places_of_its_text(path: Path) -> None:
    for message in _texts(path):
        for form, sources in _forms(message):
            for places in (_PLACEHOLDER, _BRACES):
                assert set(places.findall(form)) in [set(places.findall(text)) for text in sources], (
                    message.id
                )


def test_nothing_compiled_lies_beside_a_catalogue() -> None:
    assert list(FOLDER.rglob("*.mo")) == []


def test_a_text_that_a_catalogue_lacks_is_english(folder: Path) -> None:
    file = file_of(PAGES, "de")
    kept = file.read_text(encoding="utf-8").replace('msgid "Overview"\nmsgstr "Übersicht"', "")
    file.write_text(kept.replace('msgid "Messages"\nmsgstr "Nachrichten"', 'msgid "Messages"\nmsgstr ""'))

    german = catalogue(PAGES, "de")

    assert german.gettext("Overview") == "Overview"  # not in the catalogue
    assert german.gettext("Messages") == "Messages"  # there, and not translated yet
    assert german.gettext("Senders") == "Absender"


def test_a_changed_catalogue_is_read_as_it_is(folder: Path) -> None:
    file = file_of(PAGES, "de")
    file.write_text(file.read_text(encoding="utf-8").replace("Übersicht", "Auf einen Blick"))

    assert catalogue(PAGES, "de").gettext("Overview") == "Auf einen Blick"


@pytest.mark.parametrize(
    "error", [NotSent("the connection was refused"), NoAnswer("no complete answer came in time")]
)
def test_a_gateway_that_was_not_reached_is_told_in_the_persons_language(error: TransportError) -> None:
    found = CheckResult.unreachable(error)

    for locale in ("ar", "de", "ru"):
        for text in (found.text, found.why):
            assert catalogue(ADAPTERS, locale).gettext(text) != text
