from __future__ import annotations

from decimal import Decimal

import pytest

from app.domain.outcomes import Balance
from app.domain.prices import Price, parse_price, totals


@pytest.mark.parametrize(
    ("words", "price"),
    [
        ("-0.00750 USD", Price(Decimal("0.00750"), "USD")),
        ("0.05 eur", Price(Decimal("0.05"), "EUR")),
        ("3", Price(Decimal(3), "")),
    ],
)
def test_prices_are_read_as_gateways_write_them(words: str, price: Price) -> None:
    assert parse_price(words) == price


@pytest.mark.parametrize("words", ["", "free", "1,50 EUR", "1 USD each", "1e9 USD", "0.1 DOLLARS"])
def test_what_is_no_price_is_none(words: str) -> None:
    assert parse_price(words) is None


def test_prices_are_added_by_currency() -> None:
    prices = [
        Price(Decimal(amount), currency) for amount, currency in (("1", "USD"), ("2", "EUR"), ("3", "USD"))
    ]

    assert totals(prices) == [Price(Decimal(2), "EUR"), Price(Decimal(4), "USD")]


@pytest.mark.parametrize("amount", ["NaN", "Infinity", "a lot", ""])
def test_a_balance_is_a_finite_number(amount: str) -> None:
    assert Balance.read(amount) is None
    assert str(Balance.read(" 12,50 ", "EUR")) == "12.50 EUR"
