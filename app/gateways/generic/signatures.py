"""Proofs that a report is the gateway's: a secret in a header or the query, HMACs, and a few by name."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
import re
from collections.abc import Callable, Mapping
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from urllib.parse import parse_qsl, urlsplit, urlunsplit

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from app.gateways.base import GatewayCall, ReportRejected
from app.gateways.generic.plan import Plan

ALGORITHMS = ("sha1", "sha256", "sha512", "md5")
# What is signed is a template, too, such as {header.X-Timestamp}{body}.
SIGNED_PART = re.compile(r"\{(body|body_md5|method|url|secret|(?:header|field)\.[A-Za-z0-9_\[\]-]{1,60})\}")


def check_report(plan: Plan, request: GatewayCall, secret: str) -> None:
    """Refuse a call that is not proved. The secret in the path is proof enough where nothing else is set.

    Raises:
        ReportRejected: the proof is missing or wrong.
    """
    kind = plan.text("report_check", "none")
    if kind == "none" or (not secret and plan.flag("report_check_optional")):
        return
    if not secret or not _CHECKS[kind](plan, request, secret):
        raise ReportRejected("the report's signature is missing or wrong")


def check_address(plan: Plan, request: GatewayCall) -> None:
    """Refuse a call from an address that is not among those that the account lists, where it lists any.

    Raises:
        ReportRejected: it comes from elsewhere.
    """
    listed = networks(plan.text("report_addresses"))
    if not listed:
        return
    try:
        address = ip_address(request.address)
    except ValueError:
        raise ReportRejected("the report's sender has no address") from None
    known = getattr(address, "ipv4_mapped", None) or address
    if not any(known in network for network in listed):
        raise ReportRejected("the report comes from an address that is not listed")


def networks(text: str) -> list[IPv4Network | IPv6Network]:
    """Addresses and networks, separated by commas or spaces; raises ValueError for anything else."""
    return [ip_network(one, strict=False) for one in text.replace(",", " ").split()]


def _by_header(plan: Plan, request: GatewayCall, secret: str) -> bool:
    return _same(request.headers.get(plan.text("report_check_name").lower(), ""), secret)


def _by_query(plan: Plan, request: GatewayCall, secret: str) -> bool:
    return _same(request.args.get(plan.text("report_check_name"), ""), secret)


def _by_hmac(plan: Plan, request: GatewayCall, secret: str) -> bool:
    algorithm = plan.text("report_check_algorithm", "sha256")
    signed = signed_bytes(plan.text("report_signed", "{body}"), request, secret)
    return _is_digest(_given(plan, request), hmac.new(secret.encode(), signed, algorithm).digest())


def _by_hash(plan: Plan, request: GatewayCall, secret: str) -> bool:
    """A plain hash over a text that has the secret in it."""
    algorithm = plan.text("report_check_algorithm", "sha256")
    signed = signed_bytes(plan.text("report_signed", "{body}{secret}"), request, secret)
    return _is_digest(_given(plan, request), hashlib.new(algorithm, signed).digest())


def _by_ed25519(plan: Plan, request: GatewayCall, secret: str) -> bool:
    """Telnyx and others; `secret` is the account's public key in base64."""
    signed = signed_bytes(plan.text("report_signed", "{body}"), request, "")
    try:
        key = Ed25519PublicKey.from_public_bytes(base64.b64decode(secret, validate=True))
        key.verify(base64.b64decode(_given(plan, request), validate=True), signed)
    except (InvalidSignature, ValueError, binascii.Error):
        return False
    return True


def _by_plivo(_: Plan, request: GatewayCall, secret: str) -> bool:
    """Plivo's V3, under the two names that messaging is reported to use, and V2 where there is no V3."""
    nonce = request.headers.get("x-plivo-signature-v3-nonce", "")
    named = ("x-plivo-signature-v3", "x-plivo-signature-ma-v3")
    given = [one.strip() for name in named for one in request.headers.get(name, "").split(",")]
    expected = plivo_v3(request.url, request.form if request.method == "POST" else None, nonce, secret)
    if nonce:
        return any(_same(one, expected) for one in given)
    older = request.headers.get("x-plivo-signature-v2-nonce", "")
    signed = f"{request.url.partition('?')[0]}{older}".encode()
    expected = base64.b64encode(hmac.new(secret.encode(), signed, hashlib.sha256).digest()).decode()
    return bool(older) and _same(request.headers.get("x-plivo-signature-v2", ""), expected)


