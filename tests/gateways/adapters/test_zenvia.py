"""Zenvia: requests as the vendor's client makes them, a subscription that is made here, errors by name."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from app.domain.outcomes import Accepted, RefusalKind, Refused, Unknown
from app.domain.status import MessageStatus
from app.gateways.adapters.zenvia import _CODES, _STATUSES, Zenvia
from app.gateways.answers import QuestionRefused
from app.transport import HttpAnswer
from tests.worlds.gateways import MESSAGE, SAMPLES, Recorded, assert_page_has, json_answer, make, posted_json

_URL = "https://sms.example.org/reports/zenvia/K7"
_VENDOR = json.loads((SAMPLES.parent / "vendors" / "requests.json").read_text())["zenvia"]


def _same(call: dict[str, Any], theirs: dict[str, Any], **more: Any) -> bool:
    token = {name.lower(): value for name, value in theirs["headers"].items()}["x-api-token"]
    return (
        (call["method"], call["url"]) == (theirs["method"], theirs["url"])
        and call.get("json") == ({**theirs["json"], **more} if theirs["json"] else None)
        and call["headers"] == {"X-API-TOKEN": token}
    )


# --- the same calls as the vendor's client


def test_submission_is_the_vendors_own_with_our_reference() -> None:
    http = Recorded(json_answer({"id": "m1"}))

    outcome = make("zenvia", http).submit(replace(MESSAGE, text="Olá 👋"))

    assert _same(http.calls[0], _VENDOR[0], externalId="r1")
    assert outcome == Accepted(("m1",), MessageStatus.QUEUED)


def test_subscription_is_listed_made_and_deleted_as_the_vendor_does() -> None:
    ours = {"id": "s1", "eventType": "MESSAGE_STATUS", "webhook": {"url": _URL}, "status": "INACTIVE"}
    made = Recorded(json_answer([]), json_answer({"id": "s1"}))
    woken, gone = (
        Recorded(json_answer([ours]), json_answer(ours)),
        Recorded(json_answer([ours]), HttpAnswer(204, {}, b"")),
    )

    make("zenvia", made).on_enable(_URL)
    make("zenvia", woken).on_enable(_URL)
    make("zenvia", gone).on_disable(_URL)

    assert _same(made.calls[0], _VENDOR[1])
    assert _same(made.calls[1], _VENDOR[2])
    assert _same(woken.calls[1], _VENDOR[3])
    assert _same(gone.calls[1], _VENDOR[4])


def test_subscription_that_is_there_is_left_alone_and_others_always() -> None:
    there = [
        {"id": "s1", "eventType": "MESSAGE_STATUS", "webhook": {"url": _URL}, "status": "ACTIVE"},
        {"id": "s2", "eventType": "MESSAGE", "webhook": {"url": _URL}, "status": "ACTIVE"},
        {"id": "s3", "eventType": "MESSAGE_STATUS", "webhook": {"url": "https://other.example"}},
    ]
    enabled = Recorded(json_answer(there))
    disabled = Recorded(json_answer(there), json_answer({"code": "NOT_FOUND"}, 404))

    make("zenvia", enabled).on_enable(_URL)
    make("zenvia", disabled).on_disable(_URL)

    assert len(enabled.calls) == 1
    assert [call["url"].rpartition("/")[2] for call in disabled.calls[1:]] == ["s1"]


# --- answers


@pytest.mark.parametrize(
    ("status", "code", "kind"),
    [
        (401, "AUTHENTICATION_ERROR", RefusalKind.CONFIG),
        (400, "VALIDATION_ERROR", RefusalKind.PERMANENT),
        (400, "INSUFFICIENT_CREDITS", RefusalKind.CONFIG),
        (400, "INSUFFICIENT_FUNDS_OF_ANY_KIND", RefusalKind.CONFIG),
        (400, "NEW_ERROR", RefusalKind.PERMANENT),
        (404, "NOT_FOUND", RefusalKind.CONFIG),
        (429, "TOO_MANY_REQUESTS", RefusalKind.THROTTLE),
    ],
)
def test_errors_are_read_with_their_details(status: int, code: str, kind: RefusalKind) -> None:
    body = {"code": code, "message": "No.", "details": [{"code": "X", "path": "to", "message": "Wrong"}]}

    outcome = make("zenvia", Recorded(json_answer(body, status))).submit(MESSAGE)

    assert outcome == Refused(kind, code, "No. Wrong")


def test_answer_without_an_id_is_an_unknown_outcome() -> None:
    assert isinstance(make("zenvia", Recorded(json_answer({"from": "x"}))).submit(MESSAGE), Unknown)


def test_check_needs_the_token() -> None:
    refused = json_answer({"code": "AUTHENTICATION_ERROR", "message": "No."}, 401)

    assert make("zenvia", Recorded(json_answer([]))).check().ok
    assert not make("zenvia", Recorded(refused)).check().ok
    with pytest.raises(QuestionRefused, match="AUTHENTICATION_ERROR"):
        make("zenvia", Recorded(refused)).on_enable(_URL)


# --- reports


def _event(code: str, **more: Any) -> dict[str, Any]:
    status = {"code": code, "description": "…", **more}
    return {"type": "MESSAGE_STATUS", "channel": "sms", "messageId": "m1", "messageStatus": status}


@pytest.mark.parametrize(
    ("code", "status"),
    [
        ("SENT", MessageStatus.SENT),
        ("READ", MessageStatus.DELIVERED),
        ("NOT_DELIVERED", MessageStatus.UNDELIVERED),
        ("REJECTED", MessageStatus.FAILED),
        ("TELEPORTED", None),
    ],
)
def test_reports_are_read(code: str, status: MessageStatus | None) -> None:
    causes = [{"channelErrorCode": "27", "reason": "Absent", "details": "…"}]

    (report,) = make("zenvia", None).parse_reports(posted_json("zenvia", _event(code, causes=causes))).items

    assert (report.status, report.gateway_message_id) == (status, "m1")
    assert (report.code, report.text) == ("27", "Absent")


def test_list_of_events_and_incoming_messages() -> None:
    events = [_event("SENT"), {"type": "MESSAGE", "message": {}}, _event("DELIVERED", cause="late")]

    reports = make("zenvia", None).parse_reports(posted_json("zenvia", events)).items

    assert [(report.status, report.text) for report in reports] == [
        (MessageStatus.SENT, "…"),
        (MessageStatus.DELIVERED, "late"),
    ]


def test_page_has_every_code_and_word() -> None:
    assert_page_has("zenvia", _STATUSES, _CODES)
    assert set(_CODES) <= set(Zenvia.explanations)
