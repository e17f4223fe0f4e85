"""One message from a portal to the gateway and back, with real processes, in both modes of operation."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass

import pytest

from sandbox.client import PortalSandbox
from sandbox.gateway_client import GatewayClient
from sandbox.stack import Stack

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]

# The portal's races take half a second in the sandbox, so a first word after a second is still honest.
QUICK = "first_push_s=1,push_fill_s=0.1,push_repeat_s=3,sweep_s=0.5,rehint_s=1,lease_s=3,gateway_deadline_s=2"
RANK = ["queued", "sent", "undelivered", "failed", "delivered"]
TEXTS = {
    "plain": "Hello",
    "emoji": "Ready 👋🏽 family: 👨‍👩‍👧",
    "cyrillic": "Ваш заказ готов",
    "long": "x" * 1000,
    "lines": "first\r\nsecond",
}
ORIGINS = [
    ("card", "full"),
    ("robot", "full"),
    ("robot", "system"),
    ("marketing", "full"),
    ("notice", "none"),
    ("system", "none"),
    ("system", "bare"),
]


@dataclass
class Installed:
    """The product installed in a sandbox portal and connected to the sandbox gateway."""

    stack: Stack
    portal: PortalSandbox
    gateway: GatewayClient
    member_id: str

    def show(self, message_id: str) -> dict[str, object]:
        shown: dict[str, object] = self.stack.flask("messages", "show", self.member_id, message_id)
        return shown

    def statuses(self) -> dict[str, str]:
        rows = self.stack.flask("messages", "list", self.member_id, "--limit", "1000")
        return {row["message_id"]: row["status"] for row in rows}

    def wait_all(self, status: str, count: int, *, timeout_s: float = 60) -> None:
        deadline = time.monotonic() + timeout_s
        while (statuses := self.portal.count_messages()["statuses"]).get(status, 0) < count:
            assert time.monotonic() < deadline, statuses
            time.sleep(0.1)


Install = Callable[..., Installed]
# Where one way of running says all, the other would only take time.
EMBEDDED = pytest.mark.parametrize("install", ["embedded"], indirect=True)
SCALED = pytest.mark.parametrize("install", ["scaled"], indirect=True)


@pytest.fixture(params=["embedded", "scaled"])
def install(request: pytest.FixtureRequest) -> Iterator[Install]:
    """`install(idempotent=...)` starts everything on SQLite alone, or on PostgreSQL and Redis."""
    options: dict[str, str] = {}
    if request.param == "scaled":
        options["database_url"] = request.getfixturevalue("postgres_url")
        options["redis_url"] = request.getfixturevalue("redis_url")
    with ExitStack() as ending:

        def start(*, idempotent: bool = False, timing: str = QUICK) -> Installed:
            stack = ending.enter_context(Stack(**options, env={"TIMING": timing}))
            portal, gateway = PortalSandbox(stack.portal_url), GatewayClient(stack.gateway_url)
            assert portal.install(finish=True)["status"] == 200
            member_id = portal.info()["member_id"]
            gateway.behave(deduplicate=idempotent)
            settings = gateway.settings(idempotent=idempotent)
            stack.flask("gateways", "set", member_id, "http", *(f"{k}={v}" for k, v in settings.items() if v))
            return Installed(stack, portal, gateway, member_id)

        yield start


def assert_told_truly(installed: Installed) -> None:
    """Four ledgers agree: what was handed over, our rows, what the gateway took, what the portal shows."""
    rows = {row["message_id"]: row for row in installed.portal.messages(limit=10_000)}
    ours = installed.statuses()
    assert set(rows) == set(ours)
    for message_id, row in rows.items():
        assert row["posts"], f"{message_id} was never posted"
        assert {post["status"] for post in row["posts"]} == {200}
        told = [change["status"] for change in row["history"] if change["by"] == "app"]
        assert told == sorted(told, key=RANK.index), row["history"]
        assert row["status"] == ours[message_id], row["history"]


def test_every_origin_and_text_arrives_once_and_comes_back_delivered(install: Install) -> None:
    installed = install()
    sent = {}
    for number, (origin, auth) in enumerate(ORIGINS):
        for index, text in enumerate(TEXTS.values()):
            to = f"+1555010{number:02}{index:02}"
            row = installed.portal.send_sms(to=to, text=text, origin=origin, auth=auth)
            sent[to] = (row["message_id"], text)

    installed.wait_all("delivered", len(sent))

    taken = {message["to"]: message for message in installed.gateway.messages()}
    assert {to: message["text"] for to, message in taken.items()} == {
        to: text for to, (_, text) in sent.items()
    }
    assert installed.gateway.ledger()["accepted"] == len(sent)
    assert_told_truly(installed)
    cyrillic, long = (installed.show(sent[to][0]) for to in ("+15550100002", "+15550100003"))
    assert (cyrillic["encoding"], cyrillic["segments"]) == ("ucs2", 1)
    assert (long["encoding"], long["segments"], long["pushed_status"]) == ("gsm7", 7, "delivered")


@SCALED
def test_the_same_message_posted_again_and_again_is_one_row_and_one_submission(install: Install) -> None:
    installed = install()
    twice = installed.portal.send_sms(to="+15550100001", copies=2)["message_id"]
    often = installed.portal.send_sms(to="+15550100002", copies=20)["message_id"]

    installed.wait_all("delivered", 2)
    installed.portal.repeat_sms(often, copies=3)
    installed.portal.wait_rest()

    assert len(installed.portal.message(twice)["posts"]) == 2
    assert len(installed.portal.message(often)["posts"]) == 23
    assert len(installed.statuses()) == 2
    assert installed.gateway.ledger()["submissions"] == 2
    assert_told_truly(installed)


@EMBEDDED
def test_bad_ends_are_told_as_the_gateway_and_we_know_them(install: Install) -> None:
    installed = install()
    installed.gateway.behave(suffix="1", reports={"words": ["ENROUTE", "UNDELIV"]})
    installed.gateway.behave(suffix="2", answer="reject")
    installed.gateway.behave(suffix="3", reports={"words": ["DELIVRD", "ENROUTE"], "shuffle": 1.0})
    ends = {
        "+15550100001": "undelivered",
        "+15550100002": "failed",
        "+15550100003": "delivered",
        "12": "failed",
    }
    sent = {to: installed.portal.send_sms(to=to)["message_id"] for to in ends}

    for to, status in ends.items():
        installed.portal.wait_status(sent[to], status)

    assert installed.show(sent["12"])["reason"] == "bad_number"
    assert installed.show(sent["+15550100002"])["reason"] == "refused"
    assert installed.gateway.ledger()["submissions"] == 3
    assert_told_truly(installed)


@SCALED
def test_a_killed_worker_costs_nothing_where_the_gateway_drops_repeats(install: Install) -> None:
    installed = install(idempotent=True)
    installed.gateway.behave(latency_s=0.3, deduplicate=True)
    for number in range(60):
        installed.portal.send_sms(to=f"+155501{number:05}")
    installed.gateway.wait_for(accepted=10)

    installed.stack.worker.kill()
    installed.stack.worker.restart()
    installed.wait_all("delivered", 60)

    ledger = installed.gateway.ledger()
    assert (ledger["accepted"], ledger["doubles"]) == (60, 0)
    assert_told_truly(installed)


@EMBEDDED
def test_a_killed_worker_leaves_at_most_what_was_in_flight_unknown(install: Install) -> None:
    installed = install()
    installed.gateway.behave(latency_s=0.5, reports={"words": []})  # nothing comes to resolve them
    for number in range(60):
        installed.portal.send_sms(to=f"+155501{number:05}")
    installed.gateway.wait_for(accepted=10)

    installed.stack.worker.kill()
    installed.stack.worker.restart()
    installed.gateway.wait_for(accepted=60 - 16, timeout_s=40)
    deadline = time.monotonic() + 30
    while set(statuses := list(installed.statuses().values())) - {"sent", "unknown"}:
        assert time.monotonic() < deadline, statuses

    assert 0 < statuses.count("unknown") <= 16, "more unknown than threads were at work"
    assert installed.gateway.ledger()["doubles"] == 0
    assert installed.gateway.ledger()["accepted"] >= statuses.count("sent")


@EMBEDDED
def test_without_any_hint_everything_is_finished_all_the_same(
    install: Install, request: pytest.FixtureRequest
) -> None:
    installed = install(timing="")  # with the product's own delays: the promise is 60 seconds
    installed.stack.worker.kill()
    for number in range(20):
        installed.portal.send_sms(to=f"+155501{number:05}")
    installed.portal.wait_rest()
    if installed.stack.env.get("REDIS_URL"):
        request.getfixturevalue("redis_server").connect().flushall()
    else:
        for file in installed.stack.dir.glob("*.engine*"):
            file.unlink()

    started = time.monotonic()
    installed.stack.worker.restart()
    installed.wait_all("delivered", 20, timeout_s=60)

    assert time.monotonic() - started < 60
    assert installed.gateway.ledger()["accepted"] == 20
    assert_told_truly(installed)
