"""Messages over SMPP: from the queue to somebody else's message centre and back, and who keeps the line."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

import psycopg
import pytest
import smpp34

from sandbox.client import PortalSandbox
from sandbox.processes import Process
from sandbox.stack import Stack
from tests.worlds.lines import LineWorld, Operator, an_operator, line_world
from tests.worlds.smpp_line import a_bare_centre


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> Iterator[LineWorld]:
    with line_world(monkeypatch) as made:
        yield made


# --- what becomes of a message


def test_each_word_of_a_receipt_ends_its_message(world: LineWorld) -> None:
    words = {"DELIVRD": "delivered", "UNDELIV": "undelivered", "EXPIRED": "undelivered", "REJECTD": "failed"}
    numbers = {f"49151000000{at}": word for at, word in enumerate(words)}
    world.operator.centre.words = lambda number: ("ENROUTE", numbers[number])
    world.connect()
    with world.keeper():
        sent = {number: world.send(number) for number in numbers}
        for number, message in sent.items():
            world.wait_status(message, words[numbers[number]])

    assert sorted(number for number, _text in world.operator.centre.taken) == sorted(numbers)
    world.faults.work()
    assert {world.faults.told(message)[-1] for message in sent.values()} == set(words.values())


@pytest.mark.parametrize("status", [smpp34.ESME_RTHROTTLED, smpp34.ESME_RMSGQFUL])
def test_a_centre_that_has_enough_gets_it_later_and_slower(world: LineWorld, status: int) -> None:
    world.operator.centre.answer = lambda _number, count: status if count <= 3 else f"id-{count}"
    world.operator.centre.words = lambda _number: ("DELIVRD",)
    world.connect()
    with world.keeper():
        sent = [world.send() for _ in range(3)]
        for message in sent:
            world.wait_status(message, "delivered")

    assert len(world.operator.centre.accepted) == 3
    assert [world.faults.row(message).attempts for message in sent] == [2, 2, 2]
    assert not any("unknown" in world.faults.events(message) for message in sent)


def test_a_centre_that_was_away_gets_what_it_has_not_taken(world: LineWorld) -> None:
    world.connect()
    with world.keeper():
        before = world.send()
        world.wait_status(before, "sent")
        centre = world.operator.restart()
        centre.words = lambda _number: ("DELIVRD",)
        after = world.send()
        world.wait_status(after, "delivered")

    assert [text for _number, text in centre.taken] == [world.faults.row(after).text.encode()]
    assert world.faults.status(before)[0] == "sent"


def test_a_wrong_password_stops_the_account_and_a_right_one_goes_on(world: LineWorld) -> None:
    closed = a_bare_centre(0x0E)
    port = world.operator.run(closed.__aenter__())
    world.connect(port=str(port))
    with world.keeper():
        sent = [world.send() for _ in range(4)]
        world.wait(lambda: all(world.faults.status(each)[1] == "account_stopped" for each in sent))
        world.connect()
        for message in sent:
            world.wait_status(message, "sent")
    world.operator.run(closed.__aexit__(None, None, None))

    assert len(world.operator.centre.taken) == 4


# --- who keeps which line


def test_what_a_replaced_login_sent_still_gets_its_receipts(world: LineWorld) -> None:
    world.connect()
    with world.keeper() as keeper:
        message = world.send()
        world.wait_status(message, "sent")
        other = world.another_operator()
        world.connect(other, system_id="somebody else")
        after = world.send()
        world.wait_status(after, "sent")
        assert world.operator.report("id-1", "DELIVRD") == 0
        world.wait_status(message, "delivered")
        world.wait(lambda: len(keeper.held) == 1)

    assert [len(operator.centre.taken) for operator in (world.operator, other)] == [1, 1]
    assert world.operator.centre.esmes == {}


def test_an_account_that_was_replaced_before_it_sent_has_no_line(world: LineWorld) -> None:
    world.connect()
    account = world.connect(world.another_operator(), system_id="somebody else")
    with world.keeper() as keeper:
        world.wait_status(world.send(), "sent")

        assert keeper.held == {account.id}


def test_receipts_of_a_login_come_over_its_newest_line(world: LineWorld) -> None:
    """The same login at another port: two lines would take each other's receipts."""
    world.connect()
    with world.keeper() as keeper:
        message = world.send()
        world.wait_status(message, "sent")
        other = world.another_operator()
        other.centre.answer = lambda _number, count: f"new-{count}"
        account = world.connect(other)
        world.wait_status(world.send(), "sent")
        world.wait(lambda: keeper.held == {account.id})
        assert other.report("id-1", "DELIVRD") == 0
        world.wait_status(message, "delivered")


