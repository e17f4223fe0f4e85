"""A message's text as octets for SMPP: which alphabet, which parts, how a part says that it is one.

Parts end between characters, never inside an escape pair of the GSM alphabet or a surrogate pair.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal

from smsutil.codecs import GSM_BASIC_CHARSET, GSM_EXT_CHARSET

from app.gateways.smpp.pdu import (
    ESM_UDHI,
    TLV_MESSAGE_PAYLOAD,
    TLV_SAR_MSG_REF_NUM,
    TLV_SAR_SEGMENT_SEQNUM,
    TLV_SAR_TOTAL_SEGMENTS,
)

Long = Literal["udh", "udh16", "sar", "payload"]
Alphabet = Literal["gsm7", "latin1", "ascii"]

DEFAULT_ALPHABET = 0x00
UCS2 = 0x08

_ESCAPE = 0x1B
_BASIC = {char: code for code, char in enumerate(GSM_BASIC_CHARSET) if code != _ESCAPE}
_EXTENDED = dict(zip(GSM_EXT_CHARSET, b"\x0a\x14\x28\x29\x2f\x3c\x3d\x3e\x40\x65", strict=True))


@dataclass(frozen=True)
class Part:
    octets: bytes
    data_coding: int
    esm_class: int = 0
    tlvs: dict[int, bytes] = field(default_factory=dict)


def parts_of(text: str, *, long: Long, reference: int, alphabet: Alphabet) -> list[Part]:
    """The text as the parts of one message; `reference` tells them from the parts of others.

    `alphabet` is what the centre takes data_coding 0 for. Characters that it lacks make the text UCS-2.
    """
    texts, coding = _split(text, long, alphabet)
    encoded = [_octets(piece, coding, alphabet) for piece in texts]
    if long == "payload" and len(texts) > 1:
        return [Part(b"", coding, tlvs={TLV_MESSAGE_PAYLOAD: b"".join(encoded)})]
    if len(encoded) == 1:
        return [Part(encoded[0], coding)]
    return [
        _numbered(octets, coding, long, reference, len(encoded), number)
        for number, octets in enumerate(encoded, start=1)
    ]


def _split(text: str, long: Long, alphabet: Alphabet) -> tuple[Sequence[str], int]:
    if _fits(text, alphabet):
        return _gsm_pieces(text, long), DEFAULT_ALPHABET
    return _ucs2_pieces(text, long), UCS2


def _fits(text: str, alphabet: Alphabet) -> bool:
    """Whatever the centre reads data_coding 0 as, on the air it is the GSM alphabet."""
    if not all(char in _BASIC or char in _EXTENDED for char in text):
        return False
    try:
        text.encode({"gsm7": "utf-8", "latin1": "latin-1", "ascii": "ascii"}[alphabet])
    except UnicodeEncodeError:
        return False
    return True


def _gsm_pieces(text: str, long: Long) -> list[str]:
    if sum(_septets(char) for char in text) <= 160:
        return [text]
    return _pieces(text, 152 if long == "udh16" else 153, _septets)


def _ucs2_pieces(text: str, long: Long) -> list[str]:
    if sum(_units(char) for char in text) <= 70:
        return [text]
    return _pieces(text, 66 if long == "udh16" else 67, _units)


def _pieces(text: str, room: int, size: Callable[[str], int]) -> list[str]:
    found, begin, used = [], 0, 0
    for at, char in enumerate(text):
        if used + size(char) > room:
            found.append(text[begin:at])
            begin, used = at, 0
        used += size(char)
    return [*found, text[begin:]]


def _septets(char: str) -> int:
    return 2 if char in _EXTENDED else 1


def _units(char: str) -> int:
    return 2 if ord(char) > 0xFFFF else 1


def _octets(text: str, coding: int, alphabet: Alphabet) -> bytes:
    if coding == UCS2:
        return text.encode("utf-16-be")
    if alphabet == "gsm7":
        return b"".join(
            bytes((_BASIC[char],)) if char in _BASIC else bytes((_ESCAPE, _EXTENDED[char])) for char in text
        )
    return text.encode("latin-1")


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
