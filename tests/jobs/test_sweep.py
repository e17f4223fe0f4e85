"""The clock's own work goes on, whatever a clock said once, and whoever was slow."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

import pytest

from app.store import job_runs
from app.store.portals import turns
from tests.worlds.portals import PortalWorld, portal_world


@pytest.fixture
def world() -> Iterator[PortalWorld]:
    with portal_world() as made:
        made.install()
        yield made


def test_a_clock_that_was_ahead_once_stops_nothing(world: PortalWorld) -> None:
    """The machine came up a month ahead, swept, and was set right."""
    world.pass_time(days=30)
    world.sweep()
    world.pass_time(days=-30)

    message = world.message_that_fails()
    world.portal.wait_rest()
    world.engine.hints.clear()  # only the sweeper finds it now
    world.pass_time(minutes=1)
    world.sweep()
    world.sweep()

    assert world.told(message) == ["failed"]


@pytest.mark.parametrize("minutes", [2, 60 * 24 * 30])
def test_a_lease_of_a_clock_that_was_ahead_counts_as_none(world: PortalWorld, minutes: int) -> None:
    ahead = world.now() + timedelta(minutes=minutes)
    assert job_runs.claim("sweep", now=ahead, every_s=1, lease_s=10)

    assert job_runs.claim("sweep", now=world.now(), every_s=1, lease_s=10)


def test_who_was_slow_frees_only_their_own_lease(world: PortalWorld) -> None:
    now = world.now()
    slow = job_runs.claim("job", now=now, every_s=0, lease_s=5)
    later = now + timedelta(seconds=6)
    assert slow is not None
    assert job_runs.claim("job", now=later, every_s=0, lease_s=5)

    job_runs.release("job", slow)

    assert job_runs.claim("job", now=later + timedelta(seconds=1), every_s=0, lease_s=5) is None


def test_the_rights_to_push_and_to_refresh_survive_a_clock_that_was_ahead(world: PortalWorld) -> None:
    portal_id, now = world.row.id, world.now()
    ahead = now + timedelta(days=30)
    assert turns.claim_push(portal_id, now=ahead, lease_s=35)
    assert turns.claim_refresh(portal_id, now=ahead, lease_s=40)

    assert not turns.is_refreshing(portal_id, now)
    assert turns.claim_push(portal_id, now=now, lease_s=35)
    assert turns.claim_refresh(portal_id, now=now, lease_s=40)


def test_another_workers_right_to_push_is_never_given_back(world: PortalWorld) -> None:
    portal_id, now = world.row.id, world.now()
    slow = turns.claim_push(portal_id, now=now, lease_s=5)
    later = now + timedelta(seconds=6)
    assert slow is not None
    assert turns.claim_push(portal_id, now=later, lease_s=5)

    turns.release_push(portal_id, slow)

    assert turns.claim_push(portal_id, now=later + timedelta(seconds=1), lease_s=5) is None
