"""The life of a message under any order of events: no database, so many thousand steps."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from app.domain import life
from app.domain.life import Again, Answered, AttemptNow, Change, State
from app.domain.messages import Claim, Message, Reason, Work
from app.domain.outcomes import Accepted, DeliveryReport, Outcome, RefusalKind, Refused, Unknown
from app.domain.retry import Timing
from app.domain.status import FINAL, MessageStatus, advance

TIMING = Timing()
NOW = datetime(2026, 11, 28, 12, tzinfo=UTC)
WORDS = st.sampled_from(
    [MessageStatus.SENT, MessageStatus.DELIVERED, MessageStatus.UNDELIVERED, MessageStatus.FAILED]
)


def a_message(**values: object) -> Message:
    defaults: dict[str, object] = {
        "id": 1,
        "portal_id": 1,
        "message_id": "m",
        "origin": "portal",
        "sender_code": "sms",
        "recipient": "+4915112345678",
        "text": "Hello",
        "module_id": "",
        "bindings": (),
        "author_id": "1",
        "received_at": NOW,
        "expires_at": NOW + timedelta(days=1),
        "encoding": "gsm7",
        "segments": 1,
        "status": MessageStatus.QUEUED,
        "reason": "",
        "reason_text": "",
        "work": Work.QUEUED,
        "due_at": NOW,
        "deadline_at": None,
        "attempts": 0,
        "is_resend": False,
        "account_id": None,
        "told": None,
        "told_at": None,
        "push_due_at": None,
        "push_tries": 0,
        "body_hash": "h",
    }
    return Message(**{**defaults, **values})  # type: ignore[arg-type]


def a_state(**values: object) -> State:
    """A message as it was stored a moment ago."""
    columns: dict[str, object] = dict.fromkeys(life.COLUMNS)
    columns |= {
        "origin": "portal",
        "received_at": NOW,
        "expires_at": NOW + timedelta(days=1),
        "status": "queued",
        "reason": "",
        "reason_text": "",
        "work": "queued",
        "due_at": NOW,
        "tries": 0,
        "faults": 0,
        "polls": 0,
        "is_resend": False,
        "segments": 0,
        "push_tries": 0,
        "push_doubt": False,
    }
    return State.of({**columns, **values})


@dataclass
class Try:
    """One attempt, with what the gateway really has of it."""

    reference: str
    calls: int = 1
    outcome: str = ""
    taken: int = 0


@dataclass
class World:
    drops_repeats: bool
    tries: dict[int, Try] = field(default_factory=dict)


class Life(RuleBasedStateMachine):
    """Any number of workers at one message, each of which may sleep between any two steps."""

    @initialize(drops_repeats=st.booleans())
    def begin(self, drops_repeats: bool) -> None:
        self.world, self.now, self.state = World(drops_repeats), NOW, a_state()
        self.claims: list[Claim] = []
        self.heard: list[MessageStatus] = []
        self.pushes: list[tuple[MessageStatus, MessageStatus, datetime]] = []
        self.before = self.state.status
        self.was_resent = False

    def _take(self, change: Change | None) -> None:
        if change is not None:
            self.state = change.state

    # --- what may happen, in any order

    @precondition(lambda self: self.state.work is Work.QUEUED and self.state.due_at <= self.now)
    @rule()
    def claim(self) -> None:
        if self.now >= self.state.expires_at:
            return
        number = self.state.attempt_id
        current = self.world.tries.get(number or 0)
        if current is not None and current.outcome == "unknown":
            current.calls += 1
        else:
            number = len(self.world.tries) + 1
            current = self.world.tries[number] = Try(f"r{number}")
        current.outcome = ""
        assert number is not None
        lease = f"lease{len(self.claims)}.{self.now}"
        self.state = replace(life.claimed(self.state, lease, self.now, TIMING), attempt_id=number)
        message = a_message()
        self.claims.append(
            Claim(message, lease, number, current.reference, current.calls, self.state.tries, 1, 1)
        )

    @precondition(lambda self: self.claims)
    @rule(
        data=st.data(),
        end=st.sampled_from(
            ["accepted", "busy", "never", "too fast", "no money", "unknown", "unknown taken", "dies taken"]
        ),
    )
    def answer(self, data: st.DataObject, end: str) -> None:
        """A worker, awake or asleep until now, gets its answer. A dead one records nothing."""
        claim = self.claims.pop(data.draw(st.integers(0, len(self.claims) - 1)))
        tried = self.world.tries[claim.attempt_id]
        if end in ("accepted", "unknown taken", "dies taken"):
            tried.taken = 1 if self.world.drops_repeats else tried.taken + 1
        answers: dict[str, Outcome] = {
            "accepted": Accepted(("1",)),
            "busy": Refused(RefusalKind.TEMPORARY, "busy"),
            "never": Refused(RefusalKind.PERMANENT, "bad"),
            "too fast": Refused(RefusalKind.THROTTLE, "slow"),
            "no money": Refused(RefusalKind.CONFIG, "money"),
            "unknown": Unknown("reset"),
            "unknown taken": Unknown("reset"),
        }
        if end in answers:
            self._answered(Answered(claim, answers[end], may_repeat=self.world.drops_repeats))

    @precondition(lambda self: self.state.work is Work.SUBMITTING and self.state.due_at <= self.now)
    @rule()
    def recover(self) -> None:
        number = self.state.attempt_id
        assert number is not None and self.state.lease is not None
        tried = self.world.tries[number]
        claim = Claim(
            a_message(), self.state.lease, number, tried.reference, tried.calls, self.state.tries, 1, 1
        )
        lost = Answered(claim, Unknown("lease"), may_repeat=self.world.drops_repeats, is_fault=True)
        self._answered(lost)

    def _answered(self, answer: Answered) -> None:
        tried = self.world.tries[answer.claim.attempt_id]
        now_stands = AttemptNow(answer.claim.attempt_id, tried.calls, tried.outcome)
        change = life.answered(self.state, answer, now_stands, self.now, TIMING)
        if change is not None and change.attempt is not None:
            tried.outcome = change.attempt.outcome
        self._take(change)

    @precondition(lambda self: any(each.taken for each in self.world.tries.values()))
    @rule(data=st.data(), word=WORDS)
    def report(self, data: st.DataObject, word: MessageStatus) -> None:
        taken = sorted(number for number, each in self.world.tries.items() if each.taken)
        number = data.draw(st.sampled_from(taken))
        if self.world.tries[number].outcome == "":
            return  # it is parked until the answer is recorded
        report = DeliveryReport(word, word.value)
        is_current = number == self.state.attempt_id
        self._take(life.reported(self.state, report, word, self.now, TIMING, is_current=is_current))

    @precondition(lambda self: self.state.push_due_at is not None and self.state.push_due_at <= self.now)
    @rule()
    def begin_push(self) -> None:
        word = life.word_to_tell(self.state)
        if word is None:
            self._take(life.nothing_to_tell(self.state))
            return
        assert self.state.push_due_at is not None
        self.pushes.append((word, self.state.status, self.state.push_due_at))

    @precondition(lambda self: self.pushes)
    @rule(data=st.data(), end=st.sampled_from(["told", "dies", "not found", "fails"]))
    def end_push(self, data: st.DataObject, end: str) -> None:
        """The portal hears the words now, in whatever order the workers get to it."""
        word, status, due_at = self.pushes.pop(data.draw(st.integers(0, len(self.pushes) - 1)))
        if end in ("told", "dies"):
            self.heard.append(word)
        if end == "told":
            self._take(life.told(self.state, word, status, due_at, self.now, TIMING))
        elif end == "fails":
            later = self.now + timedelta(seconds=5)
            self._take(life.not_told(self.state, status, due_at, "busy", later))

    @precondition(lambda self: self.state.work in (Work.CLOSED, Work.WAITING))
    @rule()
    def resend(self) -> None:
        seen = a_message(status=self.state.status, work=self.state.work, reason=self.state.reason)
        if life.may_send_again(seen).answer == "yes":
            self._take(life.resent(self.state, self.now, TIMING, lifetime=timedelta(days=1)))
            self.was_resent, self.before = True, MessageStatus.QUEUED

    @precondition(lambda self: self.state.work is Work.WAITING and self.state.deadline_at <= self.now)
    @rule()
    def give_up(self) -> None:
        if self.state.status is MessageStatus.UNKNOWN:
            unknown = Reason.UNKNOWN
            self._take(life.ended(self.state, MessageStatus.FAILED, unknown, "", self.now, TIMING))
        else:
            self._take(life.no_report(self.state))

    @rule(seconds=st.sampled_from([1, 10, 31, 90, 3700]))
    def time_passes(self, seconds: int) -> None:
        self.now += timedelta(seconds=seconds)

    # --- what must stay true

    @invariant()
    def a_status_never_goes_down(self) -> None:
        if not hasattr(self, "state"):
            return
        if self.state.status.rank < self.before.rank:
            # Only from "unknown", and only when the gateway's own late word proved that it has nothing.
            assert (self.before, self.state.status) == (MessageStatus.UNKNOWN, MessageStatus.QUEUED)
        self.before = self.state.status

    @invariant()
    def nothing_is_stuck(self) -> None:
        if not hasattr(self, "state"):
            return
        assert (self.state.work is Work.CLOSED) == (self.state.due_at is None), self.state
        is_over = self.state.status in FINAL and self.state.work is Work.CLOSED
        if is_over and self.state.told is not self.state.status:
            assert self.state.push_due_at is not None, self.state

    @invariant()
    def what_is_closed_waits_for_nothing(self) -> None:
        if hasattr(self, "state") and self.state.work is Work.CLOSED:
            left = (self.state.lease, self.state.poll_at, self.state.deadline_at)
            assert left == (None, None, None), self.state

    @invariant()
    def a_claim_is_one_submission_at_most(self) -> None:
        if hasattr(self, "world") and not self.world.drops_repeats:
            assert all(each.taken <= 1 for each in self.world.tries.values())

    @invariant()
    def a_second_reference_needs_a_reason(self) -> None:
        """Without a person's word, one message is one message on a phone."""
        if hasattr(self, "world") and not self.was_resent:
            assert sum(each.taken > 0 for each in self.world.tries.values()) <= 1

    @invariant()
    def what_the_portal_shows_is_true_or_due_to_be_told(self) -> None:
        if not hasattr(self, "state"):
            return
        assert MessageStatus.UNKNOWN not in self.heard
        if self.heard and self.state.status in FINAL and self.heard[-1] is not self.state.status:
            assert self.state.push_due_at is not None or self.pushes, (self.state, self.heard)


