"""Infobip: the vendor's own models read our requests; rejections stand inside 200, reports come in lists."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from app.domain.outcomes import Accepted, RefusalKind, Refused, Unknown
from app.domain.status import MessageStatus
from app.gateways.adapters.infobip import _GROUP_STATUSES, _REJECTIONS, _STATUSES, Infobip
from app.gateways.answers import QuestionRefused
from app.gateways.base import SettingsInvalid, Submitted
from app.gateways.settings import validate_settings
from tests.gateways.vendor_calls import ours
from tests.worlds.gateways import MESSAGE, Recorded, assert_page_has, json_answer, make, posted_json, sample

_PENDING = {"groupId": 1, "groupName": "PENDING", "id": 26, "name": "PENDING_ACCEPTED", "description": "…"}
_CREDITS = {"groupId": 5, "groupName": "REJECTED", "id": 12, "name": "REJECTED_NOT_ENOUGH_CREDITS"}

Model = Callable[[str], Any]


@pytest.fixture(scope="module")
def vendor() -> Iterator[Model]:
    """Finds a model of the vendor's client; its packages themselves would load a thousand of them."""
    spec = importlib.util.find_spec("infobip_api_client")
    assert spec is not None
    assert spec.submodule_search_locations
    (root,) = spec.submodule_search_locations
    before = {name for name in sys.modules if name.startswith("infobip_api_client")}
    for name, path in (("infobip_api_client", root), ("infobip_api_client.models", f"{root}/models")):
        package = ModuleType(name)
        package.__path__ = [path]
        sys.modules[name] = package

    def find(name: str) -> Any:
        module = "".join(f"_{char.lower()}" if char.isupper() else char for char in name).lstrip("_")
        return getattr(importlib.import_module(f"infobip_api_client.models.{module}"), name)

    yield find
    for name in [name for name in sys.modules if name.startswith("infobip_api_client")]:
        if name not in before:
            del sys.modules[name]


def _item(reference: str = "r1", status: Any = None, **more: Any) -> dict[str, Any]:
    return {"messageId": reference, "status": status or _PENDING, "destination": "14155552345", **more}


def _answer(*items: Any) -> Any:
    return json_answer({"bulkId": "b1", "messages": list(items)})


# --- submissions


@pytest.mark.parametrize(
    "changes", [{}, {"dlt_entity_id": "11", "dlt_template_id": "22"}, {"dlt_entity_id": "11"}]
)
def test_request_is_one_that_the_vendors_client_would_send(vendor: Model, changes: dict[str, str]) -> None:
    http = Recorded(_answer(_item()))

    make("infobip", http, **changes).submit(replace(MESSAGE, text="Grüße 👋"))

    sent = ours(http.calls[0])
    read = vendor("SmsRequest").from_dict(sent.fields)
    assert read.to_dict() == sent.fields  # nothing lost, so nothing unknown was sent
    assert (sent.method, sent.address) == ("POST", "https://xyz123.api.infobip.com/sms/3/messages")
    assert sent.authorization == "App secret-1"
    (message,) = read.messages
    assert (message.sender, message.destinations[0].to) == ("ACME", "14155552345")
    assert message.destinations[0].message_id == message.webhooks.callback_data == "r1"
    assert message.webhooks.delivery.url == MESSAGE.report_url
    assert message.content.actual_instance.text == "Grüße 👋"


@pytest.mark.usefixtures("vendor")
def test_addresses_are_those_of_the_vendors_client() -> None:
    sms = Path(sys.modules["infobip_api_client"].__path__[0], "api", "sms_api.py").read_text()

    assert 'resource_path="/sms/3/messages"' in sms
    assert 'resource_path="/sms/3/logs"' in sms
    assert '_query_params.append(("messageId", message_id))' in sms


@pytest.mark.parametrize(
    "address", ["xyz123.api.infobip.com", "https://xyz123.api.infobip.com", "https://xyz123.api.infobip.com/"]
)
def test_address_may_be_pasted_as_the_console_shows_it(address: str) -> None:
    http = Recorded(_answer(_item()))
    make("infobip", http, base_url=address).submit(MESSAGE)

    assert http.calls[0]["url"] == "https://xyz123.api.infobip.com/sms/3/messages"


@pytest.mark.parametrize("address", ["xyz123.api.infobip.com/path", "a b", "https://u:p@x.example", "x?y"])
def test_address_is_a_host_and_nothing_else(address: str) -> None:
    with pytest.raises(SettingsInvalid) as caught:
        validate_settings(Infobip, {**sample("infobip")["settings"], "base_url": address})

    assert set(caught.value.errors) == {"base_url"}


