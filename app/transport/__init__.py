"""Outward HTTP: deadlines, no redirects, checked addresses, and what a failed call means."""

from app.transport.addresses import Guard, check_url, origin_of, resolve
from app.transport.answers import (
    ANSWER_LIMIT_BYTES,
    AddressRefused,
    HttpAnswer,
    NoAnswer,
    NotSent,
    TransportError,
)
from app.transport.client import USER_AGENT, HttpClient, as_written, check_header
from app.transport.payloads import decode_text, parse_form, parse_json
from app.transport.reach import Allowed, Reach, is_public

__all__ = [
    "ANSWER_LIMIT_BYTES",
    "USER_AGENT",
    "AddressRefused",
    "Allowed",
    "Guard",
    "HttpAnswer",
    "HttpClient",
    "NoAnswer",
    "NotSent",
    "Reach",
    "TransportError",
    "as_written",
    "check_header",
    "check_url",
    "decode_text",
    "is_public",
    "origin_of",
    "parse_form",
    "parse_json",
    "resolve",
]
