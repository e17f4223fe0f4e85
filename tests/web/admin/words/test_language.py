"""Languages: the portal's own codes, right to left, time zones; a text without translation is English."""

from __future__ import annotations

from contextvars import Context
from datetime import UTC, datetime

import pytest
from flask import Flask

from app.web.admin.words import language
from app.words.languages import LOCALES
from tests.web.visitor import Visitor


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
            language.use("en", zone)
            return language.when(datetime(2026, 1, 15, 8, 30, tzinfo=UTC))

    assert shown in Context().run(show)
