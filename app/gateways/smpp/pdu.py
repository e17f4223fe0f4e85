"""Packets of SMPP 3.4 as bytes and as values. Pure; the names are the specification's.

Source: SMPP v3.4, sections 3 (framing), 4 (each packet), 5.3 (optional parameters).
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass, field

HEADER = struct.Struct(">IIII")
MAX_LENGTH = 64 * 1024  # nothing that we understand is longer; a longer one is a broken stream

GENERIC_NACK = 0x80000000
BIND_RECEIVER = 0x00000001
BIND_TRANSMITTER = 0x00000002
SUBMIT_SM = 0x00000004
DELIVER_SM = 0x00000005
UNBIND = 0x00000006
BIND_TRANSCEIVER = 0x00000009
ENQUIRE_LINK = 0x00000015
ALERT_NOTIFICATION = 0x00000102
RESPONSE = 0x80000000

ROK = 0x00
RINVCMDID = 0x03
RINVBNDSTS = 0x04
RALYBND = 0x05
RBINDFAIL = 0x0D
RINVPASWD = 0x0E
RINVSYSID = 0x0F
RX_T_APPN = 0x64

TLV_RECEIPTED_MESSAGE_ID = 0x001E
TLV_SAR_MSG_REF_NUM = 0x020C
TLV_SAR_TOTAL_SEGMENTS = 0x020E
TLV_SAR_SEGMENT_SEQNUM = 0x020F
TLV_MESSAGE_PAYLOAD = 0x0424
TLV_MESSAGE_STATE = 0x0427

ESM_UDHI = 0x40
INTERFACE_VERSION = 0x34
TEXT_LIMIT = 254  # octets of `short_message`


class Malformed(Exception):
    """Bytes that are no packet, or one that contradicts itself."""


@dataclass(frozen=True)
class Pdu:
    command: int
    status: int
    sequence: int
    body: bytes = b""

    @property
    def is_response(self) -> bool:
        return bool(self.command & RESPONSE)

    def encoded(self) -> bytes:
        return HEADER.pack(HEADER.size + len(self.body), self.command, self.status, self.sequence) + self.body

    def answer(self, status: int = ROK, body: bytes = b"") -> Pdu:
        return Pdu(self.command | RESPONSE, status, self.sequence, body)


@dataclass(frozen=True)
class Address:
    """A number or name with its type (TON) and its numbering plan (NPI)."""

    ton: int
    npi: int
    address: str


@dataclass(frozen=True)
class ShortMessage:
    """What `submit_sm` and `deliver_sm` have in common; they are the same on the wire."""

    source: Address
    destination: Address
    short_message: bytes
    esm_class: int = 0
    data_coding: int = 0
    registered_delivery: int = 0
    service_type: str = ""
    validity_period: str = ""
    tlvs: Mapping[int, bytes] = field(default_factory=dict)


def length_of(header: bytes) -> int:
    """How long the packet is that begins with these four bytes.

    Raises:
        Malformed: the stream is lost; nothing but a new connection helps.
    """
    (length,) = struct.unpack(">I", header)
    if not HEADER.size <= length <= MAX_LENGTH:
        raise Malformed(f"a packet of {length} bytes")
    return int(length)


def decoded(raw: bytes) -> Pdu:
    """One whole packet, of the length that `length_of` told."""
    _length, command, status, sequence = HEADER.unpack_from(raw)
    return Pdu(command, status, sequence, raw[HEADER.size :])


def bind_body(system_id: str, password: str, system_type: str) -> bytes:
    return b"".join(
        (
            _c_string(system_id, 16),
            _c_string(password, 9),
            _c_string(system_type, 13),
            bytes((INTERFACE_VERSION, 0, 0)),
            b"\x00",  # address_range
        )
    )


def message_body(message: ShortMessage) -> bytes:
    """The body of a `submit_sm` or `deliver_sm`."""
    if len(message.short_message) > TEXT_LIMIT:
        raise Malformed("a text of more than 254 octets has to be split, or to travel as message_payload")
    return b"".join(
        (
            _c_string(message.service_type, 6),
            *(_address(address) for address in (message.source, message.destination)),
            bytes((message.esm_class, 0, 0)),  # protocol_id, priority_flag
            b"\x00",  # schedule_delivery_time: at once
            _c_string(message.validity_period, 17),
            bytes((message.registered_delivery, 0, message.data_coding, 0)),
            bytes((len(message.short_message),)),
            message.short_message,
            *(struct.pack(">HH", tag, len(value)) + value for tag, value in message.tlvs.items()),
        )
    )


def message_of(body: bytes) -> ShortMessage:
    """A `deliver_sm` or `submit_sm` as a value; what follows the text and is cut short is left out.

    Raises:
        Malformed: the part before the optional parameters is incomplete.
    """
    at = _Cursor(body)
    service_type = at.c_string()
    source = Address(at.byte(), at.byte(), at.c_string())
    destination = Address(at.byte(), at.byte(), at.c_string())
    esm_class, _protocol, _priority = at.byte(), at.byte(), at.byte()
    at.c_string()  # schedule_delivery_time
    validity_period = at.c_string()
    registered, _replace, data_coding, _default = at.byte(), at.byte(), at.byte(), at.byte()
    text = at.octets(at.byte())
    return ShortMessage(
        source=source,
        destination=destination,
        short_message=text,
        esm_class=esm_class,
        data_coding=data_coding,
        registered_delivery=registered,
        service_type=service_type,
        validity_period=validity_period,
        tlvs=at.tlvs(),
    )


def message_id_of(body: bytes) -> str:
    """The id in a `submit_sm_resp`; empty when the centre gave none. An error's answer may have no body."""
    return body.split(b"\x00", 1)[0].decode("latin-1").strip()


def _c_string(text: str, limit: int) -> bytes:
    """A text with its closing zero, `limit` octets at most. Nothing is cut: that would be another login."""
    raw = text.encode("latin-1", errors="replace")
    if len(raw) >= limit or b"\x00" in raw:
        raise Malformed(f"{len(raw)} characters where SMPP has room for {limit - 1}")
    return raw + b"\x00"


def _address(address: Address) -> bytes:
    return bytes((address.ton, address.npi)) + _c_string(address.address, 21)


class _Cursor:
    def __init__(self, body: bytes) -> None:
        self._body, self._at = body, 0

    def byte(self) -> int:
        return self.octets(1)[0]

    def octets(self, count: int) -> bytes:
        found = self._body[self._at : self._at + count]
        if len(found) < count:
            raise Malformed("the packet ends too soon")
        self._at += count
        return found

    def c_string(self) -> str:
        end = self._body.find(b"\x00", self._at)
        if end < 0:
            raise Malformed("a text without an end")
        found = self._body[self._at : end]
        self._at = end + 1
        return found.decode("latin-1")

    def tlvs(self) -> dict[int, bytes]:
        found: dict[int, bytes] = {}
        while len(self._body) - self._at >= 4:
            tag, length = struct.unpack_from(">HH", self._body, self._at)
            self._at += 4
            found.setdefault(tag, self._body[self._at : self._at + length])
            self._at += length
        return found
