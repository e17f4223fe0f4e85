"""Receipts in the dialects of message centres."""

from __future__ import annotations

import pytest

from app.domain.status import MessageStatus
from app.gateways.smpp.pdu import (
    TLV_MESSAGE_PAYLOAD,
    TLV_MESSAGE_STATE,
    TLV_RECEIPTED_MESSAGE_ID,
    Address,
    ShortMessage,
)
from app.gateways.smpp.receipts import Receipt, is_receipt, other_spellings, receipt_of


def deliver(text: str = "", tlvs: dict[int, bytes] | None = None, esm_class: int = 4) -> ShortMessage:
    source = Address(1, 1, "4915112345678")
    return ShortMessage(source, Address(5, 0, "Acme"), text.encode(), esm_class, tlvs=tlvs or {})


USUAL = "id:{} sub:001 dlvrd:001 submit date:2611281030 done date:2611281031 stat:{} err:{} text:Hello"


@pytest.mark.parametrize(
    ("word", "status"),
    [
        ("DELIVRD", MessageStatus.DELIVERED),
        ("delivrd", MessageStatus.DELIVERED),
        ("EXPIRED", MessageStatus.UNDELIVERED),
        ("UNDELIV", MessageStatus.UNDELIVERED),
        ("REJECTD", MessageStatus.FAILED),
        ("DELETED", MessageStatus.FAILED),
        ("ACCEPTD", MessageStatus.SENT),
        ("ENROUTE", MessageStatus.SENT),
        ("UNKNOWN", None),
        ("ODDWORD", None),
    ],
)
def test_words_of_the_text(word: str, status: MessageStatus | None) -> None:
    receipt = receipt_of(deliver(USUAL.format("abc123", word, "000")))

    assert receipt == Receipt("abc123", "4915112345678", word)
    assert receipt.status is status


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (USUAL.format("1", "UNDELIV", "0A1"), ("1", "UNDELIV", "0A1")),
        ("ID:1 STAT:DELIVRD", ("1", "DELIVRD", "")),
        ("stat:EXPIRED err:27 id:0042", ("0042", "EXPIRED", "27")),
        ("id:7 done date:261128103155 stat:DELIVRD err:x text:id:9 stat:UNDELIV", ("7", "DELIVRD", "x")),
        ("id: 77 stat: DELIVRD text: hello id:1", ("77", "DELIVRD", "")),
        ("we could not say", ("", "", "")),
        ("", ("", "", "")),
    ],
)
def test_texts_in_any_order_case_and_completeness(text: str, expected: tuple[str, str, str]) -> None:
    receipt = receipt_of(deliver(text))

    assert (receipt.message_id, receipt.word, receipt.error) == expected


def test_parameters_win_over_the_text() -> None:
    tlvs = {TLV_RECEIPTED_MESSAGE_ID: b"5F\x00", TLV_MESSAGE_STATE: b"\x02"}

    receipt = receipt_of(deliver(USUAL.format("95", "ENROUTE", "000"), tlvs))

    assert (receipt.message_id, receipt.status) == ("5F", MessageStatus.DELIVERED)


def test_a_text_may_travel_as_payload() -> None:
    receipt = receipt_of(deliver(tlvs={TLV_MESSAGE_PAYLOAD: USUAL.format("8", "DELIVRD", "000").encode()}))

    assert (receipt.message_id, receipt.status) == ("8", MessageStatus.DELIVERED)


def test_a_text_that_somebody_wrote_is_no_receipt() -> None:
    assert not is_receipt(deliver("id:1 stat:DELIVRD", esm_class=0))
    assert is_receipt(deliver("anything", esm_class=4))
    assert is_receipt(deliver("anything", esm_class=0x24))


@pytest.mark.parametrize(
    ("answered", "reported"),
    [("1A2B", "1a2b"), ("1A2B", "6699"), ("6699", "1A2B"), ("0000002A", "42"), ("0000000042", "2A")],
)
def test_an_id_is_found_in_the_spelling_of_the_response(answered: str, reported: str) -> None:
    assert answered in other_spellings(reported)


def test_the_id_as_it_came_is_no_other_spelling() -> None:
    assert "42" not in other_spellings("42")
