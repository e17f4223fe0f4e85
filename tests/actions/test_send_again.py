"""Send again: what each door asks, and of two clicks one counts."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from app.actions.send_again import send_again
from app.domain.life import Again
from app.store.messages import by_hand
from tests.worlds.faults import FaultWorld, fault_world
from tests.worlds.fields import set_message


@pytest.fixture
def world() -> Iterator[FaultWorld]:
    with fault_world() as made:
        made.connect()
        yield made


def command(world: FaultWorld, sent: str, *options: str) -> str:
    member = world.world.row.member_id
    result = world.world.app.test_cli_runner().invoke(
        args=["messages", "resend", member, sent, *options], catch_exceptions=False
    )
    return result.output


@pytest.mark.parametrize(
    ("status", "work", "reason", "why"),
    [
        ("delivered", "closed", "", "delivered"),
        ("sent", "waiting", "", "waiting"),
        ("sent", "closed", "no_report", "no_report"),
        ("unknown", "waiting", "unknown", "unknown"),
        ("failed", "closed", "unknown", "unknown"),
    ],
)
def test_the_command_asks_what_the_page_asks(
    world: FaultWorld, status: str, work: str, reason: str, why: str
) -> None:
    sent = world.send()
    world.work()
    set_message(world.row(sent).id, status=status, work=work, reason=reason)

    without = command(world, sent)
    world.work()

    assert "--force" in without
    assert world.row(sent).attempts == 1
    assert send_again(world.services, world.row(sent), is_sure=False) == Again("ask", why)  # type: ignore[arg-type]
    assert "queued again" in command(world, sent, "--force")


@pytest.mark.parametrize("reason", ["not_verified", "uninstalled", "bad_number"])
def test_what_was_never_to_be_sent_is_not_sent_by_force(world: FaultWorld, reason: str) -> None:
    sent = world.send()
    set_message(world.row(sent).id, status="failed", work="closed", reason=reason, due_at=None)

    command(world, sent, "--force")
    world.work()

    assert world.row(sent).work == "closed"
    assert not world.taken(sent)


def test_of_two_clicks_one_sends(world: FaultWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    world.gateway.behave("sandbox-key", next=1, answer="reject")
    sent = world.send()
    world.work()
    seen, real = world.row(sent), by_hand.resend
    both = threading.Barrier(2, timeout=10)

    def slow(*args: object, **options: object) -> bool:
        if both.n_waiting or not both.broken:
            both.wait()  # both have asked whether it may be sent again
        return real(*args, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(by_hand, "resend", slow)
    answers: list[Again] = []

    def click() -> None:
        with world.world.app.app_context():
            answers.append(send_again(world.services, seen, is_sure=False))
            world.world.engine.perform("submit", seen.portal_id)

    clicks = [threading.Thread(target=click) for _ in range(2)]
    for each in clicks:
        each.start()
    for each in clicks:
        each.join()

    assert sorted(answer.answer for answer in answers) == ["no", "yes"]
    assert len(world.taken(sent)) == 1


def test_a_second_click_on_the_same_page_sends_nothing(world: FaultWorld) -> None:
    sent = world.send()
    world.work()
    set_message(world.row(sent).id, status="unknown", work="waiting", reason="unknown")
    page = world.row(sent).attempts

    first = send_again(world.services, world.row(sent), is_sure=True, seen_attempts=page)
    world.work()
    second = send_again(world.services, world.row(sent), is_sure=True, seen_attempts=page)
    world.work()

    assert (first.answer, second.answer) == ("yes", "no")
    assert len(world.taken(sent)) == 2


def test_the_first_attempt_stays_as_it_was(world: FaultWorld) -> None:
    world.gateway.behave("sandbox-key", next=1, answer="reject")
    sent = world.send()
    world.work()
    (before,) = world.attempts(sent)

    send_again(world.services, world.row(sent), is_sure=False)
    world.work()

    assert world.attempts(sent)[0] == before
    assert before["outcome"] == "refused" and before["text"]


def test_a_word_that_was_not_told_by_then_is_not_told_of_the_next_attempt(world: FaultWorld) -> None:
    world.gateway.behave("sandbox-key", next=1, answer="reject")
    sent = world.send()
    world.submit(sent)  # failed, and not told yet
    world.world.engine.hints.clear()
    world.gateway.behave("sandbox-key", next=1, answer="reset")

    send_again(world.services, world.row(sent), is_sure=False)
    world.work()
    world.later(6)

    assert world.status(sent) == ("unknown", "unknown")
    assert world.told(sent) == []


def test_unknown_is_never_told_even_when_something_is_due(world: FaultWorld) -> None:
    world.gateway.behave("sandbox-key", next=1, answer="reset")
    sent = world.send()
    world.work()
    set_message(world.row(sent).id, push_due_at=world.world.now())

    world.later(6)

    assert world.told(sent) == []
    assert world.row(sent).push_due_at is None
