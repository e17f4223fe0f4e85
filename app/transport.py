"""Outward HTTP: deadlines, no redirects, checked addresses, and what a failed call means.

Where a call fails decides what it means. Whatever goes wrong until the connection stands (name, address,
TCP, TLS) is `NotSent`; from the first written byte on it is `NoAnswer`, also on a pooled connection that
turns out to be dead. That border runs through `_CheckedConnection.connect`, so no list of exception
classes has to guess it. Nothing is ever repeated here, and no redirect is followed.
"""

from __future__ import annotations

import base64
import http.client
import io
import ipaddress
import json as jsonlib
import logging
import re
import socket
import ssl
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from functools import cached_property
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

import certifi
import urllib3
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

ANSWER_LIMIT_BYTES = 1024 * 1024
TIMEOUT_S = 20.0
CONNECT_TIMEOUT_S = 5.0
RETRY_AFTER_LIMIT_S = 3600.0
# Shorter than the five seconds after which common servers (Apache, Node) drop an idle connection: a
# request on a connection that is being dropped has an unknown outcome, so that must stay rare.
IDLE_LIMIT_S = 4.0

USER_AGENT = "sms-provider/1"

# urllib3 writes whole URLs into debug lines and into a warning about odd headers; ours may hold secrets.
logging.getLogger("urllib3").setLevel(logging.ERROR)


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
        return self.body.decode("utf-8", errors="replace")

    def json(self) -> Any:
        """The parsed body; raises ValueError when it is not JSON."""
        try:
            return jsonlib.loads(self.body)
        except RecursionError:
            raise ValueError("JSON nested too deeply") from None

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


# --- which addresses we call -------------------------------------------------------------------------

IpAddress = ipaddress.IPv4Address | ipaddress.IPv6Address
Resolver = Callable[[str, int], Sequence[str]]

_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
# What `ipaddress` calls global in some Python releases and is not ours to call all the same.
_NEVER = tuple(
    ipaddress.ip_network(network)
    for network in ("192.0.0.0/24", "192.88.99.0/24", "2001::/23", "3fff::/20", "5f00::/16", "fec0::/10")
)


def is_public(address: IpAddress) -> bool:
    """Whether an address is on the open internet, also when it is wrapped into an IPv6 form."""
    if isinstance(address, ipaddress.IPv6Address):
        if address.scope_id:
            return False
        inner = address.ipv4_mapped or address.sixtofour
        if inner is None and address in _NAT64:
            inner = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
        if inner is not None:
            return is_public(inner)
    if any(address in network for network in _NEVER):
        return False
    odd = address.is_multicast or address.is_reserved or address.is_link_local or address.is_unspecified
    return address.is_global and not odd


def resolve(host: str, port: int) -> list[str]:
    """The addresses of a host in the system's order; raises OSError when there are none."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(sockaddr[0]) for *_, sockaddr in found))


def _resolve_within(resolver: Resolver, host: str, port: int, timeout_s: float) -> Sequence[str]:
    """`resolver` with a clock: the system's own resolver has none, so it runs beside us."""
    with suppress(ValueError):
        return [str(ipaddress.ip_address(host))]
    found: list[Sequence[str]] = []

    def look_up() -> None:
        with suppress(OSError, UnicodeError):
            found.append(resolver(host, port))

    thread = threading.Thread(target=look_up, name="resolve", daemon=True)
    thread.start()
    thread.join(timeout_s)
    if thread.is_alive():
        raise NotSent("the host name was not resolved in time")
    if not found or not found[0]:
        raise NotSent("the host name does not exist")
    return found[0]


@dataclass(frozen=True)
class _Guard:
    """Opens TCP connections to addresses that it has checked, and to no others."""

    allow_private: bool
    resolver: Resolver

    def open(self, host: str, port: int, deadline: float) -> socket.socket:
        addresses = _resolve_within(self.resolver, host, port, _left(deadline))
        if not self.allow_private and not all(is_public(ipaddress.ip_address(a)) for a in addresses):
            raise AddressRefused("the host has a private or reserved address")
        for position, address in enumerate(addresses[:4]):
            is_last = position == len(addresses[:4]) - 1
            patience_s = _left(deadline) if is_last else _left(deadline) / 2
            try:
                return _connect(address, port, patience_s)
            except OSError as error:
                if is_last:
                    reason = _connect_failure(error)
        raise NotSent(reason)


