"""The line to a message centre, against somebody else's server: what it takes, loses, repeats and says."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
import time
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from functools import wraps
from pathlib import Path
from typing import Any

import pytest
import smpp34

from app.domain.outcomes import Accepted, Outcome, RefusalKind, Refused, Unknown
from app.domain.status import MessageStatus
from app.gateways.base import NotMade
from app.gateways.smpp import line as line_module
from app.gateways.smpp.pdu import GENERIC_NACK, RESPONSE, RX_T_APPN, SUBMIT_SM, Pdu
from app.gateways.smpp.receipts import receipt_of
from app.gateways.smpp.session import RECEIPTS_AT_ONCE, Login
from bench.peers.message_centre import Proxy
from sandbox.processes import free_port
from tests.worlds.certificates import self_signed
from tests.worlds.smpp_line import (
    Desk,
    a_bare_centre,
    a_centre,
    a_message,
    at_the,
    behind_tls,
    checked,
)


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(line_module, "FIRST_PAUSE_S", 0.05)


def in_a_loop(test: Callable[[], Coroutine[Any, Any, None]]) -> Callable[[], None]:
    @wraps(test)
    def run() -> None:
        asyncio.run(asyncio.wait_for(test(), 60))

    return run


@in_a_loop
async def test_a_message_is_taken_and_its_receipt_is_heard() -> None:
    async with a_centre() as centre, at_the(Desk(centre.port)) as desk:
        outcome = await desk.submit(a_message(), 10)
        answered = await centre.report("id:id-1 stat:DELIVRD err:000 text:Hello")

    assert outcome == Accepted(("id-1",), segments=1)
    assert centre.taken == [("4915112345678", b"Hello")]
    assert answered == 0
    receipt = receipt_of(desk.heard[0])
    assert (receipt.message_id, receipt.status) == ("id-1", MessageStatus.DELIVERED)


@in_a_loop
async def test_a_receipt_that_is_not_stored_is_not_taken() -> None:
    async with a_centre() as centre, at_the(Desk(centre.port)) as desk:
        await desk.submit(a_message(), 10)
        desk.status_for_receipts = RX_T_APPN
        refused = await centre.report("id:id-1 stat:DELIVRD err:000")
        desk.status_for_receipts = 0
        taken = await centre.report("id:id-1 stat:DELIVRD err:000")

    assert (refused, taken, len(desk.heard)) == (RX_T_APPN, 0, 1)


@in_a_loop
async def test_receipts_with_letters_or_nothing_in_them_do_not_break_the_line() -> None:
    async with a_centre() as centre, at_the(Desk(centre.port)) as desk:
        await desk.submit(a_message(), 10)
        for text in (
            "id:1 stat:UNDELIV err:0A1",
            "",
            "no id at all",
            "id:2 done date:261128103155 stat:EXPIRED",
        ):
            assert await centre.report(text) == 0
        after = await desk.submit(a_message(), 10)

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
            outcome = await desk.submit(a_message(f"+491511234567{last}"), 10)

            assert isinstance(outcome, Refused)
            assert (outcome.kind, outcome.code) == (kind, f"0x{status:02X}")


def test_a_status_of_the_vendors_own_is_about_the_message() -> None:
    outcome = line_module.outcome_of(Pdu(SUBMIT_SM | RESPONSE, 0x0400, 1))

    assert isinstance(outcome, Refused)
    assert (outcome.kind, outcome.code) == (RefusalKind.PERMANENT, "0x400")


def test_a_nack_is_no_acceptance() -> None:
    assert isinstance(line_module.outcome_of(Pdu(GENERIC_NACK, 0, 1)), Refused)


@in_a_loop
async def test_a_throttled_message_goes_back_before_anything_of_it_was_taken() -> None:
    async with a_centre() as centre, at_the(Desk(centre.port)) as desk:
        centre.answer = lambda _number, _count: smpp34.ESME_RTHROTTLED
        outcome = await desk.submit(a_message(text="x" * 400))

    assert isinstance(outcome, Refused)
    assert outcome.kind is RefusalKind.THROTTLE
    assert len(centre.taken) == 1


@in_a_loop
async def test_a_throttled_part_of_a_message_that_was_begun_is_offered_again() -> None:
    async with a_centre() as centre, at_the(Desk(centre.port)) as desk:
        centre.answer = lambda _number, count: smpp34.ESME_RTHROTTLED if count == 2 else f"id-{count}"
        outcome = await desk.submit(a_message(text="x" * 200))

    assert outcome == Accepted(("id-1", "id-3"), segments=2)
    assert [octets[5] for _number, octets in centre.taken] == [1, 2, 2]


@in_a_loop
async def test_no_answer_is_unknown_and_not_repeated() -> None:
    async with a_centre() as centre, at_the(Desk(centre.port, answer_s=0.3)) as desk:
        centre.answer = lambda _number, _count: None
        outcome = await desk.submit(a_message(), 10)

    assert isinstance(outcome, Unknown)
    assert len(centre.taken) == 1


@in_a_loop
async def test_a_cut_line_leaves_everything_on_it_unknown_and_binds_again() -> None:
    async with a_centre() as centre:
        proxy = Proxy(centre.port)
        await proxy.start()
        async with at_the(Desk(proxy.port)) as desk:
            centre.answer = lambda _number, _count: None
            under_way = [asyncio.create_task(desk.submit(a_message(), 10)) for _ in range(5)]
            while len(centre.taken) < 5:
                await asyncio.sleep(0.01)
            proxy.cut()
            lost = await asyncio.gather(*under_way)
            centre.answer = lambda _number, count: f"id-{count}"
            after = await desk.submit(a_message(), 20)
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
            outcomes = await asyncio.gather(*(desk.submit(a_message(), 20) for _ in range(8)))
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
            assert isinstance(await desk.submit(a_message(), 10), Accepted)
            proxy.mute = True
            while proxy.connections < 2:
                await asyncio.sleep(0.02)
            proxy.mute = False
            after = await desk.submit(a_message(), 20)
        await proxy.stop()

    assert isinstance(after, Accepted)


@in_a_loop
async def test_while_the_centre_is_away_nothing_is_sent_and_nothing_unknown() -> None:
    async with a_centre() as centre:
        port = centre.port
    async with at_the(Desk(port)) as desk:
        while not desk.troubles:
            await asyncio.sleep(0.01)
        away = await desk.submit(a_message(), 0.2)
        async with a_centre(port) as centre:
            back = await desk.submit(a_message(), 20)

    assert isinstance(away, Refused)
    assert away.kind is RefusalKind.TEMPORARY
    assert isinstance(back, Accepted)


@in_a_loop
async def test_no_more_are_under_way_than_the_window_holds() -> None:
    async with a_centre() as centre, at_the(Desk(centre.port, window=3, answer_s=5)) as desk:
        centre.answer = lambda _number, _count: None
        under_way = [asyncio.create_task(desk.submit(a_message(), 20)) for _ in range(10)]
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
        outcome = await desk.submit(a_message(text="[" * 160), 10)

    assert outcome == Accepted(("id-1", "id-2", "id-3"), segments=3)
    assert [octets[:3] for _number, octets in centre.taken] == [b"\x05\x00\x03"] * 3


@in_a_loop
async def test_a_message_of_which_a_part_is_refused_is_never_begun_again() -> None:
    async with a_centre() as centre, at_the(Desk(centre.port)) as desk:
        centre.answer = lambda _number, count: f"id-{count}" if count == 1 else 0x08
        outcome = await desk.submit(a_message(text="x" * 200), 10)

    assert isinstance(outcome, Refused)
    assert outcome.kind is RefusalKind.PERMANENT
    assert "after 1 of 2 were taken" in outcome.text


@in_a_loop
async def test_what_is_refused_is_refused_with_its_first_part() -> None:
    async with a_centre() as centre, at_the(Desk(centre.port)) as desk:
        centre.answer = lambda _number, _count: 0x0B
        outcome = await desk.submit(a_message(text="x" * 1000))

    assert isinstance(outcome, Refused)
    assert (outcome.kind, len(centre.taken)) == (RefusalKind.PERMANENT, 1)


@in_a_loop
async def test_who_lost_the_account_writes_nothing_more() -> None:
    async with a_centre() as centre, at_the(Desk(centre.port)) as desk:
        await desk.submit(a_message())
        desk.holds = False
        with pytest.raises(NotMade):
            await desk.submit(a_message())

    assert len(centre.taken) == 1


@in_a_loop
async def test_nothing_is_written_after_its_time() -> None:
    """A process that was stopped finds its time over, and its account still its own."""
    async with a_centre() as centre, at_the(Desk(centre.port)) as desk:
        await desk.submit(a_message())
        desk.paused_s = 0.3
        outcome = await desk.submit(a_message("+4915112345679"), 0.2)

    assert isinstance(outcome, Refused)
    assert outcome.kind is RefusalKind.TEMPORARY
    assert [number for number, _octets in centre.taken] == ["4915112345678"]


@in_a_loop
async def test_an_answer_that_comes_late_is_told() -> None:
    """Without it nobody would know which message a receipt is about."""
    async with a_centre() as centre, at_the(Desk(centre.port, answer_s=0.3)) as desk:
        centre.answer = lambda _number, _count: None
        outcome = await desk.submit(a_message())
        centre.let_go("late-id")
        while not desk.late:
            await asyncio.sleep(0.01)

    assert isinstance(outcome, Unknown)
    assert desk.late == [("ref", Accepted(("late-id",), segments=1))]


@in_a_loop
async def test_a_late_answer_completes_a_message_whose_other_parts_were_taken() -> None:
    async with a_centre() as centre, at_the(Desk(centre.port, answer_s=0.3)) as desk:
        centre.answer = lambda _number, count: None if count == 2 else f"id-{count}"
        outcome = await desk.submit(a_message(text="x" * 400))
        centre.let_go("id-2")
        while not desk.late:
            await asyncio.sleep(0.01)

    assert isinstance(outcome, Unknown)
    assert desk.late == [("ref", Accepted(("id-1", "id-2", "id-3"), segments=3))]


@in_a_loop
async def test_a_late_answer_to_the_first_of_several_parts_completes_nothing() -> None:
    async with a_centre() as centre, at_the(Desk(centre.port, answer_s=0.3)) as desk:
        centre.answer = lambda _number, _count: None
        outcome = await desk.submit(a_message(text="x" * 400))
        centre.let_go("id-1")
        centre.answer = lambda _number, count: f"id-{count}"
        await desk.submit(a_message())

    assert isinstance(outcome, Unknown)
    assert desk.late == []


@in_a_loop
async def test_receipts_that_wait_for_the_database_do_not_hold_up_answers() -> None:
    async with a_centre() as centre, at_the(Desk(centre.port)) as desk:
        assert isinstance(await desk.submit(a_message()), Accepted)
        desk.is_stuck.clear()
        reports = [
            asyncio.create_task(centre.report(f"id:id-{at} stat:DELIVRD err:000"))
            for at in range(RECEIPTS_AT_ONCE + 5)
        ]
        await asyncio.sleep(0.2)
        outcome = await desk.submit(a_message())
        desk.is_stuck.set()
        answered = await asyncio.gather(*reports)

    assert isinstance(outcome, Accepted)
    assert set(answered) == {0}


@pytest.mark.parametrize(
    ("status", "is_refused"), [(0x05, False), (0x08, False), (0x0E, True), (0x0400, True)]
)
def test_a_login_that_is_bound_already_is_not_a_wrong_one(status: int, is_refused: bool) -> None:
    async def run() -> list[tuple[str, bool]]:
        async with a_bare_centre(status) as port, at_the(Desk(port)) as desk:
            while not desk.troubles:
                await asyncio.sleep(0.01)
            return desk.troubles

    troubles = asyncio.run(asyncio.wait_for(run(), 30))

    assert [refused for _why, refused in troubles] == [is_refused]


@in_a_loop
async def test_the_pace_of_the_contract_counts_parts_and_breaks_no_message_off() -> None:
    async with a_centre() as centre, at_the(Desk(centre.port, rate_per_s=10)) as desk:
        await desk.submit(a_message())
        outcomes = await asyncio.gather(
            *(desk.submit(a_message(text="x" * 400), 0.5) for _ in range(3)),
            desk.submit(a_message(text="x" * 1000), 0.5),
        )

    kinds = [outcome.kind if isinstance(outcome, Refused) else "taken" for outcome in outcomes]
    assert kinds == ["taken", RefusalKind.THROTTLE, RefusalKind.THROTTLE, RefusalKind.PERMANENT]
    assert len(centre.taken) == 1 + 3


@pytest.mark.parametrize("name", ["smsc.example", "other.example"])
def test_a_centre_behind_tls_is_the_one_that_was_meant(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    certificate = self_signed(tmp_path, "smsc.example")
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))

    async def run() -> tuple[Desk, Outcome]:
        async with (
            a_centre() as centre,
            behind_tls(centre.port, certificate) as port,
            at_the(Desk(port, connect=checked, tls=True, tls_name=name)) as desk,
        ):
            return desk, await desk.submit(a_message(), 0.5)

    desk, outcome = asyncio.run(asyncio.wait_for(run(), 30))

    if name == "smsc.example":
        assert outcome == Accepted(("id-1",), segments=1)
    else:
        assert isinstance(outcome, Refused)
        assert "certificate" in desk.troubles[0][0].lower()
        assert desk.troubles[0][1] is False


@pytest.mark.parametrize("is_there", [False, True])
def test_pauses_between_binds_grow(is_there: bool) -> None:
    """Also where the centre takes the login, and leaves at once."""

    async def run() -> int:
        async with a_bare_centre(0) as port, at_the(Desk(port if is_there else free_port())) as desk:
            await asyncio.sleep(1.0)
            return len([why for why, _refused in desk.troubles if why])

    tries = asyncio.run(asyncio.wait_for(run(), 30))

    # 0.05 + 0.1 + 0.2 + 0.4 + 0.8: five tries, and far from the twenty of a pause that does not grow
    assert 2 <= tries <= 7


@in_a_loop
async def test_a_line_that_was_of_use_is_bound_again_soon() -> None:
    async with a_centre() as centre:
        proxy = Proxy(centre.port)
        await proxy.start()
        async with at_the(Desk(proxy.port)) as desk:
            for _ in range(10):  # with pauses that grow the last one would be twelve seconds
                assert isinstance(await desk.submit(a_message(), 5), Accepted)
                before = len(desk.troubles)
                proxy.cut()
                while len(desk.troubles) == before:
                    await asyncio.sleep(0.01)
        await proxy.stop()

    assert len(centre.taken) == 10


# --- another server


@contextmanager
def a_perl_centre(folder: Path) -> Iterator[tuple[int, Path]]:
    """Net::SMPP's server, and what it writes down."""
    has_it = ["perl", "-MNet::SMPP", "-e1"]
    if not shutil.which("perl") or subprocess.run(has_it, capture_output=True, check=False).returncode:
        pytest.skip("Net::SMPP is not installed; scripts/prerequisites does it")
    port, said = free_port(), folder / "said"
    script = Path(__file__).parents[2] / "worlds" / "net_smpp.pl"
    with said.open("w") as out, subprocess.Popen(["perl", str(script), str(port)], stdout=out) as server:
        while "ready" not in said.read_text():
            assert server.poll() is None
            time.sleep(0.02)
        yield port, said
        server.kill()


