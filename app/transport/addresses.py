"""Which addresses we call: how a URL may be spelled, and what may stand behind its host name.

A name is resolved once and the connection goes to exactly the address that was checked, so a name that
answers differently the next time cannot lead us anywhere else.
"""

from __future__ import annotations

import ipaddress
import re
import socket
import ssl
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from urllib.parse import quote, urlencode, urlsplit

import urllib3

from app.domain.hosts import ascii_host
from app.domain.sentences import N_, Sentence
from app.transport.answers import AddressRefused, NotSent
from app.transport.reach import Reach, Resolver

_UNSAFE_IN_URL = re.compile(r"[\x00-\x20\x7f\\]")
_HOST = re.compile(r"(?!-)[a-z0-9_-]{1,63}(\.[a-z0-9_-]{1,63})*")


@dataclass(frozen=True)
class Target:
    scheme: str
    host: str
    port: int
    path: str  # with the query

    @property
    def origin(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}:{self.port}"


def check_url(url: str, *, allow_private: bool = False, reach: Reach | None = None) -> str:
    """What is wrong with a URL that somebody typed, as a sentence; empty when nothing is.

    It looks at the spelling only; the address behind the name is checked when we connect.
    """
    try:
        parse_url(url, None, reach=reach or Reach(everywhere=allow_private))
    except AddressRefused as refused:
        return Sentence("This cannot be called: %(why)s.", why=Sentence(str(refused)))
    return ""


def origin_of(url: str) -> tuple[str, str, str]:
    """Scheme, host and port of an address, for comparing; of what is no address, the text itself."""
    try:
        parts = urlsplit(url.strip())
        host = ascii_host(parts.hostname or "")
        port = parts.port or {"https": 443, "http": 80}.get(parts.scheme, 0)
    except ValueError:
        return "", url, ""
    return parts.scheme, host, str(port)


def parse_url(url: str, params: Mapping[str, str] | None, *, reach: Reach) -> Target:
    if _UNSAFE_IN_URL.search(url):
        raise AddressRefused("the address has a space, a backslash or a control character")
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
        host = host if ":" in host else ascii_host(host)
    except ValueError:
        raise AddressRefused("the address is not a URL") from None
    if parts.scheme not in ("http", "https"):
        raise AddressRefused("the address must begin with https://")
    if parts.username is not None or parts.password is not None or "@" in parts.netloc:
        raise AddressRefused("the address has a user name or password in it")
    _check_host(host)
    default_port = 443 if parts.scheme == "https" else 80
    port = default_port if port is None else port
    if objection := reach.objection_to_spelling(parts.scheme, host, port):
        raise AddressRefused(objection)
    query = "&".join(filter(None, (parts.query, urlencode(params) if params else "")))
    path = quote(parts.path or "/", safe="/%:=&~+!$,;'@()*") + (f"?{_quote_query(query)}" if query else "")
    return Target(parts.scheme, host, port, path)


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


def resolve(host: str, port: int) -> list[str]:
    """The addresses of a host in the system's order; raises OSError when there are none."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(sockaddr[0]) for *_, sockaddr in found))


class _LookUp:
    """One name that a thread is asking for. Whoever wants the same one waits for the same thread."""

    def __init__(self) -> None:
        self.is_done = threading.Event()
        self.found: Sequence[str] = ()


LOOK_UPS_AT_ONCE = 32  # names whose servers are silent hold a thread each for half a minute
_running: dict[tuple[Resolver, str, int], _LookUp] = {}
_running_lock = threading.Lock()


def _resolve_within(resolver: Resolver, host: str, port: int, timeout_s: float) -> Sequence[str]:
    """`resolver` with a clock: the system's own resolver has none, so it runs beside us."""
    with suppress(ValueError):
        return [str(ipaddress.ip_address(host))]
    look_up = _started(resolver, host, port)
    if not look_up.is_done.wait(timeout_s):
        raise NotSent("the host name was not resolved in time")
    if not look_up.found:
        raise NotSent("the host name does not exist")
    return look_up.found


def _started(resolver: Resolver, host: str, port: int) -> _LookUp:
    key = (resolver, host, port)
    with _running_lock:
        if (running := _running.get(key)) is not None:
            return running
        if len(_running) >= LOOK_UPS_AT_ONCE:
            raise NotSent("too many host names are being looked up")
        made = _running[key] = _LookUp()

    def look_up() -> None:
        try:
            with suppress(OSError, UnicodeError):
                made.found = resolver(host, port)
        finally:
            with _running_lock:
                del _running[key]
            made.is_done.set()

    try:
        threading.Thread(target=look_up, name="resolve", daemon=True).start()
    except RuntimeError:
        with _running_lock:
            del _running[key]
        raise
    return made


@dataclass(frozen=True)
class Guard:
    """Opens TCP connections to addresses that it has checked, and to no others."""

    reach: Reach
    resolver: Resolver

    def open(self, scheme: str, host: str, port: int, deadline: float) -> socket.socket:
        """`scheme` decides about ports: `https` has one, others any."""
        addresses = _resolve_within(self.resolver, host, port, time_left(deadline))
        if objection := self.reach.objection(scheme, host, port, addresses, self.resolver):
            raise AddressRefused(objection)
        for position, address in enumerate(addresses[:4]):
            is_last = position == len(addresses[:4]) - 1
            patience_s = time_left(deadline) if is_last else time_left(deadline) / 2
            try:
                return _connect(address, port, patience_s)
            except OSError as error:
                if is_last:
                    reason = connect_failure(error)
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


def connect_failure(error: Exception) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return N_("the server's certificate is not valid for this host")
    if isinstance(error, TimeoutError):
        return N_("the connection timed out")
    if isinstance(error, ConnectionRefusedError):
        return N_("the connection was refused")
    if isinstance(error, (ssl.SSLError, urllib3.exceptions.SSLError)):
        return N_("the TLS handshake failed")
    return N_("no connection could be made")


def time_left(deadline: float) -> float:
    return max(deadline - time.monotonic(), 0.0)