def _connect(address: str, port: int, timeout_s: float) -> socket.socket:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.settimeout(max(timeout_s, 0.001))
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.connect((address, port))
    except BaseException:
        sock.close()
        raise
    return sock


def _connect_failure(error: Exception) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return "the server's certificate is not valid for this host"
    if isinstance(error, TimeoutError):
        return "the connection timed out"
    if isinstance(error, ConnectionRefusedError):
        return "the connection was refused"
    if isinstance(error, (ssl.SSLError, urllib3.exceptions.SSLError)):
        return "the TLS handshake failed"
    return "no connection could be made"


def _left(deadline: float) -> float:
    return max(deadline - time.monotonic(), 0.0)


# --- connections and pools ---------------------------------------------------------------------------


class _ClockedReader(io.RawIOBase):
    """Reads a socket until a deadline: the time-out of a socket alone starts anew with every byte."""

    def __init__(self, raw: io.RawIOBase, sock: socket.socket, deadline: float) -> None:
        self._raw, self._sock, self._deadline = raw, sock, deadline
        self.is_at_end = False

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        left = _left(self._deadline)
        if not left:
            raise TimeoutError
        self._sock.settimeout(left)
        count = self._raw.readinto(buffer)
        self.is_at_end = count == 0
        return count

    def close(self) -> None:
        self._raw.close()
        super().close()


class _ClockedResponse(http.client.HTTPResponse):
    """An answer whose status line, headers and body must all come before the socket's time-out is over."""

    def __init__(self, sock: socket.socket, *args: Any, **kwargs: Any) -> None:
        super().__init__(sock, *args, **kwargs)
        timeout_s = sock.gettimeout()
        deadline = time.monotonic() + (TIMEOUT_S if timeout_s is None else timeout_s)
        self._reader = _ClockedReader(self.fp.detach(), sock, deadline)
        self.fp = io.BufferedReader(self._reader)

    def begin(self) -> None:
        super().begin()
        # The standard library takes a head that breaks off for a complete one.
        if self._reader.is_at_end:
            raise http.client.IncompleteRead(b"")


class _CheckedConnection(HTTPConnection):
    """A connection through the guard. Until `connect` returns, nothing of the request was written."""

    response_class = _ClockedResponse
    guard: _Guard
    idle_since = 0.0

    def _new_conn(self) -> socket.socket:
        timeout_s = self.timeout if isinstance(self.timeout, (int, float)) else CONNECT_TIMEOUT_S
        deadline = time.monotonic() + timeout_s
        sock = self.guard.open(self.host, self.port, deadline)
        sock.settimeout(max(_left(deadline), 0.001))  # what is left for the TLS handshake
        return sock

    def connect(self) -> None:
        try:
            super().connect()
            self.sock.settimeout(self.timeout)  # for writing the request
        except TransportError:
            raise
        except Exception as error:
            reason = _connect_failure(error)
        else:
            return
        self.close()
        raise NotSent(reason)


class _CheckedTlsConnection(_CheckedConnection, HTTPSConnection):
    """The same with TLS: server name, Host header and certificate check stay with the host's name."""


class _Pool(HTTPConnectionPool):
    ConnectionCls = _CheckedConnection
    guard: _Guard

    def _new_conn(self) -> Any:
        connection: Any = super()._new_conn()
        connection.guard = self.guard
        return connection

    def _get_conn(self, timeout: float | None = None) -> Any:
        connection: Any = super()._get_conn(timeout)
        if connection.sock is not None and time.monotonic() - connection.idle_since > IDLE_LIMIT_S:
            connection.close()
        return connection

    def _put_conn(self, conn: Any) -> None:
        if conn is not None:
            conn.idle_since = time.monotonic()
        super()._put_conn(conn)


class _TlsPool(_Pool, HTTPSConnectionPool):
    ConnectionCls = _CheckedTlsConnection


class _Pools(urllib3.PoolManager):
    def __init__(self, guard: _Guard, pools: int, **kwargs: Any) -> None:
        super().__init__(num_pools=pools, **kwargs)
        self.pool_classes_by_scheme = {"http": _Pool, "https": _TlsPool}
        self._guard = guard

    def _new_pool(self, *args: Any, **kwargs: Any) -> Any:
        pool: Any = super()._new_pool(*args, **kwargs)
        pool.guard = self._guard
        return pool


