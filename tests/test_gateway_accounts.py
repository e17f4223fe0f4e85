"""A portal's gateway accounts: another login is another account, and an old one lives until it is over."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
import requests

from app import gateway_accounts
from app.gateway_accounts import AccountChanged
from app.gateways.kit.peer import Peer, answer, close
from app.store.accounts import accounts
from app.store.accounts.accounts import Account
from tests.worlds.faults import FaultWorld, fault_world

_TEMPLATE = json.dumps({"to": "{to}", "text": "{text}"})


@pytest.fixture
def world() -> Iterator[FaultWorld]:
    with fault_world() as started:
        yield started


def _connect(world: FaultWorld, peer: Peer, **changes: str) -> Account:
    adapter = world.services.gateways.get("http")
    assert adapter is not None
    settings = {
        "url": f"{peer.url}/send",
        "template": _TEMPLATE,
        "id_path": "id",
        "report_id_path": "id",
        "report_status_path": "status",
        "lookup_url": f"{peer.url}/find?ref={{reference}}",
        "secret": "canary",
        **changes,
    }
    portal = world.world.row_of(world.portal)
    return gateway_accounts.connect(portal, adapter, settings, allow_private=True, now=world.world.now())


def _taken(gateway_id: str = "G1") -> str:
    return json.dumps({"id": gateway_id})


def test_unknown_outcome_is_looked_up_at_the_provider_that_was_called(world: FaultWorld) -> None:
    with Peer(close, answer(_taken())) as old, Peer(answer(_taken("G2"))) as new:
        _connect(world, old)
        sent = world.send()
        world.world.work()
        assert world.status(sent)[0] == "unknown"
        _connect(world, new)

        world.later(60, steps=4)

        assert world.status(sent)[0] == "sent"
        assert any(b"/find?ref=" in request for request in old.requests)
        assert new.requests == []


def test_report_of_the_old_provider_is_read_by_its_own_rules(world: FaultWorld) -> None:
    with Peer(answer(_taken())) as old, Peer(answer(_taken("G2"))) as new:
        before = _connect(world, old, report_status_path="old_word")
        sent = world.send()
        world.world.work()
        _connect(world, new, report_status_path="new_word")

        url = world.services.report_url(before)
        status = requests.post(url, json={"id": "G1", "old_word": "DELIVRD"}, timeout=10).status_code

    assert status == 200
    assert world.status(sent)[0] == "delivered"


def test_old_account_loses_its_secrets_when_its_messages_and_late_reports_are_over(world: FaultWorld) -> None:
    with Peer(answer(_taken())) as old, Peer(answer(_taken("G2"))) as new:
        before = _connect(world, old)
        sent = world.send()
        world.world.work()
        _connect(world, new)
        soon = accounts.by_id(before.id)
        requests.post(
            world.services.report_url(before), json={"id": "G1", "status": "DELIVRD"}, timeout=10
        ).raise_for_status()

        world.later(4 * 86_400, steps=4)

    after = accounts.by_id(before.id)
    assert world.status(sent)[0] == "delivered"
    assert soon is not None and soon.settings["secret"] == "canary"
    assert after is not None
    assert "secret" not in after.settings


def test_of_two_who_change_the_same_account_the_second_is_told(world: FaultWorld) -> None:
    with Peer(answer(_taken())) as peer:
        base = _connect(world, peer)
        portal, adapter = world.world.row_of(world.portal), world.services.gateways.get("http")
        assert adapter is not None
        drafts = [
            gateway_accounts.draft(
                portal, adapter, {**base.settings, "originator": name}, base=base, allow_private=True
            )
            for name in ("FIRST", "SECOND")
        ]

        gateway_accounts.save(drafts[0], now=world.world.now())
        with pytest.raises(AccountChanged):
            gateway_accounts.save(drafts[1], now=world.world.now())

    account = accounts.default_of(portal.id)
    assert account is not None
    assert account.settings["originator"] == "FIRST"
