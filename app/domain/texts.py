"""Texts of messages: the alphabet and the parts in which they travel, and what nothing can carry.

Source: 3GPP TS 23.038, 6.2.1 (the alphabet); TS 23.040, 9.2.3.24.1 (the header of a part). The tables of
national languages are not used: hardly a gateway takes them.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

Encoding = Literal["gsm7", "ucs2"]
TextFlag = Literal["nul_removed", "undecodable_replaced"]

# By their codes. At 0x1B is the escape code, which is no character of a text; NUL holds its place.
_BASIC = (
    "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞ\x00ÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?"
    "¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿abcdefghijklmnopqrstuvwxyzäöñüà"
)
_EXTENDED = dict(zip("\f^{}\\[~]|€", b"\x0a\x14\x28\x29\x2f\x3c\x3d\x3e\x40\x65", strict=True))
_ESCAPE = 0x1B
_OCTETS = {char: bytes((code,)) for code, char in enumerate(_BASIC) if code != _ESCAPE}
_OCTETS |= {char: bytes((_ESCAPE, code)) for char, code in _EXTENDED.items()}
_CHARACTERS = {octets: char for char, octets in _OCTETS.items()}
GSM_LETTERS = frozenset(_OCTETS)

_NOT_GSM = re.compile(f"[^{re.escape(''.join(sorted(GSM_LETTERS)))}]")
_IN_TWO_SEPTETS = re.compile(f"[{re.escape(''.join(_EXTENDED))}]")
_IN_TWO_UNITS = re.compile("[\U00010000-\U0010ffff]")
_LONE_SURROGATE = re.compile("[\ud800-\udfff]")
_PAIR_OR_ONE = re.compile(rb"\x1b.|.", re.DOTALL)

ON_THE_AIR = 140  # octets of one part
USUAL_HEADER = 6  # of each of several parts: with an 8-bit reference


@dataclass(frozen=True)
class TextMeasure:
    """How a text travels: `units` are septets (gsm7) or 16-bit units (ucs2).

    `forcing` is the first character that the GSM alphabet lacks, the one that makes a text `ucs2` and
    so more expensive; None for gsm7.
    """

    encoding: Encoding
    segments: int
    units: int
    forcing: str | None


def measure(text: str) -> TextMeasure:
    """Count the segments of a text: 160 or 70 units in one, 153 or 67 in each of several.

    No segment ends inside an escape pair or a surrogate pair. An empty text is one segment.
    """
    foreign = _NOT_GSM.search(text)
    encoding: Encoding = "ucs2" if foreign else "gsm7"
    units = units_of(text, encoding)
    segments = 1 if units <= _room(encoding, 0) else len(split(text, encoding))
    return TextMeasure(encoding, segments, units, foreign[0] if foreign else None)


def units_of(text: str, encoding: Encoding) -> int:
    """Septets or 16-bit units. A text for `gsm7` is of its alphabet."""
    pairs = _IN_TWO_SEPTETS if encoding == "gsm7" else _IN_TWO_UNITS
    return len(text) + len(pairs.findall(text))


def split(text: str, encoding: Encoding, *, header: int = USUAL_HEADER) -> list[str]:
    """The text in the pieces that travel one by one; between characters, so that no pair is cut in two.

    `header` is what each of several parts needs of its octets to say that it is one.
    """
    if units_of(text, encoding) <= _room(encoding, 0):
        return [text]
    size, room = _septets if encoding == "gsm7" else _units, _room(encoding, header)
    return _packed(text, size, room)


def _packed(text: str, size: Callable[[str], int], room: int) -> list[str]:
    found, begin, used = [], 0, 0
    for at, char in enumerate(text):
        if used + size(char) > room:
            found.append(text[begin:at])
            begin, used = at, 0
        used += size(char)
    return [*found, text[begin:]]


def _room(encoding: Encoding, header: int) -> int:
    octets = ON_THE_AIR - header
    return octets * 8 // 7 if encoding == "gsm7" else octets // 2


def _septets(char: str) -> int:
    return 2 if char in _EXTENDED else 1


def _units(char: str) -> int:
    return 2 if ord(char) > 0xFFFF else 1


def is_gsm(text: str) -> bool:
    return _NOT_GSM.search(text) is None


def gsm_octets(text: str) -> bytes:
    """A text of the GSM alphabet by its codes, one septet in an octet.

    Raises:
        KeyError: the alphabet lacks a character.
    """
    return b"".join(map(_OCTETS.__getitem__, text))


def gsm_text(octets: bytes) -> str:
    """What such octets say. A code that we do not know is a space, as the specification has it."""
    return "".join(_CHARACTERS.get(each) or _without_escape(each) for each in _PAIR_OR_ONE.findall(octets))


def _without_escape(octets: bytes) -> str:
    """Of an escape code with a character of another table, the one of ours; alone it is a space."""
    return _CHARACTERS.get(octets[1:], " ")


def clean(text: str | bytes) -> tuple[str, frozenset[TextFlag]]:
    """A text that every database and gateway can hold, and flags for what had to go.

    NUL is dropped, since PostgreSQL cannot store it. Bytes that are not UTF-8 and lone surrogates, which
    no encoding can write, become U+FFFD. Everything else stays as it is.
    """
    flags: set[TextFlag] = set()
    if isinstance(text, bytes):
        text = text.decode("utf-8", errors="surrogateescape")
    if "\x00" in text:
        text = text.replace("\x00", "")
        flags.add("nul_removed")
    if _LONE_SURROGATE.search(text):
        text = _LONE_SURROGATE.sub("\ufffd", text)
        flags.add("undecodable_replaced")
    return text, frozenset(flags)
