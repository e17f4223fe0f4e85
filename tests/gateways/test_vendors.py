"""From HANDLER to the portal by way of each vendor, whose part a few lines play as it describes itself."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest
import requests

from app.gateway_accounts import connect
from app.gateways import explanations as why
from app.services import Services
from app.web.admin.words.codes import meaning
from tests.worlds.faults import FaultWorld, fault_world
from tests.worlds.gateways import Rerouted, sample

Fields = Mapping[str, Any]


@dataclass(frozen=True)
class Call:
    """What the product asked: the fields of query, form or JSON, all in one."""

    path: str
    fields: Fields


@dataclass(frozen=True)
class Vendor:
    """`taken` answers a submission; `report` makes the call that follows: what `requests.request` needs.

    `words` are those for delivered and for undelivered. `where` is the address that the submission named;
    without one the vendor calls the account's address.
    """

    taken: Callable[[Call], tuple[int, str]]
    report: Callable[[Call, Any], dict[str, Any]]
    words: tuple[Any, Any]
    where: Callable[[Call], str] = lambda call: ""
    reply: str = "OK"


def _json(body: Any, status: int = 200) -> tuple[int, str]:
    return status, json.dumps(body)


def _smsru_report(call: Call, word: Any) -> dict[str, Any]:
    entry = f"sms_status\nid-{call.fields['to']}\n{word}\n1700000000"
    digest = hashlib.sha256((sample("smsru")["settings"]["api_id"] + entry).encode()).hexdigest()
    return {"data": {"data[0]": entry, "hash": digest}}


def _infobip(call: Call) -> Any:
    return call.fields["messages"][0]


VENDORS = {
    "smsc": Vendor(
        lambda call: _json({"id": call.fields["id"], "cnt": 1}),
        lambda call, word: {
            "data": {"id": call.fields["id"], "phone": call.fields["phones"].strip("+"), "status": word}
        },
        (1, 20),
    ),
    "smsru": Vendor(
        lambda call: _json(
            {
                "status": "OK",
                "status_code": 100,
                "sms": {call.fields["to"]: {"status_code": 100, "sms_id": f"id-{call.fields['to']}"}},
            }
        ),
        _smsru_report,
        (103, 104),
        reply="100",
    ),
    "infobip": Vendor(
        lambda call: _json(
            {
                "messages": [
                    {
                        "messageId": _infobip(call)["destinations"][0]["messageId"],
                        "status": {
                            "groupId": 1,
                            "groupName": "PENDING",
                            "id": 26,
                            "name": "PENDING_ACCEPTED",
                        },
                    }
                ]
            }
        ),
        lambda call, word: {
            "json": {
                "results": [
                    {
                        "messageId": _infobip(call)["destinations"][0]["messageId"],
                        "callbackData": _infobip(call)["webhooks"]["callbackData"],
                        "status": {"groupId": word, "name": f"GROUP_{word}"},
                    }
                ]
            }
        },
        (3, 2),
        where=lambda call: str(_infobip(call)["webhooks"]["delivery"]["url"]),
    ),
    "vonage": Vendor(
        lambda call: _json({"messages": [{"status": "0", "message-id": f"id-{call.fields['client-ref']}"}]}),
        lambda call, word: {
            "json": {
                "messageId": f"id-{call.fields['client-ref']}",
                "client-ref": call.fields["client-ref"],
                "status": word,
            }
        },
        ("delivered", "failed"),
        where=lambda call: str(call.fields["callback"]),
    ),
    "smsapi": Vendor(
        lambda call: _json(
            {"list": [{"id": "1", "idx": call.fields["idx"], "status": "QUEUE", "error": None}]}
        ),
        lambda call, word: {"data": {"MsgId": "1", "idx": call.fields["idx"], "status": word}},
        (404, 405),
        where=lambda call: str(call.fields["notify_url"]),
    ),
    "kannel": Vendor(
        lambda call: (202, "0: Accepted for delivery"),
        lambda call, word: {"method": "GET", "params": {"d": word, "to": call.fields["to"], "answer": "x"}},
        (1, 2),
        where=lambda call: str(call.fields["dlr-url"]).partition("?")[0],
    ),
    "smsgate": Vendor(
        lambda call: _json({"id": call.fields["id"], "state": "Pending"}, 202),
        lambda call, word: {"json": {"event": word, "payload": {"messageId": call.fields["id"]}}},
        ("sms:delivered", "sms:failed"),
    ),
    "zenvia": Vendor(
        lambda call: _json({"id": f"id-{call.fields['externalId']}"}),
        lambda call, word: {
            "json": {
                "type": "MESSAGE_STATUS",
                "messageId": f"id-{call.fields['externalId']}",
                "messageStatus": {"code": word},
            }
        },
        ("DELIVERED", "NOT_DELIVERED"),
    ),
    "msg91": Vendor(
        lambda call: _json({"type": "success", "message": "3768" + call.fields["recipients"][0]["mobiles"]}),
        lambda call, word: {
            "json": {
                "requestId": "3768" + call.fields["recipients"][0]["mobiles"],
                "number": call.fields["recipients"][0]["mobiles"],
                "status": word,
            }
        },
        (1, 2),
    ),
}


@contextmanager
def double(answer: Callable[[Call], tuple[int, str]]) -> Iterator[tuple[str, list[Call]]]:
    """A server that answers every call, and keeps it."""
    calls: list[Call] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0))).decode()
            url = urlsplit(self.path)
            fields = dict(parse_qsl(url.query)) | (
                json.loads(body) if body[:1] == "{" else dict(parse_qsl(body, keep_blank_values=True))
            )
            call = Call(url.path, fields)
            calls.append(call)
            status, text = answer(call)
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text.encode())

        do_GET = do_POST

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", calls
    finally:
        server.shutdown()
        server.server_close()


@pytest.fixture(scope="module")
def world() -> Iterator[FaultWorld]:
    with fault_world() as started:
        yield started


@contextmanager
def connected(world: FaultWorld, slug: str, url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The portal's gateway is this vendor's double; gives the account's report address."""
    monkeypatch.setattr(Services, "gateway_http", lambda *_: _WithDeadline(url))
    adapter = world.services.gateways.get(slug)
    assert adapter is not None
    account = connect(
        world.world.row_of(world.portal),
        adapter,
        sample(slug)["settings"],
        allow_private=True,
        now=world.world.now(),
    )
    yield world.services.report_url(account)


