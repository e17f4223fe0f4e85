"""SMSC.ru: one id of ours for everything, errors inside 200, reports that may be signed."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import Any

import pytest

from app.domain.outcomes import Accepted, RefusalKind, Refused, Unknown
from app.domain.status import MessageStatus
from app.gateways.adapters.smsc import _ERRORS, _STATUSES, Smsc
from app.gateways.base import ReportRejected, SettingsInvalid, Submitted
from app.gateways.settings import validate_settings
from tests.worlds.gateways import MESSAGE, Recorded, assert_page_has, form, json_answer, make, query, sample

_TAKEN = json_answer({"id": 1001, "cnt": 2, "cost": "4.1", "balance": "83.6"})
_REPORT = {"id": "1001", "phone": "79001234567", "status": "1"}


def _error(code: Any, text: str = "said so", **more: Any) -> Recorded:
    return Recorded(json_answer({"error": text, "error_code": code, **more}))


# --- submissions


def test_submission_asks_for_utf8_and_json_under_our_own_id() -> None:
    http = Recorded(_TAKEN)

    outcome = make("smsc", http).submit(replace(MESSAGE, text="Ваш заказ 👋"))

    (call,) = http.calls
    assert (call["method"], call["url"]) == ("POST", "https://smsc.ru/sys/send.php")
    assert call["data"] == {
        "login": "acme",
        "psw": "secret-1",
        "charset": "utf-8",
        "fmt": "3",
        "phones": "+14155552345",
        "mes": "Ваш заказ 👋",
        "id": "r1",
        "valid": "01:00",
        "cost": "3",
        "sender": "ACME",
    }
    assert outcome == Accepted(("1001",), MessageStatus.QUEUED, segments=2, cost="4.1 RUB")


def test_sister_site_and_api_key() -> None:
    http = Recorded(_TAKEN)

    make("smsc", http, site="smsc.kz", api_key="key-1", originator="").submit(MESSAGE)

    (call,) = http.calls
    assert call["url"] == "https://smsc.kz/sys/send.php"
    assert call["data"]["apikey"] == "key-1"
    assert not {"login", "psw", "sender"} & set(call["data"])


@pytest.mark.parametrize(("ours_s", "sent"), [(0, "00:01"), (90 * 60, "01:30"), (10**6, "24:00")])
def test_validity_fits_the_limits(ours_s: int, sent: str) -> None:
    http = Recorded(_TAKEN)
    make("smsc", http).submit(replace(MESSAGE, validity_s=ours_s))

    assert http.calls[0]["data"]["valid"] == sent


@pytest.mark.parametrize(
    ("code", "kind", "pause_s"),
    [
        (1, RefusalKind.PERMANENT, None),
        (2, RefusalKind.CONFIG, None),
        ("3", RefusalKind.CONFIG, None),
        (4, RefusalKind.THROTTLE, 300),
        (6, RefusalKind.PERMANENT, None),
        (7, RefusalKind.PERMANENT, None),
        (9, RefusalKind.THROTTLE, 60),
    ],
)
def test_errors_inside_a_200_are_refusals_even_with_an_id(
    code: object, kind: RefusalKind, pause_s: float | None
) -> None:
    outcome = make("smsc", _error(code, id=1001)).submit(MESSAGE)

    assert outcome == Refused(kind, str(code), "said so", pause_s)


def test_duplicate_is_an_acceptance_only_after_a_lost_answer() -> None:
    error = (9, "duplicate request, wait a minute")

    first = make("smsc", _error(*error)).submit(MESSAGE)
    after_a_lost_answer = make("smsc", _error(*error)).submit(replace(MESSAGE, again=True))

    assert first == Refused(RefusalKind.TEMPORARY, "9", error[1], 60)
    assert after_a_lost_answer == Accepted(("r1",), MessageStatus.QUEUED)


@pytest.mark.parametrize("body", [{"cnt": 1}, {"error": "?", "id": 5}, [], {"id": None}, "1001"])
def test_answers_without_code_and_id_prove_nothing(body: object) -> None:
    assert isinstance(make("smsc", Recorded(json_answer(body))).submit(MESSAGE), Unknown)


# --- looking up and polling


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({"status": -1}, Accepted),
        ([{"status": "1"}], Accepted),
        ({"status": -3}, Refused),
        ({"error": "x", "error_code": 9}, type(None)),
        ({"status": 77}, type(None)),
    ],
)
def test_our_reference_is_looked_up(body: object, expected: type) -> None:
    http = Recorded(json_answer(body))

    found = make("smsc", http).look_up("r1", "+79001234567")

    assert isinstance(found, expected)
    assert http.calls[0]["data"]["phone"] == "79001234567"
    assert http.calls[0]["data"]["id"] == "r1"


def test_polling_reads_the_answer_in_the_order_of_the_question() -> None:
    http = Recorded(json_answer([{"status": 20, "err": 6}, {"status": -3}, {"status": "2", "id": "c"}]))
    sent = [Submitted(id, f"+7900123456{n}") for n, id in enumerate("abc")]

    reports = make("smsc", http).poll(sent)

    data = http.calls[0]["data"]
    assert (data["phone"], data["id"]) == ("79001234560,79001234561,79001234562", "a,b,c")
    assert [(r.gateway_message_id, r.status, r.raw_status, r.code) for r in reports] == [
        ("a", MessageStatus.UNDELIVERED, "status_20", "err_6"),
        ("c", MessageStatus.DELIVERED, "status_2", ""),
    ]


@pytest.mark.parametrize("body", [[{"status": 1}], {"error": "x", "error_code": 9}, [{"status": 1}] * 3])
def test_polling_answer_of_another_length_is_nobodys(body: object) -> None:
    sent = [Submitted("a", "+79001234567"), Submitted("b", "+79001234568")]

    assert make("smsc", Recorded(json_answer(body))).poll(sent) == []


def test_single_message_is_polled_as_an_object() -> None:
    (report,) = make("smsc", Recorded(json_answer({"status": 3}))).poll([Submitted("a", "+79001234567")])

    assert report.status is MessageStatus.UNDELIVERED


def test_balance_is_in_the_money_of_the_site() -> None:
    http = Recorded(json_answer({"balance": "83,60"}))

    assert str(make("smsc", http, site="smsc.kz").balance()) == "83.60 KZT"
    assert make("smsc", http).check().balance == "83.60 RUB"
    assert not make("smsc", _error(2, "authorise error")).check().ok


# --- reports


def _signed(**changes: str) -> dict[str, str]:
    fields = _REPORT | changes
    signed = ":".join([*(fields[name] for name in ("id", "phone", "status")), "secret"]).encode()
    return fields | {
        "md5": hashlib.md5(signed, usedforsecurity=False).hexdigest(),
        "sha1": hashlib.sha1(signed, usedforsecurity=False).hexdigest(),
    }


def test_signature_is_the_published_one() -> None:
    assert _signed()["md5"] == "a541980bf480cafb74d8fa3fa1a4a892"


@pytest.mark.parametrize("kind", [form, query])
def test_report_names_our_reference(kind: Any) -> None:
    (report,) = make("smsc", None).parse_reports(kind("smsc", _REPORT | {"err": "0"})).items

    assert (report.reference, report.recipient) == ("1001", "+79001234567")
    assert report.status is MessageStatus.DELIVERED


@pytest.mark.parametrize("dropped", [(), ("md5",), ("sha1",)])
def test_signed_reports_are_taken(dropped: tuple[str, ...]) -> None:
    gateway = make("smsc", None, report_secret="secret")
    fields = {name: value for name, value in _signed().items() if name not in dropped}

    assert gateway.parse_reports(form("smsc", fields)).items
    assert gateway.active_capabilities.signed_callback


@pytest.mark.parametrize(
    "fields",
    [
        _REPORT,
        _signed() | {"status": "22"},
        _signed() | {"phone": "79001234568"},
        _signed() | {"sha1": "0" * 40},
        _signed() | {"sha1": "", "md5": ""},
    ],
)
def test_forged_reports_are_refused(fields: dict[str, str]) -> None:
    with pytest.raises(ReportRejected):
        make("smsc", None, report_secret="secret").parse_reports(form("smsc", fields))


def test_incoming_message_is_no_report() -> None:
    fields = {"phone": "79001234567", "mes": "Hi", "to": "79000000000", "md5": "x"}

    assert make("smsc", None).parse_reports(form("smsc", fields)).items == ()


# --- settings and page


def test_settings_need_one_way_to_sign_in() -> None:
    for given in ({}, {"login": "a"}, {"password": "b"}):
        with pytest.raises(SettingsInvalid) as caught:
            validate_settings(Smsc, given)
        assert set(caught.value.errors) == {"password"}
    assert validate_settings(Smsc, {"api_key": "k"})
    assert sample("smsc")["settings"]["login"]


def test_page_has_every_code_and_word() -> None:
    assert_page_has("smsc", _STATUSES, _ERRORS.kinds)
    assert set(_ERRORS.kinds) <= set(Smsc.explanations)
