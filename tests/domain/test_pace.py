"""The pace of one account, with a clock of the test's own."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from app.domain.pace import Pace

NOW = datetime(2026, 11, 28, 12, tzinfo=UTC)


def test_without_a_rate_all_free_places_are_taken() -> None:
    pace = Pace()
    pace.took(16, NOW)

    assert pace.places(NOW, 16) == 16


def test_a_learned_rate_is_kept_over_a_minute() -> None:
    pace, now, began = Pace(), NOW, 0
    pace.learn(5.0, NOW)
    for _ in range(6000):
        places = pace.places(now, 16)
        pace.took(places, now)
        began += places
        now += timedelta(milliseconds=10)

    assert 295 <= began <= 305


def test_a_declared_rate_is_the_most_whatever_was_learned() -> None:
    for learned, declared, expected in ((None, 5.0, 5.0), (2.0, 5.0, 2.0), (50.0, 5.0, 5.0)):
        pace = Pace()
        pace.learn(learned, NOW, most_per_s=declared)
        pace.took(10, NOW)

        assert pace.wait_s(NOW) == 10 / expected


def test_a_pause_that_the_gateway_asked_for_is_kept() -> None:
    pace = Pace()
    pace.learn(100.0, NOW + timedelta(seconds=60))

    assert pace.places(NOW + timedelta(seconds=59), 16) == 0
    assert pace.wait_s(NOW) == 60
    assert pace.places(NOW + timedelta(seconds=60), 16) == 1


def test_what_was_not_used_for_long_is_not_saved_up() -> None:
    pace = Pace()
    pace.learn(10.0, NOW)

    assert pace.places(NOW + timedelta(hours=1), 16) == 2


def test_it_knows_how_fast_it_was_just_now() -> None:
    pace = Pace()
    pace.note_accepted(20, NOW)

    assert pace.accepted_per_s(NOW + timedelta(seconds=1)) == 10
    assert pace.accepted_per_s(NOW + timedelta(seconds=3)) == 0
