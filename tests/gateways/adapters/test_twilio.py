"""Twilio: our calls are the ones of the vendor's own library, and both understand each other's signatures."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twilio.http import HttpClient as VendorHttpClient
from twilio.http.response import Response
from twilio.request_validator import RequestValidator
from twilio.rest import Client

from app.domain.outcomes import Accepted, RefusalKind, Refused
from app.domain.status import MessageStatus
from app.gateways.adapters.twilio import _ERRORS, _STATUSES, Twilio, is_signed, sign
from app.gateways.base import GatewayCall, ReportRejected, SettingsInvalid, Submitted
from app.gateways.settings import validate_settings
from app.transport import HttpAnswer
from tests.gateways.vendor_calls import ours
from tests.worlds.gateways import MESSAGE, SAMPLES, Recorded, inbound, json_answer, make, sample

_SID = "SM" + "a" * 32
_ACCOUNT = sample("twilio")["settings"]["account_sid"]
_KEY = "SK" + "0" * 32
_URL = "https://sms.example.org/dlr/twilio/K7"


class _VendorRecorder(VendorHttpClient):
    """Keeps what the vendor's library would send."""

    def __init__(self) -> None:
        self.calls: list[dict[str, Any]] = []

    def request(self, method: str, url: str, **more: Any) -> Response:  # type: ignore[override]
        self.calls.append({"method": method, "url": url, **more})
        return Response(200, json.dumps({"sid": _SID, "status": "queued"}))


def _accepted(**changes: object) -> HttpAnswer:
    return json_answer({"sid": _SID, "status": "queued", "num_segments": "2", **changes}, 201)


# --- the same calls as the vendor's library


@pytest.mark.parametrize(
    ("originator", "ours", "theirs"),
    [
        ("+14155552671", {}, {}),
        ("ACME", {}, {}),
        ("MG" + "b" * 32, {}, {}),
        ("ACME", {"region": "ie1"}, {"region": "ie1", "edge": "dublin"}),
        ("ACME", {"region": "au1"}, {"region": "au1", "edge": "sydney"}),
        ("ACME", {"api_key_sid": _KEY, "api_key_secret": "s"}, {"key": True}),
    ],
)
def test_submission_is_the_vendors_own(originator: str, ours: dict[str, str], theirs: dict[str, Any]) -> None:
    http, recorder = Recorded(_accepted()), _VendorRecorder()
    make("twilio", http, originator=originator, **ours).submit(replace(MESSAGE, text="Grüße 👋"))
    client = (
        Client(_KEY, "s", _ACCOUNT, http_client=recorder)
        if theirs.pop("key", False)
        else Client(_ACCOUNT, "12345", http_client=recorder, **theirs)
    )
    by = "messaging_service_sid" if originator.startswith("MG") else "from_"
    client.messages.create(
        to=MESSAGE.recipient,
        body="Grüße 👋",
        status_callback=MESSAGE.report_url,
        validity_period=3600,
        **{by: originator},
    )

    our_call, their_call = http.calls[0], recorder.calls[0]
    assert (our_call["method"], our_call["url"]) == (their_call["method"], their_call["url"])
    assert {name: str(value) for name, value in their_call["data"].items()} == our_call["data"]
    assert our_call["auth"] == tuple(their_call["auth"])


def test_polling_and_balance_are_the_vendors_own() -> None:
    http, recorder = Recorded(json_answer({"sid": _SID, "status": "sent", "balance": "1"})), _VendorRecorder()
    gateway = make("twilio", http)
    client = Client(_ACCOUNT, "12345", http_client=recorder)

    gateway.poll([Submitted(_SID)])
    client.messages(_SID).fetch()
    gateway.check()
    client.balance.fetch()

    for our_call, their_call in zip(http.calls, recorder.calls, strict=True):
        assert (our_call["method"], our_call["url"]) == (their_call["method"], their_call["url"])


@pytest.mark.parametrize(("ours_s", "sent"), [(0, "1"), (60, "60"), (36_000, "36000"), (86_400, "36000")])
def test_validity_fits_twilios_limits(ours_s: int, sent: str) -> None:
    http = Recorded(_accepted())
    make("twilio", http).submit(replace(MESSAGE, validity_s=ours_s))

    assert http.calls[0]["data"]["ValidityPeriod"] == sent


# --- the vendor's OpenAPI document

_DOCUMENT = json.loads((SAMPLES.parent / "vendors" / "twilio_openapi.json").read_text())


