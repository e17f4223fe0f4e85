"""Where a request comes from, also behind proxies of ours."""

from __future__ import annotations

import ipaddress

from flask import request

HOPS_LIMIT = 10
# Where proxies of ours are; the library's own idea of private counts addresses that only books use.
_OURS = tuple(
    map(
        ipaddress.ip_network,
        ("127.0.0.0/8", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "::1/128", "fc00::/7"),
    )
)


def address() -> str:
    """The client's address; empty where nobody says it.

    Strangers come from public addresses, so a private one at our door is a proxy's, and what it says of its
    own client counts: the last entry of `X-Forwarded-For`. That may be another proxy of ours, and so on to
    the left. What a client wrote there itself stands further left and is never reached.
    """
    said = ",".join(request.headers.getlist("X-Forwarded-For")).split(",")[-HOPS_LIMIT:]
    hops = [*(hop.strip() for hop in said if hop.strip()), request.remote_addr or "127.0.0.1"]
    while len(hops) > 1 and _is_ours(hops[-1]) and _is_an_address(hops[-2]):
        hops.pop()
    return hops[-1] if request.remote_addr or len(hops) > 1 else ""


def _is_ours(hop: str) -> bool:
    return any(ipaddress.ip_address(hop) in network for network in _OURS)


def _is_an_address(hop: str) -> bool:
    try:
        ipaddress.ip_address(hop)
    except ValueError:
        return False
    return True
