"""Turns for outward calls while a browser waits: what hangs for one portal leaves the others alone."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import Any

import pytest
import requests

from app.transport import HttpClient, NoAnswer
from app.web import outward
from tests.worlds.visitor import Visitor

TWILIO = {
    "gateway": "twilio",
    "set-account_sid": f"AC{'0' * 32}",
    "set-auth_token": "0" * 32,
    "set-originator": "+15005550006",
}
CROWD = 40


class Hanging:
    """Calls of some kind that hang until the test lets them go."""

    def __init__(self) -> None:
        self.is_hit: Callable[[str], bool] = lambda _url: False
        self.at_once = 0
        self.lock = threading.Condition()
        self.released = threading.Event()

    def wait_for(self, count: int) -> None:
        with self.lock:
            assert self.lock.wait_for(lambda: self.at_once >= count, timeout=30)

    def hang(self) -> None:
        with self.lock:
            self.at_once += 1
            self.lock.notify_all()
        self.released.wait(30)
        raise NoAnswer("it hung")


@pytest.fixture
def hanging(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hanging]:
    made = Hanging()
    exchange = HttpClient._exchange

    def exchanged(client: HttpClient, written: requests.PreparedRequest, *more: Any) -> Any:
        if made.is_hit(str(written.url)):
            made.hang()
        return exchange(client, written, *more)

    monkeypatch.setattr(HttpClient, "_exchange", exchanged)
    yield made
    made.released.set()


@pytest.fixture
def crowd(hanging: Hanging) -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(CROWD) as pool:
        yield pool
        hanging.released.set()


def _refused(asked: list[Future[int]], held: int) -> list[int]:
    """The answers of those who found no turn, while `held` of them still wait."""
    while sum(one.done() for one in asked) < len(asked) - held:
        wait([one for one in asked if not one.done()], timeout=0.1)
    return [one.result() for one in asked if one.done()]


def test_forty_checks_of_one_customer_leave_the_others_alone(
    admin: Visitor, stranger: Visitor, hanging: Hanging, crowd: ThreadPoolExecutor
) -> None:
    hanging.is_hit = lambda url: "twilio" in url

    def save_and_check() -> int:
        return admin.submit("/ui/gateway", **TWILIO).status_code

    asked = [crowd.submit(save_and_check) for _ in range(CROWD)]
    hanging.wait_for(outward.SHARE)
    refused = _refused(asked, outward.SHARE)

    assert refused == [503] * (CROWD - outward.SHARE)
    assert hanging.at_once == outward.SHARE
    assert "Try again in a few seconds." in admin.submit("/ui/gateway", **TWILIO).text
    assert admin.get("/ui/messages").status_code == 200  # a page without outward calls
    assert "Up to date" in stranger.get("/ui/senders").text  # and one with them, of somebody else
    hanging.released.set()
    assert sorted(one.result() for one in asked)[: outward.SHARE] == [502] * outward.SHARE


def test_forged_openings_leave_known_portals_alone(
    admin: Visitor, visitor: Visitor, hanging: Hanging, crowd: ThreadPoolExecutor
) -> None:
    hanging.is_hit = lambda url: "forged" in url
    opening = admin.opening()

    def forge(number: int) -> int:
        form = {**opening["form"], "member_id": f"{number:032}", "AUTH_ID": "forged"}
        return admin.send("POST", "/install", query_string=opening["query"], data=form).status_code

    asked = [crowd.submit(forge, number) for number in range(CROWD)]
    hanging.wait_for(outward.SHARE)
    refused = _refused(asked, outward.SHARE)

    assert refused == [503] * (CROWD - outward.SHARE)
    assert admin.open().status_code == 200
    assert "Up to date" in admin.get("/ui/senders").text


def test_who_only_names_a_portal_takes_no_turn_of_those_who_are_inside(
    admin: Visitor, hanging: Hanging, crowd: ThreadPoolExecutor
) -> None:
    hanging.is_hit = lambda url: "forged" in url
    opening = admin.opening()

    def forge(_number: int) -> int:
        form = {**opening["form"], "AUTH_ID": "forged"}
        return admin.send("POST", "/app", query_string=opening["query"], data=form).status_code

    asked = [crowd.submit(forge, number) for number in range(CROWD)]
    hanging.wait_for(outward.SHARE)
    _refused(asked, outward.SHARE)

    assert "Up to date" in admin.get("/ui/senders").text


def test_one_request_begins_no_more_calls_after_its_time(
    admin: Visitor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each call has its own time-out, and a page may make many."""
    monkeypatch.setattr(outward, "CALLS_BEGIN_WITHIN_S", -1.0)
    admin.sandbox.clear_ledger()

    assert admin.open().status_code == 503

    assert len(admin.sandbox.ledger(portal="*", kind="rest")) == 0
