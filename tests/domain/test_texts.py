"""Segments, and what no database can hold."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.texts import clean, measure

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
