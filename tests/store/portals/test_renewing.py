"""Renewed secrets of addresses: the new one works at once, the old one for a day more, and then no more."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from app.domain.portals import PortalState
from app.gateway_accounts import connect
from app.services import Services
from app.store.accounts import accounts
from app.store.database import statement
from app.store.portals import portals, renewing
from app.store.tables import old_secrets
from app.store.upkeep import rotation
from app.transport import HttpAnswer
from app.web.calls import known
from tests.worlds.portals import PortalWorld, portal_world


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> Iterator[PortalWorld]:
    monkeypatch.setattr(known, "KNOWN_S", 0.0)  # no call is answered from memory
    with portal_world() as world:
        world.install()
        yield world


def call(world: PortalWorld, secret: str, message_id: str = "m1") -> int:
    """A HANDLER call as any holder of the address can make one."""
    body = {"message_id": message_id, "message_to": "+4915112345678", "message_body": "Hello", "code": "sms"}
    return world.app.test_client().post(f"/sms/{secret}", data=body).status_code


def run(world: PortalWorld, *args: str) -> Any:
    result = world.app.test_cli_runner().invoke(args=[*args, "--json"])
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def handlers_in_the_portal(world: PortalWorld) -> set[str]:
    return {sender["handler"] for sender in world.portal.senders()}


def test_the_portal_gets_the_new_address_and_the_old_one_is_good_for_a_day(world: PortalWorld) -> None:
    portal = world.row
    old = portals.handler_secret(portal.id)

    run(world, "senders", "renew-address", portal.member_id)

    new = portals.handler_secret(portal.id)
    assert new != old
    assert handlers_in_the_portal(world) == {world.services.handler_url(new)}
    assert (call(world, new, "m1"), call(world, old, "m2")) == (200, 200)
    world.pass_time(hours=23, minutes=59)
    assert (call(world, new, "m3"), call(world, old, "m4")) == (200, 200)
    world.pass_time(minutes=2)
    assert (call(world, new, "m5"), call(world, old, "m6")) == (200, 404)


def test_an_old_address_stays_good_while_the_portal_does_not_have_the_new_one(world: PortalWorld) -> None:
    portal = world.row
    old = portals.handler_secret(portal.id)
    renewing.renew_handler(portal, now=world.now())  # and nobody tells the portal

    world.pass_time(hours=48)
    assert call(world, old, "m1") == 200
    world.sweep()

    assert handlers_in_the_portal(world) == {world.services.handler_url(portals.handler_secret(portal.id))}
    world.pass_time(hours=23)
    assert call(world, old, "m2") == 200
    world.pass_time(hours=2)
    assert call(world, old, "m3") == 404


def test_every_renewal_leaves_its_own_day(world: PortalWorld) -> None:
    portal, secrets = world.row, []
    for _ in range(3):
        secrets.append(portals.handler_secret(portal.id))
        run(world, "senders", "renew-address", portal.member_id)
        world.pass_time(hours=10)

    assert [call(world, secret, secret[:8]) for secret in secrets] == [404, 200, 200]


def test_no_old_address_outlives_the_installation(world: PortalWorld) -> None:
    portal = world.row
    old = portals.handler_secret(portal.id)
    renewing.renew_handler(portal, now=world.now())

    world.portal.uninstall(clean=False)
    world.portal.wait_rest()
    world.sweep()
    assert world.row.state is PortalState.UNINSTALLED

    assert call(world, old) == 404
    with statement() as connection:
        assert connection.execute(old_secrets.select()).all() == []


def test_an_old_address_survives_a_change_of_the_keys(world: PortalWorld) -> None:
    portal = world.row
    old = portals.handler_secret(portal.id)
    renewing.renew_handler(portal, now=world.now())

    assert rotation.rotate_keys()["old_secrets"] == 1

    assert call(world, old) == 200


def test_a_report_address_is_renewed_and_the_old_one_is_good_for_a_day(world: PortalWorld) -> None:
    portal = world.row
    adapter = world.services.gateways.get("demo")
    assert adapter is not None
    account = connect(portal, adapter, {}, now=world.now())
    old = account.report_secret

    url = run(world, "gateways", "renew-address", portal.member_id)["report_url"]

    new = url.rpartition("/")[2]
    renewed = accounts.default_of(portal.id)
    assert renewed is not None
    assert new == renewed.report_secret != old
    client = world.app.test_client()

    def answers() -> list[int]:
        """400 is what junk gets at an address that is good."""
        return [client.post(f"/reports/demo/{secret}", data=b"junk").status_code for secret in (new, old)]

    assert answers() == [400, 400]
    world.pass_time(hours=25)
    assert answers() == [400, 404]
    assert client.post(f"/reports/http/{new}", data=b"junk").status_code == 404


class _Callbacks:
    """The callbacks of an account at SMS.ru."""

    def __init__(self) -> None:
        self.urls = ["https://other.example/x"]

    def request(self, method: str, url: str, **more: Any) -> HttpAnswer:
        deed, given = url.rpartition("/")[2], more["data"].get("url", "")
        if deed == "add":
            self.urls.append(given)
        if deed == "del":
            self.urls.remove(given)
        body = {"status": "OK", "status_code": 100, "callback": self.urls}
        return HttpAnswer(200, {"Content-Type": "application/json"}, json.dumps(body).encode())


def test_a_gateway_that_is_told_where_to_report_is_told_the_new_address_and_forgets_the_old(
    world: PortalWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    vendor = _Callbacks()
    monkeypatch.setattr(Services, "gateway_http", lambda *_: vendor)
    old = run(world, "gateways", "set", world.row.member_id, "smsru", "api_id=K")["report_url"]
    told_at_first = list(vendor.urls)

    new = run(world, "gateways", "renew-address", world.row.member_id)["report_url"]

    assert told_at_first == ["https://other.example/x", old]
    assert vendor.urls == ["https://other.example/x", new]
    assert new != old
