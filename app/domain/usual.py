"""What is usual for a portal, and what is not: fewer or later messages, and more failures."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median

WEEKS_BACK = 4  # a day is compared with the same weekdays of so many weeks
LEAST_WEEKS = 2  # so many of them must have had messages, else nothing is usual yet
MUCH_FAILING = 0.03  # of the messages that came to an end
LEAST_FAILING = 3  # one or two are chance, however few there were
LEAST_TO_MISS = 5  # usually so many by now: less can be a quiet day


def usual_by_now(days_before: Sequence[int]) -> float | None:
    """The usual number by this time of day; None where the portal has not sent for long enough.

    `days_before` are the counts of the same weekdays up to the same time of day.
    """
    if sum(count > 0 for count in days_before) < LEAST_WEEKS:
        return None
    return float(median(days_before))


def is_much_failing(failed: int, ended: int) -> bool:
    """Whether so many of those that came to an end failed that somebody should look."""
    return failed >= LEAST_FAILING and failed > MUCH_FAILING * ended


def is_silent(today: int, usual: float | None) -> bool:
    """Whether nothing came from the portal although much should have by now.

    Bitrix24 calls once and never again, so its silence is all that is seen of a fault on its side.
    """
    return today == 0 and usual is not None and usual >= LEAST_TO_MISS
