"""SMS.ru: two levels of codes inside 200, batches keyed by number, hashed reports that want `100`."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from app.domain.outcomes import Accepted, RefusalKind, Refused, Unknown
from app.domain.status import MessageStatus
from app.gateways.adapters.smsru import _CODES, _STATUSES, SmsRu
from app.gateways.answers import QuestionRefused
from app.gateways.base import ReportRejected, Submitted
from app.transport import HttpAnswer, NoAnswer
from tests.worlds.gateways import MESSAGE, Recorded, assert_page_has, form, json_answer, make

_URL = "https://sms.example.org/reports/smsru/K7"


def _taken(sms_id: str = "000000-1") -> dict[str, Any]:
    return {"status": "OK", "status_code": 100, "sms_id": sms_id, "cost": "2.5"}


def _answer(numbers: Mapping[str, Any], **more: Any) -> HttpAnswer:
    return json_answer({"status": "OK", "status_code": 100, "sms": numbers, "balance": 41.5, **more})


def _refused(code: Any) -> dict[str, Any]:
    return {"status": "ERROR", "status_code": code, "status_text": "said so"}


# --- submissions


def test_submission_is_a_form_without_a_key_in_the_address() -> None:
    http = Recorded(_answer({"14155552345": _taken()}))

    outcome = make("smsru", http).submit(replace(MESSAGE, text="Привет"))

    (call,) = http.calls
    assert (call["method"], call["url"]) == ("POST", "https://sms.ru/sms/send")
    assert call["data"] == {
        "api_id": "API",
        "json": "1",
        "to": "14155552345",
        "msg": "Привет",
        "from": "ACME",
        "ttl": "60",
    }
    assert outcome == Accepted(("000000-1",), MessageStatus.QUEUED, cost="2.5 RUB")


def test_account_without_an_originator_sends_under_its_usual_one() -> None:
    http = Recorded(_answer({"14155552345": _taken()}))
    make("smsru", http, originator="").submit(replace(MESSAGE, validity_s=0))

    assert "from" not in http.calls[0]["data"]
    assert http.calls[0]["data"]["ttl"] == "1"


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (200, RefusalKind.CONFIG),
        (201, RefusalKind.CONFIG),
        ("202", RefusalKind.PERMANENT),
        (207, RefusalKind.PERMANENT),
        (209, RefusalKind.PERMANENT),
        (220, RefusalKind.TEMPORARY),
        (302, RefusalKind.CONFIG),
        (777, RefusalKind.PERMANENT),
    ],
)
def test_codes_of_the_request_and_of_the_number_are_refusals(code: object, kind: RefusalKind) -> None:
    for answer in (json_answer(_refused(code)), _answer({"14155552345": _refused(code)})):
        assert make("smsru", Recorded(answer)).submit(MESSAGE) == Refused(kind, str(code), "said so")


@pytest.mark.parametrize(
    "numbers", [{}, {"14155552345": {}}, {"14155552345": {"status_code": 100}}, {"79001234567": _taken()}, []]
)
def test_number_without_an_id_is_an_unknown_outcome(numbers: Any) -> None:
    assert isinstance(make("smsru", Recorded(_answer(numbers))).submit(MESSAGE), Unknown)


@pytest.mark.parametrize("code", [231, 232])
def test_duplicate_is_an_acceptance_only_after_a_lost_answer(code: int) -> None:
    gateway = make("smsru", Recorded(_answer({"14155552345": _refused(code)})))

    assert isinstance(gateway.submit(MESSAGE), Refused)
    assert gateway.submit(replace(MESSAGE, again=True)) == Accepted((), MessageStatus.QUEUED)


# --- many in one call


def _message(n: int, to: str, **more: Any) -> Any:
    return replace(MESSAGE, reference=f"r{n}", recipient=to, text=f"text {n}", **more)


def test_batch_has_an_outcome_for_each_message_in_their_order() -> None:
    http = Recorded(_answer({"79001": _taken("a"), "79002": _refused(207), "79003": _refused(201)}))
    messages = [_message(n, to) for n, to in enumerate(["+79003", "+79004", "+79001", "+79002"])]

    outcomes = make("smsru", http).submit_many(messages)

    assert http.calls[0]["data"]["to[79001]"] == "text 2"
    assert [type(outcome) for outcome in outcomes] == [Refused, Unknown, Accepted, Refused]
    assert [outcome.kind for outcome in outcomes if isinstance(outcome, Refused)] == ["config", "permanent"]


def test_no_call_has_a_number_twice_or_two_originators() -> None:
    http = Recorded(_answer({"79001": _taken("a"), "79002": _taken("b")}))
    messages = [
        _message(0, "+79001"),
        _message(1, "+79001"),
        _message(2, "+79002", originator="SHOP"),
        _message(3, "+79002"),
    ]

    make("smsru", http).submit_many(messages)

    sent = [
        (
            call["data"]["from"],
            [call["data"][f"to[{n}]"] for n in ("79001", "79002") if f"to[{n}]" in call["data"]],
        )
        for call in http.calls
    ]
    assert sent == [("ACME", ["text 0", "text 3"]), ("ACME", ["text 1"]), ("SHOP", ["text 2"])]


def test_call_that_fails_leaves_the_outcomes_of_the_others() -> None:
    class Flaky(Recorded):
        def request(self, method: str, url: str, **more: Any) -> HttpAnswer:
            answer = super().request(method, url, **more)
            if len(self.calls) == 1:
                raise NoAnswer("lost")
            return answer

    http = Flaky(_answer({"79001": _taken("a")}))

    outcomes = make("smsru", http).submit_many([_message(0, "+79001"), _message(1, "+79001")])

    assert outcomes == [Unknown("lost"), Accepted(("a",), MessageStatus.QUEUED, cost="2.5 RUB")]


# --- questions


def test_polling_asks_for_many_at_once() -> None:
    http = Recorded(
        _answer({"a": {"status_code": 103}, "b": {"status_code": "-1"}, "c": {"status_code": 150}})
    )

    reports = make("smsru", http).poll([Submitted("a"), Submitted("b"), Submitted("c"), Submitted("d")])

    assert http.calls[0]["data"]["sms_id"] == "a,b,c,d"
    assert [(report.gateway_message_id, report.status) for report in reports] == [
        ("a", MessageStatus.DELIVERED),
        ("c", MessageStatus.FAILED),
    ]


def test_balance_and_originators() -> None:
    balance = Recorded(json_answer({"status": "OK", "status_code": 100, "balance": 4122.56}))
    senders = Recorded(json_answer({"status": "OK", "status_code": 100, "senders": ["ACME", "SHOP"]}))

    assert str(make("smsru", balance).balance()) == "4122.56 RUB"
    assert make("smsru", senders).originators() == ["ACME", "SHOP"]
    with pytest.raises(QuestionRefused, match="200"):
        make("smsru", Recorded(json_answer(_refused(200)))).balance()


class _Callbacks:
    """The callbacks of an account, as SMS.ru keeps them."""

    def __init__(self, *urls: str) -> None:
        self.urls = list(urls)
        self.changes: list[str] = []

    def request(self, method: str, url: str, **more: Any) -> HttpAnswer:
        deed, given = url.rpartition("/")[2], more["data"].get("url", "")
        if deed == "add":
            self.urls.append(given)
        if deed == "del":
            self.urls.remove(given)
        self.changes += [] if deed == "get" else [deed]
        return json_answer({"status": "OK", "status_code": 100, "callback": self.urls})


def test_callback_is_added_once_and_taken_back_alone() -> None:
    http = _Callbacks("https://other.example/x")
    gateway = make("smsru", http)

    gateway.on_enable(_URL)
    gateway.on_enable(_URL)
    enabled = list(http.urls)
    gateway.on_disable(_URL)
    gateway.on_disable(_URL)

    assert enabled == ["https://other.example/x", _URL]
    assert http.urls == ["https://other.example/x"]
    assert http.changes == ["add", "del"]


# --- reports


def _call(*entries: str, **changes: str) -> Any:
    fields = {f"data[{n}]": entry for n, entry in enumerate(entries)}
    digest = hashlib.sha256(("API" + "".join(entries)).encode()).hexdigest()
    return form("smsru", {**fields, "hash": digest, **changes})


def test_published_hash() -> None:
    entry = "sms_status\n000000-10000000\n103\n1700000000"

    assert _call(entry).form["hash"] == "cce0450830bd9306ccb83d93c09f5fa065f61cfa7809f1e2bfefe31bf79d84be"


def test_all_entries_are_read_in_their_order_and_answered_with_100() -> None:
    entries = [f"sms_status\nid-{n}\n{status}\n1700000000" for n, status in enumerate([103, 104, 999])]
    call = _call(*entries, "callcheck_status\nx\n401\n1700000000")

    reports = make("smsru", None).parse_reports(call)

    assert [(report.gateway_message_id, report.status) for report in reports.items] == [
        ("id-0", MessageStatus.DELIVERED),
        ("id-1", MessageStatus.UNDELIVERED),
        ("id-2", None),
    ]
    assert (reports.reply_body, reports.reply_status) == ("100", 200)


def test_call_without_any_status_is_answered_with_100_too() -> None:
    reports = make("smsru", None).parse_reports(_call("callcheck_status\nx\n401\n1700000000"))

    assert (reports.items, reports.reply_body) == ((), "100")


def test_a_hundred_entries_are_read() -> None:
    entries = [f"sms_status\nid-{n}\n103\n1700000000" for n in range(100)]

    reports = make("smsru", None).parse_reports(_call(*entries))

    assert [report.gateway_message_id for report in reports.items] == [f"id-{n}" for n in range(100)]


@pytest.mark.parametrize("changes", [{"hash": "0" * 64}, {"hash": ""}, {"data[0]": "sms_status\nid\n103\n1"}])
def test_forged_calls_are_refused(changes: dict[str, str]) -> None:
    with pytest.raises(ReportRejected):
        make("smsru", None).parse_reports(_call("sms_status\nid\n108\n1", **changes))


def test_page_has_every_code_and_word() -> None:
    assert_page_has("smsru", _STATUSES, _CODES)
    assert set(_CODES) <= set(SmsRu.explanations)
