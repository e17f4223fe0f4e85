"""SMS Gateway for Android: requests as its client makes them, repeats are acceptances, signed webhooks."""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from android_sms_gateway import client as vendor_client
from android_sms_gateway import domain
from android_sms_gateway.enums import ProcessState, WebhookEvent
from android_sms_gateway.http import RequestsHttpClient

from app.domain.outcomes import Accepted, RefusalKind, Refused, Unknown
from app.domain.status import MessageStatus
from app.gateways.adapters.smsgate import _EVENTS, _STATUSES, SmsGate, sign
from app.gateways.answers import QuestionRefused
from app.gateways.base import Context, Gateway, GatewayCall, ReportRejected, Submitted
from app.transport import HttpAnswer
from tests.gateways.vendor_calls import Sent, ours, vendor_calls
from tests.worlds.gateways import MESSAGE, Recorded, assert_page_has, json_answer, make, posted_json

_URL = "https://sms.example.org/reports/smsgate/K7"
_NOW = datetime(2026, 11, 28, 10, tzinfo=UTC)


def _state(state: str = "Pending", **more: Any) -> dict[str, Any]:
    recipients = [{"phoneNumber": "+14155552345", "state": state, "error": more.pop("error", None)}]
    return {"id": "r1", "state": state, "recipients": recipients, **more}


def _theirs(call: Any, answer: Any) -> Sent:
    with vendor_calls(answer) as calls, RequestsHttpClient() as http:
        call(vendor_client.APIClient("acme", "secret-1", http=http))
    return calls[0]


# --- the same calls as the makers' client


@pytest.mark.parametrize("sim", ["", "2"])
def test_submission_is_the_makers_own(sim: str) -> None:
    http = Recorded(json_answer(_state(), 202))

    make("smsgate", http, sim=sim).submit(replace(MESSAGE, text="Привет 👋"))
    theirs = _theirs(
        lambda client: client.send(
            domain.Message(
                id="r1",
                phone_numbers=["+14155552345"],
                text_message=domain.TextMessage("Привет 👋"),
                ttl=3600,
                sim_number=int(sim) if sim else None,
            )
        ),
        _state(),
    )

    assert ours(http.calls[0]) == theirs


def test_questions_are_the_makers_own() -> None:
    http = Recorded(json_answer(_state("Sent")), json_answer([]), json_answer([]), json_answer({}, 201))
    gateway = make("smsgate", http)

    gateway.poll([Submitted("r1")])
    gateway.check()
    gateway.on_enable(_URL)

    hook = domain.Webhook(id=None, url=_URL, event=WebhookEvent.SMS_SENT)
    created = {"id": "1", "url": _URL, "event": "sms:sent"}
    assert ours(http.calls[0]) == _theirs(lambda client: client.get_state("r1"), _state("Sent"))
    assert ours(http.calls[1]) == _theirs(lambda client: client.get_webhooks(), [])
    theirs = _theirs(lambda client: client.create_webhook(hook), created)
    assert ours(http.calls[3]) == replace(theirs, fields={k: v for k, v in theirs.fields.items() if v})


def test_every_state_of_the_makers_is_known() -> None:
    assert {state.value.lower() for state in ProcessState} == set(_STATUSES)


# --- answers


def test_our_reference_taken_before_is_an_acceptance() -> None:
    outcome = make("smsgate", Recorded(json_answer({"message": "exists"}, 409))).submit(MESSAGE)

    assert outcome == Accepted(("r1",), MessageStatus.QUEUED)


def test_full_queue_surely_took_nothing() -> None:
    outcome = make("smsgate", Recorded(json_answer({"message": "queue is full"}, 503))).submit(MESSAGE)

    assert outcome == Refused(RefusalKind.TEMPORARY, "HTTP 503", "queue is full")


def test_message_that_failed_at_once_is_refused() -> None:
    answer = json_answer(_state("Failed", error="RESULT_ERROR_NO_SERVICE"), 202)

    outcome = make("smsgate", Recorded(answer)).submit(MESSAGE)

    assert outcome == Refused(RefusalKind.PERMANENT, "failed", "RESULT_ERROR_NO_SERVICE")


def test_answer_without_an_id_is_an_unknown_outcome() -> None:
    assert isinstance(
        make("smsgate", Recorded(json_answer({"state": "Pending"}, 202))).submit(MESSAGE), Unknown
    )


@pytest.mark.parametrize("url", ["http://192.168.1.7:8080", "http://192.168.1.7:8080/"])
def test_phone_itself_has_its_api_at_the_root(url: str) -> None:
    http = Recorded(json_answer(_state(), 202))
    make("smsgate", http, url=url).submit(MESSAGE)

    assert http.calls[0]["url"] == "http://192.168.1.7:8080/message"


