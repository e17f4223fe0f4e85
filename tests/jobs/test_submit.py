"""Submission: what our own rules decide before a gateway is asked."""

from __future__ import annotations

from pathlib import Path

from app.domain.messages import HandedMessage
from app.gateway_accounts import connect
from app.jobs.submit import submit_messages
from app.services import services
from app.store.database import utcnow
from app.store.messages import messages
from app.store.portals import portals
from tests.product import a_portal, product


def test_a_gateway_at_a_private_address_is_the_accounts_fault_not_the_messages(tmp_path: Path) -> None:
    with product(tmp_path):
        portal = a_portal()
        adapter = services().gateways.get("http")
        handler = portals.by_handler_secret(portals.handler_secret(portal.id))
        assert adapter is not None and handler is not None
        connect(portal, adapter, {"url": "https://127.0.0.1/send"}, allow_private=True, now=utcnow())
        incoming = HandedMessage("m1", "+4915112345678", "Hello", "sms")
        row_id = messages.accept(handler, incoming, now=utcnow(), timing=services().timing).row_id
        assert row_id is not None

        submit_messages(services(), portal.id)

        message = messages.find(portal.id, "m1")
        assert message is not None
        assert (message.status, message.work, message.reason) == ("queued", "queued", "account_stopped")
        assert "private" in message.reason_text
