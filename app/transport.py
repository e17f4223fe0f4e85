"""Outward HTTP: deadlines, no redirects, checked addresses, and what a failed call means."""

from __future__ import annotations

import http.client
import ipaddress
import json
import socket
import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any
from urllib.parse import urlsplit

import requests
import urllib3
from requests.adapters import HTTPAdapter

ANSWER_LIMIT_BYTES = 1024 * 1024


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
    headers: Mapping[str, str]
    body: bytes

    @property
    def ok(self) -> bool:
        return 200 <= self.status < 300

    @cached_property
    def text(self) -> str:
        return self.body.decode("utf-8", errors="replace")

    def json(self) -> Any:
        """The parsed body; raises ValueError when it is not JSON."""
        return json.loads(self.body)