def test_a_server_of_another_make_says_the_same(tmp_path: Path) -> None:
    """Taken with each end, refused, throttled, a long text, and one in Cyrillic letters."""

    async def run(port: int) -> tuple[list[Outcome], list[tuple[str, MessageStatus | None]]]:
        async with at_the(Desk(port)) as desk:
            outcomes = [await desk.submit(a_message(f"+49151000000{digit}")) for digit in range(6)]
            outcomes.append(await desk.submit(a_message("+491510000005")))
            outcomes.append(await desk.submit(a_message("+491510000010", "[" * 100)))
            outcomes.append(await desk.submit(a_message("+491510000020", "Привет")))
            while len(desk.heard) < 8:
                await asyncio.sleep(0.01)
            found = [receipt_of(message) for message in desk.heard]
            return outcomes, [(receipt.message_id, receipt.status) for receipt in found]

    with a_perl_centre(tmp_path) as (port, said):
        outcomes, receipts = asyncio.run(asyncio.wait_for(run(port), 60))
        taken = [line.split()[1:] for line in said.read_text().splitlines() if line.startswith("taken")]

    kinds = [each.kind if isinstance(each, Refused) else "taken" for each in outcomes]
    refused = [RefusalKind.PERMANENT, RefusalKind.THROTTLE]
    assert kinds == [*["taken"] * 4, *refused, *["taken"] * 3]
    ids = [found for each in outcomes if isinstance(each, Accepted) for found in each.ids]
    delivered, undelivered = MessageStatus.DELIVERED, MessageStatus.UNDELIVERED
    ends = [delivered, undelivered, undelivered, MessageStatus.FAILED, *[delivered] * 4]
    assert receipts == list(zip(ids, ends, strict=True))
    assert [bytes.fromhex(text)[:3] for *_, text in taken[-3:-1]] == [b"\x05\x00\x03"] * 2
    assert taken[-1][1:] == ["0", "8", "Привет".encode("utf-16-be").hex()]


def test_a_server_of_another_make_refuses_a_wrong_password(tmp_path: Path) -> None:
    async def run(port: int) -> list[tuple[str, bool]]:
        async with at_the(Desk(port, login=Login("me", "wrong"))) as desk:
            while not desk.troubles:
                await asyncio.sleep(0.01)
            return desk.troubles

    with a_perl_centre(tmp_path) as (port, _said):
        troubles = asyncio.run(asyncio.wait_for(run(port), 60))

    assert troubles[0] == ("wrong password (0x0E)", True)
