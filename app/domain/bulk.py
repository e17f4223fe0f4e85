"""One deed for many messages: what may be done to each of them, and how it ended.

The question is the single message's own, asked twice: for the summary that a person agrees to, and again in
the write that does it. Never more is done than was counted, and what changed in between is left alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import assert_never

from app.domain import life
from app.domain.life import Answer, Change, Standing, State
from app.domain.messages import Work
from app.domain.retry import Timing
from app.domain.status import MessageStatus


class Deed(StrEnum):
    AGAIN = "again"
    ARRIVED = "arrived"  # an unknown outcome, as somebody found out at the gateway
    NOT_SENT = "not_sent"
    CANCEL = "cancel"
    EXPORT = "export"

    @property
    def changes(self) -> bool:
        """Whether it changes messages: then a person is asked with the counts before their eyes."""
        return self is not Deed.EXPORT


FOUND = {Deed.ARRIVED: MessageStatus.DELIVERED, Deed.NOT_SENT: MessageStatus.FAILED}


class BulkState(StrEnum):
    COUNTING = "counting"
    ASKED = "asked"  # counted; nothing happens before a person says yes
    WAITING = "waiting"  # for the jobs of its portal that came before
    RUNNING = "running"
    DONE = "done"
    STOPPED = "stopped"  # by a person
    FAILED = "failed"  # by a fault of ours, again and again
    FULL = "full"  # an export that is larger than a file may be
    ERASED = "erased"  # an export whose file went, because a number was erased on request

    @property
    def is_over(self) -> bool:
        return not self.is_under_way and self is not BulkState.ASKED

    @property
    def is_under_way(self) -> bool:
        return self in (BulkState.COUNTING, BulkState.WAITING, BulkState.RUNNING)


UNDER_WAY = tuple(state for state in BulkState if state.is_under_way)


@dataclass(frozen=True)
class Verdict:
    """Whether one message is fit for the deed: yes, only with a word that they know why not, or no."""

    answer: Answer
    why: str = ""

    @property
    def key(self) -> str:
        """How it is counted: "yes", "ask delivered", "no bad_number"."""
        return f"{self.answer} {self.why}".strip()


@dataclass(frozen=True)
class Kind:
    """Messages that are alike in all that decides. `text` only says whether there is one, and `recipient` as
    well where the number itself does not matter."""

    work: Work
    status: MessageStatus
    reason: str
    text: str
    recipient: str


def verdict(deed: Deed, message: Standing, *, country: str = "") -> Verdict:
    """The guard of the single message. `country` is the portal's for numbers without a country code."""
    match deed:
        case Deed.AGAIN:
            again = life.may_send_again(message, country=country)
            return Verdict(again.answer, again.why)
        case Deed.ARRIVED | Deed.NOT_SENT:
            return Verdict("yes") if life.may_be_resolved(message) else Verdict("no", "not_unknown")
        case Deed.CANCEL:
            why = life.why_not_cancelled(message)
            return Verdict("no", why) if why else Verdict("yes")
        case Deed.EXPORT:
            return Verdict("yes")
    assert_never(deed)


def change(
    deed: Deed, state: State, now: datetime, timing: Timing, *, lifetime: timedelta, occasion: str
) -> Change | None:
    """What the deed does to one message; None when it comes too late."""
    match deed:
        case Deed.AGAIN:
            return life.resent(state, now, timing, lifetime=lifetime, detail=occasion)
        case Deed.ARRIVED | Deed.NOT_SENT:
            return life.resolved(state, FOUND[deed], now, timing)
        case Deed.CANCEL:
            return life.cancelled(state, now, timing)
    return None


# --- how it ended, by key: "done", "twice" (done although it may arrive twice), "left <why>" (it may arrive
# twice, and nobody said that they know), "no <why>", "changed" (it is not what was counted any more)

DONE, TWICE, CHANGED = "done", "twice", "changed"


def count_of(tallies: Mapping[str, int], answer: str) -> int:
    """How many were counted with this answer, whatever the reason."""
    return sum(count for key, count in tallies.items() if key.partition(" ")[0] == answer)


@dataclass
class Room:
    """How many may still be done: as many as were counted, and not one more."""

    yes: int
    ask: int

    @classmethod
    def of(cls, counted: Mapping[str, int], results: Mapping[str, int]) -> Room:
        return cls(
            count_of(counted, "yes") - results.get(DONE, 0), count_of(counted, "ask") - results.get(TWICE, 0)
        )

    def take(self, answer: Answer) -> bool:
        if answer == "yes" and self.yes > 0:
            self.yes -= 1
            return True
        if answer == "ask" and self.ask > 0:
            self.ask -= 1
            return True
        return False


def outcome(found: Verdict, room: Room, *, is_changed: bool, is_sure: bool) -> str:
    """What becomes of one message, by key. `is_changed`: something happened to it since it was counted."""
    if is_changed:
        return CHANGED
    if found.answer == "no":
        return found.key
    if found.answer == "ask" and not is_sure:
        return f"left {found.why}"
    if not room.take(found.answer):
        return CHANGED
    return DONE if found.answer == "yes" else TWICE