def _calls(**settings: str) -> list[dict[str, Any]]:
    """Everything that the adapter can ask of Twilio."""
    http = Recorded(_accepted(balance="1", currency="USD", incoming_phone_numbers=[]))
    gateway = make("twilio", http, **settings)
    gateway.submit(replace(MESSAGE, text="Grüße 👋"))
    gateway.poll([Submitted(_SID)])
    gateway.check()
    gateway.originators()
    return http.calls


def _complaints(call: dict[str, Any]) -> list[str]:
    """What in a call the document does not allow, names that it does not know included."""
    sent = ours(call)
    path, values = _path_of(sent.address.partition(".com")[2])
    operation = _DOCUMENT["paths"].get(path, {}).get(sent.method.lower())
    if operation is None:
        return [f"{sent.method} {path} is not there"]
    known = {p["name"]: p["schema"] | {"required": p.get("required")} for p in operation["parameters"]}
    body = operation["requestBody"] or {"content": {"form": {"schema": {"properties": {}}}}}
    (form,) = (kind["schema"] for kind in body["content"].values())
    fields = {
        name: schema | {"required": name in form.get("required", ())}
        for name, schema in form["properties"].items()
    }
    return [*_faults(values | sent.query, known), *_faults(sent.fields, fields)]


def _path_of(path: str) -> tuple[str, dict[str, str]]:
    found = re.fullmatch(r"/2010-04-01/Accounts/(\w+)/(Messages)/(\w+)\.json", path)
    if found:
        return "/2010-04-01/Accounts/{AccountSid}/Messages/{Sid}.json", {
            "AccountSid": found[1],
            "Sid": found[3],
        }
    account = path.split("/")[3]
    return path.replace(account, "{AccountSid}"), {"AccountSid": account}


def _faults(given: dict[str, str], known: dict[str, Any]) -> list[str]:
    faults = [f"{name} is not known" for name in given.keys() - known.keys()]
    faults += [
        f"{name} is missing" for name, schema in known.items() if schema["required"] and name not in given
    ]
    for name in given.keys() & known.keys():
        schema, value = known[name], given[name]
        fits = {"integer": r"-?[0-9]+", "boolean": "true|false"}.get(schema["type"], ".*")
        if not re.fullmatch(fits, value, re.DOTALL) or not re.search(schema.get("pattern", ""), value):
            faults.append(f"{name} does not fit")
        if "enum" in schema and value not in schema["enum"]:
            faults.append(f"{name} is none of the words")
        if not schema.get("minLength", 0) <= len(value) <= schema.get("maxLength", 10**6):
            faults.append(f"{name} is too short or too long")
    return faults


@pytest.mark.parametrize(
    "settings", [{}, {"originator": "MG" + "b" * 32}, {"api_key_sid": _KEY, "api_key_secret": "s"}]
)
def test_every_call_passes_the_vendors_openapi_document(settings: dict[str, str]) -> None:
    calls = _calls(**settings)

    assert len({(call["method"], call["url"]) for call in calls}) == 4
    assert [complaint for call in calls for complaint in _complaints(call)] == []
    assert all(ours(call).authorization.startswith("Basic ") for call in calls)


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"Sender": "x"}, "Sender is not known"),
        ({"ValidityPeriod": "1h"}, "ValidityPeriod does not fit"),
        ({"MessagingServiceSid": "MG1"}, "MessagingServiceSid is too short or too long"),
        ({"To": None}, "To is missing"),
        ({"RiskCheck": "maybe"}, "RiskCheck is none of the words"),
    ],
)
def test_the_document_finds_what_is_wrong(change: dict[str, str | None], complaint: str) -> None:
    call = _calls()[0]
    data = {name: value for name, value in (call["data"] | change).items() if value is not None}

    assert complaint in _complaints(call | {"data": data})


# --- answers


def test_message_that_ended_at_once_is_a_refusal_inside_a_201() -> None:
    answer = _accepted(status="failed", error_code=21610, error_message="STOP")

    outcome = make("twilio", Recorded(answer)).submit(MESSAGE)

    assert outcome == Refused(RefusalKind.PERMANENT, "21610", "STOP")


def test_accepted_message_waits_in_twilios_queue() -> None:
    outcome = make("twilio", Recorded(_accepted(price="-0.0075", price_unit="USD"))).submit(MESSAGE)

    assert outcome == Accepted((_SID,), MessageStatus.QUEUED, segments=2, cost="-0.0075 USD")


@pytest.mark.parametrize(("count", "segments"), [("0", None), ("x", None), (None, None), ("3", 3)])
def test_segments_are_unknown_until_twilio_counts_them(count: object, segments: int | None) -> None:
    outcome = make("twilio", Recorded(_accepted(num_segments=count))).submit(MESSAGE)

    assert isinstance(outcome, Accepted)
    assert outcome.segments == segments


