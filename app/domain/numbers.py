"""Phone numbers: from what the portal passes on to one E.164 number, or a plain reason why not."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

import phonenumbers
from phonenumbers import PhoneNumber, ValidationResult

_LENGTH_LIMIT = 100
_SHORTEST = 7  # digits; anything shorter is a short code or a piece of a number
# The portal leaves an extension or a dial sequence behind the number.
_EXTENSION = re.compile(r"[,;#*\r\n].*", re.DOTALL)
_BETWEEN_NUMBERS = re.compile(r"[,;#*|/\r\n]")
_SECOND_PLUS = re.compile(r"[0-9].*[+＋]", re.DOTALL)
_NATIONAL_DIGITS = range(9, 12)

RefusalCode = Literal["empty", "several", "too_long", "letters", "too_short", "impossible"]
ExpensiveKind = Literal["", "premium", "shared_cost", "satellite"]

_EXPENSIVE_TYPES: dict[int, ExpensiveKind] = {
    phonenumbers.PhoneNumberType.PREMIUM_RATE: "premium",
    phonenumbers.PhoneNumberType.SHARED_COST: "shared_cost",
}
# Country codes of no country. https://www.itu.int/pub/T-SP-E.164D
_EXPENSIVE_CODES: dict[int, ExpensiveKind] = {
    870: "satellite",  # Inmarsat
    881: "satellite",  # Iridium, Globalstar
    882: "satellite",  # international networks: ships, aircraft, Thuraya
    883: "satellite",
    808: "shared_cost",
    979: "premium",
}

_SENTENCES: dict[RefusalCode, str] = {
    "empty": "There is no phone number.",
    "several": "There are several phone numbers in one field, and one message goes to one number."
    " Leave one number in the field, or give the card a field for each.",
    "too_long": "The phone number is too long.",
    "letters": "The phone number has letters in it.",
    "too_short": "The phone number is too short: only full numbers can get an SMS, no short codes.",
    "impossible": "No country has a phone number like this. Write it with + and the country code.",
}


@dataclass(frozen=True)
class Recipient:
    """A number that an SMS can be sent to.

    `country` is its two-letter code where one is known. `read_as_national` tells that the portal's "+"
    was not taken at its word. `is_assigned` is False when the length fits but the range is not one that
    we know as in use: ranges are opened faster than lists are updated, so the gateway has the last word.
    `expensive` names a kind that can cost many times of what a message costs elsewhere.
    """

    number: str
    country: str | None
    read_as_national: bool = False
    is_assigned: bool = True
    expensive: ExpensiveKind = ""


@dataclass(frozen=True)
class NumberRefused:
    """A text that no SMS can be sent to; `text` is for the admin."""

    code: RefusalCode
    text: str


def parse_recipient(raw: str, *, default_country: str | None) -> Recipient | NumberRefused:
    """Read a recipient as the portal writes it; `default_country` is a two-letter code.

    The portal drops the leading zero of a national number and puts a "+" before the rest, so the German
    0171 1234567 arrives as +1711234567. A number that is valid as it stands is never read in another
    way; one that is not is tried as a national number of the portal's country.
    """
    if _has_several(raw):
        return _refused("several")
    if len(raw) > _LENGTH_LIMIT:
        return _refused("too_long")
    # A "+" that was sent through form coding without an escape arrives as a blank.
    marked = raw.startswith("+") or re.match(r" [1-9]", raw) is not None
    text = _EXTENSION.sub("", raw).strip()
    if any(char.isalpha() for char in text):
        return _refused("letters")
    digits = "".join(str(int(char)) for char in text if char.isdecimal())
    if not digits:
        return _refused("empty")
    international = marked or text.startswith(("+", "＋"))
    if len(digits) < _SHORTEST:
        return _refused("too_short")
    if len(digits) > 20:
        return _refused("too_long")
    if not international and digits.startswith("00"):
        international, digits = True, digits[2:]
    if international:
        return _read_international(digits, default_country)
    return _read_national(digits, default_country)


def lacks_country(raw: str) -> bool:
    """Whether a number could be one of some country, if only one knew of which: 0171 1234567."""
    read = parse_recipient(raw, default_country=None)
    digits = sum(map(str.isdecimal, raw))
    return (
        isinstance(read, NumberRefused) and read.code == "impossible" and digits <= _NATIONAL_DIGITS[-1] + 1
    )


def _has_several(raw: str) -> bool:
    """More than one full number: the message would reach the first one only, and count for all of them."""
    pieces = _BETWEEN_NUMBERS.split(raw[: 2 * _LENGTH_LIMIT])
    full = sum(sum(map(str.isdecimal, piece)) >= _SHORTEST for piece in pieces)
    return full > 1 or _SECOND_PLUS.search(raw) is not None


def _read_international(digits: str, default_country: str | None) -> Recipient | NumberRefused:
    as_written = _parse(f"+{digits}", None)
    if as_written and phonenumbers.is_valid_number(as_written):
        return _recipient(as_written)
    if default_country and len(digits) in _NATIONAL_DIGITS:
        national = _parse(digits, default_country)
        if national and phonenumbers.is_valid_number(national):
            return _recipient(national, read_as_national=True)
    if as_written and _has_possible_length(as_written):
        return _recipient(as_written, is_assigned=False)
    return _refused("impossible")


def _read_national(digits: str, default_country: str | None) -> Recipient | NumberRefused:
    national = _parse(digits, default_country) if default_country else None
    if national and phonenumbers.is_valid_number(national):
        return _recipient(national, read_as_national=True)
    international = _parse(f"+{digits}", None)
    if international and phonenumbers.is_valid_number(international):
        return _recipient(international)
    return _refused("impossible")


def _parse(text: str, country: str | None) -> PhoneNumber | None:
    try:
        return phonenumbers.parse(text, country)
    except phonenumbers.NumberParseException:
        return None


def _has_possible_length(number: PhoneNumber) -> bool:
    return phonenumbers.is_possible_number_with_reason(number) == ValidationResult.IS_POSSIBLE


def _recipient(number: PhoneNumber, *, read_as_national: bool = False, is_assigned: bool = True) -> Recipient:
    country = phonenumbers.region_code_for_number(number)
    if country is None and number.country_code is not None:
        country = phonenumbers.region_code_for_country_code(number.country_code)
    known = country if country not in (None, "001", "ZZ") else None
    written = phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)
    expensive = _EXPENSIVE_CODES.get(number.country_code or 0, "")
    expensive = expensive or _EXPENSIVE_TYPES.get(phonenumbers.number_type(number), "")
    return Recipient(written, known, read_as_national, is_assigned, expensive)


def _refused(code: RefusalCode) -> NumberRefused:
    return NumberRefused(code, _SENTENCES[code])


def written_forms(number: str) -> re.Pattern[str] | None:
    """How a number may stand among other words, whatever is between its digits; None when it is too short.

    With its country code, after "+", "00" or nothing, or with the zero that people dial inside the country.
    The bare national digits are not looked for: with another country's code they are another's number.
    """
    gap = r"[ ().\-/\xa0]*"
    parsed = _parse(number, None) if number.startswith("+") else None
    if parsed is None:
        digits = [char for char in number if char.isdecimal()]
        return re.compile(rf"(?<!\d)\+?{gap.join(digits)}(?!\d)") if len(digits) >= _SHORTEST else None
    country = gap.join(str(parsed.country_code))
    national = gap.join(phonenumbers.national_significant_number(parsed))
    return re.compile(rf"(?<!\d)(?:(?:\+|00)?{country}{gap}0?|0){gap}{national}(?!\d)")


def numbers_in(text: str, country: str | None) -> set[str]:
    """The numbers that the library for phone numbers finds among other words, in the international form.

    A second opinion beside `written_forms`: the one removes, the other proves that nothing is left.
    """
    found = phonenumbers.PhoneNumberMatcher(text, country, phonenumbers.Leniency.POSSIBLE)
    return {phonenumbers.format_number(each.number, phonenumbers.PhoneNumberFormat.E164) for each in found}


def country_of(number: str) -> str | None:
    """The two-letter code of an international number's country, where it has one."""
    parsed = _parse(number, None)
    return phonenumbers.region_code_for_number(parsed) if parsed is not None else None


def mask(number: str) -> str:
    """A number for log lines: enough to recognise a case, too little to call it."""
    digits = [char for char in number if char.isdecimal()]
    if len(digits) < _SHORTEST:
        return "***"
    plus = "+" if number.startswith("+") else ""
    return f"{plus}{''.join(digits[:2])}***{''.join(digits[-2:])}"
