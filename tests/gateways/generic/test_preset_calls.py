"""Presets beside their vendors' own clients, whose calls were written down: `tests/samples/README.md`."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

import pytest
import requests

from app.domain.outcomes import Accepted
from app.gateways.base import Gateway, GatewayCall, ReportRejected, Submitted
from tests.gateways.vendor_calls import read
from tests.worlds.gateways import MESSAGE, SAMPLES, Recorded, json_answer, make

_VENDORS = SAMPLES.parent / "vendors"
_PYTHON: dict[str, Any] = json.loads((_VENDORS / "presets.json").read_text(encoding="utf-8"))
_JAVASCRIPT: dict[str, Any] = json.loads((_VENDORS / "requests.json").read_text(encoding="utf-8"))
_SIGN_IN = ("authorization", "apikey", "x-api-key", "idempotency-key", "authkey")
_TEXT = replace(MESSAGE, text="Grüße 👋", encoding="ucs2", originator="ACME")
_ACCOUNT_URL = "https://sms.example.org/reports/x/K7"
Call = dict[str, Any]


def _submit(gateway: Gateway) -> None:
    gateway.submit(_TEXT)


def _check(gateway: Gateway) -> None:
    gateway.check()


def _poll(id: str) -> Callable[[Gateway], None]:
    def poll(gateway: Gateway) -> None:
        gateway.poll([Submitted(id, MESSAGE.recipient)])

    return poll


def _hook(gateway: Gateway) -> None:
    gateway.on_enable(
        _ACCOUNT_URL.replace("/x/", f"/{gateway.slug}/") if gateway.slug == "seven" else _ACCOUNT_URL
    )


def _sent(deed: Callable[[Gateway], None], slug: str, answer: Any, **settings: str) -> list[Call]:
    """What we send, in the form in which the clients' calls were written down."""
    http = Recorded(json_answer(answer))
    deed(make(slug, http, **settings))
    return [_written(call) for call in http.calls]


def _written(call: Mapping[str, Any]) -> Call:
    parts = {name: call.get(name) for name in ("params", "headers", "data", "json", "auth")}
    prepared = requests.Request(call["method"], call["url"], **parts).prepare()
    sent = read(prepared)
    return {
        "method": sent.method,
        "address": sent.address,
        "query": dict(sent.query),
        "headers": {n.lower(): v for n, v in prepared.headers.items() if n.lower() in _SIGN_IN},
        "kind": "json" if call.get("json") else "form" if call.get("data") else "",
        "fields": sent.fields,
    }


# --- clients for Python

_SETTINGS: dict[str, dict[str, str]] = {
    "africastalking": {"username": "acme", "api_key": "secret-1"},
    "bird": {"access_key": "secret-1"},
    "clicksend": {"username": "acme", "api_key": "secret-1"},
    "plivo": {
        "auth_id": "MA" + "X" * 18,
        "auth_token": "secret-1",
        "dlt_entity_id": "11",
        "dlt_template_id": "22",
    },
    "sinch": {"service_plan_id": "plan", "api_token": "secret-1", "region": "eu"},
    "telnyx": {"api_key": "secret-1", "messaging_profile_id": "profile-1"},
}
# In the order in which `record_presets.py` made the clients' calls.
_DEEDS: dict[str, list[Callable[[Gateway], None]]] = {
    "africastalking": [_submit, _check],
    "bird": [_submit, _check, _poll("id1")],
    "clicksend": [_submit, _check, _poll("id1"), _hook],
    "plivo": [_submit, _check, _poll("id1")],
    "sinch": [_submit, _check, _poll("b1")],
    "telnyx": [_submit, _check, _poll("id1")],
}
# What a client adds of its own, or writes in another way that its vendor takes as well.
_THEIRS: dict[str, dict[str, Any]] = {
    "plivo": {"type": "sms", "log": "true", "trackable": False, "src": "14155552671"},
    "bird": {"recipients": "14155552345"},
}
_OURS: dict[str, dict[str, Any]] = {"plivo": {"src": "ACME"}, "bird": {"recipients": ["14155552345"]}}