@pytest.mark.parametrize(
    ("status", "code", "kind"),
    [
        (401, 20003, RefusalKind.CONFIG),
        (400, 21211, RefusalKind.PERMANENT),
        (400, 21408, RefusalKind.PERMANENT),
        (400, 21606, RefusalKind.PERMANENT),
        (400, 21608, RefusalKind.PERMANENT),
        (400, 21610, RefusalKind.PERMANENT),
        (429, 20429, RefusalKind.THROTTLE),
        (400, 21611, RefusalKind.THROTTLE),
        (400, 99999, RefusalKind.PERMANENT),
        (404, 20404, RefusalKind.CONFIG),
        (404, 99999, RefusalKind.CONFIG),
    ],
)
def test_error_codes(status: int, code: int, kind: RefusalKind) -> None:
    body = {"code": code, "message": "Said so.", "more_info": "https://…", "status": status}

    outcome = make("twilio", Recorded(json_answer(body, status))).submit(MESSAGE)

    assert outcome == Refused(kind, str(code), "Said so.")


# --- polling and checking


def test_polled_message() -> None:
    body = {"sid": _SID, "status": "undelivered", "error_code": 30003, "error_message": "Gone", "to": "+1"}

    (report,) = make("twilio", Recorded(json_answer(body))).poll([Submitted(_SID)])

    assert (report.status, report.code, report.text) == (MessageStatus.UNDELIVERED, "30003", "Gone")
    assert report.gateway_message_id == _SID


def test_polling_skips_what_twilio_does_not_have() -> None:
    http = Recorded(json_answer({"code": 20404}, 404), json_answer({"sid": _SID, "status": "sent"}))

    assert [
        report.status for report in make("twilio", http).poll([Submitted("x/../y"), Submitted(_SID)])
    ] == [MessageStatus.SENT]
    assert http.calls[0]["url"].endswith("/Messages/x%2F..%2Fy.json")


def test_check_tries_token_and_key() -> None:
    good = json_answer({"balance": "0.05", "currency": "USD"})
    http = Recorded(good, json_answer({"code": 20003, "message": "Authenticate"}, 401))
    with_key = {"api_key_sid": _KEY, "api_key_secret": "s"}

    result = make("twilio", http, **with_key).check()

    assert (result.ok, "API key" in result.text) == (False, True)
    assert [call["auth"] for call in http.calls] == [(_ACCOUNT, "12345"), (_KEY, "s")]
    assert make("twilio", Recorded(good)).check().balance == "0.05 USD"


def test_originators_are_the_numbers_that_can_send() -> None:
    numbers = [
        {"phone_number": "+14155552671", "capabilities": {"sms": True}},
        {"phone_number": "+14155552672", "capabilities": {"sms": False}},
    ]

    found = make("twilio", Recorded(json_answer({"incoming_phone_numbers": numbers}))).originators()

    assert found == ["+14155552671"]


# --- signatures

_VECTOR = {"MessageSid": _SID, "MessageStatus": "delivered", "To": "+14155552345"}


def _call(form: dict[str, str], url: str = _URL, **headers: str) -> GatewayCall:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return GatewayCall("POST", url, url.partition("?")[2], named, urlencode(form).encode(), reference="r1")


def test_published_vector() -> None:
    signature = sign(_URL, {name: [value] for name, value in _VECTOR.items()}, "12345")

    assert signature == "OA9a2G8mC8/jSKofyYP7lX6Okqg="


@given(st.dictionaries(st.text(min_size=1, max_size=9), st.text(max_size=9), max_size=4), st.text(max_size=9))
def test_signatures_agree_with_the_vendors_validator(form: dict[str, str], token: str) -> None:
    form = {_storable(name): _storable(value) for name, value in form.items()}
    token = _storable(token) or "t"
    validator = RequestValidator(token)

    ours = sign(_URL, {name: [value] for name, value in form.items()}, token)

    assert validator.validate(_URL, form, ours)
    assert is_signed(_call(form, x_twilio_signature=validator.compute_signature(_URL, form)), token)


def _storable(text: str) -> str:
    return text.encode("utf-8", errors="replace").decode()


@pytest.mark.parametrize("ours", [_URL, _URL.replace(".org/", ".org:443/")])
@pytest.mark.parametrize("theirs", [_URL, _URL.replace(".org/", ".org:443/")])
def test_the_usual_port_does_not_matter(ours: str, theirs: str) -> None:
    signature = RequestValidator("12345").compute_signature(theirs, _VECTOR)

    assert is_signed(_call(_VECTOR, ours, x_twilio_signature=signature), "12345")
    assert RequestValidator("12345").validate(ours, _VECTOR, signature)


