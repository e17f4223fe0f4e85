"""The life of a message: everything that may happen to it, and what that changes.

One frozen `State`, one pure function for each event. Each returns a `Change`: the state after it, the steps
for the timeline, and how the attempt ended; None where the event comes too late to mean anything. What the
portal must hear follows from the new status and is part of the state. `store` locks the row, asks here, and
writes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields, replace
from datetime import datetime, timedelta
from typing import Any, Literal, Protocol

from app.domain.messages import Claim, Reason, Work
from app.domain.numbers import Recipient, parse_recipient
from app.domain.outcomes import (
    Accepted,
    DeliveryReport,
    Exchange,
    Outcome,
    RefusalKind,
    Refused,
    Unknown,
    id_spellings,
)
from app.domain.retry import (
    EXCEPTIONS_TO_STOP,
    FAULTS_TO_STOP,
    LONGEST_PAUSE_S,
    LONGEST_REPEAT_S,
    Timing,
    pause_before,
    pause_of_not_found,
)
from app.domain.status import MessageStatus, advance, aggregate, word_for_portal

WORDS_LIMIT = 1000


@dataclass(frozen=True)
class State:
    """The columns of a message that belong together: none of them is written anywhere else."""

    origin: str
    received_at: datetime
    expires_at: datetime
    status: MessageStatus
    reason: str
    reason_text: str
    work: Work
    due_at: datetime | None
    lease: str | None
    tries: int
    faults: int
    poll_at: datetime | None
    polls: int
    deadline_at: datetime | None
    attempt_id: int | None
    is_resend: bool
    segments: int
    delivery_ms: int | None
    push_due_at: datetime | None
    push_tries: int
    push_doubt: bool
    told: MessageStatus | None
    told_at: datetime | None
    not_found_since: datetime | None

    @classmethod
    def of(cls, columns: Mapping[str, Any]) -> State:
        """From a row's columns; further ones are passed over."""
        values = {name: columns[name] for name in COLUMNS}
        values["status"] = MessageStatus(values["status"])
        values["work"] = Work(values["work"])
        values["told"] = MessageStatus(values["told"]) if values["told"] else None
        return cls(**values)

    def changed_from(self, before: State) -> dict[str, Any]:
        """What has to be written."""
        return {name: value for name in COLUMNS if (value := getattr(self, name)) != getattr(before, name)}


COLUMNS = tuple(each.name for each in fields(State))


@dataclass(frozen=True)
class AttemptEnd:
    """How one submission ended: for its row in `attempts`."""

    outcome: Literal["accepted", "refused", "not_reached", "unknown"]
    code: str = ""
    text: str = ""
    cost: str = ""
    exchanges: tuple[Exchange, ...] = ()


@dataclass(frozen=True)
class Change:
    """What an event does. `steps` are (event, detail) for the timeline."""

    state: State
    steps: tuple[tuple[str, str], ...] = ()
    attempt: AttemptEnd | None = None


@dataclass(frozen=True)
class AttemptNow:
    """The attempt of a claim as it stands, to tell a late answer's worth."""

    id: int
    calls: int
    outcome: str


# --- the pieces that several events share


def must_tell(
    state: State, status: MessageStatus, now: datetime, timing: Timing, *, is_resend: bool | None = None
) -> dict[str, Any]:
    """The columns to set beside a new status, so that the portal hears of it in time.

    The portal overwrites what it hears in its first seconds, and other words may follow at once, so telling
    waits a little; see bitrix24 contract 5.6 on both races.
    """
    if state.origin != "portal":
        return {}
    again = state.is_resend if is_resend is None else is_resend
    if word_for_portal(status, told=state.told, is_resend=again) is None:
        return {}
    due_at = max(now + timing.span("push_fill_s"), state.received_at + timing.span("first_push_s"))
    return {"push_due_at": due_at, "push_tries": 0}


_OVER: Mapping[str, Any] = {
    "work": Work.CLOSED,
    "lease": None,
    "due_at": None,
    "poll_at": None,
    "deadline_at": None,
}


