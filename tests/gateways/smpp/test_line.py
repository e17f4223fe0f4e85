"""The line to a message centre, against somebody else's server: what it takes, loses, repeats and says."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from functools import wraps
from typing import Any

import smpp34

from app.domain.outcomes import Accepted, RefusalKind, Refused, Unknown
from app.domain.status import MessageStatus
from app.gateways.smpp import line as line_module
from app.gateways.smpp.pdu import GENERIC_NACK, RESPONSE, RX_T_APPN, SUBMIT_SM, Pdu
from app.gateways.smpp.receipts import receipt_of
from tests.gateways.smpp.centre import Desk, Proxy, a_centre, a_message, at_the


def in_a_loop(test: Callable[[], Coroutine[Any, Any, None]]) -> Callable[[], None]:
    @wraps(test)
    def run() -> None:
        asyncio.run(asyncio.wait_for(test(), 60))

    return run


@in_a_loop
async def test_a_message_is_taken_and_its_receipt_is_heard() -> None:
    async with a_centre() as centre, at_the(Desk(centre.port)) as desk:
        outcome = await desk.line.submit(a_message(), 10)
        answered = await centre.report("id:id-1 stat:DELIVRD err:000 text:Hello")

    assert outcome == Accepted(("id-1",), segments=1)
    assert centre.taken == [("4915112345678", b"Hello")]
    assert answered == 0
    receipt = receipt_of(desk.heard[0])
    assert (receipt.message_id, receipt.status) == ("id-1", MessageStatus.DELIVERED)


@in_a_loop
async def test_a_receipt_that_is_not_stored_is_not_taken() -> None:
    async with a_centre() as centre, at_the(Desk(centre.port)) as desk:
        await desk.line.submit(a_message(), 10)
        desk.status_for_receipts = RX_T_APPN
        refused = await centre.report("id:id-1 stat:DELIVRD err:000")
        desk.status_for_receipts = 0
        taken = await centre.report("id:id-1 stat:DELIVRD err:000")

    assert (refused, taken, len(desk.heard)) == (RX_T_APPN, 0, 1)


@in_a_loop
async def test_receipts_with_letters_or_nothing_in_them_do_not_break_the_line() -> None:
    async with a_centre() as centre, at_the(Desk(centre.port)) as desk:
        await desk.line.submit(a_message(), 10)
        for text in (
            "id:1 stat:UNDELIV err:0A1",
            "",
            "no id at all",
            "id:2 done date:261128103155 stat:EXPIRED",
        ):
            assert await centre.report(text) == 0
        after = await desk.line.submit(a_message(), 10)

    assert isinstance(after, Accepted)
    assert len(desk.heard) == 4


@in_a_loop
async def test_each_refusal_has_its_consequence() -> None:
    rules = {
        "1": (0x0B, RefusalKind.PERMANENT),
        "2": (0x08, RefusalKind.TEMPORARY),
        "3": (0x0A, RefusalKind.CONFIG),
    }
    async with a_centre() as centre, at_the(Desk(centre.port)) as desk:
        centre.answer = lambda number, _count: rules[number[-1]][0]
        for last, (status, kind) in rules.items():
            outcome = await desk.line.submit(a_message(f"+491511234567{last}"), 10)

            assert isinstance(outcome, Refused)
            assert (outcome.kind, outcome.code) == (kind, f"0x{status:02X}")


def test_a_status_of_the_vendors_own_is_about_the_message() -> None:
    outcome = line_module.outcome_of(Pdu(SUBMIT_SM | RESPONSE, 0x0400, 1))

    assert isinstance(outcome, Refused)
    assert (outcome.kind, outcome.code) == (RefusalKind.PERMANENT, "0x400")


def test_a_nack_is_no_acceptance() -> None:
    assert isinstance(line_module.outcome_of(Pdu(GENERIC_NACK, 0, 1)), Refused)


@in_a_loop
async def test_a_throttled_message_is_offered_again_and_taken_once() -> None:
    async with a_centre() as centre, at_the(Desk(centre.port)) as desk:
        centre.answer = lambda _number, count: smpp34.ESME_RTHROTTLED if count == 1 else "late"
        outcome = await desk.line.submit(a_message(), 10)

    assert outcome == Accepted(("late",), segments=1)
    assert len(centre.taken) == 2


@in_a_loop
async def test_no_answer_is_unknown_and_not_repeated() -> None:
    async with a_centre() as centre, at_the(Desk(centre.port, answer_s=0.3)) as desk:
        centre.answer = lambda _number, _count: None
        outcome = await desk.line.submit(a_message(), 10)

    assert isinstance(outcome, Unknown)
    assert len(centre.taken) == 1


@in_a_loop
async def test_a_cut_line_leaves_everything_on_it_unknown_and_binds_again() -> None:
    async with a_centre() as centre:
        proxy = Proxy(centre.port)
        await proxy.start()
        async with at_the(Desk(proxy.port)) as desk:
            centre.answer = lambda _number, _count: None
            under_way = [asyncio.create_task(desk.line.submit(a_message(), 10)) for _ in range(5)]
            while len(centre.taken) < 5:
                await asyncio.sleep(0.01)
            proxy.cut()
            lost = await asyncio.gather(*under_way)
            centre.answer = lambda _number, count: f"id-{count}"
            after = await desk.line.submit(a_message(), 20)
        await proxy.stop()

    assert [type(outcome) for outcome in lost] == [Unknown] * 5
    assert isinstance(after, Accepted)
    assert (proxy.connections, len(centre.taken)) == (2, 6)


@in_a_loop
async def test_answers_in_slices_are_put_together() -> None:
    async with a_centre() as centre:
        proxy = Proxy(centre.port)
        proxy.slow_bytes = True
        await proxy.start()
        async with at_the(Desk(proxy.port)) as desk:
            outcomes = await asyncio.gather(*(desk.line.submit(a_message(), 20) for _ in range(8)))
            assert await centre.report("id:id-1 stat:DELIVRD err:000") == 0
        await proxy.stop()

    assert sorted(outcome.ids[0] for outcome in outcomes if isinstance(outcome, Accepted)) == [
        f"id-{number}" for number in range(1, 9)
    ]


@in_a_loop
async def test_a_centre_without_signs_of_life_is_left_and_bound_again() -> None:
    async with a_centre() as centre:
        proxy = Proxy(centre.port)
        await proxy.start()
        async with at_the(Desk(proxy.port, answer_s=0.3, enquire_s=0.2)) as desk:
            assert isinstance(await desk.line.submit(a_message(), 10), Accepted)
            proxy.mute = True
            while proxy.connections < 2:
                await asyncio.sleep(0.02)
            proxy.mute = False
            after = await desk.line.submit(a_message(), 20)
        await proxy.stop()

    assert isinstance(after, Accepted)


@in_a_loop
async def test_while_the_centre_is_away_nothing_is_sent_and_nothing_unknown() -> None:
    async with a_centre() as centre:
        port = centre.port
    async with at_the(Desk(port)) as desk:
        while not desk.troubles:
            await asyncio.sleep(0.01)
        away = await desk.line.submit(a_message(), 0.2)
        async with a_centre(port) as centre:
            back = await desk.line.submit(a_message(), 20)

    assert isinstance(away, Refused)
    assert away.kind is RefusalKind.TEMPORARY
    assert isinstance(back, Accepted)


@in_a_loop
async def test_no_more_are_under_way_than_the_window_holds() -> None:
    async with a_centre() as centre, at_the(Desk(centre.port, window=3, answer_s=5)) as desk:
        centre.answer = lambda _number, _count: None
        under_way = [asyncio.create_task(desk.line.submit(a_message(), 20)) for _ in range(10)]
        while len(centre.taken) < 3:
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.2)
        seen = len(centre.taken)
        for task in under_way:
            task.cancel()
        await asyncio.gather(*under_way, return_exceptions=True)

    assert seen == 3


@in_a_loop
async def test_a_long_text_goes_out_as_its_parts() -> None:
    async with a_centre() as centre, at_the(Desk(centre.port)) as desk:
        outcome = await desk.line.submit(a_message(text="[" * 160), 10)

    assert outcome == Accepted(("id-1", "id-2", "id-3"), segments=3)
    assert [octets[:3] for _number, octets in centre.taken] == [b"\x05\x00\x03"] * 3


@in_a_loop
async def test_a_message_of_which_a_part_is_refused_is_never_begun_again() -> None:
    async with a_centre() as centre, at_the(Desk(centre.port)) as desk:
        centre.answer = lambda _number, count: f"id-{count}" if count == 1 else 0x08
        outcome = await desk.line.submit(a_message(text="x" * 200), 10)

    assert isinstance(outcome, Refused)
    assert outcome.kind is RefusalKind.PERMANENT
    assert "part 2 of 2" in outcome.text


@in_a_loop
async def test_pauses_between_binds_grow() -> None:
    async with a_centre() as centre:
        port = centre.port
    first, line_module.FIRST_PAUSE_S = line_module.FIRST_PAUSE_S, 0.05
    try:
        async with at_the(Desk(port)) as desk:
            await asyncio.sleep(1.0)
            tries = len(desk.troubles)
    finally:
        line_module.FIRST_PAUSE_S = first

    # 0.05 + 0.1 + 0.2 + 0.4 + 0.8: five tries, and far from the twenty of a pause that does not grow
    assert 2 <= tries <= 7
