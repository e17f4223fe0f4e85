"""Receipts, and answers that come late: which message they are about, whatever the centre writes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

from app.gateways.adapters.smpp import line_settings
from app.gateways.smpp.line import LineSettings
from app.jobs import lines
from tests.worlds.lines import LineWorld, line_world


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> Iterator[LineWorld]:
    with line_world(monkeypatch) as made:
        yield made


def test_a_mute_centre_leaves_it_unknown_until_it_speaks(
    world: LineWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The receipt names an id that only the answer tells."""
    world.operator.centre.answer = lambda _number, _count: None
    monkeypatch.setattr(lines, "line_settings", lambda given: _impatient(line_settings(given)))
    world.connect()
    with world.keeper():
        message = world.send("4915112345678")
        world.wait_status(message, "unknown")
        assert world.operator.report("late-id", "DELIVRD") == 0
        assert world.faults.status(message)[0] == "unknown"
        world.operator.let_go("late-id")
        world.wait_status(message, "delivered")

    assert len(world.operator.centre.taken) == 1


def _impatient(settings: LineSettings) -> LineSettings:
    return replace(settings, pace=replace(settings.pace, answer_s=0.3))


@pytest.mark.parametrize(
    ("answered", "reported", "as_tlv"),
    [
        ("1A2B3C", "1715004", False),
        ("1715004", "1A2B3C", True),
        ("0000000042", "2a", False),
        ("abc-7", "ABC-7", True),
    ],
)
def test_receipts_name_their_message_in_a_dialect(
    world: LineWorld, answered: str, reported: str, as_tlv: bool
) -> None:
    centre = world.operator.centre
    centre.answer = lambda _number, _count: answered
    centre.ids = lambda _found: reported
    centre.words, centre.as_tlv = (lambda _number: ("DELIVRD",)), as_tlv
    world.connect()
    with world.keeper():
        world.wait_status(world.send(), "delivered")


def test_a_receipt_without_an_id_is_the_only_messages_to_its_number(world: LineWorld) -> None:
    centre = world.operator.centre
    centre.with_id = False
    world.connect()
    with world.keeper():
        one, first, second = (
            world.send("491510000001"),
            world.send("491510000002"),
            world.send("491510000002"),
        )
        world.operator.wait_taken(3)
        for message in (one, first, second):
            world.wait_status(message, "sent")
        for number in ("491510000001", "491510000002", "491510000003"):
            assert world.operator.run(centre.report("stat:DELIVRD err:000", number=number)) == 0
        world.wait_status(one, "delivered")

    assert [world.faults.status(message)[0] for message in (first, second)] == ["sent", "sent"]


def test_a_receipt_may_come_before_the_answer(world: LineWorld) -> None:
    centre = world.operator.centre
    centre.receipt_first, centre.words = True, lambda _number: ("DELIVRD",)
    world.connect()
    with world.keeper():
        sent = [world.send() for _ in range(5)]
        for message in sent:
            world.wait_status(message, "delivered")

    assert len(centre.taken) == 5


def test_a_receipt_in_another_spelling_may_come_before_the_answer(world: LineWorld) -> None:
    centre = world.operator.centre
    centre.answer, centre.ids = (lambda _number, _count: "1A2B3C"), (lambda _found: "1715004")
    centre.receipt_first, centre.words = True, lambda _number: ("DELIVRD",)
    centre.repeats = False
    world.connect()
    with world.keeper():
        world.wait_status(world.send(), "delivered")


@pytest.mark.parametrize("is_cut_first", [False, True])
@pytest.mark.parametrize(
    ("begin", "status"), [("Your code is 17", "delivered"), ("Happy birthday", "unknown")]
)
def test_a_receipt_answers_for_a_message_whose_answer_was_cut_off(
    world: LineWorld, begin: str, status: str, is_cut_first: bool
) -> None:
    """The centre has it; its id is in the receipt only. Another system may use the same login."""
    centre, proxy = world.operator.centre, world.operator.with_proxy()
    centre.answer = lambda _number, _count: None
    world.connect(port=str(proxy.port))
    with world.keeper():
        message = world.send("491510000001", text="Your code is 17")
        world.operator.wait_taken(1)
        receipt = f"id:lost-1 stat:{{}} err:000 text:{begin}"
        for word in ("ENROUTE", "DELIVRD"):
            if word == ("ENROUTE" if is_cut_first else "DELIVRD"):
                world.operator.cut()
                world.wait(lambda: len(centre.esmes) == 1)
            report = centre.report(receipt.format(word), number="491510000001")
            assert world.operator.run(report) == 0
        world.wait_status(message, status)

    assert len(centre.taken) == 1