def closed(
    state: State, status: MessageStatus, reason: str, text: str, now: datetime, timing: Timing
) -> State:
    """Nothing is left to do but to tell the portal; a status that was reached already is not taken back."""
    reached = advance(state.status, status)
    told = must_tell(state, reached, now, timing)
    after = replace(state, **{**_OVER, **told, "status": reached})
    return replace(after, reason=reason, reason_text=text) if reached is status else after


def waits_for_report(
    state: State, now: datetime, timing: Timing, *, poll_at: datetime | None = None
) -> State:
    """The gateway surely has it: nothing is sent again, its report or this deadline ends it."""
    deadline = now + timing.span("report_deadline_s")
    return replace(
        state,
        work=Work.WAITING,
        lease=None,
        poll_at=poll_at,
        deadline_at=deadline,
        due_at=min(filter(None, (poll_at, deadline))),
        reason=Reason.NONE,
        reason_text="",
    )


def words_of(refused: Refused) -> str:
    return f"{refused.code}: {refused.text}".strip(": ")[:WORDS_LIMIT]


def holds(state: State, claim: Claim) -> bool:
    """Whether this claim still is the one that decides."""
    return state.lease == claim.lease and state.work is Work.SUBMITTING


def is_open_question(state: State, claim: Claim, attempt: AttemptNow | None) -> bool:
    """Whether it is still unknown what came of this very call."""
    return (
        state.work is Work.WAITING
        and state.status is MessageStatus.UNKNOWN
        and attempt is not None
        and (attempt.id, attempt.calls, attempt.outcome) == (state.attempt_id, claim.calls, "unknown")
    )


def may_answer(state: State, claim: Claim, attempt: AttemptNow | None) -> bool:
    """By its lease, or because nobody did anything since that was lost."""
    return holds(state, claim) or is_open_question(state, claim, attempt)


def _settled(state: State, now: datetime, timing: Timing) -> State | None:
    """A report has told meanwhile that the gateway has the message: then nothing is sent again."""
    if state.status.is_final:
        return replace(state, **_OVER)
    return waits_for_report(state, now, timing) if state.status is MessageStatus.SENT else None


# --- submission: what becomes of a claim


def claimed(state: State, lease: str, now: datetime, timing: Timing) -> State:
    """A worker calls the gateway now; the lease's end is when somebody asks what came of it."""
    return replace(
        state,
        work=Work.SUBMITTING,
        lease=lease,
        due_at=now + timing.span("lease_s"),
        tries=state.tries + 1,
        reason=Reason.NONE,
        reason_text="",
    )


def given_back(state: State, claim: Claim, now: datetime) -> Change | None:
    """The call was never made: due again, and this try did not happen."""
    if not holds(state, claim):
        return None
    after = replace(state, work=Work.QUEUED, lease=None, due_at=now, tries=state.tries - 1)
    return Change(after, (("given_back", ""),))


def accepted(
    state: State, claim: Claim, answer: Accepted, now: datetime, timing: Timing, *, poll_s: float | None
) -> Change:
    """The gateway took it. Of a claim that was lost this is evidence all the same: the gateway has the
    message, so whoever holds the row now must not submit it again."""
    is_ours = holds(state, claim)
    end = AttemptEnd("accepted", cost=answer.cost or "")
    steps = (("accepted", " ".join(answer.ids) if is_ours else "late answer"),)
    is_current = state.attempt_id == claim.attempt_id and state.work in (Work.WAITING, Work.QUEUED)
    if not (is_ours or is_current):
        return Change(state, steps, end)
    poll_at = now + timedelta(seconds=poll_s) if poll_s is not None and answer.ids else None
    status = advance(state.status, answer.status)
    if status.is_final:  # an early report came first
        after = replace(state, **_OVER)
    else:
        after = waits_for_report(state, now, timing, poll_at=poll_at)
    after = replace(after, status=status, tries=0, faults=0, polls=0)
    after = replace(after, **must_tell(state, status, now, timing))
    return Change(replace(after, segments=answer.segments or state.segments), steps, end)


