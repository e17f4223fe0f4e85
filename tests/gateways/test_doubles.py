"""GATEWAY_HOSTS: a vendor's double gets every call of its adapter, and no other adapter's."""

from __future__ import annotations

from pathlib import Path

from app.domain.messages import HandedMessage
from app.gateways.kit.peer import Peer, answer
from app.jobs.messages.submit import submit_messages
from app.services import services
from app.store.accounts import accounts
from app.store.database import utcnow
from app.store.messages import acceptance, messages
from app.store.portals import portals
from tests.worlds.gateways import sample
from tests.worlds.product import a_portal, product


def test_every_call_of_an_adapter_goes_to_its_double(tmp_path: Path) -> None:
    accepted = sample("twilio")["accepted"]
    doubles = (answer('{"balance": "7", "currency": "USD"}'), answer(accepted["body"], accepted["status"]))
    with (
        Peer(*doubles) as double,
        Peer(answer()) as other,
        product(
            tmp_path, ALLOW_PRIVATE_NETWORK="1", GATEWAY_HOSTS=f"twilio={double.url}, smsc={other.url}"
        ) as app,
    ):
        portal = a_portal()
        settings = [f"{name}={value}" for name, value in sample("twilio")["settings"].items()]
        set_up = app.test_cli_runner().invoke(args=["gateways", "set", portal.member_id, "twilio", *settings])
        assert set_up.exit_code == 0, set_up.output
        handler = portals.by_handler_secret(portals.handler_secret(portal.id))
        assert handler is not None
        incoming = HandedMessage("m1", "+14155552345", "Hello", "sms")
        row_id = acceptance.accept(handler, incoming, now=utcnow(), timing=services().timing).row_id
        assert row_id is not None
        (account,) = accounts.of_portal(portal.id)

        gateway = services().gateway(account)
        assert gateway is not None and gateway.check().ok
        submit_messages(services(), portal.id)

        message = messages.find(portal.id, "m1")
        assert message is not None and message.work == "waiting"  # for its report: it was accepted
    sid = sample("twilio")["settings"]["account_sid"]
    lines = [request.partition(b"\r\n")[0].decode() for request in double.requests]
    assert lines == [
        f"GET /2010-04-01/Accounts/{sid}/Balance.json HTTP/1.1",
        f"POST /2010-04-01/Accounts/{sid}/Messages.json HTTP/1.1",
    ]
    assert all(f"Host: 127.0.0.1:{double.port}\r\n".encode() in request for request in double.requests)
    assert other.requests == []
