"""Faults between us and the gateway, one test for each, by their numbers in docs/reliability.md."""

from __future__ import annotations

import os
import sqlite3
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from dataclasses import replace
from datetime import timedelta
from itertools import permutations
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from app.domain.life import Answered
from app.domain.outcomes import Accepted, DeliveryReport
from app.domain.status import MessageStatus
from app.domain.texts import measure
from app.gateway_accounts import connect
from app.gateways.adapters.http import HttpGateway
from app.jobs.messages import submit
from app.store.accounts import accounts, pace, stops
from app.store.database import StoreUnavailable, writing
from app.store.messages import by_hand, claims, messages, outcomes, parked
from app.store.messages.claims import Taken
from app.store.portals import portals
from app.store.tables import gateway_accounts
from app.store.tables import messages as messages_table
from sandbox.client import PortalSandbox
from tests.worlds.claiming import claim_one
from tests.worlds.faults import FaultWorld, fault_world, locked_sqlite
from tests.worlds.product import MAY_SEE_METRICS
from tests.worlds.stopped import stop


@pytest.fixture
def world() -> Iterator[FaultWorld]:
    with fault_world() as made:
        yield made


# --- what comes in


def test_fault_08_fifty_calls_at_once_are_one_row_and_one_submission(world: FaultWorld) -> None:
    world.connect()

    sent = world.send(copies=50)
    world.work()

    assert [post["status"] for post in world.portal.message(sent)["posts"]] == [200] * 50
    assert len(world.taken(sent)) == 1


