"""Outward HTTP: deadlines, no redirects, checked addresses, and what a failed call means."""

from app.transport.addresses import check_url, is_public, resolve
from app.transport.answers import (
    ANSWER_LIMIT_BYTES,
    AddressRefused,
    HttpAnswer,
    NoAnswer,
    NotSent,
    TransportError,
)
from app.transport.client import USER_AGENT, HttpClient, check_header

__all__ = [
    "ANSWER_LIMIT_BYTES",
    "USER_AGENT",
    "AddressRefused",
    "HttpAnswer",
    "HttpClient",
    "NoAnswer",
    "NotSent",
    "TransportError",
    "check_header",
    "check_url",
    "is_public",
    "resolve",
]
