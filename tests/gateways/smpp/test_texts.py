"""Texts as octets: the parts that others count, and none that breaks a character."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.texts import GSM_LETTERS, gsm_text, measure
from app.gateways.smpp.pdu import ESM_UDHI, TLV_MESSAGE_PAYLOAD, TLV_SAR_SEGMENT_SEQNUM, Malformed
from app.gateways.smpp.texts import UCS2, Long, Part, parts_of

GSM = "".join(sorted(GSM_LETTERS))


def read(parts: list[Part]) -> str:
    """As a phone puts it together."""
    found = ""
    for part in parts:
        octets = part.tlvs.get(TLV_MESSAGE_PAYLOAD, part.octets)
        octets = octets[octets[0] + 1 :] if part.esm_class & ESM_UDHI else octets
        # Each part alone, so that a pair that is cut in two is seen.
        found += octets.decode("utf-16-be") if part.data_coding == UCS2 else gsm_text(octets)
    return found


@pytest.mark.parametrize("long", ["udh", "udh16", "sar", "payload"])
@given(text=st.text(GSM, max_size=500))
def test_a_text_of_the_gsm_alphabet_arrives_as_it_was(long: Long, text: str) -> None:
    assert read(parts_of(text, long=long, reference=1, alphabet="gsm7")) == text


@pytest.mark.parametrize("long", ["udh", "udh16", "sar", "payload"])
@given(text=st.text(st.characters(exclude_categories=["Cs"]), max_size=300))
def test_any_text_arrives_as_it_was(long: Long, text: str) -> None:
    assert read(parts_of(text, long=long, reference=1, alphabet="gsm7")) == text


@given(text=st.one_of(st.text(GSM, max_size=700), st.text(max_size=300)))
def test_as_many_parts_as_the_log_says(text: str) -> None:
    text = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")

    assert len(parts_of(text, long="udh", reference=1, alphabet="gsm7")) == measure(text).segments


@given(text=st.text(max_size=600), long=st.sampled_from(["udh", "udh16", "sar"]))
def test_no_part_is_longer_than_the_air_carries(text: str, long: Long) -> None:
    text = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")

    for part in parts_of(text, long=long, reference=1, alphabet="gsm7"):
        header = part.octets[0] + 1 if part.esm_class & ESM_UDHI else 6 if part.tlvs else 0
        if part.data_coding == UCS2:
            assert len(part.octets) + (header if part.tlvs else 0) <= 140
        else:
            septets = len(part.octets) - (header if not part.tlvs else 0)
            assert septets <= (160 if header == 0 else 153)


def test_parts_say_which_they_are() -> None:
    parts = parts_of("x" * 320, long="udh", reference=0x1FF, alphabet="gsm7")

    assert [part.octets[:6] for part in parts] == [b"\x05\x00\x03\xff\x03" + bytes((n,)) for n in (1, 2, 3)]


def test_sixteen_bit_references_have_room_of_their_own() -> None:
    parts = parts_of("x" * 305, long="udh16", reference=0x1234, alphabet="gsm7")

    assert [part.octets[:7] for part in parts] == [
        b"\x06\x08\x04\x12\x34\x03" + bytes((n,)) for n in (1, 2, 3)
    ]


def test_segments_by_tlv_are_numbered() -> None:
    parts = parts_of("x" * 200, long="sar", reference=7, alphabet="gsm7")

    assert [part.tlvs[TLV_SAR_SEGMENT_SEQNUM] for part in parts] == [b"\x01", b"\x02"]


def test_a_centre_that_reads_latin_1_gets_latin_1() -> None:
    (part,) = parts_of("Ärger @ £5", long="udh", reference=1, alphabet="latin1")

    assert (part.octets, part.data_coding) == ("Ärger @ £5".encode("latin-1"), 0)


def test_what_latin_1_lacks_or_the_air_lacks_is_ucs2() -> None:
    for text in ("€", "ê", "да"):
        (part,) = parts_of(text, long="udh", reference=1, alphabet="latin1")
        assert (part.octets, part.data_coding) == (text.encode("utf-16-be"), UCS2)


@pytest.mark.parametrize("long", ["udh", "udh16", "sar", "payload"])
def test_a_text_of_more_parts_than_can_be_counted_is_none(long: Long) -> None:
    assert len(parts_of("x" * 152 * 255, long=long, reference=1, alphabet="gsm7")) in (1, 254, 255)

    with pytest.raises(Malformed, match="parts"):
        parts_of("x" * (153 * 255 + 1), long=long, reference=1, alphabet="gsm7")
