"""Whom we call: the open internet over https, and what the operator allows beyond that.

Never link-local addresses and other places where clouds keep their machines' secrets, and never the
product's own database and Redis, whatever is allowed.
"""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from app.domain.hosts import ascii_host
from app.domain.sentences import N_

IpAddress = ipaddress.IPv4Address | ipaddress.IPv6Address
IpNetwork = ipaddress.IPv4Network | ipaddress.IPv6Network
Resolver = Callable[[str, int], Sequence[str]]

NOT_HTTPS = N_("the address must be https on the usual port, unless the operator lists it in PRIVATE_HOSTS")
NOT_PUBLIC = N_(
    "the host has a private or reserved address, and the operator did not list it in PRIVATE_HOSTS"
)
NEVER = N_("the host has a private or reserved address that is never called, whatever is allowed")

_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
# What `ipaddress` calls global in some Python releases and is not ours to call all the same.
_NOT_PUBLIC = tuple(
    ipaddress.ip_network(network)
    for network in ("192.0.0.0/24", "192.88.99.0/24", "2001::/23", "3fff::/20", "5f00::/16", "fec0::/10")
)
# Where clouds answer a machine's questions about itself, its credentials among them.
_METADATA = frozenset(
    ipaddress.ip_address(address)
    for address in ("100.100.100.200", "168.63.129.16", "192.0.0.192", "fd00:ec2::254", "fd20:ce::254")
)


def plain(address: IpAddress) -> IpAddress:
    """The IPv4 address that an IPv6 form wraps, else the address itself."""
    if not isinstance(address, ipaddress.IPv6Address):
        return address
    inner = address.ipv4_mapped or address.sixtofour
    if inner is None and address in _NAT64:
        inner = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return address if inner is None else inner


def is_public(address: IpAddress) -> bool:
    """Whether an address is on the open internet, also when it is wrapped into an IPv6 form."""
    if isinstance(address, ipaddress.IPv6Address) and address.scope_id:
        return False
    address = plain(address)
    if any(address in network for network in _NOT_PUBLIC):
        return False
    odd = address.is_multicast or address.is_reserved or address.is_link_local or address.is_unspecified
    return address.is_global and not odd


def _is_forbidden(address: IpAddress) -> bool:
    if isinstance(address, ipaddress.IPv6Address) and address.scope_id:
        return True
    return plain(address).is_link_local or plain(address) in _METADATA


def _is_usual(scheme: str, port: int) -> bool:
    """Protocols other than HTTP have ports of their own choice."""
    return port == 443 if scheme == "https" else scheme != "http"


@dataclass(frozen=True)
class Allowed:
    """What may be private, plain http or on another port: a host or a network, at one port or at all."""

    host: str = ""
    network: IpNetwork | None = None
    port: int | None = None

    @classmethod
    def of(cls, place: str, port: int | None = None) -> Allowed:
        """`place` is a host name, an address or a network; raises ValueError for anything else."""
        try:
            return cls(network=ipaddress.ip_network(place), port=port)
        except ValueError:
            if "/" in place or not place:
                raise ValueError("neither a host nor a network") from None
        return cls(host=ascii_host(place), port=port)

    def has_port(self, port: int) -> bool:
        return self.port in (None, port)

    def fits(self, host: str, port: int, address: IpAddress) -> bool:
        if not self.has_port(port):
            return False
        if self.network is None:
            return self.host == host
        return plain(address) in self.network


@dataclass(frozen=True)
class Reach:
    """What one kind of client may call.

    Args:
        everywhere: for development: also plain http, any port, private addresses.
        allowed: the operator's exceptions.
        own: host and port of the product's own services.
    """

    everywhere: bool = False
    allowed: tuple[Allowed, ...] = ()
    own: tuple[tuple[str, int], ...] = ()

    def objection_to_spelling(self, scheme: str, host: str, port: int) -> str:
        """Why an address cannot be called whatever its name means; empty when that depends on its meaning."""
        if self.everywhere or _is_usual(scheme, port):
            return ""
        if any(
            item.has_port(port) and (item.network is not None or item.host == host) for item in self.allowed
        ):
            return ""
        return NOT_HTTPS

    def objection(
        self, scheme: str, host: str, port: int, addresses: Sequence[str], resolver: Resolver
    ) -> str:
        """Why these addresses of a host are not called; empty when they are."""
        found = [ipaddress.ip_address(address) for address in addresses]
        if any(_is_forbidden(address) or self._is_own(address, port, resolver) for address in found):
            return NEVER
        if self.everywhere:
            return ""
        for address in found:
            if any(item.fits(host, port, address) for item in self.allowed):
                continue
            if not is_public(address):
                return NOT_PUBLIC
            if not _is_usual(scheme, port):
                return NOT_HTTPS
        return ""

    def _is_own(self, address: IpAddress, port: int, resolver: Resolver) -> bool:
        """Whether the product's own database or Redis listens there."""
        for host, own_port in self.own:
            if port != own_port:
                continue
            try:
                ours = [plain(ipaddress.ip_address(a)) for a in _resolved(host, own_port, resolver)]
            except OSError:
                return not is_public(address)  # it cannot be told apart
            if plain(address) in ours:
                return True
            if _is_this_machine(plain(address)) and any(_is_this_machine(a) for a in ours):
                return True
        return False


def _resolved(host: str, port: int, resolver: Resolver) -> Sequence[str]:
    try:
        return [str(ipaddress.ip_address(host))]
    except ValueError:
        return resolver(host, port)


def _is_this_machine(address: IpAddress) -> bool:
    """Loopback, or an address of one of our interfaces: only such an address can be bound."""
    if address.is_loopback or address.is_unspecified:
        return True
    family = socket.AF_INET6 if address.version == 6 else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        try:
            probe.bind((str(address), 0))
        except OSError:
            return False
    return True
