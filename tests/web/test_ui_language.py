"""Languages: complete catalogues, the portal's own codes, right to left, time zones."""

from __future__ import annotations

import ast
import io
import re
import subprocess
import sys
from contextvars import Context
from datetime import UTC, datetime
from pathlib import Path

import pytest
from babel.messages.catalog import Catalog, Message
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po
from flask import Flask

from app.web import ui_language
from app.web.ui_language import LOCALES, TRANSLATIONS
from tests.web.visitor import Visitor

ROOT = Path(__file__).resolve().parents[2]
CATALOGUES = sorted(TRANSLATIONS.glob("*/LC_MESSAGES/messages.po"))
ADAPTERS = sorted(TRANSLATIONS.glob("*/LC_MESSAGES/gateways.po"))
_BRACES = re.compile(r"\{\w+\}")
_PLACEHOLDER = re.compile(r"%\(\w+\)s")


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Catalog:
    """Every text of the code and the templates as it stands."""
    target = tmp_path_factory.mktemp("texts") / "messages.pot"
    extract = ["-m", "babel.messages.frontend", "-q", "extract", "-F", "babel.cfg", "-o", str(target), "."]
    subprocess.run([sys.executable, *extract], cwd=ROOT, check=True, timeout=60)
    with target.open("rb") as file:
        return read_po(file)


def _catalogue(path: Path) -> Catalog:
    with path.open("rb") as file:
        return read_po(file, locale=path.parents[1].name)


def _forms(message: Message) -> list[tuple[str, list[str]]]:
    """Each translated form beside the source forms that it may follow."""
    sources = list(message.id) if isinstance(message.id, tuple) else [message.id]
    forms = message.string if isinstance(message.string, tuple) else (message.string,)
    return [(form, sources) for form in forms]


def test_the_languages_that_we_promise_are_there() -> None:
    promised = {"ru", "de", "es", "pt_BR", "fr", "pl", "tr", "uk"}
    assert promised <= {path.parents[1].name for path in CATALOGUES}


@pytest.mark.parametrize("path", CATALOGUES, ids=lambda path: path.parents[1].name)
def test_a_catalogue_is_complete(path: Path, source: Catalog) -> None:
    catalogue = _catalogue(path)
    wanted = {message.id for message in source if message.id}
    found = {message.id: message for message in catalogue if message.id}

    assert wanted - set(found) == set(), "run pybabel extract, update and compile"
    assert set(found) - wanted == set(), "obsolete"
    for message in found.values():
        assert not message.fuzzy, message.id
        for form, sources in _forms(message):
            assert form, message.id
            expected = [set(_PLACEHOLDER.findall(text)) for text in sources]
            assert set(_PLACEHOLDER.findall(form)) in expected, message.id


@pytest.mark.parametrize("path", ADAPTERS, ids=lambda path: path.parents[1].name)
def test_translated_texts_of_adapters_are_theirs_still(path: Path) -> None:
    """An adapter needs no translation; but one that is there must be of a text that is there."""
    trees = [ast.parse(file.read_text(encoding="utf-8")) for file in (ROOT / "app/gateways").glob("*.py")]
    texts = {node.value for tree in trees for node in ast.walk(tree) if isinstance(node, ast.Constant)}

    for message in _catalogue(path):
        if message.id:
            assert message.id in texts
            assert message.string, message.id
            assert set(_BRACES.findall(message.string)) == set(_BRACES.findall(message.id)), message.id


@pytest.mark.parametrize(
    "path", CATALOGUES + ADAPTERS, ids=lambda path: f"{path.parents[1].name}-{path.stem}"
)
def test_what_is_compiled_is_what_is_written(path: Path) -> None:
    compiled = io.BytesIO()
    write_mo(compiled, _catalogue(path))

    assert path.with_suffix(".mo").read_bytes() == compiled.getvalue(), "run pybabel compile"


def test_every_code_of_the_portal_has_a_locale() -> None:
    european = {"en", "ru", "la", "br", "fr", "it", "pl", "de", "ua", "tr"}
    others = {"sc", "tc", "ja", "vn", "id", "ms", "th", "kz", "in", "ar"}

    assert set(LOCALES) == european | others


@pytest.mark.parametrize(
    ("lang", "heading", "language"),
    [
        ("ru", "Обзор", "ru"),
        ("de", "Übersicht", "de"),
        ("la", "Resumen", "es"),
        ("br", "Visão geral", "pt-BR"),
        ("fr", "Vue d’ensemble", "fr"),
        ("pl", "Przegląd", "pl"),
        ("tr", "Genel bakış", "tr"),
        ("ua", "Огляд", "uk"),
        ("ar", "نظرة عامة", "ar"),
        ("th", "Overview", "en"),
    ],
)
def test_the_pages_speak_the_persons_language(admin: Visitor, lang: str, heading: str, language: str) -> None:
    opening = admin.opening("/app")
    opening["query"]["LANG"] = lang

    whole = admin.post("/app", opening)
    page = admin.get("/ui/overview")

    assert f'<html lang="{language}"' in whole.text
    assert heading in whole.text
    assert heading in page.text


def test_a_form_of_a_gateway_speaks_the_persons_language(admin: Visitor) -> None:
    opening = admin.opening("/app")
    opening["query"]["LANG"] = "ru"
    admin.post("/app", opening)

    shown = admin.get("/ui/gateway?gateway=http").text
    wrong = admin.submit("/ui/gateway", **{"gateway": "http", "set-url": ""}).text

    assert "Имя отправителя" in shown
    assert "Поле «Адрес» обязательно." in wrong


def test_a_system_page_speaks_the_language_of_the_address(admin: Visitor) -> None:
    answer = admin.send("GET", "/app", query_string={"LANG": "de"})

    assert "Öffnen Sie diese App aus Bitrix24" in answer.text


@pytest.mark.parametrize(
    ("zone", "shown"),
    [("Europe/Berlin", "9:30"), ("Asia/Tokyo", "5:30"), ("", "8:30"), ("../../etc/passwd", "8:30")],
)
def test_times_are_in_the_persons_time_zone(web: Flask, zone: str, shown: str) -> None:
    def show() -> str:
        with web.test_request_context():
            ui_language.use("en", zone)
            return ui_language.when(datetime(2026, 1, 15, 8, 30, tzinfo=UTC))

    assert shown in Context().run(show)
