"""Writes down what vendors' own clients for Python send, and which signatures they believe.

The presets are compared with it, so that nobody has to install sixty packages. In an empty folder:

    python3 -m venv env
    env/bin/pip install africastalking==2.0.3 clicksend-client==6.0.2 messagebird==2.2.0 plivo==4.63.0 \
        sinch==2.3.0 telnyx==4.189.0
    env/bin/python .../tests/samples/vendors/record_presets.py > .../tests/samples/vendors/presets.json

Nothing goes out: the functions that would call the vendors are replaced by ones that write down.
"""

# ruff: noqa: PLC0415 - each client is imported by its own recorder

from __future__ import annotations

import base64
import hashlib
import json
import sys
from collections.abc import Callable
from importlib.metadata import version
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import jwt
import requests
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from requests.adapters import HTTPAdapter

REPORT_URL = "https://sms.example.org/reports/x/K7/r1"
ACCOUNT_URL = "https://sms.example.org/reports/x/K7"
TO, TEXT = "+14155552345", "Grüße 👋"
SIGN_IN = frozenset({"authorization", "apikey", "x-api-key", "idempotency-key"})
Calls = list[dict[str, Any]]


def written(method: str, url: str, headers: Any, body: bytes | str | None) -> dict[str, Any]:
    """A call without what every client writes in its own way."""
    parts = urlsplit(url)
    text = body.decode() if isinstance(body, bytes) else body or ""
    kind = next((str(value) for name, value in headers.items() if name.lower() == "content-type"), "")
    is_json = "json" in kind or text[:1] == "{"
    return {
        "method": method.upper(),
        "address": f"{parts.scheme}://{parts.netloc}{parts.path}",
        "query": dict(parse_qsl(parts.query, keep_blank_values=True)),
        "headers": {name.lower(): str(value) for name, value in headers.items() if name.lower() in SIGN_IN},
        "kind": "json" if is_json and text else "form" if text else "",
        "fields": json.loads(text) if is_json and text else dict(parse_qsl(text, keep_blank_values=True)),
    }


def through_requests(answer: Any, call: Callable[[], Any]) -> Calls:
    calls: Calls = []

    def send(_: HTTPAdapter, request: requests.PreparedRequest, **__: Any) -> requests.Response:
        calls.append(written(str(request.method), str(request.url), request.headers, request.body))
        response = requests.Response()
        response.status_code, response.url, response.request = 200, str(request.url), request
        response.headers["Content-Type"] = "application/json"
        response._content = json.dumps(answer).encode()
        return response

    theirs, HTTPAdapter.send = HTTPAdapter.send, send  # type: ignore[method-assign,assignment]
    try:
        call()
    finally:
        HTTPAdapter.send = theirs  # type: ignore[method-assign]
    return calls


def africastalking() -> Calls:
    from africastalking.Application import ApplicationService
    from africastalking.SMS import SMSService

    answer = {"SMSMessageData": {"Recipients": []}, "UserData": {"balance": "KES 1"}}
    submitted = through_requests(answer, lambda: SMSService("acme", "secret-1").send(TEXT, [TO], "ACME"))
    asked = through_requests(answer, lambda: ApplicationService("acme", "secret-1").fetch_application_data())
    return submitted + asked


def bird() -> Calls:
    import messagebird

    client = messagebird.Client("secret-1")
    more = {"reference": "r1", "reportUrl": REPORT_URL, "validity": 3600, "datacoding": "auto"}
    answer = {"id": "1", "recipients": {"items": []}, "amount": 1, "type": "euros", "payment": "prepaid"}
    return (
        through_requests(answer, lambda: client.message_create("ACME", [TO.strip("+")], TEXT, dict(more)))
        + through_requests(answer, client.balance)
        + through_requests(answer, lambda: client.message("id1"))
    )


