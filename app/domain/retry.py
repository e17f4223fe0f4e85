"""When to try again, and when to stop: every pause and limit of the product in one table.

`TIMING` overrides what is in `Timing`; the rest are counts and ladders that nobody should need to change.
`docs/configuration.md` prints both, and a test compares.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from datetime import datetime, timedelta
from typing import Any


def _s(default: float, meaning: str) -> Any:
    return field(default=default, metadata={"meaning": meaning})


@dataclass(frozen=True)
class Timing:
    """Every delay in seconds, so that tests can shrink them. Set with `TIMING="lease_s=3,sweep_s=0.5"`."""

    gateway_deadline_s: float = _s(
        20.0, "One call of a gateway, from the look-up of its name to the last byte"
    )
    lease_s: float = _s(30.0, "A claim that is older has lost its worker")
    drain_s: float = _s(
        6.0,
        "A worker that hands over an account's messages and is silent for longer is taken for dead",
    )
    line_s: float = _s(
        20.0, "A process that keeps an account's line and is silent for longer is taken for dead"
    )
    look_up_s: float = _s(5.0, "After an unknown outcome, the first question to a gateway that can be asked")
    breaker_s: float = _s(
        30.0, "A gateway that five times in a row gave no sensible answer gets one call in this time"
    )
    sweep_s: float = _s(5.0, "How often the sweeper looks for what nobody looks after")
    rehint_s: float = _s(10.0, "A due row whose hint is older gets another")
    time_to_live_s: float = _s(
        86_400.0, "A message older than this is not sent any more, unless its portal has another limit"
    )
    unknown_s: float = _s(3_600.0, "An unknown outcome that nothing has resolved ends as failed")
    report_deadline_s: float = _s(3 * 86_400.0, "After that no delivery report is expected")
    parked_report_s: float = _s(3 * 86_400.0, "How long a report that fits no message is kept")
    first_push_s: float = _s(5.0, "The portal overwrites what it hears earlier")
    push_fill_s: float = _s(0.5, "How long a batch of statuses waits for more of them")
    push_repeat_s: float = _s(
        60.0, "A final status told earlier than this, or beside a call that may still run, is told once more"
    )
    push_not_found_s: float = _s(600.0, 'How long "message not found" is worth another try')
    push_give_up_s: float = _s(14 * 86_400.0, "The portal has forgotten the message")
    retry_base_s: float = _s(
        5.0, "The first pause after a refusal that may pass; then base × 4ⁿ, up to an hour"
    )
    retry_limit: int = _s(4, "How many such pauses; the refusal after the last one is for good")
    reconcile_s: float = _s(86_400.0, "How often each portal's senders are compared, spread over the day")
    account_probe_s: float = _s(300.0, "How often a stopped gateway account is asked whether it works again")
    regular_check_s: float = _s(
        21_600.0,
        "How often an account whose gateway can tell its balance is checked, spread over the time",
    )
    probe_s: float = _s(
        3_600.0,
        "How often a portal that stands badly is asked again on its first day; later daily, for 30 days",
    )
    unproved_look_s: float = _s(
        60.0, "How often at most a portal is looked at because an event says so that proves nothing"
    )
    confirm_gone_s: float = _s(
        600.0, '"The app is not there" has to be heard twice with this pause before it is believed'
    )
    portal_call_s: float = _s(15.0, "One call of a portal or of an authorization server")
    keep_alive_s: float = _s(
        60 * 86_400.0, "Tokens that nobody used for so long are refreshed, before their 180 days are over"
    )

    def span(self, name: str) -> timedelta:
        return timedelta(seconds=float(getattr(self, name)))

    @property
    def worker_patience(self) -> timedelta:
        """A sweeper that was quiet for longer is taken for dead."""
        return timedelta(seconds=self.sweep_s * 4 + 10)

    @classmethod
    def table(cls) -> list[tuple[str, float, str]]:
        """Name, default and meaning of each, for the documentation."""
        return [(each.name, each.default, each.metadata["meaning"]) for each in fields(cls)]  # type: ignore[misc]


FAULTS_TO_STOP = 3
EXCEPTIONS_TO_STOP = 5
REFUSALS_TO_STOP = 3
BAD_CALLS_TO_PAUSE = 5
LOOK_UPS_BEFORE_RESEND = 3
LATEST_CLOCK = timedelta(hours=23, minutes=30)
NOT_FOUND_PAUSES_S = (10, 30, 60, 120, 180)
LATER_POLLS_S = (600.0, 3600.0, 6 * 3600.0, 86_400.0)
LONGEST_PAUSE_S = 3600.0
LONGEST_REPEAT_S = 300.0

LIMITS: Mapping[str, tuple[str, str]] = {
    "dead workers": (f"{FAULTS_TO_STOP}", "So many workers may die at one message; then it is a dead letter"),
    "exceptions": (f"{EXCEPTIONS_TO_STOP}", "So often may a job fail at one message by a fault of ours"),
    "refused messages": (
        f"{REFUSALS_TO_STOP}",
        "So many different messages, none taken in between, stop an account whose key or money is refused",
    ),
    "bad calls": (
        f"{BAD_CALLS_TO_PAUSE}",
        "So many calls in a row without a sensible answer, and it is silent",
    ),
    "look-ups": (
        f"{LOOK_UPS_BEFORE_RESEND}",
        "So often is a gateway asked that cannot tell, before it is called again with the same reference",
    ),
    "portal's clock": (
        f"{LATEST_CLOCK / timedelta(hours=1):g} hours",
        "A call whose own time is older comes from a clock that is wrong, and that time counts for nothing",
    ),
    "message not found": (
        ", ".join(map(str, NOT_FOUND_PAUSES_S)),
        "Pauses in seconds: the portal may store a message only after it has called us",
    ),
    "polls": (
        ", ".join(f"{pause:.0f}" for pause in LATER_POLLS_S),
        "Pauses in seconds after a gateway's own first one, until the report's deadline",
    ),
    "longest pause": (f"{LONGEST_PAUSE_S:.0f}", "Seconds; also when a gateway asks for more"),
    "longest pause of a repeat": (f"{LONGEST_REPEAT_S:.0f}", "Seconds, after an unknown outcome"),
}


def pause_before(
    tries: int, *, base_s: float, cap_s: float = LONGEST_PAUSE_S, spread: float = 0.2
) -> timedelta:
    """base * 4^(tries-1), at most `cap_s`, with some jitter so that crowds do not come back together."""
    pause = min(cap_s, base_s * 4.0 ** max(0, tries - 1))
    return timedelta(seconds=pause * (1 + random.uniform(0, spread)))  # noqa: S311 - jitter, not a secret


def pause_of_look_up(asked: int, timing: Timing) -> timedelta:
    """Before the gateway is asked for an unknown outcome once more."""
    return timedelta(seconds=timing.look_up_s * 4 ** min(asked + 1, 4))


def pause_of_poll(polls: int, first_s: float) -> timedelta:
    """Before a report is fetched again: the gateway's own first pause, then ever longer ones."""
    pauses = (first_s, *(pause for pause in LATER_POLLS_S if pause > first_s))
    return timedelta(seconds=pauses[min(polls + 1, len(pauses) - 1)])


def pause_of_not_found(tries: int, timing: Timing) -> timedelta:
    """Before the portal is told again of a message that it did not know. Shrinks with the whole."""
    pause = timedelta(seconds=NOT_FOUND_PAUSES_S[min(tries, len(NOT_FOUND_PAUSES_S) - 1)])
    return pause * (timing.push_not_found_s / 600.0)


def born(now: datetime, sent_at: datetime | None) -> datetime:
    """When a message's life began: the older of both clocks counts, but one that runs ahead must not lengthen
    a life, and one that cannot be right must not end it."""
    if sent_at is None or sent_at < now - LATEST_CLOCK:
        return now
    return min(now, sent_at)
