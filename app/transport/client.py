"""One call out: written by requests, sent to a checked address, ended by one clock, never repeated."""

from __future__ import annotations

import copy
import logging
import re
import socket
import ssl
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cache
from typing import Any

import certifi
import requests
import urllib3

from app.domain.hosts import ascii_host
from app.domain.sentences import N_, Sentence
from app.transport.addresses import Guard, Target, parse_url, resolve
from app.transport.answers import ANSWER_LIMIT_BYTES, HttpAnswer, NoAnswer, NotSent, TransportError
from app.transport.connections import CONNECT_TIMEOUT_S, TIMEOUT_S, GuardedAdapter, Pools
from app.transport.reach import Reach, Resolver

USER_AGENT = "sms-provider/1"

_UNREADABLE = N_("the answer could not be read")
_UNWRITABLE = N_("the request could not be written")
_TOO_LONG = N_("the answer is too long")

# urllib3 writes whole URLs into debug lines and into a warning about odd headers; ours may hold secrets.
logging.getLogger("urllib3").setLevel(logging.ERROR)

_HEADER_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
_HEADER_VALUE = re.compile(r"[\t\x20-\x7e\x80-\xff]*")
# What decides where a request goes and where it ends is ours to write.
_OWN_HEADERS = frozenset(
    {"host", "content-length", "transfer-encoding", "connection", "upgrade", "te", "trailer", "expect"}
)


@cache
def _public_trust() -> ssl.SSLContext:
    """One for all clients of a process: reading the authorities takes as long as all the rest of a start."""
    return ssl.create_default_context(cafile=certifi.where())


def check_header(name: str, value: str) -> str:
    """What is wrong with a header that somebody typed, as a sentence; empty when nothing is."""
    if not _HEADER_NAME.fullmatch(name):
        return N_("A header name has a character that is not allowed.")
    if name.lower() in _OWN_HEADERS:
        return Sentence("The header %(name)s is set by the application itself.", name=name)
    if not _HEADER_VALUE.fullmatch(value):
        return Sentence(
            "The value of the header %(name)s has a line break or a character that is not allowed.", name=name
        )
    return ""


def _written(
    method: str,
    target: Target,
    headers: Mapping[str, str] | None,
    data: Mapping[str, str] | bytes | None,
    json: Any,
    auth: tuple[str, str] | None,
) -> requests.PreparedRequest:
    own = {"User-Agent": USER_AGENT, "Accept": "*/*", "Accept-Encoding": "identity"}
    given = {name.lower() for name in headers or {}}
    sent = {name: value for name, value in own.items() if name.lower() not in given}
    for name, value in (headers or {}).items():
        if check_header(name, value):
            raise NotSent("a request header has a name or a value that is not allowed")
        sent[name] = value
    wanted_auth = None
    if auth is not None and "authorization" not in given:
        wanted_auth = requests.auth.HTTPBasicAuth(*(part.encode() for part in auth))
    written = requests.Request(
        method,
        target.origin,
        headers=sent,
        data=dict(data) if isinstance(data, Mapping) else data,
        json=json,
        auth=wanted_auth,
    ).prepare()
    written.url = target.origin + target.path  # as we have checked and quoted it
    return written


def as_written(
    method: str,
    url: str,
    *,
    params: Mapping[str, str] | None = None,
    headers: Mapping[str, str] | None = None,
    data: Mapping[str, str] | bytes | None = None,
    json: Any = None,
) -> tuple[str, dict[str, str], str]:
    """The address, headers and body of a call as it would go out; nothing is sent nor looked up."""
    given = dict(data) if isinstance(data, Mapping) else data
    written = requests.Request(
        method, url, params=params, headers=dict(headers or {}), data=given, json=json
    ).prepare()
    body = written.body or b""
    text = body.decode("utf-8", errors="replace") if isinstance(body, bytes) else str(body)
    return str(written.url), {name: str(value) for name, value in written.headers.items()}, text


def _failure(error: Exception) -> TransportError:
    """What a call that failed after the connection stood means: that nobody knows."""
    if isinstance(error, TransportError):
        return error
    if isinstance(error, urllib3.exceptions.ClosedPoolError):  # before a connection was picked
        return NotSent("the connection pool was closed")
    if isinstance(error, (TimeoutError, urllib3.exceptions.TimeoutError, requests.Timeout)):
        return NoAnswer("no complete answer came in time")
    if isinstance(error, urllib3.exceptions.IncompleteRead):
        return NoAnswer("the answer broke off")
    if isinstance(error, (urllib3.exceptions.ProtocolError, OSError)):
        return NoAnswer("the connection broke before a complete answer came")
    return NoAnswer(f"{_UNREADABLE} ({type(error).__name__})")


