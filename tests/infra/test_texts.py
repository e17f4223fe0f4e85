"""`make texts` and `make release-check`: what the languages lack."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from app.words import catalogues
from sandbox.processes import PROJECT
from scripts import texts as script

Texts = Callable[..., str]


@pytest.fixture
def copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The project's texts, with a new one on a page that nobody has translated."""
    for name in ("web", "words", "gateways", "transport"):
        left_out = shutil.ignore_patterns("__pycache__", "static")
        shutil.copytree(PROJECT / "app" / name, tmp_path / "app" / name, ignore=left_out)
    monkeypatch.setattr(catalogues, "FOLDER", tmp_path / "app/words/translations")
    page = next((tmp_path / "app/web").rglob("templates")) / "new.html"
    page.write_text("<p>{{ _('A text of this morning') }}</p>")
    return tmp_path


@pytest.fixture
def texts(copy: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Texts:
    """The command over the copy: what it prints."""
    monkeypatch.setattr(script, "PROJECT", copy)

    def run(*arguments: str) -> str:
        capsys.readouterr()
        script.main(list(arguments))
        return capsys.readouterr().out

    return run


def test_a_missing_text_is_listed_and_red_before_a_release_only(texts: Texts) -> None:
    assert texts("list").count("missing: A text of this morning") == 9
    with pytest.raises(SystemExit, match="not ready for a release"):
        texts("check")


def test_the_missing_text_waits_in_the_catalogue_for_its_translator(copy: Path, texts: Texts) -> None:
    catalogue = copy / "app/words/translations/ru/LC_MESSAGES/messages.po"
    entry = 'msgid "A text of this morning"\nmsgstr "'

    texts("update")
    untranslated = catalogue.read_text(encoding="utf-8")
    catalogue.write_text(untranslated.replace(entry, entry + "Утренний текст"), encoding="utf-8")

    assert f'{entry}"' in untranslated
    assert texts("list").count("missing: A text of this morning") == 8


def test_bringing_up_to_date_twice_changes_nothing(copy: Path, texts: Texts) -> None:
    folder = copy / "app/words/translations"

    texts("update")
    first = {path: path.read_bytes() for path in folder.rglob("*.po")}
    texts("update")

    assert {path: path.read_bytes() for path in folder.rglob("*.po")} == first


def test_a_new_language_begins_with_every_text_in_english(copy: Path, texts: Texts) -> None:
    texts("start", "nl")

    begun = (copy / "app/words/translations/nl/LC_MESSAGES/portal.po").read_text(encoding="utf-8")
    assert 'msgid "The trouble with the SMS gateway is over.' in begun
    assert "FULL NAME" not in begun
