"""What becomes of one message among many, decided without a database."""

from __future__ import annotations

import pytest

from app.domain.bulk import CHANGED, DONE, TWICE, BulkState, Deed, Kind, Room, Verdict, outcome, verdict
from app.domain.life import cancelled, why_not_cancelled
from app.domain.messages import Work
from app.domain.retry import Timing
from app.domain.status import MessageStatus
from tests.domain.test_life import NOW, a_state


def kind(status: str = "failed", work: str = "closed", reason: str = "", **more: str) -> Kind:
    values = {"text": "x", "recipient": "x", **more}
    return Kind(Work(work), MessageStatus(status), reason, values["text"], values["recipient"])


@pytest.mark.parametrize(
    ("deed", "message", "key"),
    [
        (Deed.AGAIN, kind(), "yes"),
        (Deed.AGAIN, kind("delivered"), "ask delivered"),
        (Deed.AGAIN, kind(text=""), "no text_removed"),
        (Deed.AGAIN, kind(reason="bad_number", recipient="0171"), "no bad_number"),
        (Deed.ARRIVED, kind("unknown", "waiting"), "yes"),
        (Deed.NOT_SENT, kind("unknown", "submitting"), "no not_unknown"),
        (Deed.CANCEL, kind("queued", "queued"), "yes"),
        (Deed.CANCEL, kind("unknown", "queued"), "no unknown"),
        (Deed.CANCEL, kind("sent", "waiting"), "no with_gateway"),
        (Deed.CANCEL, kind("queued", "submitting"), "no on_its_way"),
        (Deed.CANCEL, kind(), "no over"),
        (Deed.EXPORT, kind("queued", "held"), "yes"),
    ],
)
def test_each_is_asked_by_the_guard_of_the_single_message(deed: Deed, message: Kind, key: str) -> None:
    assert verdict(deed, message).key == key


def test_a_number_that_the_portals_country_mends_may_be_sent_again() -> None:
    message = kind(reason="bad_number", recipient="0171 1234567")

    assert verdict(Deed.AGAIN, message).key == "no bad_number"
    assert verdict(Deed.AGAIN, message, country="DE").key == "yes"


def test_what_waits_for_its_proof_cannot_be_cancelled() -> None:
    """It would be sent again later without one."""
    assert why_not_cancelled(kind("queued", "held")) == "not_proved"
    assert cancelled(a_state(work="held"), NOW, Timing()) is None


def test_a_cancelled_message_is_failed_and_told() -> None:
    change = cancelled(a_state(), NOW, Timing())

    assert change is not None
    after = change.state
    assert (after.status, after.work, after.reason) == ("failed", "closed", "cancelled")
    assert after.push_due_at is not None


@pytest.mark.parametrize(
    ("found", "is_changed", "is_sure", "key"),
    [
        (Verdict("yes"), False, False, DONE),
        (Verdict("yes"), True, True, CHANGED),
        (Verdict("ask", "delivered"), False, True, TWICE),
        (Verdict("ask", "delivered"), False, False, "left delivered"),
        (Verdict("no", "over"), False, True, "no over"),
    ],
)
def test_how_it_ends(found: Verdict, is_changed: bool, is_sure: bool, key: str) -> None:
    assert outcome(found, Room(1, 1), is_changed=is_changed, is_sure=is_sure) == key


def test_there_is_room_for_as_many_as_were_counted() -> None:
    room = Room.of({"yes": 2, "ask delivered": 1, "ask unknown": 1, "no over": 9}, {"done": 1, "twice": 1})

    assert [room.take("yes") for _ in range(2)] == [True, False]
    assert [room.take("ask") for _ in range(2)] == [True, False]
    assert not room.take("no")


def test_a_state_is_under_way_or_over_or_a_question() -> None:
    assert {s for s in BulkState if not (s.is_under_way or s.is_over)} == {BulkState.ASKED}
    assert not [s for s in BulkState if s.is_under_way and s.is_over]
