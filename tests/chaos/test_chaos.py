"""Chaos in small: the same harness as `make chaos`, a minute on each of the two ways to run the product."""

from __future__ import annotations

import pytest

from tests.chaos.harness import Chaos, Plan, fingerprint, story

pytestmark = pytest.mark.timeout(300)


def test_the_same_seed_tells_the_same_story() -> None:
    plan = Plan(seed=7, kills=40)

    assert story(plan) == story(plan)
    assert fingerprint(plan) == fingerprint(Plan(seed=7, kills=40))
    assert fingerprint(plan) != fingerprint(Plan(seed=8, kills=40))
    assert sum(blow.is_kill for blow in story(plan)) == 40


@pytest.mark.slow
@pytest.mark.parametrize("scaled", [False, True], ids=["embedded", "scaled"])
def test_fault_20_22_23_24_nothing_is_lost_doubled_or_told_falsely_under_fire(scaled: bool) -> None:
    plan = Plan(
        seed=19,
        messages=160,
        kills=5,
        rate=10.0,
        scaled=scaled,
        web_workers=2 if scaled else 1,
        workers=2 if scaled else 1,
        unknown_s=25,
    )

    with Chaos(plan) as chaos:
        verdict = chaos.run()

    assert verdict.problems == [], "\n".join([*verdict.lines(), *verdict.problems])
    assert verdict.answered_200 > 100
    assert verdict.kills == 5
    assert verdict.portals == 4
    assert verdict.blows["reinstall portal"] and verdict.blows["erase portal"]