@pytest.mark.parametrize(("ours_s", "minutes"), [(0, 1), (3600, 60), (10**6, 2880)])
def test_validity_fits_the_limits(ours_s: int, minutes: int) -> None:
    http = Recorded(_answer(_item()))
    make("infobip", http).submit(replace(MESSAGE, validity_s=ours_s))

    period = http.calls[0]["json"]["messages"][0]["options"]["validityPeriod"]
    assert period == {"amount": minutes, "timeUnit": "MINUTES"}


def test_accepted_message_has_its_count_of_segments() -> None:
    outcome = make("infobip", Recorded(_answer(_item(details={"messageCount": 3})))).submit(MESSAGE)

    assert outcome == Accepted(("r1",), MessageStatus.QUEUED, segments=3)


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (_CREDITS, RefusalKind.CONFIG),
        ({"groupId": 5, "name": "REJECTED_SYSTEM_ERROR"}, RefusalKind.TEMPORARY),
        ({"groupId": "5", "name": "REJECTED_PREFIX_MISSING"}, RefusalKind.PERMANENT),
        ({"groupName": "REJECTED", "name": "REJECTED_SOURCE"}, RefusalKind.PERMANENT),
        ({"groupId": 2, "name": "UNDELIVERABLE_NOT_DELIVERED"}, RefusalKind.PERMANENT),
    ],
)
def test_rejection_inside_a_200_is_a_refusal(status: Any, kind: RefusalKind) -> None:
    outcome = make("infobip", Recorded(_answer(_item(status=status)))).submit(MESSAGE)

    assert outcome == Refused(kind, status["name"], "")


def test_our_own_reference_taken_before_is_an_acceptance() -> None:
    status = {"groupId": 5, "groupName": "REJECTED", "id": 23, "name": "REJECTED_DUPLICATE_MESSAGE_ID"}

    outcome = make("infobip", Recorded(_answer(_item(status=status)))).submit(MESSAGE)

    assert outcome == Accepted(("r1",), MessageStatus.QUEUED)


@pytest.mark.parametrize(
    "body",
    [
        {"messages": []},
        {"messages": [_item("")]},
        {"messages": [{"messageId": "r1"}]},
        {"messages": [_item(status={"groupId": 77})]},
        {"messages": [_item("r2"), _item("r3")]},
        {},
    ],
)
def test_answer_that_says_nothing_of_this_message_is_an_unknown_outcome(body: Any) -> None:
    assert isinstance(make("infobip", Recorded(json_answer(body))).submit(MESSAGE), Unknown)


@pytest.mark.parametrize(
    ("status", "body", "kind", "code"),
    [
        (401, {"errorCode": "E401", "description": "No"}, RefusalKind.CONFIG, "E401"),
        (400, {"errorCode": "E400", "description": "No"}, RefusalKind.PERMANENT, "E400"),
        (429, {"errorCode": "E429", "description": "No"}, RefusalKind.THROTTLE, "E429"),
        (
            401,
            {"requestError": {"serviceException": {"messageId": "UNAUTHORIZED", "text": "No"}}},
            RefusalKind.CONFIG,
            "UNAUTHORIZED",
        ),
    ],
)
def test_both_forms_of_errors_are_read(status: int, body: Any, kind: RefusalKind, code: str) -> None:
    outcome = make("infobip", Recorded(json_answer(body, status))).submit(MESSAGE)

    assert outcome == Refused(kind, code, "No")
    assert code in Infobip.explanations


def test_batch_has_an_outcome_for_each_message_in_their_order() -> None:
    http = Recorded(_answer(_item("r3"), _item("r1", _CREDITS), _item("r0")))
    messages = [replace(MESSAGE, reference=f"r{n}", originator=f"S{n}") for n in range(4)]

    outcomes = make("infobip", http).submit_many(messages)

    assert [type(outcome) for outcome in outcomes] == [Accepted, Refused, Unknown, Accepted]
    assert len(http.calls) == 1
    assert [message["sender"] for message in http.calls[0]["json"]["messages"]] == ["S0", "S1", "S2", "S3"]


def test_ids_of_infobips_own_are_taken_by_their_place() -> None:
    messages = [replace(MESSAGE, reference=f"r{n}") for n in range(2)]

    outcomes = make("infobip", Recorded(_answer(_item("x"), _item("y")))).submit_many(messages)

    assert outcomes == [Accepted((id,), MessageStatus.QUEUED) for id in ("x", "y")]


# --- the log and the account


