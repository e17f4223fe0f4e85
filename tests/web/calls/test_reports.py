"""Delivery reports as gateways write them in the field, through the report URL to the portal."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
import requests

from app.gateway_accounts import connect
from app.gateways.kit.peer import Peer, answer
from app.store.accounts.accounts import Account
from tests.worlds.faults import FaultWorld, fault_world

_SETTINGS = {
    "template": json.dumps({"to": "{to}", "text": "{text}"}),
    "id_path": "id",
    "report_id_path": "id",
    "report_status_path": "status",
}


@pytest.fixture(scope="module")
def world() -> Iterator[FaultWorld]:
    with fault_world() as started:
        yield started


def _connected(world: FaultWorld, peer: Peer, **changes: str) -> Account:
    adapter = world.services.gateways.get("http")
    assert adapter is not None
    settings = {"url": f"{peer.url}/send", **_SETTINGS, **changes}
    return connect(
        world.world.row_of(world.portal), adapter, settings, allow_private=True, now=world.world.now()
    )


def _sent(world: FaultWorld, peer: Peer, **changes: str) -> tuple[str, str]:
    """A message that the gateway took, and the address of its reports."""
    account = _connected(world, peer, **changes)
    message_id = world.send()
    world.world.work()
    assert world.status(message_id)[0] == "sent"
    return message_id, world.services.report_url(account)


def _taken(answered: str = "G1") -> Any:
    return answer(json.dumps({"id": answered}), Content_Type="application/json")


_MULTIPART = (
    b'--b\r\nContent-Disposition: form-data; name="id"\r\n\r\nG1\r\n'
    b'--b\r\nContent-Disposition: form-data; name="status"\r\n\r\nDELIVRD\r\n--b--\r\n'
)
_SHAPES: dict[str, tuple[str, bytes, dict[str, str]]] = {
    "multipart": ("multipart/form-data; boundary=b", _MULTIPART, {}),
    "form under application/json": ("application/json", b"id=G1&status=DELIVRD", {}),
    "byte order mark": ("text/plain", b'\xef\xbb\xbf{"id": "G1", "status": "DELIVRD"}', {}),
    "utf-16": ("application/json", '{"id": "G1", "status": "DELIVRD"}'.encode("utf-16"), {}),
    "windows-1251": (
        "application/json; charset=windows-1251",
        '{"id": "G1", "status": "доставлено"}'.encode("cp1251"),
        {"status_map": '{"доставлено": "delivered"}'},
    ),
    "JSON in a form field": (
        "application/x-www-form-urlencoded",
        b"data=%5B%7B%22requestId%22%3A%22G1%22%2C%22report%22%3A%5B%7B%22desc%22%3A%22DELIVERED%22%7D%5D%7D%5D",
        {"report_id_path": "requestId", "report_status_path": "report.0.desc"},
    ),
    "JSON in a form field, list named": (
        "application/x-www-form-urlencoded",
        b"data=%5B%7B%22requestId%22%3A%22G1%22%2C%22report%22%3A%5B%7B%22desc%22%3A%22DELIVERED%22%7D%5D%7D%5D",
        {"report_items_path": "data.report", "report_id_path": "requestId", "report_status_path": "desc"},
    ),
    "XML": (
        "text/xml",
        b"<?xml version='1.0'?><dlr><id>G1</id><status>DELIVRD</status></dlr>",
        {"report_id_path": "dlr.id", "report_status_path": "dlr.status"},
    ),
    "names in brackets": (
        "application/x-www-form-urlencoded",
        b"report[0][id]=G1&report[0][status]=DELIVRD",
        {"report_items_path": "report"},
    ),
    "list where nobody said so": (
        "application/json",
        b'{"results": [{"id": "G1", "status": "DELIVRD"}]}',
        {},
    ),
}


@pytest.mark.parametrize("shape", _SHAPES)
def test_report_is_read_in_every_shape_of_the_field(world: FaultWorld, shape: str) -> None:
    kind, body, changes = _SHAPES[shape]
    with Peer(_taken()) as peer:
        message_id, url = _sent(world, peer, **changes)

        status = requests.post(url, data=body, headers={"Content-Type": kind}, timeout=10).status_code

    assert status == 200
    assert world.status(message_id)[0] == "delivered"


@pytest.mark.parametrize(
    "query",
    ["id=G1&status=DELIVRD&id=G2&status=UNDELIV", "id=G1,G2&status=DELIVRD,UNDELIV&to=1,2"],
)
def test_several_reports_in_one_query_reach_their_own_messages(world: FaultWorld, query: str) -> None:
    with Peer(_taken("G1"), _taken("G2")) as peer:
        account = _connected(world, peer)
        first = world.send()
        world.world.work()
        second = world.send()
        world.world.work()

        requests.get(f"{world.services.report_url(account)}?{query}", timeout=10).raise_for_status()

    assert [world.status(one)[0] for one in (first, second)] == ["delivered", "undelivered"]


@pytest.mark.parametrize(("answered", "reported"), [("00000042", 42), ("43", "00000043"), (44, "44")])
def test_ids_that_differ_by_leading_zeros_are_one(world: FaultWorld, answered: Any, reported: Any) -> None:
    with Peer(_taken(answered)) as peer:
        message_id, url = _sent(world, peer)

        requests.post(url, json={"id": reported, "status": "DELIVRD"}, timeout=10).raise_for_status()

    assert world.status(message_id)[0] == "delivered"


def test_the_id_as_it_was_answered_goes_before_one_with_other_zeros(world: FaultWorld) -> None:
    with Peer(_taken("07"), _taken("7")) as peer:
        account = _connected(world, peer)
        other = world.send()
        world.world.work()
        meant = world.send()
        world.world.work()

        url = world.services.report_url(account)
        requests.post(url, json={"id": "7", "status": "DELIVRD"}, timeout=10).raise_for_status()

    assert [world.status(one)[0] for one in (other, meant)] == ["sent", "delivered"]


def test_batch_of_megabytes_is_one_commit_and_every_message_hears(world: FaultWorld) -> None:
    with Peer(_taken("000051"), _taken("000052")) as peer:
        account = _connected(world, peer, report_items_path="results")
        mine = [world.send()]
        world.world.work()
        mine.append(world.send())
        world.world.work()
        others = [{"id": f"x{n}", "status": "DELIVRD", "note": "n" * 1000} for n in range(2400)]
        batch = [
            *others[:1200],
            {"id": 51, "status": "DELIVRD"},
            *others[1200:],
            {"id": 52, "status": "UNDELIV"},
        ]

        url = world.services.report_url(account)
        status = requests.post(url, json={"results": batch}, timeout=30).status_code
        world.world.work()

    assert status == 200
    assert [world.status(one)[0] for one in mine] == ["delivered", "undelivered"]


@pytest.mark.parametrize(("method", "body"), [("HEAD", b""), ("GET", b""), ("POST", b""), ("POST", b" \r\n")])
def test_console_that_tries_the_address_is_welcome(world: FaultWorld, method: str, body: bytes) -> None:
    with Peer(_taken()) as peer:
        url = world.services.report_url(_connected(world, peer))

        known = requests.request(method, url, data=body, timeout=10).status_code
        unknown = requests.request(method, url[:-3] + "xyz", data=body, timeout=10).status_code

    assert (known, unknown) == (200, 404)


def test_answer_in_another_charset_is_read(world: FaultWorld) -> None:
    kind = "application/json; charset=windows-1251"
    good = answer('{"id":77,"info":"принято"}'.encode("cp1251"), Content_Type=kind)
    bad = answer(
        '{"error":"неверный номер","error_code":7}'.encode("cp1251"), "400 Bad Request", Content_Type=kind
    )
    with Peer(good, bad) as peer:
        _connected(world, peer, error_path="error_code", error_text_path="error")
        taken = world.send()
        world.world.work()
        refused = world.send()
        world.world.work()

    assert world.status(taken)[0] == "sent"
    assert world.status(refused)[0] == "failed"
    assert "неверный номер" in world.row(refused).reason_text


_REFUSALS = {
    "code in no map": ('{"error":{"code":42,"message":"no credit"}}', {"error_path": "error.code"}),
    "error that nobody described": ('{"error":{"code":42,"message":"no credit"}}', {}),
    "plain words": ("ERROR:14", {}),
    "plain words, id asked for": ("ERROR:14 no credit", {"id_path": "id"}),
    "not a word of success": ("QUEUE FULL", {"success_values": "OK,ACCEPTED"}),
    "a state that says no": ('{"success": false, "message": "no credit"}', {}),
    "another 2xx": ("", {"success_statuses": "202"}),
}


@pytest.mark.parametrize("case", _REFUSALS)
def test_refusal_inside_a_200_is_never_told_as_sent(world: FaultWorld, case: str) -> None:
    body, changes = _REFUSALS[case]
    kind = "application/json" if body.startswith("{") else "text/plain"
    with Peer(answer(body, Content_Type=kind)) as peer:
        _connected(world, peer, **{"id_path": "", "report_id_path": "", "report_status_path": "", **changes})
        message_id = world.send()
        world.world.work()

    assert world.status(message_id)[0] == "failed"
    assert "sent" not in world.told(message_id)
    said = json.loads(body)["error" if "error" in body else "message"] if "{" in body else body
    words = said["message"] if isinstance(said, dict) else said
    assert words in world.row(message_id).reason_text


def test_answer_without_the_id_that_was_asked_for_is_unknown(world: FaultWorld) -> None:
    with Peer(answer("Thank you", Content_Type="text/plain")) as peer:
        _connected(world, peer)
        message_id = world.send()
        world.world.work()

    assert world.status(message_id)[0] == "unknown"


def test_a_report_from_an_address_that_is_not_listed_is_refused(world: FaultWorld) -> None:
    listed = {"report_addresses": "198.51.100.0/24, 2001:db8::7"}
    report = {"id": "G1", "status": "DELIVRD"}
    with Peer(_taken()) as peer:
        message_id, url = _sent(world, peer, **listed)

        answers = [
            requests.post(url, json=report, headers={"X-Forwarded-For": address}, timeout=10).status_code
            for address in ("203.0.113.9", "198.51.100.9, 203.0.113.9", "198.51.100.9")
        ]

    assert answers == [403, 403, 200]
    assert world.status(message_id)[0] == "delivered"
