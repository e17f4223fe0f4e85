"""What a message centre says became of a message: `deliver_sm` with a receipt, in its dialects.

Source: SMPP v3.4, 5.2.12 (esm_class), 5.3.2.12 and 5.3.2.35 (TLVs), appendix B (the text, which each vendor
writes in its own way).
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from app.domain.status import MessageStatus
from app.domain.texts import gsm_octets, is_gsm
from app.gateways.smpp.pdu import (
    TLV_MESSAGE_PAYLOAD,
    TLV_MESSAGE_STATE,
    TLV_RECEIPTED_MESSAGE_ID,
    ShortMessage,
)

# message_state and the words of the text; 5.2.28 and appendix B. UNKNOWN says nothing, and is kept as a word.
_STATES = {
    1: "ENROUTE",
    2: "DELIVRD",
    3: "EXPIRED",
    4: "DELETED",
    5: "UNDELIV",
    6: "ACCEPTD",
    7: "UNKNOWN",
    8: "REJECTD",
    9: "SKIPPED",
}
STATUSES = {
    "SCHEDULED": MessageStatus.SENT,
    "ENROUTE": MessageStatus.SENT,
    "ACCEPTD": MessageStatus.SENT,
    "ACCEPTED": MessageStatus.SENT,
    "BUFFERED": MessageStatus.SENT,
    "DELIVRD": MessageStatus.DELIVERED,
    "DELIVERED": MessageStatus.DELIVERED,
    "EXPIRED": MessageStatus.UNDELIVERED,
    "UNDELIV": MessageStatus.UNDELIVERED,
    "UNDELIVERABLE": MessageStatus.UNDELIVERED,
    "DELETED": MessageStatus.FAILED,
    "REJECTD": MessageStatus.FAILED,
    "REJECTED": MessageStatus.FAILED,
    "SKIPPED": MessageStatus.FAILED,
}
# The text of the message comes last and may hold anything, "id:" and "stat:" among it.
_BEFORE_TEXT = re.compile(r"\btext\s*:", re.IGNORECASE)
_FIELD = re.compile(r"\b(id|stat|err)\s*:\s*([^\s]+)", re.IGNORECASE)


@dataclass(frozen=True)
class Receipt:
    """`message_id` is the centre's, empty when it names none; `number` the recipient in its spelling; `begin`
    are the first characters of the message's text, where the receipt has them."""

    message_id: str
    number: str
    word: str
    error: str = ""
    begin: bytes = field(default=b"", compare=False)

    @property
    def status(self) -> MessageStatus | None:
        return STATUSES.get(self.word.upper())


def is_receipt(message: ShortMessage) -> bool:
    """Receipts and intermediate notifications; all other `deliver_sm` are texts that somebody wrote."""
    return (message.esm_class & 0x3C) in (0x04, 0x20, 0x24) or TLV_RECEIPTED_MESSAGE_ID in message.tlvs


def receipt_of(message: ShortMessage) -> Receipt:
    """TLVs first, since they are the specification's; the text for what they leave out."""
    raw = message.short_message or message.tlvs.get(TLV_MESSAGE_PAYLOAD, b"")
    text, *after = _BEFORE_TEXT.split(raw.decode("latin-1"), maxsplit=1)
    words: dict[str, str] = {}
    for name, value in _FIELD.findall(text):
        words.setdefault(name.lower(), value)
    state = message.tlvs.get(TLV_MESSAGE_STATE, b"")[:1]
    return Receipt(
        message_id=_id(message.tlvs.get(TLV_RECEIPTED_MESSAGE_ID, b"")) or words.get("id", ""),
        number=message.source.address,
        word=_STATES.get(state[0], f"state {state[0]}") if state else words.get("stat", ""),
        error=words.get("err", "") if words.get("err", "").strip("0") else "",
        begin="".join(after).encode("latin-1"),
    )


def is_about(receipt: Receipt, text: str) -> bool:
    """Whether a receipt repeats the beginning of this text, in whatever alphabet; not one that repeats
    nothing."""
    begin = receipt.begin.strip()
    return bool(begin) and any(
        spelling(text).startswith(begin) for spelling in (_in_gsm, _in_ucs2, _in_latin_1, _in_utf_8)
    )


def _in_gsm(text: str) -> bytes:
    return gsm_octets(text) if is_gsm(text) else b""


def _in_ucs2(text: str) -> bytes:
    return text.encode("utf-16-be")


def _in_latin_1(text: str) -> bytes:
    return text.encode("latin-1", "replace")


def _in_utf_8(text: str) -> bytes:
    return text.encode()


def _id(raw: bytes) -> str:
    return raw.split(b"\x00", 1)[0].decode("latin-1").strip()


def other_spellings(message_id: str) -> list[str]:
    """An id as the response may have written it: in the other base, in the other case.

    Centres answer in hexadecimal and report in decimal, or the other way round. Two messages may share a
    number in different bases, so whoever uses these compares the recipient as well.
    """
    found = [message_id.lower(), message_id.upper()]
    if re.fullmatch(r"[0-9]{1,20}", message_id):
        value = int(message_id)
        found += [f"{value:x}", f"{value:X}", f"{value:08x}", f"{value:08X}"]
    if re.fullmatch(r"[0-9a-fA-F]{1,16}", message_id):
        found += [str(int(message_id, 16)), f"{int(message_id, 16):010d}"]
    return [each for each in dict.fromkeys(found) if each != message_id]