def plivo() -> Calls:
    import plivo as vendor

    client = vendor.RestClient("MA" + "X" * 18, "secret-1")
    answer = {"message_uuid": ["1"], "api_id": "1", "message": "queued", "cash_credits": "1"}

    def submit() -> None:
        client.messages.create(
            src="14155552671",
            dst=TO.strip("+"),
            text=TEXT,
            url=REPORT_URL,
            message_expiry=3600,
            dlt_entity_id="11",
            dlt_template_id="22",
        )

    return (
        through_requests(answer, submit)
        + through_requests(answer, client.account.get)
        + through_requests(answer, lambda: client.messages.get("id1"))
    )


def sinch() -> Calls:
    from sinch import SinchClient

    client = SinchClient(service_plan_id="plan", sms_api_token="secret-1", sms_region="eu")
    batch = {
        "id": "b1",
        "type": "mt_text",
        "to": [TO.strip("+")],
        "from": "ACME",
        "body": TEXT,
        "created_at": "2026-11-28T10:00:00Z",
        "modified_at": "2026-11-28T10:00:00Z",
        "canceled": False,
        "delivery_report": "per_recipient",
    }
    report = {
        "type": "recipient_delivery_report_sms",
        "batch_id": "b1",
        "recipient": TO.strip("+"),
        "code": 0,
        "status": "Delivered",
        "at": "2026-11-28T10:00:00Z",
    }

    def submit() -> None:
        client.sms.batches.send_sms(
            to=[TO.strip("+")],
            from_="ACME",
            body=TEXT,
            delivery_report="per_recipient",
            event_destination_target=REPORT_URL,
            client_reference="r1",
        )

    return (
        through_requests(batch, submit)
        + through_requests(
            {"count": 0, "page": 0, "page_size": 1, "batches": []},
            lambda: client.sms.batches.list(page=0, page_size=1, client_reference="bitrix24-check"),
        )
        + through_requests(
            report,
            lambda: client.sms.delivery_reports.get_for_number(batch_id="b1", recipient=TO.strip("+")),
        )
    )


def clicksend() -> Calls:
    import clicksend as vendor
    from urllib3 import HTTPResponse, PoolManager

    calls: Calls = []
    answer = json.dumps({"http_code": 200, "response_code": "SUCCESS", "response_msg": "", "data": None})

    def request(_: PoolManager, method: str, url: str, **more: Any) -> HTTPResponse:
        calls.append(written(method, url, more.get("headers") or {}, more.get("body")))
        return HTTPResponse(answer.encode(), {"Content-Type": "application/json"}, 200, preload_content=True)

    theirs, PoolManager.request = PoolManager.request, request  # type: ignore[method-assign,assignment]
    client = vendor.ApiClient(vendor.Configuration(username="acme", password="secret-1"))
    sms, models = vendor.SmsApi(client), vendor.models
    message = {"to": TO, "from": "ACME", "body": TEXT, "source": "bitrix24", "custom_string": "r1"}
    rule = {
        "rule_name": "Bitrix24",
        "match_type": 0,
        "action": "URL",
        "action_address": ACCOUNT_URL,
        "enabled": 1,
    }
    try:
        for call in (
            lambda: sms.send_sms(
                "application/json", models.SendSmsRequest.from_dict({"messages": [message]})
            ),
            lambda: vendor.ManagementApi(client).view_account_details(),
            lambda: sms.view_specific_sms_receipt("id1"),
            sms.view_sms_delivery_receipt_rules,
            lambda: sms.create_sms_delivery_receipt_rule(
                "application/json", models.CreateSmsDeliveryReceiptRuleRequest.from_dict(rule)
            ),
            lambda: sms.delete_sms_delivery_receipt_rule("7"),
        ):
            try:
                call()
            except Exception as error:  # the answers are not the vendor's: only the requests count here
                print(f"clicksend: {type(error).__name__}: {error}"[:200], file=sys.stderr)
    finally:
        PoolManager.request = theirs  # type: ignore[method-assign]
    return calls