class _WithDeadline(Rerouted):
    def request(self, method: str, url: str, **more: Any) -> Any:
        more.pop("deadline", None)
        return super().request(method, url, **more)


@pytest.mark.parametrize("slug", VENDORS)
@pytest.mark.parametrize("end", ["good", "bad"])
def test_message_reaches_the_vendor_and_its_end_reaches_the_portal(
    world: FaultWorld, monkeypatch: pytest.MonkeyPatch, slug: str, end: str
) -> None:
    vendor = VENDORS[slug]
    with double(vendor.taken) as (url, calls), connected(world, slug, url, monkeypatch) as account_url:
        message_id = world.send(text="Grüße")
        world.world.work()
        (call,) = calls
        assert world.status(message_id)[0] in ("queued", "sent")

        made = {"method": "POST", **vendor.report(call, vendor.words[end == "bad"])}
        answer = requests.request(url=vendor.where(call) or account_url, timeout=10, **made)
        again = requests.request(url=vendor.where(call) or account_url, timeout=10, **made)

    assert (answer.status_code, answer.text) == (again.status_code, again.text) == (200, vendor.reply)
    status = world.status(message_id)[0]
    assert status == "delivered" if end == "good" else status in ("undelivered", "failed")


def test_text_of_which_a_part_was_refused_is_undelivered_at_once_and_stays_so(
    world: FaultWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The phone shows nothing of it, or half: Vonage will never report on the part that it did not take."""
    taken = {"status": "0", "message-id": "part-1"}
    refused = {"status": "6", "error-text": "Unroutable"}
    delivered = {"messageId": "part-1", "status": "delivered"}
    with (
        double(lambda call: _json({"messages": [taken, refused]})) as (url, calls),
        connected(world, "vonage", url, monkeypatch),
    ):
        message_id = world.send(text="long " * 50)
        world.world.work()
        at_once = world.status(message_id)
        requests.post(str(calls[0].fields["callback"]), json=delivered, timeout=10)

    assert at_once[0] == world.status(message_id)[0] == "undelivered"


def test_report_that_must_be_fetched_is_fetched(world: FaultWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    def netgsm(call: Call) -> tuple[int, str]:
        if call.path.endswith("/send"):
            return _json({"code": "00", "jobid": "j1"})
        return _json({"code": "00", "jobs": [{"jobid": "j1", "status": 1}]})

    with double(netgsm) as (url, calls), connected(world, "netgsm", url, monkeypatch):
        message_id = world.send(to="+905321234567")
        world.world.work()
        before = world.status(message_id)[0]
        world.later(70)

    assert [call.path for call in calls] == ["/sms/rest/v2/send", "/sms/rest/v2/report"]
    assert (before, world.status(message_id)[0]) == ("queued", "delivered")


@pytest.mark.parametrize(
    ("slug", "words", "meant"),
    [
        ("smsc", "status_minus_2", why.CANCELLED),
        ("smsc", "status_3 err_6", why.EXPIRED),
        ("smsc", "3: no money", why.NO_MONEY),
        ("smsru", "104", why.EXPIRED),
        ("infobip", "UNDELIVERABLE_NOT_DELIVERED EC_ABSENT_SUBSCRIBER Absent", why.OUT_OF_REACH),
        ("vonage", "failed err_6", why.SPAM),
        ("vonage", "6: Unroutable", why.BAD_NUMBER),
        ("vonage", "refused_part 6 Unroutable", why.BAD_NUMBER),
        ("sinch", "HTTP 404: gone", ""),
        ("sinch", "FAILED 404", why.OUT_OF_REACH),
        ("jasmin", "HTTP 412: Error", "Jasmin has no route for this number, or no connection that is up."),
        ("kannel", "16 0x0000000b NACK/0x0000000b/Invalid", why.BAD_NUMBER),
        ("kannel", "34 EXPIRED id:1 stat:EXPIRED err:001", why.EXPIRED),
        ("smsapi", "UNDELIVERED 405", why.UNDELIVERABLE),
        ("smsgate", "failed RESULT_ERROR_RADIO_OFF", why.PHONE_OFFLINE),
        ("zenvia", "NOT_DELIVERED 27 Absent", why.UNDELIVERABLE),
        ("netgsm", "12 err_104", why.UNDELIVERABLE),
        ("msg91", "2 Absent", why.UNDELIVERABLE),
    ],
)
def test_words_of_a_vendor_are_explained_and_never_by_another_of_its_codes(
    world: FaultWorld, slug: str, words: str, meant: str
) -> None:
    with world.world.app.test_request_context():
        found = meaning(world.services.gateways.get(slug), words)

    assert found == meant if meant else found not in vars(why).values()
