"""Netgsm: requests as both of the vendor's own clients make them, errors as 406, reports that are fetched."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from netgsm import Netgsm as VendorClient

from app.domain.outcomes import Accepted, RefusalKind, Refused, Unknown
from app.domain.status import MessageStatus
from app.gateways.adapters.netgsm import _CODES, _STATUSES, Netgsm
from app.gateways.answers import QuestionRefused
from app.gateways.base import Context, Gateway, Submitted
from tests.gateways.vendor_calls import ours, vendor_calls
from tests.worlds.gateways import MESSAGE, SAMPLES, Recorded, assert_page_has, json_answer, make

_JAVASCRIPT = json.loads((SAMPLES.parent / "vendors" / "requests.json").read_text())["netgsm"]
_TAKEN = json_answer({"code": "00", "jobid": "j1", "description": "queued"})
_NOW = datetime(2026, 11, 28, 7, 0, tzinfo=UTC)  # ten o'clock in Turkey


def _gateway(http: Any) -> Gateway:
    return Netgsm(make("netgsm", http).settings, Context(http, now=lambda: _NOW))


def _vendor() -> VendorClient:
    return VendorClient("8501234567", "secret-1", api_url="https://api.netgsm.com.tr")


# --- the same calls as the vendor's clients


def test_submission_is_the_vendors_own() -> None:
    http = Recorded(_TAKEN)
    message = replace(MESSAGE, recipient="+905321234567", text="Şifre: 1")

    outcome = make("netgsm", http).submit(message)
    with vendor_calls({"code": "00"}) as theirs:
        messages = [{"msg": "Şifre: 1", "no": "5321234567"}]
        _vendor().sms.send("ACME", messages, encoding="TR", iysfilter="0")

    assert ours(http.calls[0]) == theirs[0]
    assert http.calls[0]["json"] == _JAVASCRIPT[0]["json"]
    assert http.calls[0]["url"] == _JAVASCRIPT[0]["url"]
    assert outcome == Accepted(("j1",), MessageStatus.QUEUED)


def test_report_is_asked_as_the_vendors_clients_do_in_turkish_time() -> None:
    http = Recorded(json_answer({"code": "00", "jobs": []}))

    _gateway(http).poll([Submitted("j1"), Submitted("j2")])
    with vendor_calls({}) as theirs:
        _vendor().sms.get_report("25112026100000", "28112026101000", ["j1", "j2"], 100, 0)

    assert ours(http.calls[0]) == theirs[0]
    assert http.calls[0]["json"] == _JAVASCRIPT[1]["json"]


def test_originators_and_balance_are_the_vendors_own() -> None:
    headers = Recorded(json_answer({"code": "00", "msgheaders": ["ACME", "SHOP"]}))
    balance = Recorded(json_answer({"code": "00", "balance": "1234,56"}))

    assert make("netgsm", headers).originators() == ["ACME", "SHOP"]
    assert str(make("netgsm", balance).balance()) == "1234.56 TRY"
    with vendor_calls({}) as theirs:
        _vendor().sms.get_headers()
    assert ours(headers.calls[0]) == theirs[0]
    assert (balance.calls[0]["url"], balance.calls[0]["json"]) == (
        _JAVASCRIPT[3]["url"],
        _JAVASCRIPT[3]["json"],
    )


@pytest.mark.parametrize(
    ("recipient", "number"),
    [
        ("+905321234567", "5321234567"),
        ("+4915112345678", "004915112345678"),
        ("+9053212345678", "009053212345678"),
    ],
)
def test_numbers_are_national_in_turkey_only(recipient: str, number: str) -> None:
    http = Recorded(_TAKEN)
    make("netgsm", http).submit(replace(MESSAGE, recipient=recipient))

    assert http.calls[0]["json"]["messages"] == [{"msg": "Hello", "no": number}]
    assert "encoding" not in http.calls[0]["json"]


# --- answers


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        ("20", RefusalKind.PERMANENT),
        ("30", RefusalKind.CONFIG),
        (40, RefusalKind.CONFIG),
        ("70", RefusalKind.PERMANENT),
        ("80", RefusalKind.THROTTLE),
        ("85", RefusalKind.THROTTLE),
        ("100", RefusalKind.TEMPORARY),
        ("5000", RefusalKind.TEMPORARY),
        ("777", RefusalKind.PERMANENT),
    ],
)
def test_errors_are_refusals_by_their_code(code: object, kind: RefusalKind) -> None:
    body = {"code": code, "description": "No"}

    for status in (406, 200):
        outcome = make("netgsm", Recorded(json_answer(body, status))).submit(MESSAGE)
        assert outcome == Refused(kind, str(code), "No")


@pytest.mark.parametrize("body", [{"code": "00"}, {"description": "queued"}, {"code": "00", "jobid": ""}])
def test_answer_without_a_job_is_an_unknown_outcome(body: Any) -> None:
    assert isinstance(make("netgsm", Recorded(json_answer(body))).submit(MESSAGE), Unknown)


def test_job_ids_in_their_other_spelling_count_too() -> None:
    outcome = make("netgsm", Recorded(json_answer({"code": "00", "jobId": "j1"}))).submit(MESSAGE)

    assert outcome == Accepted(("j1",), MessageStatus.QUEUED)


def test_polled_jobs_are_read_and_others_left_out() -> None:
    jobs = [
        {"jobid": "j1", "number": "5321234567", "status": 1, "errorCode": 0},
        {"jobid": "j2", "number": "5321234567", "status": "12", "errorCode": 104},
        {"jobid": "j3", "number": "5321234567", "status": 99},
        {"jobid": "other", "status": 1},
    ]

    reports = _gateway(Recorded(json_answer({"jobs": jobs}))).poll([Submitted(f"j{n}") for n in range(1, 4)])

    assert [(report.gateway_message_id, report.status, report.code) for report in reports] == [
        ("j1", MessageStatus.DELIVERED, ""),
        ("j2", MessageStatus.UNDELIVERED, "err_104"),
        ("j3", None, ""),
    ]


@pytest.mark.parametrize("code", ["60", "80", "100"])
def test_nothing_found_yet_is_no_report(code: str) -> None:
    assert _gateway(Recorded(json_answer({"code": code}, 406))).poll([Submitted("j1")]) == []


def test_account_without_credit_is_no_failure_of_the_sign_in() -> None:
    assert str(make("netgsm", Recorded(json_answer({"code": "60"}, 406))).balance()) == "0 TRY"
    with pytest.raises(QuestionRefused, match="30"):
        make("netgsm", Recorded(json_answer({"code": "30"}, 406))).balance()


def test_page_has_every_code_and_word() -> None:
    assert_page_has("netgsm", _STATUSES, _CODES)
    assert set(_CODES) <= set(Netgsm.explanations)