def telnyx() -> Calls:
    import httpx
    from telnyx import Telnyx

    calls: Calls = []

    def send(request: httpx.Request) -> httpx.Response:
        calls.append(written(request.method, str(request.url), request.headers, request.content))
        return httpx.Response(200, json={"data": {"id": "1"}})

    client = Telnyx(api_key="secret-1", http_client=httpx.Client(transport=httpx.MockTransport(send)))
    client.messages.send(
        to=TO,
        from_="ACME",
        text=TEXT,
        messaging_profile_id="profile-1",
        webhook_url=REPORT_URL,
        use_profile_webhooks=False,
        extra_headers={"Idempotency-Key": "r1"},
    )
    client.balance.retrieve()
    client.messages.retrieve("id1")
    return calls


# --- signatures that the clients believe, and one that each refuses


def bird_signature() -> dict[str, Any]:
    from messagebird.error import ValidationError
    from messagebird.request_validator import RequestValidator

    url = f"{REPORT_URL}?id=1&status=delivered"
    claims = {
        "iss": "MessageBird",
        "nbf": 1_700_000_000,
        "exp": 4_000_000_000,
        "url_hash": hashlib.sha256(url.encode()).hexdigest(),
    }
    token = jwt.encode(claims, "sign-1", algorithm="HS256")
    validator = RequestValidator("sign-1")
    validator.validate_signature(token, url, b"")
    try:
        validator.validate_signature(token, url + "x", b"")
    except ValidationError:
        return {"url": url, "header": {"messagebird-signature-jwt": token}, "secret": "sign-1"}
    raise AssertionError("the client believes anything")


def plivo_signature() -> dict[str, Any]:
    from plivo.utils import signature_v3

    form = {"MessageUUID": "id1", "Status": "delivered", "To": "14155552345", "From": "ACME"}
    url = signature_v3.construct_post_url(REPORT_URL, form).decode()
    signature = signature_v3.get_signature_v3(b"secret-1", url, "n1").decode()
    believed = [
        signature_v3.validate_v3_signature("POST", REPORT_URL, nonce, "secret-1", signature, form)
        for nonce in ("n1", "n2")
    ]
    assert believed == [True, False]
    return {
        "url": REPORT_URL,
        "form": form,
        "header": {"x-plivo-signature-v3": signature, "x-plivo-signature-v3-nonce": "n1"},
        "secret": "secret-1",
    }


def telnyx_signature() -> dict[str, Any]:
    import time

    from telnyx import Telnyx
    from telnyx.lib import verify_ed25519

    key = Ed25519PrivateKey.from_private_bytes(hashlib.sha256(b"only for tests").digest())
    public = base64.b64encode(key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)).decode()
    body = '{"data": {"event_type": "message.finalized", "payload": {"id": "id1"}}}'
    client = Telnyx(api_key="secret-1", public_key=public)
    moment = time.time
    time.time = lambda: 1_764_324_000.0  # a signature is believed for five minutes
    try:
        stamp = "1764324000"
        signature = base64.b64encode(key.sign(f"{stamp}|{body}".encode())).decode()
        headers = {"telnyx-signature-ed25519": signature, "telnyx-timestamp": stamp}
        verify_ed25519(client, body, headers)
        try:
            verify_ed25519(client, body + " ", headers)
        except Exception:
            return {"url": REPORT_URL, "body": body, "header": headers, "secret": public}
    finally:
        time.time = moment
    raise AssertionError("the client believes anything")


CLIENTS = {
    "africastalking": ("africastalking", africastalking),
    "bird": ("messagebird", bird),
    "clicksend": ("clicksend-client", clicksend),
    "plivo": ("plivo", plivo),
    "sinch": ("sinch", sinch),
    "telnyx": ("telnyx", telnyx),
}
SIGNATURES = {"bird": bird_signature, "plivo": plivo_signature, "telnyx": telnyx_signature}


def main() -> None:
    found = {
        slug: {"client": f"{package} {version(package)}", "calls": record()}
        for slug, (package, record) in CLIENTS.items()
    }
    for slug, record in SIGNATURES.items():
        found[slug]["signature"] = record()
    print(json.dumps(found, indent=2, ensure_ascii=False))


main()
