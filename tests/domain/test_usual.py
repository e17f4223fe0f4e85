"""What is usual for a portal, and from where on something is not."""

from __future__ import annotations

import pytest

from app.domain.usual import is_much_failing, is_silent, usual_by_now


@pytest.mark.parametrize(
    ("days_before", "usual"),
    [([], None), ([0, 0, 0, 7], None), ([0, 0, 8, 6], 3.0), ([10, 12, 900, 11], 11.5), ([1, 2], 1.5)],
)
def test_one_odd_day_does_not_make_what_is_usual(days_before: list[int], usual: float | None) -> None:
    assert usual_by_now(days_before) == usual


@pytest.mark.parametrize(
    ("failed", "ended", "is_much"),
    [
        (0, 0, False),
        (2, 2, False),
        (3, 100, False),
        (4, 100, True),
        (3, 3, True),
        (30, 1000, False),
        (31, 1000, True),
    ],
)
def test_over_three_of_a_hundred_is_much_unless_it_is_chance(failed: int, ended: int, is_much: bool) -> None:
    assert is_much_failing(failed, ended) is is_much


@pytest.mark.parametrize(
    ("today", "usual", "silent"), [(0, 5.0, True), (0, 4.5, False), (1, 500.0, False), (0, None, False)]
)
def test_silence_is_a_fault_where_messages_are_usual(today: int, usual: float | None, silent: bool) -> None:
    assert is_silent(today, usual) is silent