def refused_later(
    state: State,
    claim: Claim,
    refused: Refused,
    now: datetime,
    timing: Timing,
    *,
    reason: Reason = Reason.LATER,
    is_try: bool = True,
) -> Change:
    """Surely not taken: back to the queue for another try, or failed after too many.

    `is_try`: whether this one counts; being too fast is not the message's fault.
    """
    is_open = claim.calls > 1  # what an earlier call under this reference came to is still not known
    how = _end_of(refused)
    end = AttemptEnd("unknown" if is_open else how, code=refused.code, text=refused.text)
    steps = ((how, words_of(refused)),)
    if (settled := _settled(state, now, timing)) is not None:
        return Change(settled, steps, end)
    if is_try and claim.tries > timing.retry_limit and not is_open:
        # A refusal of the account that only this message meets is a refusal of this message.
        why = Reason.REFUSED if reason is Reason.ACCOUNT_STOPPED else Reason.GAVE_UP
        why = why if refused.was_called else Reason.NOT_REACHED
        return Change(closed(state, MessageStatus.FAILED, why, words_of(refused), now, timing), steps, end)
    pause = pause_before(claim.tries if is_try else 1, base_s=timing.retry_base_s)
    if refused.retry_after_s is not None:
        pause = max(pause, timedelta(seconds=min(refused.retry_after_s, LONGEST_PAUSE_S)))
    limit = state.deadline_at if is_open and state.deadline_at else state.expires_at
    after = replace(
        state,
        work=Work.QUEUED,
        lease=None,
        due_at=min(now + pause, limit),
        tries=state.tries if is_try else max(0, state.tries - 1),
        reason=Reason.NOT_REACHED if reason is Reason.LATER and not refused.was_called else reason,
        reason_text=words_of(refused),
    )
    if not is_open:  # it was unknown only while this call was
        after = replace(after, status=MessageStatus.QUEUED, deadline_at=None)
    return Change(after, steps, end)


def _end_of(refused: Refused) -> Literal["refused", "not_reached"]:
    return "refused" if refused.was_called else "not_reached"


def refused_for_good(state: State, refused: Refused, now: datetime, timing: Timing) -> Change:
    """This message never: it failed, with the gateway's words."""
    end = AttemptEnd("refused", code=refused.code, text=refused.text)
    after = closed(state, MessageStatus.FAILED, Reason.REFUSED, words_of(refused), now, timing)
    return Change(after, (("refused", words_of(refused)),), end)


def unknown(
    state: State,
    claim: Claim,
    why: str,
    now: datetime,
    timing: Timing,
    *,
    resend: bool = False,
    look_up_s: float | None = None,
    is_fault: bool = False,
) -> Change | None:
    """No clear answer, or none at all. None when somebody else wrote the outcome.

    `resend`: the gateway drops what it already has, so try again. `look_up_s`: ask the gateway after so long.
    Neither: it waits for a report until its deadline, as a second submission could send it twice.
    `is_fault`: the worker died at it; the third one is the last.
    """
    if not holds(state, claim):
        return None
    end, steps = AttemptEnd("unknown", text=why), (("unknown", why),)
    if (settled := _settled(state, now, timing)) is not None:
        return Change(settled, steps, end)
    faults = state.faults + is_fault
    is_poison = faults >= FAULTS_TO_STOP
    deadline = state.deadline_at or now + timing.span("unknown_s")
    after = replace(
        state,
        status=advance(state.status, MessageStatus.UNKNOWN),
        work=Work.WAITING,
        due_at=deadline,
        lease=None,
        deadline_at=deadline,
        polls=0,
        faults=faults,
        reason=Reason.DEAD_LETTER if is_poison else Reason.UNKNOWN,
        reason_text=why,
    )
    if look_up_s is not None and not is_poison:
        after = replace(after, due_at=min(now + timedelta(seconds=look_up_s), deadline))
    elif resend and not is_poison and now < deadline:
        again = now + pause_before(state.tries, base_s=timing.retry_base_s, cap_s=LONGEST_REPEAT_S)
        after = replace(after, work=Work.QUEUED, due_at=min(again, deadline))
    return Change(after, steps, end)