def test_fault_08_two_workers_that_see_the_same_message_due_submit_it_once(
    world: FaultWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.connect()
    sent = world.send()
    real, both = pace.claim_drain, threading.Barrier(2, timeout=10)

    def held_by_both(*args: Any, **options: Any) -> Any:
        with suppress(threading.BrokenBarrierError):
            both.wait(1)
        real(*args, **options)
        return "no lease at all"

    monkeypatch.setattr(pace, "claim_drain", held_by_both)
    monkeypatch.setattr(pace, "keep_drain", lambda *args, **options: True)
    workers = [threading.Thread(target=world.submit, args=(sent,)) for _ in range(2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()

    assert world.gateway.ledger()["submissions"] == 1
    assert world.status(sent) == ("sent", "")


def test_fault_09_the_first_of_two_bodies_counts(world: FaultWorld) -> None:
    world.connect()

    world.send(message_id="twice", text="first", to="+4915100000001")
    world.send(message_id="twice", text="second", to="+4915100000001")
    world.work()

    assert world.row("twice").text == "first"
    assert [message["text"] for message in world.taken("twice")] == ["first"]


def test_fault_10_the_same_id_of_two_portals_is_two_messages(world: FaultWorld) -> None:
    world.connect()
    other = world.another_portal()

    world.send(message_id="same", text="one")
    world.send(message_id="same", text="two", portal=other)
    world.work()

    assert (world.row("same").text, world.row("same", other).text) == ("one", "two")
    assert world.gateway.ledger()["accepted"] == 2


def test_fault_13_a_body_older_than_its_life_is_told_as_failed_and_not_sent(world: FaultWorld) -> None:
    world.connect()
    row = world.world.row
    settings = replace(row.settings, time_to_live_s=7200)
    portals.save_settings(row.id, settings, version=row.settings_version)

    old = world.send(ts_offset_s=-3 * 3600)
    ahead = world.send(ts_offset_s=26 * 3600)  # a clock that runs ahead harms nobody
    world.work()
    world.later(6)

    assert world.status(old) == ("failed", "expired")
    assert world.told(old)[-1] == "failed"
    assert not world.taken(old)
    assert len(world.taken(ahead)) == 1
    assert world.row(ahead).expires_at <= world.world.now() + timedelta(hours=2)


@pytest.mark.parametrize("ts", ["0", "86400", "a day behind"])
def test_a_clock_that_cannot_be_right_ends_no_message(world: FaultWorld, ts: str) -> None:
    world.connect()
    behind = int(world.world.now().timestamp()) - 86_400 - 5

    sent = world.send(extra={"ts": str(behind) if ts == "a day behind" else ts})
    world.work()

    assert world.status(sent) == ("sent", "")


def test_fault_19_without_a_gateway_a_message_waits_and_ends_with_the_reason(world: FaultWorld) -> None:
    kept, late = world.send(), world.send(ts_offset_s=-23 * 3600)
    world.work()
    world.later(2 * 3600)
    world.connect()
    world.later(6)

    assert len(world.taken(kept)) == 1
    assert world.status(late) == ("failed", "expired")
    assert world.row(late).reason_text == "no_gateway"
    assert world.told(late) == ["failed"]


# --- unknown outcomes


@pytest.mark.parametrize("answer", ["reset", "hang", "close"])
def test_fault_23_a_gateway_that_drops_repeats_is_called_again(world: FaultWorld, answer: str) -> None:
    world.connect(can="repeats")
    world.gateway.behave("sandbox-key", next=1, answer=answer, hang_s=3)

    sent = world.send()
    world.work()
    assert world.status(sent) == ("unknown", "unknown")
    world.later(10)

    assert world.status(sent) == ("sent", "")
    assert len(world.taken(sent)) == 1
    assert world.gateway.ledger()["repeated"] == 1


def test_fault_23_a_gateway_that_can_be_asked_is_asked(world: FaultWorld) -> None:
    world.connect(can="look-up")
    world.gateway.behave("sandbox-key", next=1, answer="reset")

    sent = world.send()
    world.work()
    world.later(10)

    assert world.status(sent) == ("sent", "")
    assert world.gateway.ledger()["submissions"] == 1


def test_fault_23_what_the_gateway_never_took_is_sent_once_its_call_is_surely_over(world: FaultWorld) -> None:
    world.connect(can="look-up")
    world.gateway.behave("sandbox-key", next=1, answer="reset_before")

    sent = world.send()
    world.work()
    world.later(10)
    assert world.status(sent)[0] == "unknown"  # the call might still be on its way
    assert world.gateway.ledger()["submissions"] == 1
    world.later(30, steps=3)

    assert world.status(sent) == ("sent", "")
    assert len(world.taken(sent)) == 1


def test_fault_23_without_either_it_is_held_and_never_sent_again(world: FaultWorld) -> None:
    world.connect()
    world.gateway.behave("sandbox-key", next=1, answer="reset")

    sent = world.send()
    world.work()
    world.later(1800, steps=6)
    assert world.status(sent) == ("unknown", "unknown")
    assert world.told(sent) == []
    world.later(1900, steps=3)

    assert world.status(sent) == ("failed", "unknown")
    assert world.told(sent)[-1] == "failed"
    assert world.gateway.ledger()["submissions"] == 1


def test_fault_23_the_admin_may_choose_to_send_again(world: FaultWorld) -> None:
    world.connect()
    row = world.world.row

    settings = replace(row.settings, unknown_policy="resend")
    portals.save_settings(row.id, settings, version=row.settings_version)
    world.gateway.behave("sandbox-key", next=1, answer="reset")

    sent = world.send()
    world.work()
    world.later(10)

    assert [message["reference"] for message in world.taken(sent)] == [world.taken(sent)[0]["reference"]] * 2


def test_fault_24_a_report_resolves_what_the_answer_did_not(world: FaultWorld) -> None:
    world.connect()
    world.gateway.behave("sandbox-key", next=1, answer="close")
    sent = world.send()
    world.work()

    world.report(sent, "DELIVRD", "UNDELIV", "ENROUTE")
    world.later(6)

    assert world.status(sent) == ("delivered", "")
    assert world.told(sent) == ["delivered"]


def test_fault_24_a_report_at_the_very_moment_of_the_deadline_counts(
    world: FaultWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.connect()
    world.gateway.behave("sandbox-key", next=1, answer="close")
    sent = world.send()
    world.work()
    finish = messages.finish

    def finish_after_a_report(*args: Any, **options: Any) -> bool:
        world.report(sent, "ENROUTE")
        return finish(*args, **options)

    monkeypatch.setattr(messages, "finish", finish_after_a_report)
    world.later(3700, steps=3)

    assert world.status(sent) == ("sent", "")
    assert world.told(sent) == []


def test_fault_24_a_late_delivery_corrects_the_failure_that_we_told(world: FaultWorld) -> None:
    world.connect()
    world.gateway.behave("sandbox-key", next=1, answer="close")
    sent = world.send()
    world.work()
    world.later(3700, steps=3)
    assert world.told(sent)[-1] == "failed"

    world.report(sent, "DELIVRD")
    world.later(6)

    assert world.told(sent)[-1] == "delivered"


def test_fault_25_a_refused_connection_is_tried_again_and_nothing_is_unknown(world: FaultWorld) -> None:
    account = world.connect()

    with writing() as connection:
        connection.execute(
            sa.update(gateway_accounts).values(settings={**account.settings, "url": "http://127.0.0.1:9/x"})
        )
    sent = world.send()
    world.work()
    assert world.status(sent) == ("queued", "not_reached")
    world.connect()
    world.later(10)

    assert world.status(sent) == ("sent", "")
    assert "not_reached" in world.events(sent)
    nobody, somebody = world.attempts(sent)
    assert (nobody["outcome"], nobody["http_status"]) == ("not_reached", 0)
    assert "refused" in nobody["exchanges"][0].answered
    assert somebody["http_status"] == somebody["exchanges"][0].http_status == 202
    assert "reference" in somebody["exchanges"][0].asked
    shown = f"{nobody['exchanges']} {somebody['exchanges']}"
    assert world.row(sent).text not in shown
    assert world.row(sent).recipient[4:] not in shown
    assert not {"unknown", "refused"} & set(world.events(sent))


@pytest.mark.parametrize(
    "answer", ["reset", "truncated", "html", "no_id", "error_after", "error_before", "slow"]
)
def test_fault_26_an_answer_that_says_nothing_clear_is_never_repeated(world: FaultWorld, answer: str) -> None:
    world.connect()
    world.gateway.behave("sandbox-key", next=1, answer=answer, slow_s=3)

    sent = world.send()
    world.work()
    next_one = world.send()
    world.work()
    world.later(120, steps=4)

    assert world.status(sent)[0] == "unknown"
    assert world.status(next_one)[0] == "sent"
    assert world.gateway.ledger()["submissions"] == 2


def test_fault_26_an_adapter_that_fails_after_its_call_leaves_the_outcome_unknown(
    world: FaultWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = HttpGateway.submit

    def submit_and_fail(*args: Any) -> Any:
        real(*args)
        raise KeyError("a field that their answer always had")

    monkeypatch.setattr(HttpGateway, "submit", submit_and_fail)
    world.connect()

    sent = world.send()
    world.work()
    world.later(120, steps=4)

    assert world.status(sent) == ("unknown", "unknown")
    assert world.gateway.ledger()["submissions"] == 1


# --- gateways that say no


@pytest.mark.parametrize(
    ("asked", "waits_s"),
    [("60", 60), ("-5", 0), ("Thu, 01 Jan 1970 00:00:00 GMT", 0), ("soon", 0), ("999999999", 3600)],
)
def test_fault_27_a_throttled_account_waits_as_it_asked_and_others_do_not(
    world: FaultWorld, asked: str, waits_s: int
) -> None:
    world.connect()
    other = world.another_portal(key="other")
    world.gateway.behave("sandbox-key", next=1, answer="rate_limit", retry_after=asked)

    held = [world.send()]
    world.work()
    held.append(world.send())
    others = world.send(portal=other)
    world.work()
    assert world.row(others, other).status == "sent"
    if waits_s:  # else the pause is a second, and may be over
        assert [world.status(each)[0] for each in held] == ["queued", "queued"]
        world.later(waits_s - 30)
        assert world.gateway.ledger()["submissions"] == 2
    world.later(40, steps=2)

    assert [world.status(each) for each in held] == [("sent", "")] * 2


def test_fault_27_throttling_never_uses_up_the_tries_of_a_message(world: FaultWorld) -> None:
    world.connect()
    world.gateway.behave("sandbox-key", answer="rate_limit")

    sent = world.send()
    world.work()
    world.later(600, steps=20)
    world.gateway.behave("sandbox-key", answer="accept")
    world.later(60, steps=6)

    assert world.status(sent) == ("sent", "")


@pytest.mark.parametrize("bad_calls", [1, 6])
def test_fault_27_28_a_paced_account_recovers_from_bad_calls(bad_calls: int) -> None:
    """Its turns reach over many small steps of the clock, as they do in life: in a large step all of them
    pass at once, and nobody would notice that they are given out anew for ever."""
    with fault_world(breaker_s=1.0) as world:
        world.connect()
        sent = [world.send()]
        for _ in range(6):  # each halves the pace
            world.gateway.behave("sandbox-key", next=1, answer="rate_limit", retry_after="1")
            _due_messages_are_looked_at(world, after_s=3)
        world.gateway.behave("sandbox-key", next=bad_calls, answer="reset_before")
        sent += [world.send() for _ in range(12)]

        for _ in range(200):
            _due_messages_are_looked_at(world, after_s=1)
            ends = Counter(world.status(each)[0] for each in sent)
            if not ends["queued"]:
                break

        assert ends == {"sent": 13 - bad_calls, "unknown": bad_calls}


def _due_messages_are_looked_at(world: FaultWorld, *, after_s: float) -> None:
    world.world.pass_time(seconds=after_s)
    with world.world.app.app_context():
        world.world.engine.perform("submit", world.world.row.id)


def test_fault_28_a_silent_gateway_gets_one_call_at_a_time_until_it_answers() -> None:
    with fault_world(gateway_deadline_s=10.0) as world:
        world.connect()
        world.gateway.behave("sandbox-key", answer="unavailable", retry_after="")
        sent = [world.send() for _ in range(30)]
        world.work()
        before = world.gateway.ledger()["submissions"]
        assert before <= submit.WINDOW

        world.later(31)
        assert world.gateway.ledger()["submissions"] == before + 1
        world.gateway.behave("sandbox-key", answer="accept")
        world.later(120, steps=12)

        assert {world.status(each)[0] for each in sent} == {"sent"}
        assert all(len(world.taken(each)) == 1 for each in sent)


def test_fault_28_60_what_waits_for_a_silent_gateway_costs_the_others_nothing(world: FaultWorld) -> None:
    other = _silent_beside_another(world)
    sent = [world.send() for _ in range(20)]
    others = world.send(portal=other)
    calls = world.gateway.ledger()["submissions"]
    world.submit(sent[-1])
    world.submit(sent[-1])

    assert world.gateway.ledger()["submissions"] == calls
    world.work(rounds=1)
    assert world.row(others, other).status == "sent"


def test_fault_28_when_a_silent_gateway_answers_the_others_go_at_once() -> None:
    with fault_world(gateway_deadline_s=8.0) as world:
        _silent_beside_another(world)
        sent = [world.send() for _ in range(20)]
        world.gateway.behave("sandbox-key", answer="slow", slow_s=1.0)
        calls = world.gateway.ledger()["submissions"]
        world.world.pass_time(seconds=31)

        with world.sleeping_worker(sent[0]):  # one call asks, and nobody else
            world.submit(sent[1])
            assert world.gateway.ledger()["submissions"] == calls + 1
            world.gateway.behave("sandbox-key", answer="accept")
        world.later(6)

        assert {world.status(each) for each in sent} == {("sent", "")}
        assert all(len(world.taken(each)) == 1 for each in sent)


def _silent_beside_another(world: FaultWorld) -> PortalSandbox:
    """The portal's gateway was silent so often that it gets one call at a time; another portal's is well."""
    world.connect()
    other = world.another_portal(key="other")
    world.gateway.behave("sandbox-key", answer="unavailable", retry_after="")
    for _ in range(5):
        world.send()
    world.work(rounds=1)
    return other


def test_fault_28_a_silent_gateway_that_asks_for_a_pause_gets_it(world: FaultWorld) -> None:
    world.connect()
    world.gateway.behave("sandbox-key", answer="unavailable", retry_after="")
    sent = [world.send() for _ in range(8)]
    world.work()
    world.gateway.behave("sandbox-key", answer="rate_limit", retry_after="900")
    world.later(40, steps=2)
    calls = world.gateway.ledger()["submissions"]

    world.later(600, steps=15)
    assert world.gateway.ledger()["submissions"] == calls
    world.gateway.behave("sandbox-key", answer="accept")
    world.later(600, steps=15)

    assert {world.status(each) for each in sent} == {("sent", "")}


def test_fault_28_of_two_workers_that_try_a_silent_gateway_one_may(world: FaultWorld) -> None:
    world.connect()
    world.gateway.behave("sandbox-key", answer="unavailable", retry_after="")
    for _ in range(5):
        world.send()
    world.work()
    world.world.pass_time(seconds=31)
    seen_by_both = accounts.default_of(world.world.row.id)
    assert seen_by_both is not None

    now = world.world.now()
    may = [pace.begin_lone_call(seen_by_both, now=now, pause_s=30.0) for _ in range(2)]

    assert may == [True, False]


@pytest.mark.parametrize("answer", ["unauthorized", "no_money"])
def test_fault_29_a_refused_account_stops_and_goes_on_by_itself(world: FaultWorld, answer: str) -> None:
    world.connect(can="repeats")
    other = world.another_portal(key="other")
    world.gateway.behave("sandbox-key", answer=answer)
    if answer == "no_money":
        world.gateway.make_account("sandbox-key", credit=0)
    held = [world.send() for _ in range(10)]
    world.work()
    calls = world.gateway.ledger()["submissions"]
    world.later(200, steps=10)
    assert world.gateway.ledger()["submissions"] == calls == 10  # those that were open at once
    assert {world.status(each) for each in held} == {("queued", "account_stopped")}
    assert world.told(held[0]) == []
    fine = world.send(portal=other)
    world.work()
    assert world.row(fine, other).status == "sent"

    world.gateway.behave("sandbox-key", answer="accept")
    world.gateway.make_account("sandbox-key", credit=100)
    world.later(400, steps=10)

    assert {world.status(each)[0] for each in held} == {"sent"}


def test_fault_29_what_the_account_holds_ends_with_its_life_and_the_reason(world: FaultWorld) -> None:
    world.connect()
    world.gateway.behave("sandbox-key", answer="unauthorized")
    sent, *_others = [world.send() for _ in range(3)]
    world.work()

    world.later(90_000, steps=5)

    assert world.status(sent) == ("failed", "expired")
    assert world.row(sent).reason_text == "account_stopped"
    assert world.told(sent)[-1] == "failed"


def test_refusals_of_one_message_say_nothing_of_the_account(world: FaultWorld) -> None:
    """A firewall of the gateway's that dislikes one text, a country that is not enabled."""
    world.connect()
    world.gateway.behave("sandbox-key", suffix="99", answer="unauthorized")
    bad = world.send(to="+4915100000099")
    world.work()
    calls = [world.gateway.ledger()["submissions"]]
    for pause in (1.3, 5, 20, 80, 400):
        fine = world.send()
        world.later(pause)
        assert world.status(fine) == ("sent", "")
        calls.append(world.gateway.ledger()["submissions"] - len(calls))

    assert calls[-1] == 1 + world.services.timing.retry_limit  # the last one says what it is
    assert world.status(bad) == ("failed", "refused")
    assert "The key is not known." in world.row(bad).reason_text
    assert world.told(bad)[-1] == "failed"


def test_refusals_count_no_further_when_one_was_taken_in_between(world: FaultWorld) -> None:
    account = world.connect()
    world.gateway.behave("sandbox-key", suffix="99", answer="unauthorized")
    for number in range(4):
        world.send(to=f"+49151000{number:03}99")
        world.work()
        world.send()
        world.work()

    found = accounts.by_id(account.id)
    assert found is not None and found.stopped_since is None


def test_refusals_of_the_old_key_do_not_stop_the_new_settings(world: FaultWorld) -> None:
    old = world.connect()
    now = world.world.now()
    world.connect()

    stop(old, "401: the old key", probe_at=now, now=now)

    found = accounts.by_id(old.id)
    assert found is not None and found.stopped_since is None


def test_a_gateway_that_is_connected_while_a_worker_finds_none_sends_what_waits(
    world: FaultWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent, real = world.send(), claims.hold_all

    def admin_was_faster(*args: Any, **options: Any) -> Taken:
        monkeypatch.undo()
        world.connect()
        return real(*args, **options)

    monkeypatch.setattr(claims, "hold_all", admin_was_faster)
    world.work()

    assert world.status(sent) == ("sent", "")


def test_an_account_that_is_repaired_while_a_worker_finds_it_stopped_sends_what_waits(
    world: FaultWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    account, now = world.connect(), world.world.now()
    stop(account, "401", probe_at=now + timedelta(hours=1), now=now)
    sent, real = world.send(), claims.take

    def probe_was_faster(*args: Any, **options: Any) -> Taken:
        assert stops.lift(account)
        return real(*args, **options)

    monkeypatch.setattr(claims, "take", probe_was_faster)
    world.work()

    assert world.status(sent) == ("sent", "")


@pytest.mark.parametrize(
    "to",
    [
        "+491512000001,+491512000002",
        "+491512000003;491512000004",
        "+491512000001, 01512000002, 01512000003",
    ],
)
def test_several_numbers_in_one_field_are_no_delivery(world: FaultWorld, to: str) -> None:
    world.connect(reports=True)

    sent = world.send(to=to)
    world.work()
    world.later(6)

    assert world.status(sent) == ("failed", "bad_number")
    assert "several" in world.row(sent).reason_text
    assert world.told(sent) == ["failed"]
    assert world.gateway.ledger()["submissions"] == 0


def test_a_short_tail_is_an_extension(world: FaultWorld) -> None:
    world.connect(reports=True)

    sent = world.send(to="+4915120000088,12")
    world.work()

    assert world.status(sent) == ("delivered", "")


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"text": ""}, "no_text"),
        ({"text": " \n"}, "no_text"),
        ({"to": ""}, "bad_number"),
        ({"omit": ["message_to", "properties"]}, "bad_number"),
        ({"omit": ["message_body", "properties"]}, "no_text"),
    ],
)
def test_what_lacks_a_text_or_a_number_fails_and_the_portal_hears_it(
    world: FaultWorld, fields: dict[str, Any], reason: str
) -> None:
    world.connect()

    sent = world.send(**fields)
    world.work()
    world.later(6)

    assert [post["status"] for post in world.portal.message(sent)["posts"]] == [200]
    assert world.status(sent) == ("failed", reason)
    assert world.told(sent) == ["failed"]


@pytest.mark.parametrize("to", ["+449098790000", "+881612345678", "+498001234567"])
def test_numbers_that_cost_a_fortune_want_a_word(world: FaultWorld, to: str) -> None:
    world.connect()
    is_dear = not to.startswith("+49")
    refused = world.send(to=to)
    world.work()
    row = world.world.row
    portals.save_settings(row.id, replace(row.settings, expensive_numbers=True), version=row.settings_version)
    allowed = world.send(to=to)
    world.work()

    assert world.status(refused) == (("failed", "expensive") if is_dear else ("sent", ""))
    assert world.status(allowed) == ("sent", "")


def test_an_uninstallation_ends_what_waits_with_its_reason_and_a_step(world: FaultWorld) -> None:
    account, now = world.connect(), world.world.now()
    stop(account, "20003: bad key", probe_at=now + timedelta(hours=1), now=now)
    sent = world.send()
    world.work()
    assert world.row(sent).reason_text == "20003: bad key"

    messages.end_unsent(world.world.row.id, up_to=world.row(sent).id, now=now, timing=world.services.timing)

    assert world.status(sent) == ("failed", "uninstalled")
    assert world.row(sent).reason_text == ""
    assert world.events(sent)[-1] == "ended"


def test_a_late_answer_does_not_touch_the_message_that_has_its_number_now(world: FaultWorld) -> None:
    account = world.connect()
    sent = world.send()
    claim = claim_one(account, world.row(sent).id, now=world.world.now(), timing=world.services.timing)
    strangers = replace(claim, portal_id=claim.portal_id + 1)

    (recorded,) = outcomes.record(
        [Answered(strangers, Accepted(("x",)))], now=world.world.now(), timing=world.services.timing
    )

    assert not recorded.is_ours
    assert world.status(sent) == ("queued", "")


def test_fault_30_a_final_refusal_is_told_at_once_and_not_repeated(world: FaultWorld) -> None:
    world.connect()
    world.gateway.behave("sandbox-key", next=1, answer="reject")

    sent = world.send()
    world.work()
    world.later(6)

    assert world.status(sent) == ("failed", "refused")
    assert world.told(sent)[-1] == "failed"
    assert world.gateway.ledger()["submissions"] == 1


# --- our own faults


def test_fault_32_a_poison_message_becomes_a_dead_letter_and_others_go_out(
    world: FaultWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    def explode(text: str) -> object:
        if text == "poison":
            raise RuntimeError("no way")
        return measure(text)

    monkeypatch.setattr(submit, "measure", explode)
    world.connect()

    poison, fine = world.send(text="poison"), world.send()
    world.work()
    assert world.status(fine)[0] == "sent"
    world.later(2000, steps=12)

    assert world.status(poison) == ("failed", "dead_letter")
    assert world.told(poison)[-1] == "failed"


def test_fault_59_a_worker_without_memory_gives_no_message_up(
    world: FaultWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_memory(_: str) -> object:
        raise MemoryError

    world.connect()
    sent = world.send()
    with monkeypatch.context() as patch:
        patch.setattr(submit, "measure", no_memory)
        world.work()
        world.later(2000, steps=12)
    assert world.status(sent) == ("queued", "")
    world.later(60)

    assert world.status(sent) == ("sent", "")
    assert len(world.taken(sent)) == 1


def test_fault_32_the_third_worker_that_dies_of_a_message_is_the_last() -> None:
    with fault_world(retry_base_s=60.0) as world:
        world.connect(can="repeats")
        world.gateway.behave("sandbox-key", answer="hang_before", hang_s=3)
        sent = world.send()

        for _ in range(5):
            row = world.row(sent)
            if row.work != "queued":
                break
            with world.sleeping_worker(sent):
                world.lease_ends(sent)
            world.world.pass_time(seconds=301)

        assert world.gateway.ledger()["submissions"] == 3
        assert world.status(sent) == ("unknown", "dead_letter")
        world.later(3700, steps=2)
        assert world.status(sent) == ("failed", "dead_letter")


def _sleep_after_the_answer(
    world: FaultWorld,
    message_id: str,
    patch: pytest.MonkeyPatch,
    meanwhile: Callable[[], object] = lambda: None,
) -> list[object]:
    """The next submission's worker is stopped between the gateway's answer and our record of it."""
    real, seen = submit.submit_all, []

    def call(*args: object) -> object:
        answer = real(*args)  # type: ignore[arg-type]
        if not seen:
            with world.world.app.app_context():
                world.lease_ends(message_id)
                seen.append(world.status(message_id))
                meanwhile()
        return answer

    patch.setattr(submit, "submit_all", call)
    return seen


def test_fault_33_a_worker_that_slept_past_its_lease_overwrites_nothing(
    world: FaultWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.connect()
    sent = world.send()
    seen = _sleep_after_the_answer(world, sent, monkeypatch)

    world.submit(sent)

    assert seen == [("unknown", "unknown")]
    assert world.status(sent) == ("sent", "")  # its late answer counts as evidence
    world.later(120, steps=4)
    assert world.gateway.ledger()["submissions"] == 1


def test_fault_33_a_worker_that_slept_before_the_call_does_not_make_it(
    world: FaultWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.connect()
    real, slept = submit.time.monotonic, [0.0]
    monkeypatch.setattr(submit.time, "monotonic", lambda: real() + slept[0])
    outgoing = submit.Submissions._outgoing

    def sleep_then(*args: object) -> object:
        slept[0] += 60
        return outgoing(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(submit.Submissions, "_outgoing", sleep_then)
    monkeypatch.setattr(submit.Submissions, "has_due", lambda _: False)
    sent = world.send()
    world.submit(sent)

    assert world.gateway.ledger()["submissions"] == 0
    assert "given_back" in world.events(sent)
    assert world.status(sent) == ("queued", "")


def test_fault_33_a_call_that_was_never_made_answers_the_question_that_its_lease_left(
    world: FaultWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It slept so long that its lease was lost, and the outcome counts as unknown: but it knows it."""
    world.connect()
    real, slept = submit.time.monotonic, [0.0]
    monkeypatch.setattr(submit.time, "monotonic", lambda: real() + slept[0])
    outgoing = submit.Submissions._outgoing

    def sleep_then(*args: object) -> object:
        if not slept[0]:
            slept[0] += 60
            world.lease_ends(sent)
            seen.append(world.status(sent))
        return outgoing(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(submit.Submissions, "_outgoing", sleep_then)
    seen: list[tuple[str, str]] = []
    sent = world.send()
    world.submit(sent)
    world.later(10)

    assert seen == [("unknown", "unknown")]
    assert world.status(sent) == ("sent", "")
    assert len(world.taken(sent)) == 1


def test_fault_33_a_refusal_that_comes_late_puts_the_message_back(
    world: FaultWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.connect()
    world.gateway.behave("sandbox-key", next=1, answer="unavailable", retry_after="")
    sent = world.send()
    seen = _sleep_after_the_answer(world, sent, monkeypatch)

    world.submit(sent)
    world.later(10)

    assert seen == [("unknown", "unknown")]

    assert world.status(sent) == ("sent", "")
    assert len(world.taken(sent)) == 1


def test_fault_33_a_late_refusal_of_the_first_call_says_nothing_of_its_repeats(
    world: FaultWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.connect(can="repeats")
    for answer in ("reject", "close", "reject"):
        world.gateway.behave("sandbox-key", next=1, answer=answer)
    sent = world.send()

    def others_repeat_it() -> None:
        for _ in range(2):
            world.world.pass_time(seconds=300)
            world.submit(sent)

    _sleep_after_the_answer(world, sent, monkeypatch, others_repeat_it)
    world.submit(sent)

    assert world.gateway.ledger()["submissions"] == 3
    assert len(world.taken(sent)) == 1
    assert world.status(sent) == ("unknown", "unknown")
    assert world.told(sent) == []


def test_fault_33_a_late_acceptance_of_an_old_attempt_does_not_stop_a_resend(
    world: FaultWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.connect()
    sent = world.send()

    def a_person_resends_it() -> None:
        assert by_hand.resend(world.row(sent), now=world.world.now(), timing=world.services.timing)

    _sleep_after_the_answer(world, sent, monkeypatch, a_person_resends_it)
    world.submit(sent)
    world.later(10)

    assert world.status(sent) == ("sent", "")
    assert len(world.taken(sent)) == 2


def test_fault_57_a_hint_that_comes_a_moment_early_is_not_lost(world: FaultWorld) -> None:
    world.connect()
    sent = world.send()
    with writing() as connection:  # stored by a process whose clock is ahead of the worker's
        ahead = world.world.now() + timedelta(seconds=0.2)
        connection.execute(sa.update(messages_table).values(due_at=ahead))

    world.submit(sent)

    assert world.status(sent) == ("sent", "")


# --- reports


def test_fault_34_a_report_before_the_answer_is_matched(world: FaultWorld) -> None:
    world.connect(reports=True)
    world.gateway.behave("sandbox-key", reports={"early": True, "words": ["DELIVRD"], "delay_s": 0})

    sent = world.send()
    world.work()
    world.later(6)

    assert world.status(sent) == ("delivered", "")
    assert world.told(sent) == ["delivered"]


_WORDS = ("ENROUTE", "DELIVRD", "UNDELIV", "REJECTD")


@pytest.mark.parametrize("order", list(permutations(_WORDS))[:: 1 if os.environ.get("ALL_ORDERS") else 3])
def test_fault_35_any_order_of_reports_ends_in_the_same_word(
    world: FaultWorld, order: tuple[str, ...]
) -> None:
    world.connect()
    sent = world.send()
    world.work()

    for word in order:
        assert world.report(sent, word, word) == [200, 200]
        world.later(6)

    assert world.status(sent) == ("delivered", "")
    ranks = [("undelivered", "failed", "delivered").index(word) for word in dict.fromkeys(world.told(sent))]
    assert ranks == sorted(ranks)
    assert world.told(sent)[-1] == "delivered"


def test_fault_36_without_a_report_a_message_is_closed_and_no_failure_is_claimed(world: FaultWorld) -> None:
    world.connect()
    sent = world.send()
    world.work()

    world.later(4 * 86_400, steps=2)

    assert world.status(sent) == ("sent", "no_report")
    assert world.told(sent) == []


def test_fault_37_reports_for_nobody_or_of_others_change_nothing(world: FaultWorld) -> None:
    account = world.connect()
    other = world.another_portal(key="other")
    sent = world.send()
    world.work()
    reference = world.taken(sent)[0]["reference"]
    theirs = accounts.default_of(world.world.row_of(other).id)
    assert theirs is not None

    assert world.post_report(account, {"reference": "nobody", "status": "DELIVRD"}) == 200
    assert world.post_report(theirs, {"reference": reference, "status": "DELIVRD"}) == 200
    assert world.post_report(account, {"reference": reference, "status": "DELIVRD"}, secret="guess") == 404
    assert world.post_report(account, [["junk"]]) == 400
    world.later(6)

    assert world.status(sent) == ("sent", "")


def test_fault_37_many_reports_for_nobody_do_not_hide_one_that_missed_its_message(world: FaultWorld) -> None:
    account = world.connect()
    for number in range(30):
        world.post_report(account, {"reference": f"nobody-{number}", "status": "DELIVRD"})
    sent = world.send()
    world.work()
    reference = world.taken(sent)[0]["reference"]

    crossed = DeliveryReport(MessageStatus.DELIVERED, "DELIVRD", reference=reference)
    parked.park_all(account.id, [crossed], now=world.world.now())  # as if both commits had crossed
    parked.rematch_parked(now=world.world.now(), timing=world.services.timing, limit=5)

    assert world.status(sent) == ("delivered", "")


def test_fault_38_a_report_while_the_database_is_down_is_refused_and_counts_when_it_comes_again(
    world: FaultWorld,
) -> None:
    account = world.connect()
    sent = world.send()
    world.work()
    report = {"reference": world.taken(sent)[0]["reference"], "status": "DELIVRD"}

    with locked_sqlite(world.world.folder / "product.db"):
        refused = world.post_report(account, report)
    assert refused == 503
    assert world.status(sent) == ("sent", "")
    assert world.post_report(account, report) == 200
    world.later(6)

    assert world.status(sent) == ("delivered", "")
    assert world.told(sent) == ["delivered"]


# --- the resend by a person


def test_a_resend_is_a_new_attempt_and_the_portal_hears_it(world: FaultWorld) -> None:
    world.connect()
    world.gateway.behave("sandbox-key", next=1, answer="reject")
    sent = world.send()
    world.work()
    world.later(6)

    assert by_hand.resend(world.row(sent), now=world.world.now(), timing=world.services.timing)
    world.later(6)
    world.report(sent, "DELIVRD")
    world.later(6)

    told = list(dict.fromkeys(world.told(sent)))
    assert told[0] == "failed"
    assert told[-1] == "delivered"
    assert "sent" in told or "queued" in told


# --- what a person can do


def test_fault_62_after_a_restore_from_a_backup_nothing_goes_out_twice(world: FaultWorld) -> None:
    database, backup = world.world.folder / "product.db", world.world.folder / "backup.db"
    world.connect()
    sent = world.send()
    _copy(database, backup)
    world.work()
    assert len(world.taken(sent)) == 1

    _copy(backup, database)
    done = world.world.app.test_cli_runner().invoke(args=["messages", "restored"])
    world.later(600, steps=4)

    assert done.output == "1 messages count as unknown now\n"
    assert world.status(sent) == ("unknown", "unknown")
    assert len(world.taken(sent)) == 1
    member_id = world.world.row.member_id
    world.world.app.test_cli_runner().invoke(args=["messages", "resolve", member_id, sent, "delivered"])
    world.later(6)
    assert world.told(sent) == ["delivered"]


def _copy(source: Path, target: Path) -> None:
    with closing(sqlite3.connect(source)) as old, closing(sqlite3.connect(target)) as new:
        old.backup(new)


def test_an_unknown_outcome_is_resolved_by_command_and_told(world: FaultWorld) -> None:
    world.connect()
    world.gateway.behave("sandbox-key", next=1, answer="close")
    sent = world.send()
    world.work()
    member_id = world.world.row.member_id
    run = world.world.app.test_cli_runner().invoke

    resolved = run(args=["messages", "resolve", member_id, sent, "delivered", "--json"])
    again = run(args=["messages", "resolve", member_id, sent, "failed"])
    world.later(6)

    assert resolved.exit_code == 0
    assert again.exit_code != 0
    assert world.status(sent)[0] == "delivered"
    assert world.told(sent) == ["delivered"]


def test_open_questions_and_stopped_accounts_show_in_the_metrics(world: FaultWorld) -> None:
    world.connect()
    world.gateway.behave("sandbox-key", next=1, answer="close")
    world.send()
    world.work()
    world.gateway.behave("sandbox-key", answer="unauthorized")
    for _ in range(3):
        world.send()
    world.work()
    world.later(60, steps=6)

    text = world.world.app.test_client().get("/metrics", headers=MAY_SEE_METRICS).text

    assert 'sms_attention{why="unknown"} 1.0' in text
    assert 'sms_gateway_accounts_troubled{trouble="stopped"} 1.0' in text


def test_an_outcome_is_kept_while_the_database_is_down_right_after_the_call(
    world: FaultWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.connect()
    record, down = outcomes.record, [2]

    def refuses_twice(*args: Any, **kwargs: Any) -> Any:
        if down[0]:
            down[0] -= 1
            raise StoreUnavailable("down")
        return record(*args, **kwargs)

    monkeypatch.setattr(outcomes, "record", refuses_twice)
    sent = world.send()
    world.work()
    world.later(120, steps=4)

    assert world.status(sent) == ("sent", "")
    assert "unknown" not in world.events(sent)
    assert len(world.taken(sent)) == 1


def test_an_unknown_outcome_stays_with_its_gateway(world: FaultWorld) -> None:
    """The admin lets unknown outcomes be sent again, and connects another gateway meanwhile."""
    world.connect(key="first", can="repeats")
    world.gateway.behave("first", next=1, answer="close")
    sent = world.send()
    world.work(rounds=1)
    assert world.status(sent)[0] == "unknown"

    adapter = world.services.gateways.get("demo")
    assert adapter is not None
    connect(world.world.row, adapter, {}, now=world.world.now())
    world.later(120, steps=8)

    assert {attempt["gateway"] for attempt in world.attempts(sent)} == {"http"}
    assert world.status(sent)[0] == "sent"
