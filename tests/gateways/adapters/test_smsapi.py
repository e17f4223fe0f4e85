"""SMSAPI: requests as the vendor's own client makes them, repeats that are acceptances, reports in lists."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from smsapi.client import SmsApiComClient, SmsApiPlClient

from app.domain.outcomes import Accepted, RefusalKind, Refused, Unknown
from app.domain.status import MessageStatus
from app.gateways import explanations as why
from app.gateways.adapters.smsapi import _CODES, _STATUSES, SmsApi
from app.gateways.base import GatewayCall
from app.transport import HttpAnswer
from tests.gateways.vendor_calls import ours, vendor_calls
from tests.worlds.gateways import MESSAGE, Recorded, assert_page_has, form, json_answer, make, query


def _item(reference: str = "r1", **changes: Any) -> dict[str, Any]:
    item = {"id": "1460969715572091219", "points": 0.16, "number": "14155552345", "status": "QUEUE"}
    return {**item, "idx": reference, "error": None, **changes}


def _answer(*items: Any, **more: Any) -> HttpAnswer:
    return json_answer({"count": len(items), "list": list(items), **more})


def _error(code: Any, status: int = 200) -> HttpAnswer:
    return json_answer({"error": code, "message": "No", "invalid_numbers": None}, status)


# --- the same calls as the vendor's client


@pytest.mark.parametrize(("site", "client"), [("pl", SmsApiPlClient), ("com", SmsApiComClient)])
def test_submission_is_the_vendors_own(site: str, client: Callable[..., Any]) -> None:
    http = Recorded(_answer(_item()))

    make("smsapi", http, site=site).submit(replace(MESSAGE, text="Zażółć 👋"))
    with vendor_calls({"count": 1, "list": [_item()]}) as theirs:
        client(access_token="secret-1").sms.send(
            to="14155552345",
            message="Zażółć 👋",
            from_="ACME",
            idx="r1",
            check_idx="1",
            encoding="utf-8",
            max_parts="10",
            notify_url=MESSAGE.report_url,
        )

    assert ours(http.calls[0]) == theirs[0]


def test_batch_of_one_text_is_the_vendors_own() -> None:
    http = Recorded(_answer(_item("r1", number="48500000001"), _item("r2", number="48500000002")))
    messages = [
        replace(MESSAGE, reference=f"r{n}", recipient=f"+4850000000{n}", report_url=f"https://x.example/r{n}")
        for n in (1, 2)
    ]

    make("smsapi", http).submit_many(messages)
    with vendor_calls({"count": 2, "list": []}) as theirs:
        SmsApiPlClient(access_token="secret-1").sms.send(
            to=["48500000001", "48500000002"],
            message="Hello",
            from_="ACME",
            idx=["r1", "r2"],
            check_idx="1",
            encoding="utf-8",
            max_parts="10",
            notify_url="https://x.example",
        )

    assert ours(http.calls[0]) == theirs[0]


def test_originators_are_asked_as_the_vendor_does() -> None:
    names = [
        {"sender": "ACME", "status": "ACTIVE"},
        {"sender": "OLD", "status": "INACTIVE"},
        {"name": "SHOP"},
    ]
    http = Recorded(json_answer(names))

    found = make("smsapi", http).originators()
    with vendor_calls(names) as theirs:
        SmsApiPlClient(access_token="secret-1").sender.list()

    sent = ours(http.calls[0])
    assert replace(sent, query=sent.query | {"list": "True"}) == theirs[0]
    assert found == ["ACME", "SHOP"]
    assert make("smsapi", Recorded(json_answer({"count": 3, "list": names}))).originators() == found


def test_balance_is_in_points() -> None:
    http = Recorded(json_answer({"name": "acme", "points": 100.5}))

    assert make("smsapi", http).check().balance == "100.5 points"
    assert http.calls[0]["url"] == "https://api.smsapi.pl/profile"
    assert not make("smsapi", Recorded(_error(101, 401))).check().ok


# --- answers


def test_accepted_message() -> None:
    outcome = make("smsapi", Recorded(_answer(_item(parts=2)))).submit(MESSAGE)

    assert outcome == Accepted(("1460969715572091219",), MessageStatus.QUEUED, segments=2, cost="0.16 points")


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (101, RefusalKind.CONFIG),
        ("103", RefusalKind.CONFIG),
        (14, RefusalKind.CONFIG),
        (13, RefusalKind.PERMANENT),
        (94, RefusalKind.PERMANENT),
        (201, RefusalKind.TEMPORARY),
        (203, RefusalKind.THROTTLE),
        (7777, RefusalKind.PERMANENT),
    ],
)
def test_error_of_the_request_or_of_the_number_is_a_refusal(code: object, kind: RefusalKind) -> None:
    of_number = _answer(_item(id=None, status=None, error=code, message="No"))

    for answer in (_error(code), _error(code, 400), of_number):
        assert make("smsapi", Recorded(answer)).submit(MESSAGE) == Refused(kind, str(code), "No")


def test_our_own_reference_taken_before_is_an_acceptance() -> None:
    for answer in (_error(53), _error(53, 400), _answer(_item(id=None, error=53))):
        assert make("smsapi", Recorded(answer)).submit(MESSAGE) == Accepted((), MessageStatus.QUEUED)


@pytest.mark.parametrize(
    "body", [{"list": []}, {"list": [{"number": "14155552345"}]}, {"count": 1}, {"list": [_item("r9")]}]
)
def test_answer_without_our_message_is_an_unknown_outcome(body: Any) -> None:
    assert isinstance(make("smsapi", Recorded(json_answer(body))).submit(MESSAGE), Unknown)


# --- many in one call


def _message(n: int, to: str, text: str = "Hello") -> Any:
    return replace(MESSAGE, reference=f"r{n}", recipient=to, text=text)


def test_batches_are_of_one_text_and_know_no_number_twice() -> None:
    http = Recorded(_answer())
    messages = [_message(0, "+481"), _message(1, "+482", "Other"), _message(2, "+482"), _message(3, "+481")]

    outcomes = make("smsapi", http).submit_many(messages)

    sent = [(call["data"]["message"], call["data"]["to"], call["data"]["idx"]) for call in http.calls]
    assert sent == [("Hello", "481,482", "r0|r2"), ("Hello", "481", "r3"), ("Other", "482", "r1")]
    assert {type(outcome) for outcome in outcomes} == {Unknown}


def test_batch_has_an_outcome_for_each_message_in_their_order() -> None:
    items = [_item("r2", number="483", id="c"), _item("r0", number="481", id="a")]
    invalid = [{"number": "482", "submitted_number": "482", "message": "Invalid"}]
    messages = [_message(0, "+481"), _message(1, "+482"), _message(2, "+483"), _message(3, "+484")]

    outcomes = make("smsapi", Recorded(_answer(*items, invalid_numbers=invalid))).submit_many(messages)

    assert outcomes == [
        Accepted(("a",), MessageStatus.QUEUED, cost="0.16 points"),
        Refused(RefusalKind.PERMANENT, "13", "Invalid"),
        Accepted(("c",), MessageStatus.QUEUED, cost="0.16 points"),
        Unknown(why.NO_ID),
    ]


def test_refusal_of_a_whole_batch_for_the_sake_of_one_is_asked_of_each() -> None:
    http = Recorded(_error(53), _error(53), _answer(_item("r1", id="b")), _error(13))
    messages = [_message(n, f"+48{n}") for n in range(3)]

    outcomes = make("smsapi", http).submit_many(messages)

    assert [call["data"]["idx"] for call in http.calls] == ["r0|r1|r2", "r0", "r1", "r2"]
    assert [type(outcome) for outcome in outcomes] == [Accepted, Accepted, Refused]


def test_refusal_of_the_account_is_not_asked_again() -> None:
    http = Recorded(_error(103))

    outcomes = make("smsapi", http).submit_many([_message(n, f"+48{n}") for n in range(3)])

    assert outcomes == [Refused(RefusalKind.CONFIG, "103", "No")] * 3
    assert len(http.calls) == 1


# --- reports

_BATCH = {
    "MsgId": "a,b,c",
    "status": "404,405,408",
    "status_name": "DELIVERED,UNDELIVERED,UNKNOWN",
    "idx": "r1,r2,r3",
    "donedate": "1700000000,1700000000,1700000000",
    "username": "acme",
    "to": "48500000001,48500000002,48500000003",
}


@pytest.mark.parametrize("kind", [form, query])
def test_reports_of_a_list_are_all_read(kind: Callable[..., GatewayCall]) -> None:
    reports = make("smsapi", None).parse_reports(kind("smsapi", _BATCH, reference="r9"))

    assert [(report.gateway_message_id, report.reference, report.status) for report in reports.items] == [
        ("a", "r1", MessageStatus.DELIVERED),
        ("b", "r2", MessageStatus.UNDELIVERED),
        ("c", "r3", MessageStatus.SENT),
    ]
    assert reports.items[1].recipient == "+48500000002"
    assert reports.reply_body == "OK"


def test_single_report_without_our_reference_has_that_of_the_address() -> None:
    fields = {"MsgId": "a", "status": "404"}

    (report,) = make("smsapi", None).parse_reports(form("smsapi", fields, reference="r1")).items

    assert (report.reference, report.status) == ("r1", MessageStatus.DELIVERED)


def test_columns_of_another_length_are_nobodys() -> None:
    with pytest.raises(ValueError, match="no status"):
        make("smsapi", None).parse_reports(form("smsapi", {"MsgId": "a,b", "status": "404"}))


def test_page_has_every_code_and_word() -> None:
    assert_page_has("smsapi", _STATUSES, _CODES)
    assert set(_CODES) <= set(SmsApi.explanations)
