"""MSG91: texts that are matched with approved templates, errors inside 200, two forms of reports."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any
from urllib.parse import urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.outcomes import Accepted, RefusalKind, Refused, Unknown
from app.domain.status import MessageStatus
from app.gateways.adapters.msg91 import _CODES, _STATUSES, Msg91, _variables
from app.gateways.base import SettingsInvalid
from app.gateways.settings import validate_settings
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

_TAKEN = json_answer({"type": "success", "message": "3768666a4d55"})
_TEMPLATES = json.dumps(
    {
        "Hello ##NAME##, your order ##ORDER## is ready.": "t1",
        "Hello ##NAME##": "t2",
        "We are closed today.": "t3",
        "{#code#} is your code": "t4",
    }
)


def _sent(text: str, **settings: str) -> Any:
    http = Recorded(_TAKEN)
    outcome = make("msg91", http, **settings).submit(replace(MESSAGE, text=text))
    return http.calls[0]["json"] if http.calls else outcome


# --- the check


@pytest.mark.parametrize(
    ("body", "ok", "words"),
    [
        ({"status": "success", "hasError": False, "data": [{"id": "1"}]}, True, ""),
        ({"status": "success", "hasError": False, "data": []}, False, "t4"),
        ({"status": "fail", "hasError": True, "errors": ["Unauthorized"]}, False, "Unauthorized"),
        ({"type": "error", "message": "Authentication failure", "code": "201"}, False, "201"),
        ({"status": "error", "errors": "No such template"}, False, "No such template"),
        ({"anything": "else"}, False, ""),
    ],
)
def test_check_asks_for_a_template_and_says_whether_the_account_has_it(
    body: Any, ok: bool, words: str
) -> None:
    http = Recorded(json_answer(body))

    result = make("msg91", http, template_id="", templates=json.dumps({"##a## is": "t4"})).check()

    assert (result.ok, words in result.words) == (ok, True)
    (call,) = http.calls
    assert call["json"] == {"template_id": "t4"}
    assert "secret-1" not in call["url"]


# --- texts and templates


def test_whole_text_goes_into_the_one_variable_of_the_template() -> None:
    http = Recorded(_TAKEN)

    outcome = make("msg91", http).submit(replace(MESSAGE, text="Hi 👋"))

    (call,) = http.calls
    assert (call["method"], call["url"]) == ("POST", "https://control.msg91.com/api/v5/flow/")
    assert call["headers"]["authkey"] == "secret-1"
    assert call["json"] == {
        "template_id": "64f0c1d2e3a4b5c6d7e8f901",
        "short_url": "0",
        "recipients": [{"mobiles": "14155552345", "VAR1": "Hi 👋"}],
        "sender": "ACMEIN",
    }
    assert outcome == Accepted(("3768666a4d55",), MessageStatus.QUEUED)


@pytest.mark.parametrize(
    ("text", "template", "variables"),
    [
        ("Hello Asha, your order 7, 8 is ready.", "t1", {"NAME": "Asha", "ORDER": "7, 8"}),
        ("Hello Asha", "t2", {"NAME": "Asha"}),
        ("We are closed today.", "t3", {}),
        ("1234 is your code", "t4", {"code": "1234"}),
        (" Hello Asha \n", "t2", {"NAME": "Asha"}),
    ],
)
def test_text_finds_its_template_and_the_variables_in_it(text: str, template: str, variables: Any) -> None:
    sent = _sent(text, templates=_TEMPLATES, template_id="")

    assert sent["template_id"] == template
    assert sent["recipients"] == [{"mobiles": "14155552345", **variables}]


def test_text_of_no_template_is_refused_before_any_call_or_takes_the_default() -> None:
    refused = _sent("Something else", templates=_TEMPLATES, template_id="")
    sent = _sent("Something else", templates=_TEMPLATES, variable="BODY")

    assert isinstance(refused, Refused)
    assert (refused.kind, refused.code) == (RefusalKind.PERMANENT, "no_template")
    assert refused.code in Msg91.explanations
    assert sent["recipients"][0]["BODY"] == "Something else"


@given(st.lists(st.text("ab ,", min_size=1, max_size=5), min_size=3, max_size=3))
def test_what_was_written_from_a_template_is_always_recognised(values: list[str]) -> None:
    template = "Dear ##A##: ##B##/##C##."
    text = template.replace("##A##", values[0]).replace("##B##", values[1]).replace("##C##", values[2])

    assert _variables(template, text) == dict(zip("ABC", values, strict=True))


def test_long_texts_and_greedy_templates_are_read_once() -> None:
    template = "".join(f"##V{n}##a" for n in range(30)) + "!"

    assert _variables(template, "a" * 100_000) is None


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"template_id": ""}, "template_id"),
        ({"templates": '{"Hello": 5}'}, "templates"),
        ({"templates": '{"Hello": "a b"}'}, "templates"),
        ({"templates": "["}, "templates"),
    ],
)
def test_settings_that_cannot_work(changes: dict[str, str], field: str) -> None:
    with pytest.raises(SettingsInvalid) as caught:
        validate_settings(Msg91, {**sample("msg91")["settings"], **changes})

    assert set(caught.value.errors) == {field}


# --- answers


@pytest.mark.parametrize(
    ("body", "kind", "code"),
    [
        ({"type": "error", "message": "No", "code": "207"}, RefusalKind.CONFIG, "207"),
        ({"type": "error", "message": "No", "code": 301}, RefusalKind.CONFIG, "301"),
        ({"type": "error", "message": "Authentication failure"}, RefusalKind.CONFIG, "error"),
        ({"type": "error", "message": "Insufficient balance"}, RefusalKind.CONFIG, "error"),
        ({"type": "error", "message": "template id missing"}, RefusalKind.CONFIG, "error"),
        ({"type": "error", "message": "Invalid mobile number"}, RefusalKind.PERMANENT, "error"),
        ({"type": "error", "message": "Too many requests"}, RefusalKind.THROTTLE, "error"),
    ],
)
def test_error_inside_a_200_is_a_refusal(body: Any, kind: RefusalKind, code: str) -> None:
    outcome = make("msg91", Recorded(json_answer(body))).submit(MESSAGE)

    assert outcome == Refused(kind, code, body["message"])


@pytest.mark.parametrize(
    "body",
    [
        {"type": "success"},
        {"type": "success", "message": "SMS sent successfully."},
        {"message": "3768666a4d55"},
        {"request_id": "3768666a4d55"},
    ],
)
def test_answer_without_success_and_id_is_an_unknown_outcome(body: Any) -> None:
    assert isinstance(make("msg91", Recorded(json_answer(body))).submit(MESSAGE), Unknown)


def test_request_id_by_its_own_name_counts_too() -> None:
    answer = json_answer({"type": "success", "request_id": "3768666a4d55", "message": "SMS sent"})

    assert make("msg91", Recorded(answer)).submit(MESSAGE) == Accepted(
        ("3768666a4d55",), MessageStatus.QUEUED
    )


# --- reports


def test_list_in_a_form_field_has_reports_for_many_numbers() -> None:
    report = [
        {"date": "…", "number": "919800000001", "status": "1", "desc": "DELIVERED"},
        {"date": "…", "number": "919800000002", "status": 2, "desc": "FAILED", "failedReason": "Absent"},
        {"date": "…", "number": "919800000003", "status": "999", "desc": "REJECTED"},
    ]
    data = json.dumps(
        [{"senderId": "A", "requestId": "q1", "report": report}, {"requestId": "q2", "report": report[:1]}]
    )

    reports = make("msg91", None).parse_reports(form("msg91", {"data": data})).items

    assert [(r.gateway_message_id, r.recipient, r.status) for r in reports] == [
        ("q1", "+919800000001", MessageStatus.DELIVERED),
        ("q1", "+919800000002", MessageStatus.UNDELIVERED),
        ("q1", "+919800000003", MessageStatus.FAILED),
        ("q2", "+919800000001", MessageStatus.DELIVERED),
    ]
    assert reports[1].text == "Absent"


@pytest.mark.parametrize("kind", [form, query, posted_json])
def test_flat_report_is_read_wherever_it_stands(kind: Any) -> None:
    fields = {"number": "919800000001", "requestId": "q1", "status": "8", "desc": ""}

    (report,) = make("msg91", None).parse_reports(kind("msg91", fields)).items

    assert (report.status, report.gateway_message_id) == (MessageStatus.SENT, "q1")


def test_junk_in_the_form_field_is_the_callers_fault() -> None:
    for data in ("", "[", "[1]", '[{"report": []}, {"requestId": "q"}]'):
        call = replace(form("msg91", {}), body=urlencode({"data": data}).encode())
        with pytest.raises((ValueError, KeyError)):
            make("msg91", None).parse_reports(call)


def test_page_has_every_code_and_word() -> None:
    assert_page_has("msg91", _STATUSES, _CODES)
    assert set(_CODES) <= set(Msg91.explanations)
