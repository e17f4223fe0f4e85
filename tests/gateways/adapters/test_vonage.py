"""Vonage: requests and signatures as the vendor's own client makes them; one answer for each part."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import jwt
import pytest
from vonage_account import Account
from vonage_http_client import Auth, HttpClient
from vonage_numbers import Numbers
from vonage_sms import Sms, SmsMessage

from app.domain.outcomes import Accepted, RefusalKind, Refused, Unknown
from app.domain.status import MessageStatus
from app.gateways.adapters.vonage import _ERRORS, _STATUSES, Vonage, sign
from app.gateways.base import Context, Gateway, GatewayCall, ReportRejected
from app.transport import HttpAnswer
from tests.gateways.vendor_calls import ours, vendor_calls
from tests.worlds.gateways import (
    MESSAGE,
    Recorded,
    assert_page_has,
    form,
    json_answer,
    make,
    posted_json,
    query,
    sample,
)

_PART = {"to": "14155552345", "message-id": "id-1", "status": "0", "message-price": "0.0333"}
_SECRET = "sigsecret"
_NOW = datetime(2020, 2, 25, 17, 7, 26, tzinfo=UTC)
_VECTOR = {
    "msisdn": "447700900000",
    "messageId": "0A0000001234567B",
    "status": "delivered",
    "timestamp": "1582650446",
    "nonce": "n1",
}


def _answer(*parts: Mapping[str, Any]) -> HttpAnswer:
    return json_answer({"message-count": str(len(parts)), "messages": list(parts)})


def _vendor(**auth: Any) -> HttpClient:
    return HttpClient(Auth(api_key="abcd1234", api_secret="secret-1", **auth))


# --- submissions


@pytest.mark.parametrize("text", ["Hello", "Grüße 👋"])
@pytest.mark.parametrize(
    ("ours_more", "theirs_more"),
    [({}, {}), ({"dlt_entity_id": "11", "dlt_template_id": "22"}, {"entity_id": "11", "content_id": "22"})],
)
def test_submission_is_the_vendors_own(text: str, ours_more: Any, theirs_more: Any) -> None:
    http = Recorded(_answer(_PART))
    encoding: Any = "gsm7" if text == "Hello" else "ucs2"

    make("vonage", http, **ours_more).submit(replace(MESSAGE, text=text, encoding=encoding))
    with vendor_calls({"message-count": "1", "messages": [_PART]}) as theirs:
        Sms(_vendor()).send(
            SmsMessage(
                to="14155552345",
                from_="ACME",
                text=text,
                type="text" if encoding == "gsm7" else "unicode",
                ttl=3_600_000,
                status_report_req=True,
                client_ref="r1",
                callback=MESSAGE.report_url,
                **theirs_more,
            )
        )

    sent = ours(http.calls[0])
    assert replace(sent, fields=sent.fields | {"status-report-req": "True"}) == theirs[0]
    assert sent.fields["status-report-req"] == "true"


def test_questions_are_the_vendors_own() -> None:
    http = Recorded(json_answer({"value": 10.28, "numbers": []}))
    gateway = make("vonage", http)

    gateway.balance()
    gateway.originators()
    with vendor_calls({"value": 10.28, "autoReload": False, "count": 0, "numbers": []}) as theirs:
        Account(_vendor()).get_balance()
        Numbers(_vendor()).list_owned_numbers()

    assert ours(http.calls[0]) == theirs[0]
    listed = ours(http.calls[1])
    assert (listed.method, listed.address) == (theirs[1].method, theirs[1].address)
    assert listed.authorization == theirs[1].authorization
    assert str(make("vonage", Recorded(json_answer({"value": 10.28}))).balance()) == "10.28 EUR"


def test_originators_are_the_numbers_that_can_send() -> None:
    numbers = [
        {"msisdn": "14155552671", "features": ["SMS", "VOICE"]},
        {"msisdn": "1", "features": ["VOICE"]},
    ]

    assert make("vonage", Recorded(json_answer({"numbers": numbers}))).originators() == ["+14155552671"]


@pytest.mark.parametrize(("ours_s", "sent"), [(0, "20000"), (60, "60000"), (10**6, "604800000")])
def test_validity_is_in_milliseconds_within_the_limits(ours_s: int, sent: str) -> None:
    http = Recorded(_answer(_PART))
    make("vonage", http).submit(replace(MESSAGE, validity_s=ours_s))

    assert http.calls[0]["data"]["ttl"] == sent


@pytest.mark.parametrize(("padding", "callback"), [(0, "full"), (60, "without the reference"), (80, "none")])
def test_callback_address_never_passes_vonages_limit(padding: int, callback: str) -> None:
    base = f"https://sms.example.org/reports/vonage/{'k' * padding}"
    http = Recorded(_answer(_PART))

    make("vonage", http).submit(replace(MESSAGE, report_url=f"{base}/r1" if padding else MESSAGE.report_url))

    expected = {"full": MESSAGE.report_url, "without the reference": base, "none": None}[callback]
    assert http.calls[0]["data"].get("callback") == expected


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        ("1", RefusalKind.THROTTLE),
        (4, RefusalKind.CONFIG),
        ("5", RefusalKind.TEMPORARY),
        ("9", RefusalKind.CONFIG),
        ("15", RefusalKind.PERMANENT),
        ("29", RefusalKind.PERMANENT),
        ("77", RefusalKind.PERMANENT),
    ],
)
def test_status_inside_a_200_is_a_refusal(code: object, kind: RefusalKind) -> None:
    outcome = make("vonage", Recorded(_answer({"status": code, "error-text": "No"}))).submit(MESSAGE)

    assert outcome == Refused(kind, str(code), "No")


def test_every_part_has_its_id() -> None:
    parts = [_PART | {"message-id": f"id-{n}"} for n in range(3)]

    outcome = make("vonage", Recorded(_answer(*parts))).submit(MESSAGE)

    assert outcome == Accepted(("id-0", "id-1", "id-2"), segments=3, cost="0.0999 EUR")


def test_part_that_was_refused_keeps_the_message_from_being_delivered() -> None:
    outcome = make("vonage", Recorded(_answer(_PART, {"status": "9", "error-text": "No"}))).submit(MESSAGE)

    assert isinstance(outcome, Accepted)
    assert outcome.ids == ("id-1", "r1.2")
    (refused,) = outcome.reports
    assert (refused.gateway_message_id, refused.status) == ("r1.2", MessageStatus.UNDELIVERED)
    assert (refused.code, refused.text) == ("9", "No")


@pytest.mark.parametrize(
    "body",
    [
        {"messages": []},
        {"messages": [{"status": "0"}]},
        {"messages": [{"message-id": "x"}]},
        {"message-count": 1},
    ],
)
def test_answer_without_status_and_id_is_an_unknown_outcome(body: Any) -> None:
    assert isinstance(make("vonage", Recorded(json_answer(body))).submit(MESSAGE), Unknown)


# --- reports


@pytest.mark.parametrize("kind", [form, query, posted_json])
def test_reports_are_read_wherever_they_stand(kind: Callable[..., GatewayCall]) -> None:
    fields = {
        "msisdn": "14155552345",
        "messageId": "id-1",
        "status": "expired",
        "err-code": "2",
        "client-ref": "r1",
    }

    (report,) = make("vonage", None).parse_reports(kind("vonage", fields)).items

    assert (report.status, report.code) == (MessageStatus.UNDELIVERED, "err_2")
    assert (report.reference, report.gateway_message_id) == ("r1", "id-1")
    assert report.recipient == "+14155552345"


def test_reference_at_the_end_of_the_address_is_as_good() -> None:
    fields = {"messageId": "id-1", "status": "delivered", "err-code": 0}

    (report,) = make("vonage", None).parse_reports(posted_json("vonage", fields, reference="r1")).items

    assert (report.reference, report.code) == ("r1", "")


def test_incoming_message_is_no_report() -> None:
    fields = {"msisdn": "14155552345", "messageId": "x", "text": "Hi", "type": "text"}

    assert make("vonage", None).parse_reports(form("vonage", fields)).items == ()


# --- signatures


def _gateway(**settings: str) -> Gateway:
    checked = make("vonage", None, signature_secret=_SECRET, **settings)
    return Vonage(checked.settings, Context(Recorded(), now=lambda: _NOW))


def test_published_vector() -> None:
    signature = sign(_VECTOR, _SECRET, "sha256")

    assert signature == "5578e9b9e6cc837ee0156c6b8749838fec2b67703739924d240678d582b9129f"


@pytest.mark.parametrize("method", ["md5", "sha1", "sha256", "sha512"])
@pytest.mark.parametrize("chosen", ["auto", "same"])
def test_signatures_agree_with_the_vendors_own(method: Any, chosen: str) -> None:
    auth = Auth(api_key="abcd1234", signature_secret=_SECRET, signature_method=method)
    fields = _VECTOR | {"price": "a&b=c", "ü": "é"}
    signed = fields | {"sig": auth.sign_params(dict(fields)).upper()}

    assert auth.check_signature(dict(fields) | {"sig": sign(fields, _SECRET, method)})
    settings = {"signature_method": method if chosen == "same" else "auto"}
    assert _gateway(**settings).parse_reports(form("vonage", signed)).items


def test_plain_digest_counts_only_where_it_was_chosen() -> None:
    signed = _VECTOR | {"sig": sign(_VECTOR, _SECRET, "md5hash")}

    assert _gateway(signature_method="md5hash").parse_reports(form("vonage", signed)).items
    with pytest.raises(ReportRejected):
        _gateway().parse_reports(form("vonage", signed))


_SIGNED = _VECTOR | {"sig": sign(_VECTOR, _SECRET, "sha256")}


@pytest.mark.parametrize(
    "fields",
    [
        _VECTOR,
        _SIGNED | {"status": "failed"},
        _SIGNED | {"extra": "1"},
        _SIGNED | {"sig": "0" * 64},
        _SIGNED | {"sig": ""},
        _VECTOR | {"sig": sign(_VECTOR, "other", "sha256")},
        _VECTOR
        | {"timestamp": "1582650000", "sig": sign(_VECTOR | {"timestamp": "1582650000"}, _SECRET, "sha256")},
    ],
)
@pytest.mark.parametrize("kind", [form, query, posted_json])
def test_forged_and_old_reports_are_refused(kind: Callable[..., GatewayCall], fields: dict[str, str]) -> None:
    with pytest.raises(ReportRejected):
        _gateway().parse_reports(kind("vonage", fields))


def _with_token(body: Any, **claims: Any) -> GatewayCall:
    call = posted_json("vonage", body)
    digest = hashlib.sha256(call.body).hexdigest()
    token = jwt.encode({"iat": _NOW.timestamp(), "payload_hash": digest, **claims}, _SECRET * 4, "HS256")
    return replace(call, headers={**call.headers, "authorization": f"Bearer {token}"})


_NEWER = {"message_uuid": "id-1", "client_ref": "r1", "to": "14155552345", "status": "undeliverable"}


def _newer_gateway() -> Gateway:
    checked = make("vonage", None, signature_secret=_SECRET * 4)
    return Vonage(checked.settings, Context(Recorded(), now=lambda: _NOW))


def test_webhook_of_the_messages_api_is_signed_by_a_token() -> None:
    (report,) = _newer_gateway().parse_reports(_with_token(_NEWER)).items

    assert (report.reference, report.gateway_message_id) == ("r1", "id-1")
    assert report.status is MessageStatus.UNDELIVERED


@pytest.mark.parametrize(
    "fault", ["other body", "old", "no hash", "other key", "no algorithm", "cut", "junk"]
)
def test_forged_tokens_are_refused(fault: str) -> None:
    call = _with_token(_NEWER)
    token = call.headers["authorization"]
    if fault == "other body":
        call = replace(call, body=json.dumps(_NEWER | {"status": "delivered"}).encode())
    elif fault == "old":
        call = _with_token(_NEWER, iat=(_NOW - timedelta(hours=1)).timestamp())
    elif fault == "no hash":
        call = _with_token(_NEWER, payload_hash=None)
    elif fault == "other key":
        token = "Bearer " + jwt.encode({"payload_hash": hashlib.sha256(call.body).hexdigest()}, "x" * 40)
    elif fault == "no algorithm":
        head = base64.urlsafe_b64encode(b'{"alg":"none"}').decode().rstrip("=")
        token = f"Bearer {head}.{token.split('.')[1]}."
    elif fault == "cut":
        token = token[:40]
    else:
        token = "Bearer ä.ö.ü"
    if fault not in ("old", "no hash"):
        call = replace(call, headers={**call.headers, "authorization": token})

    with pytest.raises(ReportRejected):
        _newer_gateway().parse_reports(call)


def test_page_has_every_code_and_word() -> None:
    assert_page_has("vonage", _STATUSES, _ERRORS)
    assert set(_ERRORS) <= set(Vonage.explanations)
    assert sample("vonage")["settings"]
