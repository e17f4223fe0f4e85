"""The weekly summary: told once to whoever wants it, on Monday morning, and never where nothing was sent."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa

from app.domain.portals import PortalSettings
from app.domain.weeks import next_summary_at, zone_of
from app.jobs import weekly
from app.store.database import writing
from app.store.portals import portals
from app.store.tables import messages
from tests.worlds.portals import PortalWorld, portal_world

WANTED = PortalSettings(weekly_summary=True, time_zone="Europe/Berlin")
SLOWLY = timedelta(minutes=2)


@pytest.fixture(scope="module")
def bitrix24() -> Iterator[PortalWorld]:
    with portal_world() as made:
        yield made


@pytest.fixture
def world(bitrix24: PortalWorld) -> Iterator[PortalWorld]:
    """A new portal with two administrators, in the middle of a week."""
    bitrix24.portal = portal = bitrix24.portal.on(bitrix24.portal.create_portals()[0]["portal"])
    portal.configure(scope=["messageservice", "im"], bucket={"enabled": False})
    wednesday = next_summary_at(bitrix24.now(), zone_of("Europe/Berlin")) + timedelta(days=2)
    bitrix24.pass_time(seconds=(wednesday - bitrix24.now()).total_seconds())
    bitrix24.install()
    portal.open(user=2)
    yield bitrix24
    portal.clear_faults()
    bitrix24.engine.hints.clear()
    use(bitrix24, PortalSettings())


def use(world: PortalWorld, settings: PortalSettings) -> None:
    portals.save_settings(world.row.id, settings, version=world.row.settings_version, now=world.now())


def send(world: PortalWorld, **fates: int) -> None:
    """So many messages of this moment."""
    rows: list[dict[str, Any]] = [
        {
            "portal_id": world.row.id,
            "message_id": f"{status}-{number}-{world.now()}",
            "origin": "portal",
            "sender_code": "sms",
            "recipient": "+4915112345678",
            "text": "hello",
            "body_hash": "0",
            "bindings": [],
            "extra": {},
            "received_at": world.now(),
            "expires_at": world.now(),
            "status": status,
            "work": "closed",
        }
        for status, count in fates.items()
        for number in range(count)
    ]
    with writing() as connection:
        connection.execute(sa.insert(messages), rows)


def until_monday(world: PortalWorld, *, later: timedelta = SLOWLY) -> None:
    monday = next_summary_at(world.now(), zone_of("Europe/Berlin"))
    world.pass_time(seconds=(monday + later - world.now()).total_seconds())


def told(world: PortalWorld, user: int = 1) -> list[str]:
    return [entry["text"] for entry in world.portal.ledger("notice") if entry["user"] == user]


def test_a_week_is_told_once_to_every_administrator(world: PortalWorld) -> None:
    use(world, replace(WANTED, language="en"))
    send(world, delivered=1_210, failed=12, unknown=3)
    world.sweep()
    assert told(world) == []

    until_monday(world)
    for _ in range(3):
        world.sweep()
        world.pass_time(hours=1)

    words = "Last week. Messages: 1,225. Delivered: 99%. Need a look: 15."
    assert [text.partition(": ")[2] for text in told(world)] == [words]
    assert told(world) == told(world, 2)
    until_monday(world)
    world.sweep()
    assert len(told(world)) == 1  # nothing was sent since


def test_two_workers_at_the_same_moment_tell_once(world: PortalWorld) -> None:
    use(world, WANTED)
    send(world, delivered=5)
    until_monday(world)

    def tell(_: int) -> None:
        with world.app.app_context():
            weekly.tell_week(world.services, portal_id)

    portal_id = world.row.id
    with ThreadPoolExecutor(4) as threads:
        list(threads.map(tell, range(4)))

    assert len(told(world)) == 1


def test_nobody_is_told_who_does_not_want_it(world: PortalWorld) -> None:
    send(world, delivered=5)
    until_monday(world)
    world.sweep()
    assert told(world) == []

    use(world, replace(WANTED, notices="some", notice_users=("2",)))
    send(world, delivered=5)
    until_monday(world)
    world.sweep()
    assert (told(world), len(told(world, 2))) == ([], 1)

    use(world, replace(WANTED, notices="none"))
    send(world, delivered=5)
    until_monday(world)
    world.sweep()
    assert (told(world), len(told(world, 2))) == ([], 1)


def test_it_is_told_in_the_portals_language_with_its_numbers(world: PortalWorld) -> None:
    use(world, replace(WANTED, language="de"))
    send(world, delivered=1_995, failed=5)
    until_monday(world)

    world.sweep()

    [text] = told(world)
    assert "2.000" in text
    assert "99\xa0%" in text
    assert "Last week" not in text


def test_saving_the_settings_again_loses_no_summary_that_is_due(world: PortalWorld) -> None:
    use(world, WANTED)
    send(world, delivered=5)
    until_monday(world)

    use(world, replace(WANTED, theme="dark"))
    world.sweep()

    assert len(told(world)) == 1


def test_a_portal_that_is_busy_on_monday_morning_is_told_an_hour_later(world: PortalWorld) -> None:
    use(world, WANTED)
    send(world, delivered=5)
    until_monday(world)
    world.portal.add_fault(method="scope", error="QUERY_LIMIT_EXCEEDED", status=503, count=1)

    world.sweep()
    at_nine = told(world)
    world.pass_time(minutes=61)
    world.sweep()

    assert (at_nine, len(told(world))) == ([], 1)


def test_a_notice_without_an_answer_is_not_told_again(world: PortalWorld) -> None:
    use(world, WANTED)
    send(world, delivered=5)
    until_monday(world)
    world.portal.add_fault(method="im.notify.system.add", error="INTERNAL_SERVER_ERROR", status=500, count=1)

    for _ in range(3):
        world.sweep()
        world.pass_time(hours=2)

    assert len(told(world)) + len(told(world, 2)) == 1
