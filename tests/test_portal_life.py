"""A portal's whole life with real processes, and messages flowing all the time."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from sandbox.client import PortalSandbox
from sandbox.gateway_client import GatewayClient
from sandbox.stack import Stack

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]

QUICK = (
    "first_push_s=0.5,push_fill_s=0.1,push_repeat_s=1.5,sweep_s=0.4,rehint_s=1,retry_base_s=0.5,"
    "confirm_gone_s=2,portal_call_s=5,unproved_look_s=0.5"
)
TRUTH = {"7": "undelivered"}  # by the number's last digit; all others are delivered
SHAPES = [("card", "full"), ("robot", "system"), ("notice", "none")]


class Life:
    """The product in a portal, and what was sent through it."""

    def __init__(self, stack: Stack) -> None:
        self.stack = stack
        self.portal = PortalSandbox(stack.portal_url)
        self.gateway = GatewayClient(stack.gateway_url)
        self.member_id = str(self.portal.info()["member_id"])
        self.database = Path(stack.env["DATABASE_URL"].removeprefix("sqlite:///"))
        self.sent: dict[str, str] = {}  # message_id -> number
        self.gateway.behave(suffix="7", reports={"final": {"UNDELIV": 1}})

    def connect_gateway(self) -> None:
        settings = [f"{key}={value}" for key, value in self.gateway.settings().items() if value]
        self.stack.flask("gateways", "set", self.member_id, "http", *settings)

    def send(self, rounds: int = 2) -> list[str]:
        """Some messages of every shape; the portal must be able to hand each of them over."""
        ids = []
        for _ in range(rounds):
            for origin, auth in SHAPES:
                number = f"+155501{len(self.sent):05}"
                row = self.portal.send_sms(to=number, text=f"canary {number}", origin=origin, auth=auth)
                assert row["status"] != "error", row
                self.sent[row["message_id"]] = number
                ids.append(row["message_id"])
        return ids

    def truth(self, message_id: str) -> str:
        return TRUTH.get(self.sent[message_id][-1], "delivered")

    def wait_told(self, ids: list[str] | None = None) -> None:
        for message_id in ids or self.sent:
            self.portal.wait_status(message_id, self.truth(message_id), timeout_s=40)

    def wait_taken(self) -> None:
        """Every message so far is at the gateway, told or not."""
        self.wait(lambda: {m["to"] for m in self.gateway.messages()} >= set(self.sent.values()))

    def state(self) -> str:
        with closing(sqlite3.connect(self.database)) as connection:
            [(state,)] = connection.execute("SELECT state FROM portals")
        return str(state)

    def wait_state(self, *states: str) -> None:
        self.wait(lambda: self.state() in states)

    def wait_senders(self) -> None:
        self.wait(lambda: [sender["code"] for sender in self.portal.senders()] == ["sms"])

    def wait(self, condition: Callable[[], bool], timeout_s: float = 40.0) -> None:
        deadline = time.monotonic() + timeout_s
        while not condition():
            assert time.monotonic() < deadline, self.stack.flask("portals", "show", self.member_id)
            time.sleep(0.1)


@pytest.fixture
def life() -> Iterator[Life]:
    with Stack(env={"TIMING": QUICK}) as stack:
        yield Life(stack)


def test_messages_flow_through_a_whole_life(life: Life) -> None:
    portal = life.portal
    portal.install(finish=True, user=1)
    life.connect_gateway()
    life.wait_told(life.send())

    # The administrator who installed the app is one no more.
    portal.set_user(1, role="employee")
    life.send()
    life.wait_taken()
    life.wait_state("reconnect")
    life.send()
    life.wait_taken()

    # Another one opens it.
    portal.open(user=2)
    life.wait_told()
    assert life.state() == "active"

    # The portal gets another address.
    portal.rename(port=True, redirect=302)
    life.wait_told(life.send())
    assert life.stack.flask("portals", "show", life.member_id)["domain"] == portal.info()["domain"]

    # The payment lapses while messages are on their way, and comes back.
    under_way = life.send()
    portal.wait_rest()
    portal.payment(expired=True)
    life.wait_state("payment")
    portal.payment(expired=False)
    life.wait_told(under_way)

    # A new version: the senders are gone until the event is acted upon.
    robot = f"{life.stack.env['B24_CLIENT_ID']}|{portal.senders()[0]['code']}"
    portal.update(new_token=True)
    life.wait_senders()
    assert robot == f"{life.stack.env['B24_CLIENT_ID']}|{portal.senders()[0]['code']}"
    life.wait_told(life.send())

    # Removed, and installed again. The update brought a new application_token, which an administrator proves.
    portal.open(user=2)
    portal.uninstall(clean=False)
    life.wait_state("uninstalled")
    portal.install(finish=True, user=2)
    life.wait_told(life.send())

    _assert_none_lost_and_none_told_wrongly(life)
    _assert_clean_removal_leaves_nothing(life)


def _assert_none_lost_and_none_told_wrongly(life: Life) -> None:
    life.portal.wait_rest()
    taken = [message["to"] for message in life.gateway.messages()]
    assert sorted(taken) == sorted(life.sent.values())  # each once
    for message_id in life.sent:
        row = life.portal.message(message_id)
        assert row["status"] == life.truth(message_id), row
        told = {change["status"] for change in row["history"] if change["by"] == "app"}
        assert told - {"sent"} == {life.truth(message_id)}, row  # "sent" is asked to prove a message
        assert {post["status"] for post in row["posts"]} == {200}


def _assert_clean_removal_leaves_nothing(life: Life) -> None:
    canaries = _secrets_of(life.database) | _plain_secrets(life)
    files = [path for path in life.stack.dir.glob("product*") if path.is_file()]
    logs = [life.stack.dir / "web.log", life.stack.dir / "worker-1.log"]
    before = _found(canaries, files)
    assert len(before) > len(life.sent), "these canaries would never be found"

    life.portal.uninstall(clean=True)
    life.wait_state("uninstalled")
    life.wait(lambda: not _found(canaries, [life.database]))

    files = [path for path in life.stack.dir.glob("product*") if path.is_file()]
    assert {path.suffix for path in files} >= {".db", ".engine"}
    assert _found(canaries, files) == {}
    # A line of the log names the message that it is about, and nobody by it.
    assert _found(canaries - {message_id.encode() for message_id in life.sent}, logs) == {}

    # What is left recognises late calls; the operator's command removes that, too.
    who = {life.member_id.encode(), life.portal.info()["domain"].encode()}
    assert set(_found(who, files)) == who
    proof = life.stack.flask("erase", "portal", life.member_id, "--yes")
    assert proof["found_afterwards"] == {}
    assert _found(who, files) == {}


def _plain_secrets(life: Life) -> set[bytes]:
    info = life.portal.info()
    handler = info["senders"][0]["handler"].rpartition("/")[2]
    token = info["installation"]["application_token"]
    numbers = [number.removeprefix("+") for number in life.sent.values()]
    return {text.encode() for text in (handler, token, *numbers, *life.sent)}


def _secrets_of(database: Path) -> set[bytes]:
    """Sealed values, which nobody could open, must be gone all the same."""
    with closing(sqlite3.connect(database)) as connection:
        rows = [
            *connection.execute("SELECT access_token, refresh_token FROM credentials"),
            *connection.execute("SELECT secrets, report_secret FROM gateway_accounts"),
            *connection.execute("SELECT handler_secret, application_token_hash FROM portals"),
            *connection.execute("SELECT author_token, body_hash FROM messages"),
        ]
    return {value.encode() for row in rows for value in row if value}


def _found(canaries: set[bytes], files: list[Path]) -> dict[bytes, str]:
    found = {}
    for path in files:
        content = path.read_bytes()
        found.update({canary: path.name for canary in canaries if canary in content})
    return found
