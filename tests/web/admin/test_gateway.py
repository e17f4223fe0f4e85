"""The gateway's form: what is saved, and whom a saved secret is sent to."""

from __future__ import annotations

from app.store import accounts
from tests.gateways.peer import Peer, answer
from tests.web.visitor import Visitor


def test_a_stored_secret_does_not_follow_an_address_elsewhere(admin: Visitor) -> None:
    form = {"gateway": "http", "set-auth": "bearer", "set-template": '{"to": "{to}", "text": "{text}"}'}
    with Peer(answer()) as stranger:
        admin.submit("/ui/gateway", **form, **{"set-url": "http://127.0.0.1:9/sms", "set-secret": "K7canary"})

        moved = admin.submit("/ui/gateway", **form, **{"set-url": f"{stranger.url}/sms", "set-secret": ""})

        assert moved.status_code == 422
        assert "“Secret” was saved for another address: enter it again." in moved.text
        assert "K7canary" not in moved.text
        assert stranger.requests == []
    account = accounts.default_of(admin.portal.id)
    assert account is not None
    assert account.settings["url"] == "http://127.0.0.1:9/sms"