class HttpClient:
    """Calls other people's servers. Thread-safe; keeps connections for a few seconds, and no cookies.

    Args:
        allow_private: also plain http, other ports, and private or loopback addresses; for development.
        reach: whom it may call, in place of `allow_private`.
        timeout_s: default for the whole call, from the look-up of the name to the last byte.
        ca_file: certificates to trust in place of the usual ones.
        resolver: how host names become addresses.
        before_call: asked before each call; what it raises is raised, and nothing is sent.
    """

    def __init__(
        self,
        *,
        allow_private: bool = False,
        reach: Reach | None = None,
        timeout_s: float = TIMEOUT_S,
        connect_timeout_s: float = CONNECT_TIMEOUT_S,
        pools: int = 256,
        connections_per_host: int = 32,
        ca_file: str | None = None,
        resolver: Resolver = resolve,
        before_call: Callable[[], None] = lambda: None,
    ) -> None:
        self._before_call = before_call
        self.reach = reach or Reach(everywhere=allow_private)
        self._double: Target | None = None
        self._timeout_s = timeout_s
        self._connect_timeout_s = connect_timeout_s
        self._guard = Guard(self.reach, resolver)
        self._adapter = GuardedAdapter(
            Pools(
                self._guard,
                pools,
                maxsize=connections_per_host,
                ssl_context=ssl.create_default_context(cafile=ca_file) if ca_file else _public_trust(),
            )
        )

    def towards(self, origin: str) -> HttpClient:
        """This client with `origin` in place of every call's own: for a double of a vendor.

        Path and query stay as they are; the Host header names the double.
        """
        other = copy.copy(self)
        other._double = parse_url(origin, None, reach=self.reach)
        return other

    def request(
        self,
        method: str,
        url: str,
        *,
        params: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        data: Mapping[str, str] | bytes | None = None,
        json: Any = None,
        auth: tuple[str, str] | None = None,
        timeout_s: float | None = None,
        deadline: float | None = None,
        limit_bytes: int = ANSWER_LIMIT_BYTES,
    ) -> HttpAnswer:
        """Make one call and read its whole answer; every status is an answer, redirects too.

        The call ends after `timeout_s`, and by `deadline` (of `time.monotonic()`) at the latest. An
        answer over `limit_bytes` counts as none.

        Raises:
            AddressRefused: nothing was sent, and nothing ever will be to this address.
            NotSent: nothing was sent; safe to repeat.
            NoAnswer: the request may have been taken; repeating it may do it twice.
        """
        self._before_call()
        failure: TransportError
        try:
            written = self._write(method, url, params, headers, data, json, auth)
            total_s = self._timeout_s if timeout_s is None else timeout_s
            if deadline is not None:
                total_s = min(total_s, deadline - time.monotonic())
            if total_s <= 0:
                raise NotSent("no time was left for the call")
            return self._exchange(written, total_s, limit_bytes)
        except Exception as error:
            failure = _failure(error)
        # Raised out here and bare of context: foreign exceptions quote URLs, and URLs hold secrets.
        failure.__context__ = None
        raise failure

    def _write(
        self,
        method: str,
        url: str,
        params: Mapping[str, str] | None,
        headers: Mapping[str, str] | None,
        data: Mapping[str, str] | bytes | None,
        json: Any,
        auth: tuple[str, str] | None,
    ) -> requests.PreparedRequest:
        try:
            target = parse_url(url, params, reach=self.reach)
            if (double := self._double) is not None:
                target = replace(target, scheme=double.scheme, host=double.host, port=double.port)
            return _written(method, target, headers, data, json, auth)
        except (ValueError, TypeError, RecursionError) as error:
            raise NotSent(f"{_UNWRITABLE} ({type(error).__name__})") from None

    def _exchange(self, written: requests.PreparedRequest, total_s: float, limit_bytes: int) -> HttpAnswer:
        timeout = urllib3.Timeout(total=total_s, connect=min(self._connect_timeout_s, total_s))
        # The adapter alone: no session, so no cookies, no redirects and nothing of the environment.
        response = self._adapter.send(written, stream=True, timeout=timeout).raw  # type: ignore[arg-type]
        try:
            content = response.read(limit_bytes + 1, decode_content=True)
        except Exception:
            response.close()
            raise
        if len(content) > limit_bytes:
            response.close()
            raise NoAnswer(f"{_TOO_LONG} ({limit_bytes} bytes are read)")
        response.release_conn()
        return HttpAnswer(response.status, response.headers, content)

    def connect(self, host: str, port: int, timeout_s: float) -> socket.socket:
        """A plain TCP connection to a checked address, for protocols other than HTTP.

        Raises:
            AddressRefused, NotSent: as `request`.
        """
        if (double := self._double) is not None:
            host, port = double.host, double.port
        return self._guard.open("tcp", ascii_host(host), port, time.monotonic() + timeout_s)

    def close(self) -> None:
        """Drop the idle connections."""
        self._adapter.close()
