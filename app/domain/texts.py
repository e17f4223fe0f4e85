"""Texts of messages: what they cost in segments, and what no database or gateway can carry."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

import smsutil
from smsutil.codecs import GSM_CHARSET

Encoding = Literal["gsm7", "ucs2"]
TextFlag = Literal["nul_removed", "undecodable_replaced"]

# The alphabet's own escape code stands in smsutil's table; as a character of a text it cannot be sent.
GSM_LETTERS = frozenset(GSM_CHARSET) - {"\x1b"}
_LONE_SURROGATE = re.compile("[\ud800-\udfff]")


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

    Source: 3GPP TS 23.038, TS 23.040 section 9.2.3.24.1 (the header of a concatenated message).
    """
    if not text:
        return TextMeasure("gsm7", 1, 0, None)
    forcing = next((char for char in text if char not in GSM_LETTERS), None)
    if forcing is None:
        split = smsutil.gsm_split(text)
        return TextMeasure("gsm7", len(split.parts), split.total_bytes, None)
    split = smsutil.unicode_split(text)
    return TextMeasure("ucs2", len(split.parts), split.total_bytes // 2, forcing)


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