def test_scheme_and_query_do_matter() -> None:
    signature = RequestValidator("12345").compute_signature(_URL + "?a=b", _VECTOR)

    assert is_signed(_call(_VECTOR, _URL + "?a=b", x_twilio_signature=signature), "12345")
    assert not is_signed(_call(_VECTOR, _URL, x_twilio_signature=signature), "12345")
    http = _URL.replace("https", "http") + "?a=b"
    assert not is_signed(_call(_VECTOR, http, x_twilio_signature=signature), "12345")


def test_repeated_fields_count_once_each() -> None:
    body = b"MediaUrl=b&MediaUrl=a&MediaUrl=b&To=x"

    class Fields(dict[str, list[str]]):
        def getlist(self, name: str) -> list[str]:
            return self[name]

    fields = Fields(MediaUrl=["b", "a", "b"], To=["x"])
    signature = RequestValidator("12345").compute_signature(_URL, fields)

    assert is_signed(replace(_call({}, x_twilio_signature=signature), body=body), "12345")


def test_body_that_is_no_form_is_covered_by_its_hash() -> None:
    body = '{"MessageStatus": "delivered"}'
    url = f"{_URL}?bodySHA256={hashlib.sha256(body.encode()).hexdigest()}"
    signature = RequestValidator("12345").compute_signature(url, {})
    call = replace(_call({}, url, x_twilio_signature=signature), body=body.encode())

    assert RequestValidator("12345").validate(url, body, signature)
    assert is_signed(call, "12345")
    assert not is_signed(replace(call, body=b"{}"), "12345")


def test_shared_key_signs_when_twilio_says_so() -> None:
    signature = RequestValidator("shared").compute_signature(_URL, _VECTOR, "HMAC_SHA256")
    names = {"x_twilio_signature": signature}
    named = "key=webhooks_sharedkey_1,algorithm=HMAC_SHA256"

    call = _call(_VECTOR, **names, x_twilio_webhooks_signature_settings=named)

    assert is_signed(call, "12345", "shared")
    assert not is_signed(call, "shared")
    assert not is_signed(call, "12345", "other")
    assert not is_signed(_call(_VECTOR, **names), "shared", "shared")
    odd = _call(_VECTOR, **names, x_twilio_webhooks_signature_settings="algorithm=NONE")
    assert not is_signed(odd, "12345", "shared")


def test_without_a_token_nothing_is_signed() -> None:
    assert not is_signed(_call(_VECTOR, x_twilio_signature=sign(_URL, {}, "")), "")


def test_report_of_another_account_is_refused() -> None:
    form = {**_VECTOR, "AccountSid": "AC" + "9" * 32}
    signature = RequestValidator("12345").compute_signature(_URL, form)

    with pytest.raises(ReportRejected):
        make("twilio", None).parse_reports(_call(form, x_twilio_signature=signature))


def test_report_of_a_failure_has_its_code() -> None:
    form = {"SmsSid": _SID, "SmsStatus": "undelivered", "AccountSid": _ACCOUNT, "ErrorCode": "30003"}
    signature = RequestValidator("12345").compute_signature(_URL, form)

    reports = make("twilio", None).parse_reports(_call(form, x_twilio_signature=signature))

    (report,) = reports.items
    assert (report.status, report.code, report.reference) == (MessageStatus.UNDELIVERED, "30003", "r1")
    assert reports.reply_body == ""


def test_sample_is_signed_by_the_vendor() -> None:
    request = inbound(sample("twilio")["report"])

    assert RequestValidator("12345").validate(
        request.url, request.form, request.headers["x-twilio-signature"]
    )


# --- settings


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("account_sid", "AC123"),
        ("account_sid", "SK0123456789abcdef0123456789abcdef"),
        ("auth_token", ""),
        ("originator", "far too long a name"),
        ("originator", "ACMÉ"),
        ("api_key_secret", "alone"),
        ("region", "mars"),
    ],
)
def test_settings_that_cannot_work(setting: str, value: str) -> None:
    with pytest.raises(SettingsInvalid) as caught:
        validate_settings(Twilio, {**sample("twilio")["settings"], setting: value})

    assert set(caught.value.errors) == {setting}


def test_documentation_has_every_code_and_word() -> None:
    page = (Path(__file__).parents[3] / "docs" / "gateways" / "twilio.md").read_text()

    for code, kind in _ERRORS.kinds.items():
        assert f"| {code} | {kind} |" in page
    for word, status in _STATUSES.items():
        assert f"| `{word}` | {status} |" in page
