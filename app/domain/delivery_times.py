"""How long deliveries take: shares of many, out of how often each time was seen."""

from __future__ import annotations

from collections.abc import Mapping


def tenths_of(delivery_ms: int) -> int:
    """A time as it is counted, in tenths of a second: to two digits, so that there are few different ones."""
    tenths = delivery_ms // 100
    rounding = 1
    while tenths // rounding >= 100:
        rounding *= 10
    return tenths // rounding * rounding


def time_within(seen: Mapping[float, int], share: float) -> float | None:
    """The shortest time in seconds within which `share` (0 to 1) of all were delivered; None for none.

    `seen` is how often each time in seconds occurred.
    """
    wanted = share * sum(seen.values())
    reached = 0
    for time_s, count in sorted(seen.items()):
        reached += count
        if reached >= wanted:
            return time_s
    return None
