"""The cards from which a person chooses a gateway: what it is, where, what it needs and what it can."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from flask_babel import get_locale

from app.gateways.base import Gateway
from app.gateways.registry import place_in_list
from app.web.admin.words.adapters import text_of
from app.web.admin.words.language import gettext as _

COUNTRIES_SHOWN = 4


@dataclass(frozen=True)
class Card:
    slug: str
    title: str
    places: str
    needs: str
    can: tuple[str, ...]

    @property
    def searched(self) -> str:
        return " ".join((self.slug, self.title, self.places, self.needs, *self.can)).casefold()


def cards(adapters: Mapping[str, type[Gateway]], query: str = "") -> list[Card]:
    """By name; what any vendor can be connected with after the vendors, the trial last."""
    found = sorted(adapters.values(), key=place_in_list)
    words = query.casefold().split()
    made = [(_card(adapter), _all_places(adapter)) for adapter in found]
    return [card for card, places in made if all(word in f"{card.searched} {places}" for word in words)]


def _card(adapter: type[Gateway]) -> Card:
    can, able = adapter.capabilities, []
    if can.reports != "none" and can.sends:
        able.append(_("Delivery reports"))
    if can.balance and can.sends:
        able.append(_("Balance"))
    if not can.own_sender:
        able.append(_("Your own phone"))
    return Card(adapter.slug, text_of(adapter.title), _places(adapter), text_of(adapter.needs), tuple(able))


def _places(adapter: type[Gateway]) -> str:
    """The countries where it is at home; the world where it is everywhere."""
    names = [_country(code) for code in adapter.regions if code != "*"]
    shown = ", ".join(names[:COUNTRIES_SHOWN]) + ("…" if len(names) > COUNTRIES_SHOWN else "")
    if "*" in adapter.regions:
        return _("%(countries)s, worldwide", countries=shown) if shown else _("Worldwide")
    return shown


def _all_places(adapter: type[Gateway]) -> str:
    return " ".join([*map(_country, adapter.regions), *adapter.regions]).casefold()


def _country(code: str) -> str:
    locale = get_locale()
    return str(locale.territories.get(code, code)) if locale is not None else code