def plivo_v3(url: str, form: Mapping[str, str] | None, nonce: str, token: str) -> str:
    """Plivo's signature V3: the URL, its sorted query, the sorted form, and a nonce.

    The `?` is there for a form even without a query.
    Source: https://www.plivo.com/docs/messaging/concepts/signature-validation
    """
    parts = urlsplit(url)
    query = "&".join(f"{name}={value}" for name, value in sorted(parse_qsl(parts.query)))
    signed = urlunsplit(parts._replace(query="", fragment=""))
    if query or form:
        signed += "?" + query
    if form:
        signed += ("." if query else "") + "".join(name + form[name] for name in sorted(form))
    digest = hmac.new(token.encode(), f"{signed}.{nonce}".encode(), hashlib.sha256).digest()
    return base64.b64encode(digest).decode()


_JWT_HASHES = {"HS256": "sha256", "HS384": "sha384", "HS512": "sha512"}


def _by_jwt(plan: Plan, request: GatewayCall, secret: str) -> bool:
    """A JWT whose claims are hashes of the URL and of the body, as MessageBird makes it."""
    head, _, signature = _given(plan, request).rpartition(".")
    try:
        header, claims = (json.loads(_unpadded(part)) for part in head.split("."))
        expected = hmac.new(secret.encode(), head.encode(), _JWT_HASHES[header["alg"]]).digest()
        if not hmac.compare_digest(_unpadded(signature), expected):
            return False
        body_hash = hashlib.sha256(request.body).hexdigest() if request.body else ""
        url_hash = hashlib.sha256(request.url.encode()).hexdigest()
        is_same_body = hmac.compare_digest(str(claims.get("payload_hash") or "").encode(), body_hash.encode())
        return is_same_body and _same(str(claims.get("url_hash", "")), url_hash)
    except (ValueError, AttributeError, KeyError, TypeError):
        return False


def _unpadded(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


_CHECKS: dict[str, Callable[[Plan, GatewayCall, str], bool]] = {
    "header": _by_header,
    "query": _by_query,
    "hmac": _by_hmac,
    "hash": _by_hash,
    "ed25519": _by_ed25519,
    "plivo": _by_plivo,
    "jwt": _by_jwt,
}


def signed_bytes(template: str, request: GatewayCall, secret: str) -> bytes:
    """What a signature covers, byte for byte as it came."""
    pieces: list[bytes] = []
    position = 0
    for match in SIGNED_PART.finditer(template):
        pieces += [template[position : match.start()].encode(), _part(match[1], request, secret)]
        position = match.end()
    return b"".join([*pieces, template[position:].encode()])


def _part(name: str, request: GatewayCall, secret: str) -> bytes:
    if name == "body":
        return request.body
    if name == "body_md5":
        return hashlib.md5(request.body, usedforsecurity=False).hexdigest().encode()
    if name == "method":
        return request.method.encode()
    if name == "url":
        return request.url.encode()
    if name == "secret":
        return secret.encode()
    kind, _, what = name.partition(".")
    if kind == "header":
        return request.headers.get(what.lower(), "").encode()
    return {**request.args, **request.form}.get(what, "").encode()


def _given(plan: Plan, request: GatewayCall) -> str:
    """The signature that came: in a header, else in the query or the form."""
    name = plan.text("report_check_name")
    found = request.headers.get(name.lower()) or {**request.args, **request.form}.get(name, "")
    return found.partition("=")[2] if re.match(r"(?i)(sha|md)[0-9]+=", found) else found


def _is_digest(given: str, digest: bytes) -> bool:
    spellings = (digest.hex(), base64.b64encode(digest).decode(), base64.urlsafe_b64encode(digest).decode())
    given = given.strip()
    return any([_same(given, one) for one in spellings] + [_same(given.lower(), spellings[0])])


def _same(given: str, expected: str) -> bool:
    return bool(expected) and hmac.compare_digest(given.encode(), expected.encode())
