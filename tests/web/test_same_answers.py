"""What a stranger hears is the same for a portal that we know and for one that we do not."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import pytest

from tests.worlds.portals import PortalWorld, portal_world

STRANGER = "0" * 32
EVENTS = ("ONAPPINSTALL", "ONAPPUPDATE", "ONAPPUNINSTALL", "ONAPPPAYMENT", "ONAPPMETHODCONFIRM", "ONODD")


@pytest.fixture(scope="module")
def world() -> Iterator[PortalWorld]:
    with portal_world() as world:
        world.install()
        yield world


def heard(
    world: PortalWorld, path: str, form: dict[str, Any], **query: str
) -> tuple[int, bytes, dict[str, str]]:
    answer = world.app.test_client(use_cookies=False).post(path, data=form, query_string=query)
    return answer.status_code, answer.data.replace(STRANGER.encode(), b""), dict(answer.headers)


@pytest.mark.parametrize("event", EVENTS)
@pytest.mark.parametrize("proofs", list(itertools.product([0, 1], repeat=2)), ids=str)
def test_events_are_answered_alike(world: PortalWorld, event: str, proofs: tuple[int, int]) -> None:
    form = {"event": event, "data[LANGUAGE_ID]": "en", "ts": "1"}
    form |= {"auth[application_token]": "forged"} if proofs[0] else {}
    form |= {"auth[access_token]": "forged", "auth[domain]": "b24.example"} if proofs[1] else {}

    known = heard(world, "/events", {**form, "auth[member_id]": world.row.member_id})
    unknown = heard(world, "/events", {**form, "auth[member_id]": STRANGER})

    assert known == unknown
    assert known[0] in (200, 403)


@pytest.mark.parametrize("path", ["/install", "/app"])
def test_forged_openings_are_answered_alike(world: PortalWorld, path: str) -> None:
    form = {"AUTH_ID": "forged", "REFRESH_ID": "forged", "AUTH_EXPIRES": "3600"}
    domain = {"DOMAIN": "b24.example"}

    known = heard(world, path, {**form, "member_id": world.row.member_id}, **domain)
    unknown = heard(world, path, {**form, "member_id": STRANGER}, **domain)

    assert known == unknown
    assert known[0] == 403


def test_report_addresses_are_answered_alike(world: PortalWorld) -> None:
    """A gateway that somebody has connected, one that nobody has, and one that does not exist."""
    answers = {
        slug: heard(world, f"/reports/{slug}/forged", {"a": "b"}) for slug in ("demo", "http", "nobody")
    }

    assert answers["demo"] == answers["http"] == answers["nobody"]
    assert answers["demo"][0] == 404
