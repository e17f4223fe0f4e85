"""Packets, compared with what another library writes and reads; junk, which breaks nothing but itself."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st
from smpplib import smpp

from app.gateways.smpp import pdu
from app.gateways.smpp.pdu import Address, Malformed, Pdu, ShortMessage, decoded, length_of, message_of


class Other:
    """As much of a client as smpplib's packets ask for."""

    sequence = 7
    _numbers = itertools.count(7)

    def next_sequence(self) -> int:
        return 7


MESSAGE = ShortMessage(
    source=Address(5, 0, "Acme"),
    destination=Address(1, 1, "4915112345678"),
    short_message=b"Hello",
    data_coding=8,
    esm_class=0x40,
    registered_delivery=1,
    validity_period="000001000000000R",
)


def test_a_submission_is_written_as_others_write_it() -> None:
    theirs = smpp.make_pdu(
        "submit_sm",
        client=Other(),
        source_addr_ton=5,
        source_addr_npi=0,
        source_addr="Acme",
        dest_addr_ton=1,
        dest_addr_npi=1,
        destination_addr="4915112345678",
        short_message=b"Hello",
        data_coding=8,
        esm_class=0x40,
        registered_delivery=1,
        validity_period="000001000000000R",
    ).generate()

    assert Pdu(pdu.SUBMIT_SM, 0, 7, pdu.message_body(MESSAGE)).encoded() == theirs


def test_a_bind_is_written_as_others_write_it() -> None:
    theirs = smpp.make_pdu(
        "bind_transceiver",
        client=Other(),
        system_id="me",
        password="secret",
        system_type="sms",
        interface_version=0x34,
    ).generate()

    assert Pdu(pdu.BIND_TRANSCEIVER, 0, 7, pdu.bind_body("me", "secret", "sms")).encoded() == theirs


@given(
    text=st.binary(max_size=254),
    number=st.text("0123456789", max_size=20),
    tlvs=st.dictionaries(st.integers(0, 0xFFFF), st.binary(max_size=300), max_size=4),
)
def test_what_is_written_is_what_is_read(text: bytes, number: str, tlvs: dict[int, bytes]) -> None:
    message = ShortMessage(Address(1, 1, number), Address(5, 0, "me"), text, tlvs=tlvs)

    assert message_of(pdu.message_body(message)) == message


@given(st.binary(max_size=400))
def test_junk_is_malformed_or_a_message_and_never_anything_else(junk: bytes) -> None:
    try:
        message_of(junk)
    except Malformed:
        pass


@pytest.mark.parametrize("length", [0, 15, pdu.MAX_LENGTH + 1, 0xFFFFFFFF])
def test_a_length_that_cannot_be_is_a_broken_stream(length: int) -> None:
    with pytest.raises(Malformed):
        length_of(length.to_bytes(4, "big"))


def test_a_login_that_is_too_long_is_refused_and_not_cut() -> None:
    """A password of nine characters, cut to eight, would be another password."""
    with pytest.raises(Malformed):
        pdu.bind_body("me", "ninechars", "")


def test_an_answer_without_a_body_has_no_id() -> None:
    answer = decoded(Pdu(pdu.SUBMIT_SM | pdu.RESPONSE, 0x58, 7).encoded())

    assert (answer.is_response, pdu.message_id_of(answer.body)) == (True, "")
