"""Which language a person reads: its texts, writing from right to left, numbers and times."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from functools import cache
from zoneinfo import ZoneInfo

import phonenumbers
from babel import Locale, UnknownLocaleError
from babel.core import get_global
from babel.dates import format_skeleton, get_day_names
from babel.numbers import format_currency, format_percent, get_decimal_symbol
from babel.support import NullTranslations
from babel.units import format_unit
from flask import Flask, g
from flask_babel import (
    Babel,
    Domain,
    format_decimal,
    format_timedelta,
    get_locale,
)
from flask_babel import gettext as _gettext

from app.domain.prices import Price, parse_price
from app.services import services
from app.words import catalogues
from app.words.catalogues import catalogue, locales
from app.words.languages import LOCALES, RIGHT_TO_LEFT, locale_of


class _Texts(Domain):  # type: ignore[misc]
    """Flask-Babel's way of looking texts up, over the catalogues as they are written."""

    def get_translations(self) -> NullTranslations:
        return catalogue(self.domain[0], str(get_locale() or "en"))


_adapters = _Texts(domain=catalogues.ADAPTERS)


@cache
def translated() -> frozenset[str]:
    """The locales that the pages have texts for."""
    return locales(catalogues.PAGES) | {"en"}


def languages() -> list[tuple[str, str]]:
    """The languages to choose from: Bitrix24's code, and the name as its speakers write it."""
    names = {
        code: str(Locale.parse(locale).get_display_name())
        for code, locale in LOCALES.items()
        if locale in translated()
    }
    return sorted(names.items(), key=lambda item: item[1].casefold())


def countries() -> list[tuple[str, str]]:
    """Every country that has phone numbers: its two letters, and its name with the number's first digits."""
    names = get_locale().territories
    found = [
        (code, f"{names.get(code, code)} (+{phonenumbers.country_code_for_region(code)})")
        for code in phonenumbers.SUPPORTED_REGIONS
    ]
    return sorted(found, key=lambda item: item[1].casefold())


def use(language: str, time_zone: str = "") -> None:
    """Speak this language (Bitrix24's code) for the rest of the request; before the first text is made."""
    g.language = language
    g.time_zone = time_zone


def direction() -> str:
    return "rtl" if g.get("language") in RIGHT_TO_LEFT else "ltr"


def zone_name() -> str:
    """The person's time zone, else UTC."""
    return _zone_of(g.get("time_zone") or "UTC")


@cache
def _zone_of(name: str) -> str:
    try:
        ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        return "UTC"
    return name


def _locale() -> str:
    wanted = locale_of(g.get("language", ""))
    return wanted if wanted in translated() else "en"


def gettext(text: str, **values: object) -> str:
    """The text in the person's language, with its named values filled in."""
    return str(_gettext(text, **values))


def adapters_text(text: str) -> str:
    """A text of an adapter, translated if the catalogue of the adapters has it."""
    return str(_adapters.gettext(text))


def when(at: datetime | None, *, seconds: bool = False) -> str:
    """A moment in the person's time zone, on a clock of 24 hours; the year where it is another one. A dash
    for none."""
    if at is None:
        return "–"
    locale, zone = date_locale(), ZoneInfo(zone_name())
    is_this_year = at.astimezone(zone).year == services().now().astimezone(zone).year
    day_of_it = _skeleton("MMMd" if is_this_year else "yMMMd", at)
    return str(locale.datetime_formats["medium"]).format(_skeleton("Hms" if seconds else "Hm", at), day_of_it)


def day(at: datetime) -> str:
    """The person's day of a moment."""
    return _skeleton("yMMMd", at)


def clock(at: datetime) -> str:
    """The time of day, with seconds."""
    return _skeleton("Hms", at)


def _skeleton(skeleton: str, at: datetime) -> str:
    zone = ZoneInfo(zone_name())
    return str(format_skeleton(skeleton, at.astimezone(UTC), tzinfo=zone, locale=date_locale()))


def date_locale() -> Locale:
    """How the person writes dates. English readers live everywhere: those of the United States, by their
    time zone, have the month first, all others the day."""
    locale = get_locale() or Locale("en")
    return _english(zone_name()) if locale.language == "en" else locale


@cache
def _english(zone: str) -> Locale:
    territory = get_global("zone_territories").get(zone, "001")
    try:
        return Locale("en", territory)
    except UnknownLocaleError:
        return Locale("en", "001")


def lifetime(span: timedelta) -> str:
    """A span of time in the person's language: "6 hours"."""
    return str(format_timedelta(span, threshold=1))


def number(value: float | Decimal) -> str:
    """A number as it is written in the person's language."""
    return str(format_decimal(value))


def money(price: Price) -> str:
    """An amount with all its digits: a message may cost less than the smallest coin."""
    if not price.currency:
        return number(price.amount)
    exponent = price.amount.as_tuple().exponent
    has_fractions = isinstance(exponent, int) and exponent < -2
    return str(
        format_currency(
            price.amount, price.currency, locale=get_locale(), decimal_quantization=not has_fractions
        )
    )


def balance(words: str) -> str:
    """A gateway's words on a balance: as an amount where they name a currency, else as they came."""
    price = parse_price(words)
    if price is None or not price.currency:
        return words
    return money(replace(price, amount=-price.amount) if words.strip().startswith("-") else price)


def percent(share: float) -> str:
    """A share of one, with one decimal."""
    return str(format_percent(round(share, 3), locale=get_locale(), decimal_quantization=False))


def duration(seconds: float) -> str:
    """A time span in its largest fitting unit, with one decimal."""
    for unit, size_s in (("hour", 3600), ("minute", 60)):
        if seconds >= size_s:
            return str(
                format_unit(round(seconds / size_s, 1), f"duration-{unit}", "short", locale=get_locale())
            )
    return str(format_unit(round(seconds, 1), "duration-second", "short", locale=get_locale()))


def short_date(day: date) -> str:
    """A day and its month."""
    return _plain_skeleton("MMMd", day)


def full_date(day: date) -> str:
    """A day with its year."""
    return _plain_skeleton("yMMMd", day)


def weekday_date(day: date) -> str:
    """A day with its weekday."""
    return _plain_skeleton("MMMEd", day)


def weekday(day: date) -> str:
    """The name of a day's weekday, in the middle of a sentence."""
    return str(get_day_names("wide", "format", locale=get_locale())[day.weekday()])


def _plain_skeleton(skeleton: str, day: date) -> str:
    return str(format_skeleton(skeleton, datetime.combine(day, time()), locale=date_locale()))


def decimal_sign() -> str:
    """What stands before the decimals of a number."""
    return str(get_decimal_symbol(get_locale()))


def init_app(app: Flask) -> None:
    babel = Babel(app, locale_selector=_locale, timezone_selector=zone_name)
    babel.domain_instance = _Texts(domain=catalogues.PAGES)
    app.jinja_env.filters |= {
        "when": when,
        "clock": clock,
        "day": day,
        "number": number,
        "money": money,
        "balance": balance,
    }
    app.jinja_env.globals |= {
        "direction": direction,
        "language_tag": lambda: str(get_locale()).replace("_", "-"),
        "zone_name": zone_name,
    }
