"""Single rules of a message's life, each by what somebody would suffer without it."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from app.domain import life
from app.domain.life import State
from app.domain.messages import Claim, Reason, Work
from app.domain.outcomes import DeliveryReport, RefusalKind, Refused, Unknown
from app.domain.status import MessageStatus
from tests.domain.test_life import NOW, TIMING, a_message, a_state


def a_claim(**values: object) -> Claim:
    defaults: dict[str, object] = {
        "message": a_message(),
        "lease": "lease",
        "attempt_id": 1,
        "reference": "r1",
        "calls": 1,
        "tries": 1,
        "portal_id": 1,
        "account_id": 1,
    }
    return Claim(**{**defaults, **values})  # type: ignore[arg-type]


def submitting(**values: object) -> State:
    return a_state(**{"work": "submitting", "lease": "lease", "attempt_id": 1, "tries": 1, **values})


BUSY = Refused(RefusalKind.TEMPORARY, "busy")


def test_a_message_that_is_refused_again_and_again_fails_in_the_end() -> None:
    state, seen = a_state(), []
    for number in range(1, TIMING.retry_limit + 3):
        state = life.claimed(replace(state, attempt_id=number), "lease", NOW, TIMING)
        claim = a_claim(attempt_id=number, tries=state.tries)
        state = life.refused_later(state, claim, BUSY, NOW, TIMING).state
        seen.append(state.status)
        if state.work is Work.CLOSED:
            break

    assert seen == [MessageStatus.QUEUED] * TIMING.retry_limit + [MessageStatus.FAILED]
    assert state.reason == Reason.GAVE_UP


def test_a_call_that_did_not_come_about_is_no_refusal_at_any_step() -> None:
    nobody = Refused(RefusalKind.TEMPORARY, "not_sent", "the connection was refused")
    change = life.refused_later(submitting(), a_claim(), nobody, NOW, TIMING)
    last = life.refused_later(submitting(), a_claim(tries=TIMING.retry_limit + 1), nobody, NOW, TIMING)

    assert change.attempt is not None
    assert change.attempt.outcome == "not_reached"
    assert [step for step, _ in change.steps] == ["not_reached"]
    assert change.state.reason == last.state.reason == Reason.NOT_REACHED
    assert last.state.status is MessageStatus.FAILED


def test_a_message_that_is_put_off_says_why() -> None:
    change = life.refused_later(submitting(), a_claim(), BUSY, NOW, TIMING)

    assert change.state.reason == Reason.LATER
    assert [step for step, _ in change.steps] == ["refused"]


def test_a_number_that_lacked_its_country_may_go_when_there_is_one() -> None:
    ended = a_message(work=Work.CLOSED, status="failed", reason="bad_number", recipient="+1711234567")

    assert life.may_send_again(ended).answer == "no"
    assert life.may_send_again(ended, country="DE").answer == "yes"
    assert life.may_send_again(replace(ended, recipient="12"), country="DE").answer == "no"


def test_a_pause_never_outlives_the_message() -> None:
    late = submitting(expires_at=NOW + timedelta(seconds=30))
    slow = Refused(RefusalKind.TEMPORARY, "busy", retry_after_s=3600)

    after = life.refused_later(late, a_claim(), slow, NOW, TIMING).state

    assert after.due_at == late.expires_at


def test_a_repeat_that_is_refused_stays_an_open_question() -> None:
    """Duplicate: the gateway has it already."""
    again = submitting(status="unknown", deadline_at=NOW + timedelta(hours=1))
    refused = Refused(RefusalKind.PERMANENT, "duplicate")
    answer = life.Answered(a_claim(calls=2), refused)

    change = life.answered(again, answer, life.AttemptNow(1, 2, ""), NOW, TIMING)

    assert change is not None
    assert (change.state.status, change.state.work) == (MessageStatus.UNKNOWN, Work.WAITING)


def test_a_part_that_was_delivered_stays_so() -> None:
    parts = [life.Part(1, "a", MessageStatus.DELIVERED, 1), life.Part(2, "b", MessageStatus.DELIVERED, 1)]

    word, _, reached = life.word_of_attempt(
        parts, DeliveryReport(MessageStatus.SENT, "S", gateway_message_id="a")
    )

    assert (word, reached) == (MessageStatus.DELIVERED, MessageStatus.DELIVERED)


def test_a_report_that_fits_no_part_delivers_nothing() -> None:
    parts = [life.Part(1, "a", MessageStatus.SENT, 1), life.Part(2, "b", MessageStatus.SENT, 1)]

    def word(status: MessageStatus) -> MessageStatus:
        return life.word_of_attempt(parts, DeliveryReport(status, "x", gateway_message_id="c"))[0]

    assert word(MessageStatus.DELIVERED) is MessageStatus.SENT
    assert word(MessageStatus.FAILED) is MessageStatus.FAILED


def test_a_report_of_an_earlier_attempt_fails_no_later_one() -> None:
    resent = submitting(is_resend=True)

    def after(status: MessageStatus) -> MessageStatus:
        report = DeliveryReport(status, "x", reference="r0")
        return life.reported(resent, report, status, NOW, TIMING, is_current=False).state.status

    assert after(MessageStatus.FAILED) is MessageStatus.QUEUED
    assert after(MessageStatus.DELIVERED) is MessageStatus.DELIVERED


def test_held_messages_end_at_an_uninstall() -> None:
    after = life.uninstalled(a_state(work="held"), NOW, TIMING).state

    assert (after.work, after.status, after.reason) == (Work.CLOSED, MessageStatus.FAILED, Reason.UNINSTALLED)
    assert after.due_at is None


@pytest.mark.parametrize(
    ("values", "is_open"),
    [
        ({"status": "unknown", "work": "waiting"}, True),
        ({"status": "unknown", "work": "submitting"}, False),
        ({"status": "sent", "work": "waiting"}, False),
        ({"status": "delivered", "work": "closed"}, False),
    ],
)
def test_only_an_open_question_is_resolved(values: dict[str, object], is_open: bool) -> None:
    change = life.resolved(a_state(**values), MessageStatus.FAILED, NOW, TIMING)

    assert (change is not None) is is_open


def test_the_first_word_waits_for_the_portals_own() -> None:
    failed = life.closed(a_state(), MessageStatus.FAILED, "bad_number", "", NOW, TIMING)

    assert failed.push_due_at == NOW + TIMING.span("first_push_s")


def test_a_final_word_of_the_first_minute_is_told_once_more() -> None:
    failed = a_state(status="failed", work="closed", due_at=None, push_due_at=NOW)
    soon, later = NOW + timedelta(seconds=6), NOW + timedelta(seconds=61)

    first = life.told(failed, MessageStatus.FAILED, MessageStatus.FAILED, NOW, soon, TIMING).state
    assert first.push_due_at == NOW + timedelta(seconds=60)
    assert life.word_to_tell(first) is MessageStatus.FAILED
    second = life.told(first, MessageStatus.FAILED, MessageStatus.FAILED, later, later, TIMING).state

    assert second.push_due_at is None


def test_a_message_that_the_portal_never_knew_is_given_up() -> None:
    state = a_state(status="failed", work="closed", due_at=None, push_due_at=NOW)
    now, tries = NOW, 0
    while state.push_due_at is not None and tries < 100:
        now, tries = state.push_due_at, tries + 1
        state = life.not_found(state, MessageStatus.FAILED, state.push_due_at, now, TIMING).state

    assert state.push_due_at is None
    assert TIMING.span("push_not_found_s") <= now - NOW < 2 * TIMING.span("push_not_found_s")


def test_a_test_message_is_told_to_nobody() -> None:
    mine = life.closed(a_state(origin="test"), MessageStatus.FAILED, "bad_number", "", NOW, TIMING)

    assert mine.push_due_at is None


def test_an_answer_under_a_lost_lease_decides_nothing() -> None:
    """Another worker calls the gateway under the same reference."""
    state = submitting(lease="another", status="unknown")
    attempt = life.AttemptNow(1, 2, "")

    for outcome in (Unknown("reset"), BUSY, Refused(RefusalKind.PERMANENT, "bad")):
        assert life.answered(state, life.Answered(a_claim(), outcome), attempt, NOW, TIMING) is None


def test_a_late_refusal_of_a_first_call_settles_no_second_one() -> None:
    state = a_state(status="unknown", work="waiting", attempt_id=1, deadline_at=NOW + timedelta(hours=1))
    answer = life.Answered(a_claim(calls=1), Refused(RefusalKind.PERMANENT, "bad"))

    assert life.answered(state, answer, life.AttemptNow(1, 2, "unknown"), NOW, TIMING) is None
    settled = life.answered(state, answer, life.AttemptNow(1, 1, "unknown"), NOW, TIMING)
    assert settled is not None and settled.state.status is MessageStatus.FAILED


def test_being_too_fast_counts_as_no_try_and_the_pause_asked_for_is_kept() -> None:
    slower = Refused(RefusalKind.THROTTLE, "429", retry_after_s=120)
    answer = life.Answered(a_claim(), slower)

    change = life.answered(submitting(), answer, life.AttemptNow(1, 1, ""), NOW, TIMING)

    assert change is not None
    assert (change.state.tries, change.state.due_at) == (0, NOW + timedelta(seconds=120))


def test_what_a_report_proved_is_not_sent_again_whatever_the_answer() -> None:
    """The report came while the call was under way, and stays out of its hands until it ends."""
    report = DeliveryReport(MessageStatus.SENT, "S", reference="r1")
    during = life.reported(submitting(), report, MessageStatus.SENT, NOW, TIMING, is_current=True).state
    assert (during.work, during.lease) == (Work.SUBMITTING, "lease")

    after = life.refused_later(during, a_claim(), BUSY, NOW, TIMING).state

    assert (after.work, after.status) == (Work.WAITING, MessageStatus.SENT)


def test_an_older_word_told_late_is_corrected() -> None:
    """Another worker told the newer word meanwhile; ours may have been the last that the portal heard."""
    newer = a_state(status="delivered", told="delivered", work="closed", due_at=None)

    after = life.told(newer, MessageStatus.FAILED, MessageStatus.FAILED, NOW, NOW, TIMING).state

    assert after.push_due_at == NOW
    assert life.word_to_tell(after) is MessageStatus.DELIVERED