# --- requests ----------------------------------------------------------------------------------------

_HEADER_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
_HEADER_VALUE = re.compile(r"[\t\x20-\x7e\x80-\xff]*")
# What decides where a request goes and where it ends is ours to write.
_OWN_HEADERS = frozenset(
    {"host", "content-length", "transfer-encoding", "connection", "upgrade", "te", "trailer", "expect"}
)
_UNSAFE_IN_URL = re.compile(r"[\x00-\x20\x7f\\]")
_HOST = re.compile(r"(?!-)[a-z0-9_-]{1,63}(\.[a-z0-9_-]{1,63})*")


@dataclass(frozen=True)
class _Target:
    scheme: str
    host: str
    port: int
    path: str  # with the query


def check_header(name: str, value: str) -> str:
    """What is wrong with a header that somebody typed, as a sentence; empty when nothing is."""
    if not _HEADER_NAME.fullmatch(name):
        return "A header name has a character that is not allowed."
    if name.lower() in _OWN_HEADERS:
        return f"The header {name} is set by the application itself."
    if not _HEADER_VALUE.fullmatch(value):
        return f"The value of the header {name} has a line break or a character that is not allowed."
    return ""


def check_url(url: str, *, allow_private: bool) -> str:
    """What is wrong with a URL that somebody typed, as a sentence; empty when nothing is.

    It looks at the spelling only; the address behind the name is checked when we connect.
    """
    try:
        _parse(url, None, allow_private=allow_private)
    except AddressRefused as refused:
        return f"{str(refused)[:1].upper()}{str(refused)[1:]}."
    return ""


def _parse(url: str, params: Mapping[str, str] | None, *, allow_private: bool) -> _Target:
    if _UNSAFE_IN_URL.search(url):
        raise AddressRefused("the address has a space, a backslash or a control character")
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
        host = host if ":" in host else host.encode("idna").decode("ascii").lower()
    except (ValueError, UnicodeError):
        raise AddressRefused("the address is not a URL") from None
    if parts.scheme not in ("http", "https"):
        raise AddressRefused("the address must begin with https://")
    if parts.username is not None or parts.password is not None or "@" in parts.netloc:
        raise AddressRefused("the address has a user name or password in it")
    _check_host(host)
    default_port = 443 if parts.scheme == "https" else 80
    port = default_port if port is None else port
    if not allow_private and (parts.scheme != "https" or port != default_port):
        raise AddressRefused("the address must be https on the usual port")
    query = "&".join(filter(None, (parts.query, urlencode(params) if params else "")))
    path = quote(parts.path or "/", safe="/%:=&~+!$,;'@()*") + (f"?{_quote_query(query)}" if query else "")
    return _Target(parts.scheme, host, port, path)


def _quote_query(query: str) -> str:
    return quote(query, safe="/%:=&?~+!$,;'@()*[]")


def _check_host(host: str) -> None:
    """Refuse host spellings that some resolver reads as an address and a filter does not."""
    if ":" in host:
        try:
            if ipaddress.IPv6Address(host).scope_id:
                raise ValueError
        except ValueError:
            raise AddressRefused("the address has a malformed host") from None
        return
    if not _HOST.fullmatch(host) or len(host) > 253:
        raise AddressRefused("the address has a malformed host")
    last = host.rpartition(".")[2]
    if last.isdigit() or re.fullmatch(r"0x[0-9a-f]*", last):
        try:
            ipaddress.IPv4Address(host)
        except ValueError:
            raise AddressRefused("the address has an odd spelling of an IP address") from None


def _write(
    headers: Mapping[str, str] | None,
    data: Mapping[str, str] | bytes | None,
    json: Any,
    auth: tuple[str, str] | None,
) -> tuple[dict[str, str], bytes | None]:
    prepared = {"User-Agent": USER_AGENT, "Accept": "*/*", "Accept-Encoding": "identity"}
    body: bytes | None = None
    if json is not None:
        body = jsonlib.dumps(json, ensure_ascii=True, allow_nan=False).encode()
        prepared["Content-Type"] = "application/json"
    elif isinstance(data, bytes):
        body = data
    elif data is not None:
        body = urlencode(data).encode()
        prepared["Content-Type"] = "application/x-www-form-urlencoded"
    if auth is not None:
        prepared["Authorization"] = f"Basic {base64.b64encode(':'.join(auth).encode()).decode()}"
    given = {name.lower() for name in headers or {}}
    prepared = {name: value for name, value in prepared.items() if name.lower() not in given}
    for name, value in (headers or {}).items():
        if check_header(name, value):
            raise NotSent("a request header has a name or a value that is not allowed")
        prepared[name] = value
    return prepared, body