@dataclass(frozen=True)
class Answered:
    """What came of a claim, and what its gateway can do about an open question.

    `poll_s`: its reports are fetched, first after so long. `look_up_s`: it can be asked, first after so long.
    `may_repeat`: it drops what it has already, or the admin chose that. `is_fault`: no answer at all, since
    the worker stopped. `exchanges` are the calls themselves, to be shown.
    """

    claim: Claim
    outcome: Outcome
    poll_s: float | None = None
    look_up_s: float | None = None
    may_repeat: bool = False
    is_fault: bool = False
    exchanges: tuple[Exchange, ...] = ()


def answered(
    state: State, answer: Answered, attempt: AttemptNow | None, now: datetime, timing: Timing
) -> Change | None:
    """The end of a call, whatever it is; None when somebody else has decided meanwhile."""
    claim, outcome = answer.claim, answer.outcome
    if isinstance(outcome, Refused) and outcome.kind is RefusalKind.PERMANENT and claim.calls > 1:
        # After an unknown outcome a refusal may mean "I have that already": only the report can tell.
        outcome = Unknown(f"refused when repeated: {words_of(outcome)}")
    match outcome:
        case Accepted():
            return accepted(state, claim, outcome, now, timing, poll_s=answer.poll_s)
        case Unknown():
            return unknown(
                state,
                claim,
                outcome.reason,
                now,
                timing,
                resend=answer.may_repeat and answer.look_up_s is None,
                look_up_s=answer.look_up_s,
                is_fault=answer.is_fault,
            )
    if not may_answer(state, claim, attempt):
        return None
    match outcome.kind:
        case RefusalKind.PERMANENT:
            return refused_for_good(state, outcome, now, timing)
        case RefusalKind.CONFIG:
            return refused_later(state, claim, outcome, now, timing, reason=Reason.ACCOUNT_STOPPED)
        case RefusalKind.THROTTLE:
            return refused_later(state, claim, outcome, now, timing, is_try=False)
    return refused_later(state, claim, outcome, now, timing)


# --- waiting: for an answer to the question, a report, or the deadline


def asked(state: State, at: datetime, *, resend: bool) -> Change:
    """The gateway could not tell: ask once more at `at`, or try the same reference again then."""
    due_at = min(filter(None, (at, state.deadline_at)))
    work = Work.QUEUED if resend else Work.WAITING
    return Change(replace(state, work=work, due_at=due_at, polls=state.polls + 1))


def asked_no_more(state: State) -> Change:
    """The gateway cannot be asked: only a report or the deadline ends the question."""
    return Change(replace(state, due_at=state.deadline_at))


def never_taken(state: State, refused: Refused, now: datetime) -> Change:
    """The gateway, asked later, does not know our reference: nothing was sent, so it goes now."""
    after = replace(
        state,
        status=MessageStatus.QUEUED,
        work=Work.QUEUED,
        due_at=now,
        deadline_at=None,
        polls=0,
        reason=Reason.NONE,
        reason_text="",
    )
    end = AttemptEnd("refused", code=refused.code, text=refused.text)
    return Change(after, (("never_taken", words_of(refused)),), end)


def polled(state: State, at: datetime | None) -> Change | None:
    """Nothing final yet: ask again at `at`, or only wait for the deadline."""
    if state.work is not Work.WAITING:
        return None
    due_at = min(filter(None, (at, state.deadline_at)), default=None)
    return Change(replace(state, poll_at=at, polls=state.polls + 1, due_at=due_at))


def no_report(state: State) -> Change | None:
    """The gateway took it and never said more: closed as sent; a failure would be a guess."""
    if state.work is not Work.WAITING:
        return None
    after = replace(state, **{**_OVER, "reason": Reason.NO_REPORT})
    return Change(after, (("no_report", ""),))


