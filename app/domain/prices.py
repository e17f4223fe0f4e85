"""What messages cost, as their gateways wrote it: an amount, mostly with a currency."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal

_PRICE = re.compile(r"-?([0-9]{1,12}(?:\.[0-9]{1,12})?) ?([A-Za-z]{3})?")


@dataclass(frozen=True)
class Price:
    """`currency` is its three-letter code, or empty where the gateway counts in units of its own."""

    amount: Decimal
    currency: str


def parse_price(words: str) -> Price | None:
    """A gateway's words such as `-0.00750 USD`; None when they are no price. Some gateways debit: the sign
    says nothing more."""
    found = _PRICE.fullmatch(words.strip())
    return Price(Decimal(found[1]), (found[2] or "").upper()) if found else None


def totals(prices: Iterable[Price]) -> list[Price]:
    """One sum for each currency, in the order of their codes."""
    sums: dict[str, Decimal] = {}
    for price in prices:
        sums[price.currency] = sums.get(price.currency, Decimal(0)) + price.amount
    return [Price(amount, currency) for currency, amount in sorted(sums.items())]
