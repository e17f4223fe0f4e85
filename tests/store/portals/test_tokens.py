"""Whose tokens a portal has: administrators', few, and each once."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa
from flask import Flask

from app.store.database import statement, utcnow
from app.store.portals import tokens, turns
from app.store.tables import credentials
from tests.worlds.product import a_portal, product


@pytest.fixture(autouse=True)
def app(tmp_path: Path) -> Iterator[Flask]:
    with product(tmp_path) as app:
        yield app


def _users() -> list[str]:
    with statement() as connection:
        return sorted(connection.scalars(sa.select(credentials.c.user_id)))


def test_tokens_of_an_employee_are_never_kept() -> None:
    a_portal(user_id="1")
    portal = a_portal(user_id="2", is_admin=False)

    assert _users() == ["1"]
    assert [user for user, _ in tokens.administrators(portal.id)] == ["1"]


def test_a_portal_keeps_few_spare_tokens() -> None:
    for number in range(1, 8):
        a_portal(user_id=str(number))

    assert _users() == ["1", "5", "6", "7"]  # the one that speaks, and those who came last


def test_who_is_lost_for_good_is_never_chosen() -> None:
    for number in (1, 2, 3):
        portal = a_portal(user_id=str(number))
    users = {user: credential for credential, user in _credentials()}
    _break(users["3"])  # the one that was refreshed last

    _break(users["1"])

    service = tokens.service(portal.id)
    assert service is not None
    assert (service.user_id, service.broken) == ("2", "")


def test_one_at_a_time_refreshes_and_pushes() -> None:
    portal, now = a_portal(), utcnow()
    for claim, release in (
        (turns.claim_refresh, turns.release_refresh),
        (turns.claim_push, turns.release_push),
    ):
        lease = claim(portal.id, now=now, lease_s=30)
        assert lease is not None
        assert claim(portal.id, now=now, lease_s=30) is None

        release(portal.id, lease)

        assert claim(portal.id, now=now, lease_s=30) is not None


def _credentials() -> list[tuple[int, str]]:
    with statement() as connection:
        return [(row.id, row.user_id) for row in connection.execute(sa.select(credentials))]


def _break(credential_id: int) -> None:
    credential = tokens.by_id(credential_id)
    assert credential is not None
    tokens.mark_broken(credential, "INVALID_GRANT", now=utcnow())
