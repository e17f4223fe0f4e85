"""Proofs of reports: the vendors' own vectors, and every way to be a little wrong."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from dataclasses import replace
from typing import Any
from urllib.parse import urlencode

import pytest

from app.gateways.base import GatewayCall, ReportRejected
from app.gateways.generic.signatures import plivo_v3
from tests.worlds.gateways import make

_URL = "https://sms.example.org/reports/http/K7"
_BODY = json.dumps({"id": "1", "status": "DELIVRD"}).encode()
_KEY = "key-of-the-reports"
_READS = {"report_status_path": "status", "report_id_path": "id", "id_path": "id"}


def _call(body: bytes = _BODY, query: str = "", **headers: str) -> GatewayCall:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    url = f"{_URL}?{query}" if query else _URL
    return GatewayCall("POST", url, query, {"content-type": "application/json", **named}, body)


def _is_taken(call: GatewayCall, **settings: str) -> bool:
    gateway = make("http", None, **_READS, report_secret=_KEY, **settings)
    try:
        return len(gateway.parse_reports(call).items) == 1
    except ReportRejected:
        return False


def _mac(signed: bytes, algorithm: str = "sha256") -> bytes:
    return hmac.new(_KEY.encode(), signed, algorithm).digest()


@pytest.mark.parametrize("algorithm", ["sha1", "sha256", "sha512", "md5"])
@pytest.mark.parametrize("spelt", ["hex", "HEX", "base64", "prefixed"])
def test_hmac_over_the_body_is_read_in_every_spelling(algorithm: str, spelt: str) -> None:
    digest = _mac(_BODY, algorithm)
    given = {
        "hex": digest.hex(),
        "HEX": digest.hex().upper(),
        "base64": base64.b64encode(digest).decode(),
        "prefixed": f"{algorithm}={digest.hex()}",
    }[spelt]
    settings = {
        "report_check": "hmac",
        "report_check_name": "X-Sig",
        "report_check_algorithm": algorithm,
    }

    assert _is_taken(_call(x_sig=given), **settings)
    assert not _is_taken(_call(_BODY + b" ", x_sig=given), **settings)
    assert not _is_taken(_call(x_sig=""), **settings)
    assert not _is_taken(_call(), **settings)


@pytest.mark.parametrize(
    ("template", "signed"),
    [
        ("{header.X-Timestamp}{body}", b"17" + _BODY),
        ("{body}{header.X-Timestamp}", _BODY + b"17"),
        ("{header.X-Timestamp}.{body}", b"17." + _BODY),
        ("{url}|{body}", _URL.encode() + b"|" + _BODY),
    ],
)
def test_what_is_signed_is_a_template(template: str, signed: bytes) -> None:
    settings = {"report_check": "hmac", "report_check_name": "X-Sig", "report_signed": template}
    good = _call(x_timestamp="17", x_sig=_mac(signed).hex())

    assert _is_taken(good, **settings)
    assert not _is_taken(replace(good, headers={**good.headers, "x-sig": _mac(b"other").hex()}), **settings)


def test_hash_over_named_fields_with_the_secret_in_it() -> None:
    fields = {"id": "1001", "phone": "79001234567", "status": "1"}
    digest = hashlib.md5(f"1001:79001234567:1:{_KEY}".encode()).hexdigest()
    settings = {
        "report_check": "hash",
        "report_check_name": "md5",
        "report_check_algorithm": "md5",
        "report_signed": "{field.id}:{field.phone}:{field.status}:{secret}",
    }
    form = {"content-type": "application/x-www-form-urlencoded"}

    def call(**changes: str) -> GatewayCall:
        return replace(_call(urlencode({**fields, "md5": digest, **changes}).encode()), headers=form)

    assert _is_taken(call(), **settings)
    assert not _is_taken(call(status="2"), **settings)
    assert not _is_taken(call(md5=""), **settings)


@pytest.mark.parametrize("way", ["header", "query"])
def test_shared_secret_in_a_header_or_the_query(way: str) -> None:
    settings = {"report_check": way, "report_check_name": "X-Token"}

    def call(secret: str) -> GatewayCall:
        return _call(x_token=secret) if way == "header" else _call(query=f"X-Token={secret}")

    assert _is_taken(call(_KEY), **settings)
    assert not _is_taken(call("wrong"), **settings)
    assert not _is_taken(_call(), **settings)


# Made with the vendor's own client; token `tok`.
@pytest.mark.parametrize(
    ("url", "signature"),
    [
        ("https://sms.example.org/dlr/plivo/K7", "sJCEIq0qqfKQ5oCvcNchc1C2r8R62/c3+7PiPG5NA2k="),
        ("https://sms.example.org/dlr/plivo?k=K7", "iuP4ku674PNOfmmAdzygMqEEMcQwxFxSIcEYu7nGOsQ="),
    ],
)
def test_published_vectors_of_plivo(url: str, signature: str) -> None:
    form = {"MessageUUID": "u1", "Status": "delivered"}

    assert plivo_v3(url, form, "05429567804466091622", "tok") == signature


_PLIVO = {"auth_token": "canary-plivo-token"}


def _plivo(headers: dict[str, str], body: bytes = b"MessageUUID=u1&Status=delivered") -> bool:
    url = "https://sms.example.org/reports/plivo/K7/r1"
    call = GatewayCall("POST", url, "", {"content-type": "x", **headers}, body, "r1")
    try:
        return bool(make("plivo", None, **_PLIVO).parse_reports(call).items)
    except ReportRejected:
        return False


def test_plivo_signs_under_two_names_and_the_older_one_counts_where_there_is_no_newer() -> None:
    url = "https://sms.example.org/reports/plivo/K7/r1"
    form = {"MessageUUID": "u1", "Status": "delivered"}
    good = plivo_v3(url, form, "n1", _PLIVO["auth_token"])
    older = hmac.new(_PLIVO["auth_token"].encode(), f"{url}n2".encode(), hashlib.sha256).digest()
    v2 = {"x-plivo-signature-v2": base64.b64encode(older).decode(), "x-plivo-signature-v2-nonce": "n2"}

    assert _plivo({"x-plivo-signature-v3": f"other, {good}", "x-plivo-signature-v3-nonce": "n1"})
    assert _plivo({"x-plivo-signature-ma-v3": good, "x-plivo-signature-v3-nonce": "n1"})
    assert _plivo(v2)
    assert not _plivo({**v2, "x-plivo-signature-v3": "x", "x-plivo-signature-v3-nonce": "n1"})
    assert not _plivo({"x-plivo-signature-v3": good, "x-plivo-signature-v3-nonce": "n1"}, b"MessageUUID=u2")
    assert not _plivo({})


def test_reports_of_telnyx_are_checked_as_soon_as_the_public_key_is_known() -> None:
    body = json.dumps(
        {"data": {"event_type": "message.sent", "payload": {"id": "1", "to": [{"status": "sent"}]}}}
    )
    call = GatewayCall("POST", _URL, "", {"content-type": "application/json"}, body.encode(), "r1")

    assert make("telnyx", None, public_key="").parse_reports(call).items
    assert not make("telnyx", None, public_key="").active_capabilities.signed_callback
    with pytest.raises(ReportRejected):
        make("telnyx", None).parse_reports(call)


def test_token_of_bird_with_another_algorithm_is_refused() -> None:
    def part(value: Any) -> str:
        return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()

    claims = part({"url_hash": hashlib.sha256(_URL.encode()).hexdigest()})
    for algorithm in ("none", "RS256", None):
        token = f"{part({'alg': algorithm})}.{claims}."
        call = GatewayCall("GET", _URL, "id=1&status=delivered", {"messagebird-signature-jwt": token}, b"")
        with pytest.raises(ReportRejected):
            make("bird", None).parse_reports(call)