@pytest.mark.parametrize("slug", _DEEDS)
def test_every_call_is_the_one_that_the_vendors_own_client_makes(slug: str) -> None:
    empty = {"data": {"data": []}, "batches": []}
    ours = [call for deed in _DEEDS[slug] for call in _sent(deed, slug, empty, **_SETTINGS[slug])]
    theirs = _PYTHON[slug]["calls"][: len(ours)]

    submission, more, own = theirs[0], _THEIRS.get(slug, {}), _OURS.get(slug, {})
    assert {name: submission["fields"].pop(name) for name in more} == more
    assert {name: ours[0]["fields"].pop(name) for name in own} == own
    assert ours == theirs


def test_a_rule_for_reports_is_taken_back_as_clicksends_client_does() -> None:
    rule = {"receipt_rule_id": 7, "action_address": _ACCOUNT_URL}

    def disable(gateway: Gateway) -> None:
        gateway.on_disable(_ACCOUNT_URL)

    ours = _sent(disable, "clicksend", {"data": {"data": [rule]}}, **_SETTINGS["clicksend"])

    assert ours[-1] == _PYTHON["clicksend"]["calls"][-1]


# --- clients for JavaScript


def _javascript(vendor: str) -> list[Call]:
    return [
        {
            "method": call["method"],
            "address": call["url"].partition("?")[0],
            "query": dict(parse_qsl(urlsplit(call["url"]).query)),
            "headers": {n.lower(): v for n, v in call["headers"].items() if n.lower() in _SIGN_IN},
            "kind": "json" if call["json"] else "",
            "fields": call["json"] or {},
        }
        for call in _JAVASCRIPT[vendor]
    ]


def test_every_call_to_seven_is_the_one_that_its_own_client_makes() -> None:
    hook = {"id": 7, "target_url": "https://sms.example.org/reports/seven/K7"}

    def disable(gateway: Gateway) -> None:
        gateway.on_disable(hook["target_url"])

    deeds: list[tuple[Callable[[Gateway], None], Any]] = [
        (_submit, {}),
        (_check, {}),
        (_poll("71"), {}),
        (_hook, {"hooks": []}),
        (disable, {"hooks": [hook]}),
    ]
    ours = [call for deed, answer in deeds for call in _sent(deed, "seven", answer, api_key="secret-1")]

    theirs = _javascript("seven")
    assert ours == [*theirs[:5], theirs[3], theirs[5]]


def test_msg91_is_sent_what_its_own_client_sends_under_newer_names() -> None:
    accepted = {"type": "success", "message": "3763646c3058373530393938"}
    http = Recorded(json_answer(accepted))

    outcome = make("msg91", http, authkey="secret-1", originator="ACMEIN", template_id="64f0").submit(MESSAGE)

    (theirs,) = _javascript("msg91")
    theirs["address"] = theirs["address"].replace("//api.", "//control.")
    theirs["fields"]["template_id"] = theirs["fields"].pop("flow_id")
    assert _written(http.calls[0]) == theirs
    assert isinstance(outcome, Accepted)


# --- signatures that the clients believe

_SECRETS = {"bird": "signing_key", "plivo": "auth_token", "seven": "signing_secret", "telnyx": "public_key"}


@pytest.mark.parametrize("slug", _SECRETS)
def test_what_the_vendors_client_believes_is_believed_and_nothing_else(slug: str) -> None:
    proved = _JAVASCRIPT["seven_signature"] if slug == "seven" else _PYTHON[slug]["signature"]
    body = urlencode(proved["form"]) if "form" in proved else proved.get("body", "")
    kind = "application/x-www-form-urlencoded" if "form" in proved else "application/json"
    call = GatewayCall(
        "POST" if body else "GET",
        proved["url"],
        urlsplit(proved["url"]).query,
        {"content-type": kind, **proved["header"]},
        body.encode(),
    )
    gateway = make(slug, Recorded(json_answer({})), **{_SECRETS[slug]: proved["secret"]})

    try:
        gateway.parse_reports(call)
    except ReportRejected:
        pytest.fail("refused")
    except ValueError:
        pass  # the signature was good; there is no report in it
    forged = [replace(call, url=call.url + "x"), replace(call, headers={"content-type": kind})]
    if body:
        forged.append(replace(call, body=call.body.replace(b"d", b"e", 1)))
    for one in forged[1 if slug == "telnyx" else 0 :]:  # Telnyx does not sign the address
        with pytest.raises(ReportRejected):
            gateway.parse_reports(one)
