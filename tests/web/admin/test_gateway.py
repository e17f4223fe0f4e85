"""The gateway's form: what is saved, and whom a saved secret is sent to."""

from __future__ import annotations

import pytest

from app.gateways.kit.peer import Peer, answer
from app.gateways.registry import load_registry
from app.services import Services
from app.store.accounts import accounts
from app.store.portals import portals
from tests.worlds.gateways import Recorded, json_answer
from tests.worlds.visitor import Visitor

# As the form is sent by a browser that changed nothing but these.
HTTP = {
    "gateway": "http",
    **{f"set-{field.name}": field.default for field in load_registry().adapters["http"].fields},
    "set-url": "http://127.0.0.1:9/sms",
    "set-auth": "bearer",
    "set-secret": "K7",
    "set-report_status_path": "status",
    "set-report_reference_path": "reference",
}


def test_a_stored_secret_does_not_follow_an_address_elsewhere(admin: Visitor) -> None:
    with Peer(answer()) as stranger:
        admin.submit("/ui/gateway", **{**HTTP, "set-secret": "K7canary"}, anyway="1")
        account = accounts.default_of(admin.portal.id)
        assert account is not None
        shown = {"account": str(account.id), "version": str(account.version)}

        changed = {**HTTP, "set-url": f"{stranger.url}/sms", "set-secret": ""}
        moved = admin.submit("/ui/gateway", **changed, **shown, anyway="1")

        assert moved.status_code == 422
        assert "“Secret” was saved for another address: enter it again." in moved.text
        assert "K7canary" not in moved.text
        assert stranger.requests == []
    account = accounts.default_of(admin.portal.id)
    assert account is not None
    assert account.settings["url"] == "http://127.0.0.1:9/sms"


def test_the_report_address_gets_a_new_secret_at_a_press(admin: Visitor) -> None:
    admin.submit("/ui/gateway", **HTTP, anyway="1")
    before = accounts.default_of(admin.portal.id)

    page = admin.submit("/ui/gateway/renew-address")

    after = accounts.default_of(admin.portal.id)
    assert before is not None and after is not None
    assert page.status_code == 200
    assert "The address has a new secret. The old one is good for another 24 hours." in page.text
    assert after.report_secret != before.report_secret
    assert before.report_secret not in page.text
    assert accounts.by_report_secret("http", before.report_secret) == after


def test_the_address_in_bitrix24_gets_a_new_secret_at_a_press(admin: Visitor) -> None:
    before = portals.handler_secret(admin.portal.id)

    page = admin.submit("/ui/senders/renew-address")

    after = portals.handler_secret(admin.portal.id)
    assert page.status_code == 200
    assert "The address has a new secret. The old one is good for another 24 hours." in page.text
    assert after != before
    assert [sender["handler"].rpartition("/")[2] for sender in admin.sandbox.senders()] == [after]
    assert after not in page.text and before not in page.text


def test_nobody_is_asked_to_paste_an_address_that_the_gateway_is_told(
    admin: Visitor, monkeypatch: pytest.MonkeyPatch
) -> None:
    vendor = Recorded(json_answer({"status": "OK", "status_code": 100, "balance": 5, "callback": []}))
    monkeypatch.setattr(Services, "gateway_http", lambda *_: vendor)

    page = admin.submit("/ui/gateway", **{"gateway": "smsru", "set-api_id": "K"})

    assert page.status_code == 200
    assert "The gateway is told this address automatically" in page.text
    assert "Paste this address into the gateway’s console" not in page.text
    added = [call["data"]["url"] for call in vendor.calls if call["url"].endswith("callback/add")]
    assert len(added) == 1
    assert added[0] in page.text


def test_an_example_keeps_its_order_beside_words_that_run_the_other_way(admin: Visitor) -> None:
    admin.open(lang="ar")

    page = admin.get("/ui/gateway?gateway=http").text

    assert "مثال: \u2066https://api.example.com/v1/messages\u2069" in page