def test_phone_whose_app_is_newer_is_asked_under_the_newer_name() -> None:
    http = Recorded(
        json_answer({}, 404), json_answer(_state(), 202), json_answer({}, 404), json_answer(_state())
    )
    gateway = make("smsgate", http, url="http://192.168.1.7:8080")

    outcome, found = gateway.submit(MESSAGE), gateway.look_up("r1", MESSAGE.recipient)

    assert outcome == found == Accepted(("r1",), MessageStatus.QUEUED)
    assert [call["url"].rpartition("8080")[2] for call in http.calls] == [
        "/message",
        "/messages",
        "/message/r1",
        "/messages/r1",
    ]


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (json_answer(_state("Sent")), Accepted),
        (json_answer({"message": "not found"}, 404), Refused),
        (json_answer({}, 500), type(None)),
        (json_answer({"id": "other", "state": "Sent"}), type(None)),
    ],
)
def test_our_reference_is_looked_up(answer: HttpAnswer, expected: type) -> None:
    assert isinstance(make("smsgate", Recorded(answer)).look_up("r1", MESSAGE.recipient), expected)


def test_polled_message_says_what_android_said() -> None:
    answer = json_answer(_state("Failed", error="RESULT_ERROR_RADIO_OFF"))

    (report,) = make("smsgate", Recorded(answer)).poll([Submitted("r1", MESSAGE.recipient)])

    assert (report.status, report.text) == (MessageStatus.FAILED, "RESULT_ERROR_RADIO_OFF")
    assert report.text in SmsGate.explanations


# --- webhooks


class _Phone:
    """The webhooks of an account."""

    def __init__(self) -> None:
        self.hooks = [{"id": "0", "url": "https://other.example/x", "event": "sms:sent"}]

    def request(self, method: str, url: str, **more: Any) -> HttpAnswer:
        if method == "POST":
            self.hooks.append({"id": str(len(self.hooks)), **more["json"]})
            return json_answer(self.hooks[-1], 201)
        if method == "DELETE":
            self.hooks = [hook for hook in self.hooks if hook["id"] != url.rpartition("/")[2]]
            return HttpAnswer(204, {}, b"")
        return json_answer(self.hooks)


def test_webhooks_are_made_once_and_taken_back_alone() -> None:
    phone = _Phone()
    gateway = make("smsgate", phone)

    gateway.on_enable(_URL)
    gateway.on_enable(_URL)
    made = [(hook["url"], hook["event"]) for hook in phone.hooks]
    gateway.on_disable(_URL)
    gateway.on_disable(_URL)

    assert made == [("https://other.example/x", "sms:sent"), *((_URL, event) for event in _EVENTS)]
    assert [hook["id"] for hook in phone.hooks] == ["0"]


def test_webhook_that_cannot_be_made_is_told() -> None:
    http = Recorded(json_answer([]), json_answer({"message": "bad url"}, 400))

    with pytest.raises(QuestionRefused, match="bad url"):
        make("smsgate", http).on_enable(_URL)


# --- reports


def _gateway() -> Gateway:
    settings = make("smsgate", None, signing_key="key").settings
    return SmsGate(settings, Context(Recorded(), now=lambda: _NOW))


def _call(
    event: str = "sms:delivered", *, at: datetime = _NOW, key: str = "key", **payload: Any
) -> GatewayCall:
    call = posted_json(
        "smsgate", {"event": event, "payload": {"messageId": "r1", "phoneNumber": "+14155552345", **payload}}
    )
    timestamp = str(int(at.timestamp()))
    signature = hmac.new(key.encode(), call.body + timestamp.encode(), hashlib.sha256).hexdigest()
    return replace(call, headers={**call.headers, "x-signature": signature, "x-timestamp": timestamp})


def test_signature_covers_the_body_and_the_time() -> None:
    assert _call().headers["x-signature"] == sign("key", _call().body, _call().headers["x-timestamp"])


@pytest.mark.parametrize(
    ("event", "status"),
    [
        ("sms:sent", MessageStatus.SENT),
        ("sms:delivered", MessageStatus.DELIVERED),
        ("sms:failed", MessageStatus.FAILED),
        ("sms:cancelled", MessageStatus.FAILED),
        ("sms:teleported", None),
    ],
)
def test_signed_events_are_read(event: str, status: MessageStatus | None) -> None:
    (report,) = _gateway().parse_reports(_call(event, reason="RESULT_ERROR_NO_SERVICE")).items

    assert (report.status, report.reference, report.text) == (status, "r1", "RESULT_ERROR_NO_SERVICE")


@pytest.mark.parametrize(
    "event", ["sms:received", "sms:data-received", "sms:batch:received", "system:ping", "mms:received"]
)
def test_events_of_other_kinds_are_none_of_ours(event: str) -> None:
    assert _gateway().parse_reports(_call(event)).items == ()


def _without(name: str) -> GatewayCall:
    call = _call()
    headers: Mapping[str, str] = {key: value for key, value in call.headers.items() if key != name}
    return replace(call, headers=headers)


@pytest.mark.parametrize(
    "call",
    [
        _without("x-signature"),
        _without("x-timestamp"),
        _call(key="other"),
        replace(_call(), body=json.dumps({"event": "sms:failed", "payload": {"messageId": "r1"}}).encode()),
        _call(at=_NOW - timedelta(minutes=6)),
        _call(at=_NOW + timedelta(minutes=6)),
    ],
)
def test_forged_and_old_events_are_refused(call: GatewayCall) -> None:
    with pytest.raises(ReportRejected):
        _gateway().parse_reports(call)


def test_page_has_every_word() -> None:
    assert_page_has("smsgate", _STATUSES, {})