def test_log_is_asked_by_our_reference() -> None:
    log = {"messageId": "r1", "destination": "14155552345", "status": {"groupId": 3, "id": 5, "name": "X"}}
    http = Recorded(json_answer({"results": [log]}))
    gateway = make("infobip", http)

    assert gateway.look_up("r1", MESSAGE.recipient) == Accepted(("r1",), MessageStatus.QUEUED)
    assert gateway.look_up("r2", MESSAGE.recipient) is None
    (report,) = gateway.poll([Submitted("r1"), Submitted("r2/x")])
    assert (report.status, report.recipient) == (MessageStatus.DELIVERED, "+14155552345")
    assert http.calls[-1]["url"].endswith("/sms/3/logs?messageId=r1&messageId=r2%2Fx")


def test_balance_has_its_currency() -> None:
    gateway = make("infobip", Recorded(json_answer({"balance": 47.79134, "currency": "EUR"})))

    assert str(gateway.balance()) == "47.79134 EUR"
    with pytest.raises(QuestionRefused, match="E401 No"):
        bad = json_answer({"errorCode": "E401", "description": "No"}, 401)
        make("infobip", Recorded(bad)).balance()


# --- reports


def _report(group: int, id: int, name: str, **more: Any) -> dict[str, Any]:
    status = {"groupId": group, "groupName": "", "id": id, "name": name}
    return {"messageId": "m1", "callbackData": "r1", "to": "14155552345", "status": status, **more}


@pytest.mark.parametrize(
    ("group", "id", "name", "status"),
    [
        (1, 26, "PENDING_ACCEPTED", MessageStatus.QUEUED),
        (1, 3, "PENDING_WAITING_DELIVERY", MessageStatus.SENT),
        (1, 7, "PENDING_ENROUTE", MessageStatus.SENT),
        (2, 9, "UNDELIVERABLE_NOT_DELIVERED", MessageStatus.UNDELIVERED),
        (3, 2, "DELIVERED_TO_OPERATOR", MessageStatus.SENT),
        (3, 5, "DELIVERED_TO_HANDSET", MessageStatus.DELIVERED),
        (4, 15, "EXPIRED_EXPIRED", MessageStatus.UNDELIVERED),
        (5, 6, "REJECTED_NETWORK", MessageStatus.FAILED),
        (9, 99, "TELEPORTED", None),
    ],
)
def test_groups_and_the_exceptions_among_them(
    group: int, id: int, name: str, status: MessageStatus | None
) -> None:
    (report,) = (
        make("infobip", None)
        .parse_reports(posted_json("infobip", {"results": [_report(group, id, name)]}))
        .items
    )

    assert (report.status, report.raw_status) == (status, name)
    assert (report.reference, report.gateway_message_id) == ("r1", "m1")


def test_report_that_the_vendors_models_write_is_read(vendor: Model) -> None:
    body = {
        "results": [
            {
                "bulkId": "b",
                "messageId": "m1",
                "to": "14155552345",
                "doneAt": "2026-11-28T10:00:03.000+0000",
                "callbackData": "r1",
                "price": {"pricePerMessage": 0.01, "currency": "EUR"},
                "status": {"groupId": 2, "groupName": "UNDELIVERABLE", "id": 9, "name": "X"},
                "error": {
                    "groupId": 1,
                    "groupName": "HANDSET_ERRORS",
                    "id": 27,
                    "name": "EC_ABSENT_SUBSCRIBER",
                    "description": "Absent",
                    "permanent": False,
                },
            }
        ]
    }
    vendor("SmsDeliveryResult").from_dict(body)  # it is one

    (report,) = make("infobip", None).parse_reports(posted_json("infobip", body)).items

    assert (report.code, report.text) == ("EC_ABSENT_SUBSCRIBER", "Absent")
    assert report.at == datetime(2026, 11, 28, 10, 0, 3, tzinfo=UTC)


def test_hundred_reports_in_one_call_are_all_read() -> None:
    results = [_report(3, 5, "D") | {"callbackData": f"r{n}"} for n in range(100)]

    reports = make("infobip", None).parse_reports(posted_json("infobip", {"results": results}))

    assert [report.reference for report in reports.items] == [f"r{n}" for n in range(100)]


def test_call_without_reports_is_fine_and_one_with_nothing_readable_is_not() -> None:
    gateway = make("infobip", None)

    assert gateway.parse_reports(posted_json("infobip", {"results": []})).items == ()
    with pytest.raises(ValueError, match="no result"):
        gateway.parse_reports(posted_json("infobip", {"results": [{"x": 1}]}))


def test_page_has_every_code_and_word() -> None:
    named = {word: status for word, status in _STATUSES.items() if not word.isdigit()}
    assert_page_has("infobip", _GROUP_STATUSES | named, _REJECTIONS)
    assert set(_REJECTIONS) <= set(Infobip.explanations)
