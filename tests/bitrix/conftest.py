"""A portal and the product, ready to meet."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.worlds.portals import PortalWorld, portal_world


@pytest.fixture
def world() -> Iterator[PortalWorld]:
    """Not installed yet."""
    with portal_world() as made:
        yield made


@pytest.fixture
def installed(world: PortalWorld) -> PortalWorld:
    """The first administrator has installed the application."""
    world.install()
    return world
