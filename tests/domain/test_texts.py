"""Segments, and what no database can hold."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from smpplib.gsm import gsm_encode

from app.domain.texts import GSM_LETTERS, clean, gsm_octets, gsm_text, measure, split

# What another library makes of these texts; it was a dependency once.
_OTHERS = json.loads((Path(__file__).parents[1] / "samples" / "texts" / "smsutil.json").read_text())["texts"]
_EXTENDED = "\f^{}\\[~]|€"
_GSM_BASIC = (
    "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?¡"
    "ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿abcdefghijklmnopqrstuvwxyzäöñüà"
)


@pytest.mark.parametrize(
    ("text", "encoding", "segments", "units"),
    [
        ("", "gsm7", 1, 0),
        ("a", "gsm7", 1, 1),
        ("a" * 160, "gsm7", 1, 160),
        ("a" * 161, "gsm7", 2, 161),
        ("a" * 306, "gsm7", 2, 306),
        ("a" * 307, "gsm7", 3, 307),
        ("[" * 80, "gsm7", 1, 160),
        ("[" * 81, "gsm7", 2, 162),
        ("€" * 81, "gsm7", 2, 162),
        ("a" * 152 + "€", "gsm7", 1, 154),
        ("a" * 152 + "€" * 9, "gsm7", 2, 170),
        # 153 septets end inside the escape pair: it moves to the next segment whole.
        ("a" * 152 + "€" + "a" * 153, "gsm7", 3, 307),
        ("a" * 152 + "€" + "a" * 151, "gsm7", 2, 305),
        ("ж" * 70, "ucs2", 1, 70),
        ("ж" * 71, "ucs2", 2, 71),
        ("ж" * 134, "ucs2", 2, 134),
        ("ж" * 135, "ucs2", 3, 135),
        ("😀" * 35, "ucs2", 1, 70),
        ("😀" * 36, "ucs2", 2, 72),
        # 67 units hold 33 pairs: the 34th is not cut in half.
        ("😀" * 66, "ucs2", 2, 132),
        ("😀" * 67, "ucs2", 3, 134),
        ("ж" + "😀" * 66, "ucs2", 2, 133),
        ("a`", "ucs2", 1, 2),
        ("a\x1bb", "ucs2", 1, 3),
    ],
)
def test_segments(text: str, encoding: str, segments: int, units: int) -> None:
    measured = measure(text)

    assert (measured.encoding, measured.segments, measured.units) == (encoding, segments, units)


@pytest.mark.parametrize(
    ("text", "forcing"),
    [("Hello €", None), ("Hello ’ ж", "’"), ("ok 👋", "👋"), ("a\u00a0b", "\u00a0"), ("ç", "ç"), ("Ç", None)],
)
def test_the_character_that_makes_it_expensive_is_named(text: str, forcing: str | None) -> None:
    assert measure(text).forcing == forcing


def _segments(costs: list[int], alone: int, together: int) -> int:
    """Greedy packing, written down once more without the library."""
    if sum(costs) <= alone:
        return 1
    count, left = 1, together
    for cost in costs:
        if cost > left:
            count, left = count + 1, together
        left -= cost
    return count


@given(st.text(alphabet=_GSM_BASIC + _EXTENDED, max_size=700))
def test_gsm_texts_by_another_count(text: str) -> None:
    costs = [2 if char in _EXTENDED else 1 for char in text]
    measured = measure(text)

    assert measured.encoding == "gsm7"
    assert (measured.units, measured.segments) == (sum(costs), _segments(costs, 160, 153))


@given(st.text(max_size=300))
def test_other_texts_by_another_count(text: str) -> None:
    measured = measure(text + "ж")
    costs = [2 if ord(char) > 0xFFFF else 1 for char in text + "ж"]

    assert measured.encoding == "ucs2"
    assert (measured.units, measured.segments) == (sum(costs), _segments(costs, 70, 67))


@pytest.mark.parametrize("at", range(len(_OTHERS)))
def test_parts_as_another_library_makes_them(at: int) -> None:
    other = _OTHERS[at]

    measured = measure(other["text"])

    assert (measured.encoding, measured.units) == (other["encoding"], other["units"])
    assert [len(part) for part in split(other["text"], measured.encoding)] == other["parts"]
    assert measured.segments == len(other["parts"])


def test_the_alphabet_is_the_one_that_is_written_down_here() -> None:
    assert set(_GSM_BASIC + _EXTENDED) == GSM_LETTERS


@given(st.text(alphabet=_GSM_BASIC + _EXTENDED, max_size=300))
def test_codes_say_what_was_meant(text: str) -> None:
    assert gsm_text(gsm_octets(text)) == text


# What that library has at other places, or not at all.
@given(st.text(alphabet=sorted(set(_GSM_BASIC + _EXTENDED) - set("\f§")), max_size=300))
def test_codes_are_those_of_another_table(text: str) -> None:
    assert gsm_octets(text) == gsm_encode(text)


@pytest.mark.parametrize(
    ("octets", "text"),
    [(b"\x1b\x65", "€"), (b"\x1bA", "A"), (b"a\x1b", "a "), (b"\x1b\x1b", " "), (b"\xff", " ")],
)
def test_codes_that_nobody_knows_are_spaces(octets: bytes, text: str) -> None:
    assert gsm_text(octets) == text


@given(st.text(max_size=700), st.sampled_from([6, 7]))
def test_pieces_make_the_text_again_and_none_is_empty(text: str, header: int) -> None:
    for encoding in ("gsm7", "ucs2") if set(text) <= GSM_LETTERS else ("ucs2",):
        pieces = split(text, encoding, header=header)

        assert "".join(pieces) == text
        assert all(pieces) or not text


@pytest.mark.parametrize(
    ("raw", "text", "flags"),
    [
        ("plain", "plain", set()),
        ("a\x00b\x00", "ab", {"nul_removed"}),
        ("a\ud800b", "a\ufffdb", {"undecodable_replaced"}),
        ("\ud83d\ude00", "\ufffd\ufffd", {"undecodable_replaced"}),
        (b"caf\xe9", "caf\ufffd", {"undecodable_replaced"}),
        (b"\x00\xff", "\ufffd", {"nul_removed", "undecodable_replaced"}),
        ("👩‍👩‍👧 ‮rtl‬ \r\n\t\x01", "👩‍👩‍👧 ‮rtl‬ \r\n\t\x01", set()),
        ("Grüße".encode(), "Grüße", set()),
    ],
)
def test_clean(raw: str | bytes, text: str, flags: set[str]) -> None:
    assert clean(raw) == (text, flags)


@given(st.text(st.characters(categories=["L", "N", "S", "Cc", "Cs", "Zs"])) | st.binary())
def test_cleaned_texts_can_be_stored_and_are_clean(raw: str | bytes) -> None:
    text, flags = clean(raw)

    text.encode("utf-8")
    assert "\x00" not in text
    assert clean(text) == (text, frozenset())
    assert flags or text == (raw if isinstance(raw, str) else raw.decode())