# --- reports


@dataclass(frozen=True)
class Part:
    """One of the gateway's own ids of an attempt. `call`: which call of the attempt yielded it."""

    id: int
    gateway_message_id: str
    status: MessageStatus
    call: int


def word_of_attempt(
    parts: Iterable[Part], report: DeliveryReport
) -> tuple[MessageStatus, Part | None, MessageStatus]:
    """The word for the whole attempt once this report is in; the part that it is about, and that one's word.

    With several parts and an id that none of them has we cannot tell which one is meant, so only a bad end
    counts for the whole. A repeat after an unknown outcome may have been taken as a second message: one of
    them is enough.
    """
    assert report.status is not None
    known = list(parts)
    mine = known[0] if len(known) == 1 else None
    if len(known) > 1:
        spellings = id_spellings(report.gateway_message_id)
        same = [part for part in known if part.gateway_message_id in spellings]
        mine = min(same, key=lambda part: spellings.index(part.gateway_message_id), default=None)
    if mine is None:
        is_clear = not known or report.status is not MessageStatus.DELIVERED
        return (report.status if is_clear else MessageStatus.SENT), None, report.status
    reached = advance(mine.status, report.status)
    others = [part.status for part in known if part.call == mine.call and part.id != mine.id]
    return aggregate([reached, *others]), mine, reached


def words_of_report(report: DeliveryReport) -> str:
    return " ".join(filter(None, (report.raw_status, report.code, report.text)))