TestLife = Life.TestCase
TestLife.settings = settings(
    max_examples=200,
    stateful_step_count=60,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)


@pytest.mark.parametrize(
    ("values", "again"),
    [
        ({"work": Work.QUEUED}, Again("no", "on_its_way")),
        ({"work": Work.SUBMITTING}, Again("no", "on_its_way")),
        ({"work": Work.HELD}, Again("no", "on_its_way")),
        ({"status": MessageStatus.FAILED, "reason": "refused"}, Again("yes")),
        ({"status": MessageStatus.FAILED, "reason": "expired"}, Again("yes")),
        ({"status": MessageStatus.UNDELIVERED, "reason": "reported"}, Again("yes")),
        ({"status": MessageStatus.FAILED, "reason": "unknown"}, Again("ask", "unknown")),
        ({"status": MessageStatus.FAILED, "reason": "dead_letter"}, Again("ask", "unknown")),
        ({"status": MessageStatus.UNKNOWN, "work": Work.WAITING}, Again("ask", "unknown")),
        ({"status": MessageStatus.SENT, "work": Work.WAITING}, Again("ask", "waiting")),
        ({"status": MessageStatus.SENT, "reason": "no_report"}, Again("ask", "no_report")),
        ({"status": MessageStatus.DELIVERED}, Again("ask", "delivered")),
        ({"status": MessageStatus.FAILED, "reason": "not_verified"}, Again("no", "not_ours")),
        ({"status": MessageStatus.FAILED, "reason": "bad_number"}, Again("no", "bad_number")),
        ({"status": MessageStatus.FAILED, "reason": "uninstalled"}, Again("no", "uninstalled")),
        ({"status": MessageStatus.FAILED, "text": ""}, Again("no", "text_removed")),
        ({"status": MessageStatus.FAILED, "recipient": ""}, Again("no", "text_removed")),
    ],
)
def test_may_it_be_sent_again(values: dict[str, object], again: Again) -> None:
    assert life.may_send_again(a_message(**{"work": Work.CLOSED, **values})) == again


