"""Recipients as the portal writes them."""

from __future__ import annotations

import phonenumbers
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.numbers import NumberRefused, Recipient, mask, parse_recipient


@pytest.mark.parametrize(
    ("raw", "country", "number"),
    [
        ("+4915112345678", None, "+4915112345678"),
        ("+4915112345678", "US", "+4915112345678"),
        ("+49 (151) 1234-5678", None, "+4915112345678"),
        ("004915112345678", None, "+4915112345678"),
        ("+49301234567,12", "DE", "+49301234567"),
        ("+49301234567;ext=1", "DE", "+49301234567"),
        ("+49301234567#99*1", "DE", "+49301234567"),
        ("8 (900) 123-45-67", "RU", "+79001234567"),
        ("+79001234567", "DE", "+79001234567"),
        (" 79001234567", "DE", "+79001234567"),  # a "+" that form coding turned into a blank
        ("79001234567", None, "+79001234567"),
        ("(11) 98765-4321", "BR", "+5511987654321"),
        ("0171 1234567", "DE", "+491711234567"),
        ("٠١٧١١٢٣٤٥٦٧", "DE", "+491711234567"),
        ("＋4915112345678", None, "+4915112345678"),
    ],
)
def test_numbers_become_e164(raw: str, country: str | None, number: str) -> None:
    recipient = parse_recipient(raw, default_country=country)

    assert isinstance(recipient, Recipient)
    assert recipient.number == number


@pytest.mark.parametrize(
    ("raw", "country", "number"),
    [
        ("+1711234567", "DE", "+491711234567"),  # 0171 1234567
        ("+7400123456", "GB", "+447400123456"),  # 07400 123456
        ("+612345678", "FR", "+33612345678"),  # 06 12 34 56 78
        ("+4155552671", "US", "+14155552671"),  # 415 555 2671
        ("+9012345678", "JP", "+819012345678"),  # 090 1234 5678
    ],
)
def test_national_number_behind_a_false_plus(raw: str, country: str, number: str) -> None:
    recipient = parse_recipient(raw, default_country=country)

    assert recipient == Recipient(number, country, read_as_national=True)


@pytest.mark.parametrize("raw", ["+1711234567", "+7400123456"])
def test_false_plus_without_a_country_is_refused(raw: str) -> None:
    refused = parse_recipient(raw, default_country=None)

    assert isinstance(refused, NumberRefused)
    assert refused.code == "impossible"


@pytest.mark.parametrize("raw", ["+8408397299875", "+6777177748507"])
def test_long_number_with_a_slip_does_not_become_a_german_one(raw: str) -> None:
    recipient = parse_recipient(raw, default_country="DE")

    assert not isinstance(recipient, Recipient) or not recipient.read_as_national


def test_range_that_lists_do_not_know_yet_is_left_to_the_gateway() -> None:
    recipient = parse_recipient("+19990000000", default_country="DE")

    assert recipient == Recipient("+19990000000", "US", is_assigned=False)


@pytest.mark.parametrize(
    ("raw", "code"),
    [
        ("", "empty"),
        ("   ", "empty"),
        ("+", "empty"),
        (",,12", "empty"),
        ("\x00", "empty"),
        ("²³¹", "empty"),
        ("12345", "too_short"),
        ("555-123", "too_short"),
        ("+49#4915112345678", "too_short"),
        ("1-800-FLOWERS", "letters"),
        ("ACME", "letters"),
        ("позвони", "letters"),
        ("9" * 200, "too_long"),
        ("9" * 21, "too_long"),
        ("+" * 200, "too_long"),
        ("+99912345678", "impossible"),
        ("0000000000", "impossible"),
        ("+49151", "too_short"),
        ("9" * 18, "impossible"),
    ],
)
@pytest.mark.parametrize("country", ["DE", None])
def test_what_cannot_get_a_message_has_a_reason(raw: str, code: str, country: str | None) -> None:
    refused = parse_recipient(raw, default_country=country)

    assert isinstance(refused, NumberRefused)
    assert refused.code == code
    assert refused.text.endswith(".")
    assert not raw.strip() or raw not in refused.text