# --- the processes themselves

FAST = "first_push_s=0.3,push_fill_s=0.1,sweep_s=0.5,push_repeat_s=1"


@pytest.fixture
def operator() -> Iterator[Operator]:
    with an_operator() as made:
        yield made


@contextmanager
def connected(
    operator: Operator, *, timing: str = FAST, places: Mapping[str, str] | None = None, **more: str
) -> Iterator[tuple[Stack, PortalSandbox, Process]]:
    with Stack(env={"TIMING": timing}, **(places or {})) as stack:
        portal = PortalSandbox(stack.portal_url)
        portal.install(finish=True)
        settings = {
            "host": "127.0.0.1",
            "port": operator.centre.port,
            "system_id": "me",
            "password": "secret",
            **more,
        }
        pairs = [f"{name}={value}" for name, value in {**settings, "originator": "ACME"}.items()]
        stack.run_flask("gateways", "set", portal.info()["member_id"], "smpp", *pairs)
        yield stack, portal, stack.start_product("smpp")


@pytest.mark.slow
def test_a_message_goes_over_the_line_and_its_receipt_comes_back(operator: Operator) -> None:
    """The centre answers in hexadecimal and reports in decimal."""
    operator.centre.answer = lambda _number, count: f"{count + 9:08X}"
    with connected(operator) as (_stack, portal, _smpp):
        message = portal.send_sms(to="+4915112345678", text="Hello")["message_id"]
        operator.wait_taken(1)
        answered = operator.report("0000000010", "DELIVRD")
        portal.wait_status(message, "delivered")

    assert answered == 0
    assert operator.centre.taken == [("4915112345678", b"Hello")]


@pytest.mark.slow
def test_a_killed_process_loses_nothing_and_doubles_nothing(operator: Operator) -> None:
    """Another one takes the line over when the lease of the dead one ends."""
    with connected(operator, timing=f"{FAST},line_s=2") as (stack, portal, smpp):
        portal.send_sms(to="+4915112345679", text="before")
        operator.wait_taken(1)
        smpp.kill()
        message = portal.send_sms(to="+4915112345678", text="after")["message_id"]
        stack.start_product("smpp")
        operator.wait_taken(2)
        operator.report("id-2", "DELIVRD")
        portal.wait_status(message, "delivered")

    assert [octets for _number, octets in operator.centre.taken] == [b"before", b"after"]


@pytest.mark.slow
def test_a_stopped_process_that_goes_on_sends_nothing_and_loses_no_answer(
    operator: Operator, postgres_url: str, redis_url: str
) -> None:
    """It is stopped with two packets on the wire and others waiting for a place. Another one takes the line.
    Then the first goes on: with answers to read, places in the window, and its account gone."""
    centre = operator.centre
    centre.answer = lambda _number, _count: None
    leases = "line_s=2,lease_s=4,gateway_deadline_s=3,drain_s=1,retry_base_s=0.5"
    places = {"database_url": postgres_url, "redis_url": redis_url}
    timing = f"{FAST},{leases}"
    with connected(operator, timing=timing, places=places, window="2") as (stack, portal, first):
        sent = [portal.send_sms(to=f"+49151000000{at:02}", text=f"no {at}")["message_id"] for at in range(6)]
        operator.wait_taken(2)
        first.pause()
        centre.answer, centre.words = (lambda _number, count: f"id-{count}"), lambda _number: ("DELIVRD",)
        operator.let_go("first-1", "first-2")
        before = set(centre.sessions)
        second = stack.start_product("smpp")
        later = portal.send_sms(to="+4915100000090", text="later")["message_id"]
        portal.wait_status(later, "delivered", timeout_s=60)
        _wait(lambda: _statuses(postgres_url) == Counter(unknown=6, delivered=1))
        seen, answered = len(centre.taken), [number for number, _text in centre.taken[:2]]
        first.resume()
        for found, number in zip(("first-1", "first-2"), answered, strict=True):
            operator.report(found, "DELIVRD", number=number)
        for message in sent:
            portal.wait_status(message, "delivered", timeout_s=60)
        assert second.is_running

    assert sorted(Counter(number for number, _text in centre.taken).values()) == [1] * 7
    assert not before & set(centre.sessions[seen:])


def _statuses(url: str) -> Counter[str]:
    with psycopg.connect(url.replace("+psycopg", "")) as connection:
        return Counter(status for (status,) in connection.execute("SELECT status FROM messages"))


def _wait(is_so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not is_so():
        assert time.monotonic() < deadline, "it did not become so"
        time.sleep(0.05)
