"""When to try again."""

from __future__ import annotations

import random
from datetime import timedelta


def pause_before(tries: int, *, base_s: float, cap_s: float = 3600.0, spread: float = 0.2) -> timedelta:
    """base * 4^(tries-1), at most `cap_s`, with some jitter so that crowds do not come back together."""
    pause = min(cap_s, base_s * 4.0 ** max(0, tries - 1))
    return timedelta(seconds=pause * (1 + random.uniform(0, spread)))  # noqa: S311 - jitter, not a secret