def reported(
    state: State,
    report: DeliveryReport,
    heard: MessageStatus,
    now: datetime,
    timing: Timing,
    *,
    is_current: bool,
) -> Change:
    """The gateway's word on an attempt. An earlier attempt's bad end says nothing of this one; its delivery
    is a delivery."""
    words = words_of_report(report)
    steps = (("report", f"{report.status}: {words}"),)
    status = advance(state.status, heard)
    if status is state.status or (not is_current and heard is not MessageStatus.DELIVERED):
        return Change(state, steps)
    after = replace(state, **{"status": status, **must_tell(state, status, now, timing)})
    if status is MessageStatus.DELIVERED and not state.is_resend:
        after = replace(after, delivery_ms=max(0, (now - state.received_at) // timedelta(milliseconds=1)))
    if status.is_final:
        bad = status is not MessageStatus.DELIVERED
        after = replace(after, reason=Reason.REPORTED if bad else "", reason_text=words if bad else "")
    if state.work is not Work.SUBMITTING:  # a call in flight writes its own end
        after = _after_report(after, now, timing)
    return Change(after, steps)


def _after_report(state: State, now: datetime, timing: Timing) -> State:
    if state.status.is_final:
        return replace(state, **_OVER)
    if state.work is Work.CLOSED:
        return state
    # The report proves that the gateway has the message: no second submission, wait for the end.
    return waits_for_report(state, now, timing, poll_at=state.poll_at)


# --- not now, and not at all


def put_off(state: State, reason: Reason, text: str, until: datetime) -> Change | None:
    """Not now: there is no gateway, or a stopped account. It stays queued and says why."""
    if state.work is not Work.QUEUED:
        return None
    return Change(replace(state, due_at=until, reason=reason, reason_text=text))


def woken(state: State, now: datetime) -> Change:
    """What it waited for is there: due again, with all its tries."""
    return Change(replace(state, due_at=now, tries=0, reason=Reason.NONE, reason_text=""))


def not_repeated(state: State) -> Change | None:
    """An unknown outcome that must not be repeated any more: only a report or the deadline ends it."""
    if state.work is not Work.QUEUED:
        return None
    return Change(replace(state, work=Work.WAITING, due_at=state.deadline_at, reason=Reason.UNKNOWN))


def failed_by_us(state: State, why: str, now: datetime, timing: Timing) -> Change | None:
    """A job failed at it by an error of ours: tried again some times, then it is a dead letter."""
    if state.work not in (Work.QUEUED, Work.HELD, Work.WAITING):
        return None
    faults = state.faults + 1
    if faults < EXCEPTIONS_TO_STOP:
        pause = pause_before(faults, base_s=timing.retry_base_s)
        return Change(replace(state, faults=faults, due_at=now + pause))
    steps = (("dead_letter", why),)
    if state.status in (MessageStatus.QUEUED, MessageStatus.UNKNOWN):
        after = closed(state, MessageStatus.FAILED, Reason.DEAD_LETTER, why, now, timing)
    else:  # the gateway has it; only our looking after it fails
        after = replace(state, **{**_OVER, "reason": Reason.DEAD_LETTER, "reason_text": why})
    return Change(after, steps)


def ended(
    state: State, status: MessageStatus, reason: Reason, text: str, now: datetime, timing: Timing
) -> Change:
    """By our own decision."""
    return Change(closed(state, status, reason, text, now, timing), (("ended", reason),))


def verified(state: State, now: datetime) -> Change | None:
    """The call was the portal's after all: the message goes out."""
    if state.work is not Work.HELD:
        return None
    return Change(replace(state, work=Work.QUEUED, due_at=now), (("verified", ""),))


def uninstalled(state: State, now: datetime, timing: Timing) -> Change:
    """The app was removed: what was not submitted is over. The portal shows it as sent, and hears the truth
    when the app comes back in time."""
    if state.work not in (Work.QUEUED, Work.HELD):
        return Change(state)
    if state.status is MessageStatus.UNKNOWN:  # the gateway may have it; only its repeat is over
        return Change(replace(state, work=Work.WAITING, due_at=state.deadline_at))
    after = closed(state, MessageStatus.FAILED, Reason.UNINSTALLED, "", now, timing)
    return Change(after, (("ended", Reason.UNINSTALLED),))


def erased(state: State, now: datetime, timing: Timing) -> Change:
    """Its number is removed on request: nothing more is done outward but to tell the portal how it ended."""
    silent = replace(state, reason_text="")
    if state.work not in (Work.HELD, Work.QUEUED, Work.WAITING):
        return Change(silent)
    steps = (("erased", ""),)
    if state.status is MessageStatus.QUEUED:
        return Change(closed(silent, MessageStatus.FAILED, Reason.ERASED, "", now, timing), steps)
    if state.status is not MessageStatus.UNKNOWN:
        return Change(silent, steps)
    # To ask for it, or to repeat it, takes the number: only a report or the deadline ends it now.
    deadline = state.deadline_at or now + timing.span("unknown_s")
    return Change(replace(silent, work=Work.WAITING, due_at=deadline, deadline_at=deadline), steps)


def restored(state: State, why: str, now: datetime, timing: Timing) -> Change:
    """It was still to be submitted when the backup was made: the gateway may have it under a reference that
    the backup never saw, so it waits for a person's word for as long as a message lives."""
    deadline = now + timing.span("time_to_live_s")
    after = replace(
        state,
        status=MessageStatus.UNKNOWN,
        work=Work.WAITING,
        lease=None,
        due_at=deadline,
        deadline_at=deadline,
        reason=Reason.UNKNOWN,
        reason_text=why,
    )
    return Change(after, (("unknown", why),))


# --- by a person


Answer = Literal["yes", "ask", "no"]
AgainWhy = Literal[
    "",
    "unknown",  # ask: it may have been sent
    "no_report",  # ask: it was taken, and nobody said what became of it
    "waiting",  # ask: it was taken, and its report may still come
    "delivered",  # ask: the recipient has it
    "on_its_way",  # no: wait for its outcome
    "text_removed",
    "not_ours",  # no: it was never the portal's
    "uninstalled",
    "bad_number",
]


@dataclass(frozen=True)
class Again:
    """Whether a message may be sent again: yes, only when a person says that they know why not, or no."""

    answer: Answer
    why: AgainWhy = ""


_NEVER_AGAIN: Mapping[str, AgainWhy] = {
    Reason.NOT_VERIFIED: "not_ours",
    Reason.UNINSTALLED: "uninstalled",
    Reason.BAD_NUMBER: "bad_number",
}


_MAY_BE_OUT = (Reason.UNKNOWN, Reason.DEAD_LETTER, Reason.DEAD_ENDED)


class Standing(Protocol):
    """What of a message decides what a person may do with it: of one message, or of many that are alike."""

    @property
    def work(self) -> Work: ...
    @property
    def status(self) -> MessageStatus: ...
    @property
    def reason(self) -> str: ...
    @property
    def text(self) -> str: ...
    @property
    def recipient(self) -> str: ...


def may_send_again(message: Standing, *, country: str = "") -> Again:
    """The one question before a resend, for every door: page, command and whatever comes.

    `country` is the portal's for numbers without a country code: it may have been chosen since.
    """
    if message.work in (Work.HELD, Work.QUEUED, Work.SUBMITTING):
        return Again("no", "on_its_way")
    is_mended = message.reason == Reason.BAD_NUMBER and bool(country) and _is_number(message, country)
    if message.reason in _NEVER_AGAIN and not is_mended:
        return Again("no", _NEVER_AGAIN[message.reason])
    if not message.text or not message.recipient:
        return Again("no", "text_removed")
    if message.status is MessageStatus.DELIVERED:
        return Again("ask", "delivered")
    if message.status is MessageStatus.UNKNOWN or message.reason in _MAY_BE_OUT:
        return Again("ask", "unknown")
    if message.status is MessageStatus.SENT:
        return Again("ask", "no_report" if message.work is Work.CLOSED else "waiting")
    return Again("yes")


def _is_number(message: Standing, country: str) -> bool:
    return isinstance(parse_recipient(message.recipient, default_country=country), Recipient)


def resent(state: State, now: datetime, timing: Timing, *, lifetime: timedelta, detail: str = "") -> Change:
    """A person wants it sent again: a new attempt with a fresh ladder. The attempts before stay as they were,
    and a word about them that the portal has not heard by now is not worth telling any more.

    `detail` says on which occasion, for the timeline.
    """
    after = replace(
        state,
        status=MessageStatus.QUEUED,
        reason=Reason.NONE,
        reason_text="",
        work=Work.QUEUED,
        lease=None,
        due_at=now,
        tries=0,
        polls=0,
        poll_at=None,
        deadline_at=None,
        attempt_id=None,
        faults=0,
        is_resend=True,
        expires_at=now + lifetime,
        push_due_at=None,
    )
    if state.told is not None:
        after = replace(after, **must_tell(state, MessageStatus.QUEUED, now, timing, is_resend=True))
    return Change(after, (("resend", detail),))


def may_be_resolved(message: Standing) -> bool:
    """Whether it is for a person to find out what became of it."""
    return message.status is MessageStatus.UNKNOWN and message.work is not Work.SUBMITTING


def dead_ended(state: State, now: datetime, timing: Timing) -> Change | None:
    """The operator has seen to a dead letter: it is over, and nobody has to look at it any more."""
    if state.reason != Reason.DEAD_LETTER:
        return None
    if state.work is Work.CLOSED:
        after = replace(state, reason=Reason.DEAD_ENDED)
    else:  # a poison whose outcome is unknown
        after = closed(state, MessageStatus.FAILED, Reason.DEAD_ENDED, state.reason_text, now, timing)
    return Change(after, (("dead_ended", ""),))


def resolved(state: State, status: MessageStatus, now: datetime, timing: Timing) -> Change | None:
    """A person found out what became of an unknown outcome."""
    if state.status is not MessageStatus.UNKNOWN or state.work is Work.SUBMITTING:
        return None
    steps = (("resolved", status.value),)
    if status.is_final:
        return Change(closed(state, status, Reason.NONE, "resolved by hand", now, timing), steps)
    after = replace(waits_for_report(state, now, timing), status=status)
    return Change(replace(after, **must_tell(state, status, now, timing)), steps)


WhyNotCancelled = Literal[
    "",
    "over",
    "unknown",  # the gateway may have it
    "on_its_way",
    "with_gateway",
    "not_proved",  # it waits for the proof that it is the portal's: sent again later, it would go without one
]


def why_not_cancelled(message: Standing) -> WhyNotCancelled:
    """Why a message cannot be cancelled; empty: it waits with us, and surely is nowhere else."""
    if message.work is Work.CLOSED:
        return "over"
    if message.status is MessageStatus.UNKNOWN:
        return "unknown"
    if message.work is Work.HELD:
        return "not_proved"
    if message.work is Work.SUBMITTING:
        return "on_its_way"
    is_here = message.work is Work.QUEUED and message.status is MessageStatus.QUEUED
    return "" if is_here else "with_gateway"


def cancelled(state: State, now: datetime, timing: Timing) -> Change | None:
    """A person does not want it sent any more. None when it is not with us alone."""
    if state.work is not Work.QUEUED or state.status is not MessageStatus.QUEUED:
        return None
    return ended(state, MessageStatus.FAILED, Reason.CANCELLED, "", now, timing)


# --- telling the portal


def word_to_tell(state: State) -> MessageStatus | None:
    """What the portal hears when it is told now; None when there is nothing that it may hear.

    A due word that was told already is the repeat of a final word that was told very early, or beside a call
    of which nobody knows when it ran.
    """
    word = word_for_portal(state.status, told=state.told, is_resend=state.is_resend)
    if word is not None:
        return word
    return state.told if state.told is state.status and state.status.is_final else None


def _after_push(
    state: State, told_of: MessageStatus, seen_due_at: datetime, next_due: datetime | None
) -> State:
    """A status that changed while we told the old one is due, also when another worker has told the new one
    meanwhile: ours may have been the last that the portal heard."""
    if state.status is told_of:
        return replace(state, push_due_at=next_due)
    return replace(state, push_due_at=state.push_due_at or seen_due_at)


def told(
    state: State,
    word: MessageStatus,
    told_of: MessageStatus,
    seen_due_at: datetime,
    now: datetime,
    timing: Timing,
) -> Change:
    """The portal heard `word`. A final one is told once more when it was told in the first minute, or when
    an earlier call may have run after it."""
    minute = state.received_at + timing.span("push_repeat_s")
    again: datetime | None = None
    if word.is_final and now < minute:
        again = minute
    elif word.is_final and state.push_doubt:
        again = now + timing.span("push_repeat_s")
    after = _after_push(state, told_of, seen_due_at, again)
    after = replace(
        after,
        told=word,
        told_at=now,
        not_found_since=None,
        push_tries=0,
        push_doubt=state.push_doubt and not word.is_final,
    )
    return Change(after, (("told", word),))


def nothing_to_tell(state: State) -> Change:
    """It was due for a word that the portal must not hear."""
    return Change(replace(state, push_due_at=None))


def not_answered(state: State) -> Change:
    """The portal did not answer: the word may still be carried out there, after a newer one."""
    return Change(replace(state, push_doubt=True))


def not_found(
    state: State, told_of: MessageStatus, seen_due_at: datetime, now: datetime, timing: Timing
) -> Change:
    """The portal does not know the message: not yet, or not any more. Tried for some minutes, no longer."""
    since = state.not_found_since or now
    if now - since >= timing.span("push_not_found_s"):
        why = "the portal does not know this message"
        return Change(_after_push(state, told_of, seen_due_at, None), (("not_told", why),))
    next_try = now + pause_of_not_found(state.push_tries, timing)
    after = _after_push(state, told_of, seen_due_at, next_try)
    return Change(replace(after, not_found_since=since, push_tries=state.push_tries + 1))


def not_told(
    state: State, told_of: MessageStatus, seen_due_at: datetime, why: str, next_try: datetime | None
) -> Change:
    """This one could not be told: again at `next_try`, or never."""
    after = _after_push(state, told_of, seen_due_at, next_try)
    after = replace(after, push_tries=state.push_tries + 1)
    return Change(after, () if next_try else (("not_told", why),))
