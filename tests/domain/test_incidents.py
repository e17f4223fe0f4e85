from __future__ import annotations

import pytest

from app.domain.incidents import amount_of, is_low, is_rush


@pytest.mark.parametrize(
    ("text", "amount"),
    [
        ("12.50 EUR", "12.50"),
        ("1,234.50", "1234.50"),
        ("1.234,50 €", "1234.50"),
        ("12,5", "12.5"),
        ("1,234", None),
        ("plenty", None),
        ("1" * 41, None),
    ],
)
def test_amounts_are_read_where_they_are_clear(text: str, amount: str | None) -> None:
    found = amount_of(text)

    assert (None if found is None else str(found)) == amount
    assert not is_low("5", "5")
    assert is_low("4.99", "5")
    assert not is_low("1,234", "5000")
    assert not is_low("4", "")


def test_a_day_is_a_rush_from_five_hundred_messages_on() -> None:
    assert not is_rush(499, [1])
    assert is_rush(500, [1])