@given(st.text(max_size=300), st.sampled_from([None, "DE", "RU", "US", "BR", "XX", ""]))
def test_any_text_is_a_number_or_refused(raw: str, country: str | None) -> None:
    recipient = parse_recipient(raw, default_country=country)

    if isinstance(recipient, Recipient):
        assert recipient.number[0] == "+"
        assert recipient.number[1:].isascii()
        assert recipient.number[1:].isdigit()
        assert 7 <= len(recipient.number[1:]) <= 17


_REGIONS = sorted(phonenumbers.SUPPORTED_REGIONS)


@pytest.mark.parametrize("default", ["DE", "US", None])
def test_valid_numbers_of_all_countries_stay_what_they_are(default: str | None) -> None:
    for region in _REGIONS:
        example = phonenumbers.example_number_for_type(region, phonenumbers.PhoneNumberType.MOBILE)
        if example is None:
            continue
        written = phonenumbers.format_number(example, phonenumbers.PhoneNumberFormat.E164)
        recipient = parse_recipient(written, default_country=default)
        assert isinstance(recipient, Recipient)
        assert (recipient.number, recipient.read_as_national) == (written, False)


def test_portals_spelling_of_national_numbers_is_understood() -> None:
    """The portal writes "+" before what is left of a national number without its leading zero."""
    for region in ("DE", "AT", "GB", "NL", "UA", "JP"):
        example = phonenumbers.example_number_for_type(region, phonenumbers.PhoneNumberType.MOBILE)
        expected = phonenumbers.format_number(example, phonenumbers.PhoneNumberFormat.E164)
        false = f"+{example.national_number}"
        if phonenumbers.is_valid_number(phonenumbers.parse(false, None)):
            continue  # valid as it stands: nobody can tell
        recipient = parse_recipient(false, default_country=region)
        assert isinstance(recipient, Recipient)
        assert recipient.number == expected


@pytest.mark.parametrize(
    ("number", "masked"),
    [("+4915112345678", "+49***78"), ("4915112345678", "49***78"), ("12345", "***"), ("", "***")],
)
def test_mask(number: str, masked: str) -> None:
    assert mask(number) == masked


@given(st.text(max_size=40) | st.text(alphabet="+0123456789 x", max_size=40))
def test_mask_shows_four_digits_at_most(number: str) -> None:
    assert sum(char.isdecimal() for char in mask(number)) <= 4


@pytest.mark.parametrize(
    "raw",
    [
        "+491512000001,+491512000002",
        "+491512000003;491512000004",
        "+491512000001\n+491512000002",
        "+491512000001 +491512000002",
        "+491512000001 / +491512000002",
        "01512000001, 01512000002, 01512000003",
        "+37255123456 | +37255123457",
    ],
)
def test_several_numbers_are_none(raw: str) -> None:
    read = parse_recipient(raw, default_country="DE")

    assert isinstance(read, NumberRefused)
    assert read.code == "several"


@pytest.mark.parametrize("raw", ["+491512000088,12", "+491512000088;123456", "+491512000088#*12,,34"])
def test_a_short_tail_is_an_extension(raw: str) -> None:
    read = parse_recipient(raw, default_country=None)

    assert isinstance(read, Recipient)
    assert read.number == "+491512000088"


@pytest.mark.parametrize(
    ("number", "kind"),
    [
        ("+449098790000", "premium"),
        ("+4918051234567", "shared_cost"),
        ("+881612345678", "satellite"),
        ("+870773111632", "satellite"),
        ("+979123456789", "premium"),
        ("+4915112345678", ""),
        ("+12025550123", ""),
    ],
)
def test_kinds_that_cost_a_fortune_are_known(number: str, kind: str) -> None:
    read = parse_recipient(number, default_country=None)

    assert isinstance(read, Recipient)
    assert read.expensive == kind
