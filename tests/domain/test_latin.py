"""Texts in Latin letters: cheaper, readable, and nothing lost that has no other spelling."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.latin import in_latin
from app.domain.texts import GSM_LETTERS, measure


@pytest.mark.parametrize(
    ("text", "latin"),
    [
        ("Привет, мир!", "Privet, mir!"),
        ("Ваш заказ №12 — готов…", "Vash zakaz No12 - gotov..."),
        ("Щука, Ёж, объём", "Shchuka, Yozh, obyom"),
        ("Їжак і ґава", "Yizhak i gava"),
        ("Қазақстан", "Qazaqstan"),
        ("Şifreniz hazır", "Sifreniz hazir"),
        ("Zażółć gęślą jaźń", "Zazolc gesla jazn"),
        ("Καλημέρα", "Kalimera"),
        ("“Grüße” – 5 €", '"Grüße" - 5 €'),
        ("مرحبا 👋", "مرحبا 👋"),
    ],
)
def test_letters_are_spelt_as_people_spell_them(text: str, latin: str) -> None:
    assert in_latin(text) == latin


def test_a_russian_text_costs_half() -> None:
    text = "Ваш заказ готов. Ждём вас сегодня до восьми вечера на Садовой, дом пять, вход со двора."

    assert measure(text).segments == 2
    assert measure(in_latin(text)).segments == 1


@given(st.text())
def test_what_is_spelt_once_stays_as_it_is(text: str) -> None:
    once = in_latin(text)

    assert in_latin(once) == once
    assert in_latin("".join(char for char in text if char in GSM_LETTERS)) == "".join(
        char for char in text if char in GSM_LETTERS
    )