def _failure(error: Exception) -> TransportError:
    """What a call that failed after the connection stood means: that nobody knows."""
    if isinstance(error, TransportError):
        return error
    if isinstance(error, urllib3.exceptions.ClosedPoolError):  # before a connection was picked
        return NotSent("the connection pool was closed")
    if isinstance(error, (TimeoutError, urllib3.exceptions.TimeoutError)):
        return NoAnswer("no complete answer came in time")
    if isinstance(error, urllib3.exceptions.IncompleteRead):
        return NoAnswer("the answer broke off")
    if isinstance(error, (urllib3.exceptions.ProtocolError, OSError)):
        return NoAnswer("the connection broke before a complete answer came")
    return NoAnswer(f"the answer could not be read ({type(error).__name__})")


class HttpClient:
    """Calls other people's servers. Thread-safe; keeps connections for a few seconds, and no cookies.

    Args:
        allow_private: also plain http, other ports, and private or loopback addresses.
        timeout_s: default for the whole call, from the look-up of the name to the last byte.
        ca_file: certificates to trust in place of the usual ones.
        resolver: how host names become addresses.
    """

    def __init__(
        self,
        *,
        allow_private: bool = False,
        timeout_s: float = TIMEOUT_S,
        connect_timeout_s: float = CONNECT_TIMEOUT_S,
        pools: int = 256,
        connections_per_host: int = 32,
        ca_file: str | None = None,
        resolver: Resolver = resolve,
    ) -> None:
        self.allow_private = allow_private
        self._timeout_s = timeout_s
        self._connect_timeout_s = connect_timeout_s
        self._pools = _Pools(
            _Guard(allow_private, resolver),
            pools,
            maxsize=connections_per_host,
            ssl_context=ssl.create_default_context(cafile=ca_file or certifi.where()),
        )

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
        failure: TransportError
        try:
            target, sent_headers, body = self._prepare(url, params, headers, data, json, auth)
            total_s = self._timeout_s if timeout_s is None else timeout_s
            if deadline is not None:
                total_s = min(total_s, deadline - time.monotonic())
            if total_s <= 0:
                raise NotSent("no time was left for the call")
            return self._exchange(method, target, sent_headers, body, total_s, limit_bytes)
        except Exception as error:
            failure = _failure(error)
        # Raised out here and bare of context: foreign exceptions quote URLs, and URLs hold secrets.
        failure.__context__ = None
        raise failure

    def _prepare(
        self,
        url: str,
        params: Mapping[str, str] | None,
        headers: Mapping[str, str] | None,
        data: Mapping[str, str] | bytes | None,
        json: Any,
        auth: tuple[str, str] | None,
    ) -> tuple[_Target, dict[str, str], bytes | None]:
        try:
            target = _parse(url, params, allow_private=self.allow_private)
            return target, *_write(headers, data, json, auth)
        except (ValueError, TypeError, RecursionError) as error:
            raise NotSent(f"the request could not be written ({type(error).__name__})") from None

    def _exchange(
        self,
        method: str,
        target: _Target,
        headers: Mapping[str, str],
        body: bytes | None,
        total_s: float,
        limit_bytes: int,
    ) -> HttpAnswer:
        pool = self._pools.connection_from_host(target.host, target.port, target.scheme)
        response = pool.urlopen(
            method,
            target.path,
            body=body,
            headers=headers,
            retries=False,
            redirect=False,
            timeout=urllib3.Timeout(total=total_s, connect=min(self._connect_timeout_s, total_s)),
            preload_content=False,
        )
        try:
            content = response.read(limit_bytes + 1, decode_content=True)
        except Exception:
            response.close()
            raise
        if len(content) > limit_bytes:
            response.close()
            raise NoAnswer(f"the answer is longer than {limit_bytes} bytes")
        response.release_conn()
        return HttpAnswer(response.status, response.headers, content)

    def close(self) -> None:
        """Drop the idle connections."""
        self._pools.clear()
