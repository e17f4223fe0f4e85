"""Languages: the portal's own codes, right to left, time zones; a text without translation is English."""

from __future__ import annotations

from contextvars import Context
from datetime import UTC, datetime

import pytest
from flask import Flask

from app.web.admin.words import language
from app.words.languages import LOCALES
from tests.worlds.visitor import Visitor


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
    [("Europe/Berlin", "09:30"), ("Asia/Tokyo", "17:30"), ("", "08:30"), ("../../etc/passwd", "08:30")],
)
def test_times_are_in_the_persons_time_zone(web: Flask, zone: str, shown: str) -> None:
    def show() -> str:
        with web.test_request_context():
            language.use("en", zone)
            return language.when(datetime(2026, 1, 15, 8, 30, tzinfo=UTC))

    assert shown in Context().run(show)


@pytest.mark.parametrize(
    ("lang", "zone", "shown"),
    [
        ("en", "Europe/London", "5 Jan 2020, 19:30"),
        ("en", "Europe/Berlin", "5 Jan 2020, 20:30"),
        ("en", "Asia/Kolkata", "6 Jan 2020, 01:00"),
        ("en", "", "5 Jan 2020, 19:30"),
        ("en", "America/Chicago", "Jan 5, 2020, 13:30"),
        ("de", "Europe/Berlin", "5. Jan. 2020, 20:30"),
        ("ru", "Europe/Moscow", "5 янв. 2020 г., 22:30"),
    ],
)
def test_dates_are_written_as_the_person_writes_them(web: Flask, lang: str, zone: str, shown: str) -> None:
    def show() -> str:
        with web.test_request_context():
            language.use(lang, zone)
            return language.when(datetime(2020, 1, 5, 19, 30, tzinfo=UTC))

    assert Context().run(show).replace(" ", " ") == shown


def test_the_year_is_left_out_while_it_lasts(web: Flask) -> None:
    def show() -> str:
        with web.test_request_context():
            language.use("en", "UTC")
            return language.when(language.services().now().replace(month=3, day=4, hour=5, minute=6))

    assert Context().run(show) == "4 Mar, 05:06"


@pytest.mark.parametrize(
    ("words", "shown"),
    [
        ("12.5 EUR", "€12.50"),
        ("-3 USD", "-$3.00"),
        ("0.00750 USD", "$0.0075"),
        ("1234.50", "1234.50"),  # of whatever the gateway counts in
        ("12 credits left", "12 credits left"),
        ("", ""),
    ],
)
def test_a_balance_is_an_amount_where_it_is_one(web: Flask, words: str, shown: str) -> None:
    def show() -> str:
        with web.test_request_context():
            language.use("en", "UTC")
            return language.balance(words)

    assert Context().run(show) == shown
