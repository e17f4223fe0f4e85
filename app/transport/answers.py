"""What a call of somebody else's server brought: a complete answer, or one of three failures."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from functools import cached_property
from typing import Any

from app.transport.payloads import decode_text, parse_json

ANSWER_LIMIT_BYTES = 1024 * 1024
RETRY_AFTER_LIMIT_S = 3600.0


class TransportError(Exception):
    """A call got no usable answer. The text is safe to log: it never holds an address or a body."""


class NotSent(TransportError):
    """The request surely did not reach the other side (refused, no such host, TLS): safe to repeat."""


class AddressRefused(NotSent):
    """The address is not one that we call: private or loopback, or not https."""


class NoAnswer(TransportError):
    """The request may have arrived, and no complete answer came back: the outcome is unknown."""


@dataclass(frozen=True)
class HttpAnswer:
    """A complete answer, whatever its status. `body` is at most `ANSWER_LIMIT_BYTES` long."""

    status: int
    headers: Mapping[str, str]  # names in any case
    body: bytes
    received_at: float = field(default_factory=time.time)

    @property
    def ok(self) -> bool:
        return 200 <= self.status < 300

    @cached_property
    def text(self) -> str:
        return decode_text(self.body, self.header("content-type"))

    def json(self) -> Any:
        """The parsed body, in the charset that its header names; raises ValueError when it is not JSON."""
        return parse_json(self.body, self.header("content-type"))

    def header(self, name: str) -> str:
        """The value of a header, by its name in any case; empty when it is missing."""
        wanted = name.lower()
        return next((value for key, value in self.headers.items() if key.lower() == wanted), "")

    @property
    def retry_after_s(self) -> float | None:
        """The pause that `Retry-After` asks for, between 0 and one hour; None when it names none.

        Source: https://www.rfc-editor.org/rfc/rfc9110.html#field.retry-after
        """
        return _pause(self.header("retry-after").strip(), _unix_time(self.header("date")) or self.received_at)


def _pause(value: str, now: float) -> float | None:
    if re.fullmatch(r"\d{1,20}(\.\d{1,9})?", value, re.ASCII):
        seconds = float(value)
    elif (moment := _unix_time(value)) is not None:
        seconds = moment - now
    else:
        return None
    return min(max(seconds, 0.0), RETRY_AFTER_LIMIT_S)


def _unix_time(value: str) -> float | None:
    try:
        return parsedate_to_datetime(value).timestamp() if value else None
    except (ValueError, TypeError, OverflowError):
        return None