def test_a_final_word_is_told_once_more_after_a_call_that_may_still_run() -> None:
    delivered = a_state(status="delivered", work="closed", due_at=None, push_due_at=NOW, push_doubt=True)
    later = NOW + timedelta(hours=1)

    first = life.told(delivered, MessageStatus.DELIVERED, MessageStatus.DELIVERED, NOW, later, TIMING).state
    assert first.push_due_at == later + timedelta(seconds=60)
    assert life.word_to_tell(first) is MessageStatus.DELIVERED
    second = life.told(first, MessageStatus.DELIVERED, MessageStatus.DELIVERED, later, later, TIMING).state

    assert second.push_due_at is None


def test_a_word_that_is_not_final_leaves_the_doubt_for_the_final_one() -> None:
    corrected = a_state(status="sent", work="waiting", told="failed", push_due_at=NOW, push_doubt=True)

    after = life.told(corrected, MessageStatus.SENT, MessageStatus.SENT, NOW, NOW, TIMING).state

    assert after.push_doubt


@pytest.mark.parametrize("order", [0, 1])
def test_the_words_of_parts_end_alike_in_any_order(order: int) -> None:
    parts = [
        life.Part(1, "a", MessageStatus.SENT, 1),
        life.Part(2, "b", MessageStatus.DELIVERED if order else MessageStatus.SENT, 1),
    ]

    word, part, reached = life.word_of_attempt(
        parts, DeliveryReport(MessageStatus.DELIVERED, "D", gateway_message_id="a")
    )

    assert part == parts[0] and reached is MessageStatus.DELIVERED
    assert word is (MessageStatus.DELIVERED if order else MessageStatus.SENT)
    assert advance(MessageStatus.SENT, word) is word
