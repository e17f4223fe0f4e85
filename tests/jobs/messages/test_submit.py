"""Submission: what our own rules decide before a gateway is asked."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from app.domain.messages import HandedMessage
from app.gateway_accounts import connect
from app.jobs.messages.submit import submit_messages
from app.services import services
from app.store.database import statement, utcnow
from app.store.messages import acceptance, messages
from app.store.portals import portals
from app.store.tables import attempts
from app.transport import HttpAnswer, HttpClient
from tests.worlds.product import a_portal, product


def test_a_gateway_at_a_private_address_is_the_accounts_fault_not_the_messages(tmp_path: Path) -> None:
    with product(tmp_path):
        portal = a_portal()
        adapter = services().gateways.get("http")
        handler = portals.by_handler_secret(portals.handler_secret(portal.id))
        assert adapter is not None and handler is not None
        connect(portal, adapter, {"url": "https://127.0.0.1/send"}, allow_private=True, now=utcnow())
        incoming = HandedMessage("m1", "+4915112345678", "Hello", "sms")
        row_id = acceptance.accept(handler, incoming, now=utcnow(), timing=services().timing).row_id
        assert row_id is not None

        submit_messages(services(), portal.id)

        message = messages.find(portal.id, "m1")
        assert message is not None
        assert (message.status, message.work, message.reason) == ("queued", "queued", "account_stopped")
        assert "private" in message.reason_text


RATE_PER_S = 20


def test_a_rate_that_the_account_declares_is_never_exceeded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Gateways, and the operators behind a SIM card, block whoever sends faster than the contract says."""
    ids = itertools.count(1)

    def take(*_: Any, **__: Any) -> HttpAnswer:
        return HttpAnswer(200, {}, json.dumps({"id": f"g{next(ids)}"}).encode())

    monkeypatch.setattr(HttpClient, "request", take)
    settings = {"url": "https://gateway.example.com/send", "id_path": "id", "rate": str(RATE_PER_S)}
    with product(tmp_path):
        portal = a_portal()
        adapter = services().gateways.get("http")
        handler = portals.by_handler_secret(portals.handler_secret(portal.id))
        assert adapter is not None and handler is not None
        connect(portal, adapter, settings, allow_private=True, now=utcnow())
        for number in range(12):
            incoming = HandedMessage(f"m{number}", "+4915112345678", "Hello", "sms")
            acceptance.accept(handler, incoming, now=utcnow(), timing=services().timing)

        submit_messages(services(), portal.id)

        with statement() as connection:
            begun = sorted(connection.scalars(sa.select(attempts.c.started_at)))
    assert len(begun) == 12
    burst = 3  # what a tenth of a second brings, and the first one
    assert (begun[-1] - begun[0]).total_seconds() >= (12 - burst) / RATE_PER_S
