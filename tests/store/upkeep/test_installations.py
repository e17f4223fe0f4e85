"""The end of an installation names the one that it ends."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from flask import Flask

from app.domain.portals import PortalState
from app.domain.retry import Timing
from app.store.database import utcnow
from app.store.portals import portals
from app.store.upkeep import installations
from tests.worlds.product import a_portal, product

TIMING = Timing()


@pytest.fixture(autouse=True)
def app(tmp_path: Path) -> Iterator[Flask]:
    with product(tmp_path) as app:
        yield app


def test_who_looked_at_one_installation_ends_no_other() -> None:
    first = a_portal()
    assert installations.uninstall(first, clean=False, now=utcnow(), timing=TIMING)
    second = a_portal()

    assert not installations.uninstall(first, clean=True, now=utcnow(), timing=TIMING)

    assert portals.by_id(second.id).state is PortalState.NEW
    assert portals.handler_secret(second.id)


def test_what_is_kept_for_a_return_is_kept_for_a_month() -> None:
    portal = a_portal()
    installations.uninstall(portal, clean=False, now=utcnow(), timing=TIMING)

    assert not installations.erase_what_was_kept(portal, now=utcnow() + timedelta(days=29))
    assert installations.erase_what_was_kept(portal, now=utcnow() + timedelta(days=31))
