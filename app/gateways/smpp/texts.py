"""A message's text as octets for SMPP: which alphabet, which parts, how a part says that it is one."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from app.domain.texts import Encoding, gsm_octets, is_gsm, split
from app.gateways.smpp.pdu import (
    ESM_UDHI,
    TLV_MESSAGE_PAYLOAD,
    TLV_SAR_MSG_REF_NUM,
    TLV_SAR_SEGMENT_SEQNUM,
    TLV_SAR_TOTAL_SEGMENTS,
    Malformed,
)

Long = Literal["udh", "udh16", "sar", "payload"]
Alphabet = Literal["gsm7", "latin1", "ascii"]

DEFAULT_ALPHABET = 0x00
UCS2 = 0x08
MOST_PARTS = 255  # their number has one octet

# Octets of each part that say that it is one; without a header of ours the centre makes the usual one.
_HEADERS: dict[Long, int] = {"udh": 6, "udh16": 7, "sar": 6, "payload": 6}
_CODECS: dict[Alphabet, str] = {"gsm7": "utf-8", "latin1": "latin-1", "ascii": "ascii"}


@dataclass(frozen=True)
class Part:
    octets: bytes
    data_coding: int
    esm_class: int = 0
    tlvs: dict[int, bytes] = field(default_factory=dict)


def parts_of(text: str, *, long: Long, reference: int, alphabet: Alphabet) -> list[Part]:
    """The text as the parts of one message; `reference` tells them from the parts of others.

    `alphabet` is what the centre takes data_coding 0 for. Characters that it lacks make the text UCS-2.

    Raises:
        Malformed: it is longer than any phone can put together.
    """
    encoding: Encoding = "gsm7" if _fits(text, alphabet) else "ucs2"
    coding = UCS2 if encoding == "ucs2" else DEFAULT_ALPHABET
    encoded = [_octets(piece, encoding, alphabet) for piece in split(text, encoding, header=_HEADERS[long])]
    if len(encoded) > MOST_PARTS:
        raise Malformed(f"a text of {len(encoded)} parts, where SMPP can count to {MOST_PARTS}")
    if len(encoded) == 1:
        return [Part(encoded[0], coding)]
    if long == "payload":
        return [Part(b"", coding, tlvs={TLV_MESSAGE_PAYLOAD: b"".join(encoded)})]
    return [
        _numbered(octets, coding, long, reference, len(encoded), number)
        for number, octets in enumerate(encoded, start=1)
    ]


def _fits(text: str, alphabet: Alphabet) -> bool:
    """Whatever the centre reads data_coding 0 as, on the air it is the GSM alphabet."""
    if not is_gsm(text):
        return False
    try:
        text.encode(_CODECS[alphabet])
    except UnicodeEncodeError:
        return False
    return True


def _octets(text: str, encoding: Encoding, alphabet: Alphabet) -> bytes:
    if encoding == "ucs2":
        return text.encode("utf-16-be")
    return gsm_octets(text) if alphabet == "gsm7" else text.encode(_CODECS[alphabet])


def _numbered(octets: bytes, coding: int, long: Long, reference: int, total: int, number: int) -> Part:
    """One of several parts. Source: 3GPP TS 23.040, 9.2.3.24.1 and 9.2.3.24.8; SMPP 5.3.2.22 to 24."""
    if long == "sar":
        tlvs = {
            TLV_SAR_MSG_REF_NUM: (reference & 0xFFFF).to_bytes(2, "big"),
            TLV_SAR_TOTAL_SEGMENTS: bytes((total,)),
            TLV_SAR_SEGMENT_SEQNUM: bytes((number,)),
        }
        return Part(octets, coding, tlvs=tlvs)
    if long == "udh16":
        header = bytes((6, 8, 4)) + (reference & 0xFFFF).to_bytes(2, "big") + bytes((total, number))
    else:
        header = bytes((5, 0, 3, reference & 0xFF, total, number))
    return Part(header + octets, coding, esm_class=ESM_UDHI)
