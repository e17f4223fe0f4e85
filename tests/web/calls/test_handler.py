"""The HANDLER: what the portal's queue may post, what anybody may post, and what is stored of it."""

from __future__ import annotations

import http.client
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from urllib.parse import urlencode, urlsplit

import pytest
import sqlalchemy as sa
from flask import Flask
from werkzeug.test import TestResponse

from app.store.database import statement, utcnow
from app.store.portals import portals
from app.store.tables import messages
from sandbox.client import PortalSandbox
from tests.conftest import StackFactory
from tests.worlds.product import a_portal, product

# As the kernel writes a message from a CRM card; ids and tokens are made up.
CARD = {
    "module_id": "crm",
    "bindings[0][OWNER_TYPE_ID]": "3",
    "bindings[0][OWNER_ID]": "123",
    "properties[phone_number]": "+4915112345678",
    "properties[message_text]": "Hello 👋",
    "type": "SMS",
    "code": "sms",
    "message_id": "65575980fa531ac284c2ee68f81ebebd",
    "message_to": "+4915112345678",
    "message_body": "Hello 👋",
    "ts": "1742895600",
}
MEMBER = "a" * 32


@pytest.fixture
def app(tmp_path: Path) -> Iterator[Flask]:
    with product(tmp_path) as app:
        yield app


@pytest.fixture
def path(app: Flask) -> str:
    return f"/sms/{portals.handler_secret(a_portal(MEMBER).id)}"


def post(app: Flask, path: str, body: bytes | str | dict[str, str]) -> TestResponse:
    data = urlencode(body) if isinstance(body, dict) else body
    return app.test_client().post(path, data=data, content_type="application/x-www-form-urlencoded")


def rows(app: Flask) -> list[sa.Row[tuple[object, ...]]]:
    with statement() as connection:
        return list(connection.execute(sa.select(messages).order_by(messages.c.id)).all())


def fresh(**changes: str) -> dict[str, str]:
    return {**CARD, "ts": str(int(utcnow().timestamp())), **changes}


def test_message_of_a_card_is_stored_as_it_came(app: Flask, path: str) -> None:
    answer = post(app, path, fresh())

    (row,) = rows(app)
    assert answer.status_code == 200
    assert (row.message_id, row.recipient, row.text) == (CARD["message_id"], "+4915112345678", "Hello 👋")
    assert row.bindings == [{"OWNER_TYPE_ID": "3", "OWNER_ID": "123"}]
    assert (row.work, row.status) == ("queued", "queued")


def test_message_of_a_robot_is_bound_to_its_card(app: Flask, path: str) -> None:
    robot = {name: value for name, value in fresh(module_id="bizproc").items() if "bindings" not in name}
    words = ("crm", "CCrmDocumentDeal", "DEAL_77")
    named = {f"document_id[{place}]": word for place, word in enumerate(words)}
    unnamed = urlencode([("document_id[]", word) for word in words])

    post(app, path, robot | named)
    post(app, path, urlencode(robot | {"message_id": "the second"}) + "&" + unnamed)
    post(app, path, robot | named | {"message_id": "the third", "document_id[0]": "lists"})

    bound = [{"OWNER_TYPE_ID": "2", "OWNER_ID": "77"}]
    assert [row.bindings for row in rows(app)] == [bound, bound, []]


def test_fault_11_message_without_any_authorization_is_taken(app: Flask, path: str) -> None:
    assert post(app, path, fresh()).status_code == 200
    assert [row.work for row in rows(app)] == ["queued"]


def test_message_that_names_another_portal_is_kept_and_held(app: Flask, path: str) -> None:
    answer = post(app, path, fresh(**{"auth[member_id]": "b" * 32, "auth[access_token]": "token"}))

    assert answer.status_code == 200
    assert [row.work for row in rows(app)] == ["held"]


def test_message_with_a_foreign_application_token_is_kept_and_held(app: Flask, path: str) -> None:
    portal = portals.by_member(MEMBER)
    assert portal is not None
    portals.keep_application_token(portal, "the right one", now=utcnow())

    for token in ("the right one", "another"):
        post(app, path, fresh(message_id=token, **{"auth[application_token]": token}))

    assert {row.message_id: row.work for row in rows(app)} == {"the right one": "queued", "another": "held"}


def test_fault_12_unknown_secrets_store_nothing(app: Flask, path: str) -> None:
    for wrong in (path[:-1], path + "x", "/sms/x", "/sms/" + "A" * 500):
        assert post(app, wrong, fresh()).status_code == 404

    assert rows(app) == []


@pytest.mark.parametrize(
    ("changes", "missing"),
    [
        ({"message_id": ""}, "message_id"),
        ({"message_id": "x" * 129}, "message_id"),
    ],
)
def test_fault_18_body_without_a_usable_message_is_refused_with_the_reason(
    app: Flask, path: str, changes: dict[str, str], missing: str
) -> None:
    answer = post(app, path, fresh(**changes))

    assert answer.status_code == 400
    assert missing in answer.text
    assert rows(app) == []


def test_old_copies_of_the_fields_are_enough(app: Flask, path: str) -> None:
    body = {name: value for name, value in fresh().items() if name not in ("message_to", "message_body")}

    assert post(app, path, body).status_code == 200
    assert rows(app)[0].recipient == "+4915112345678"


def test_fields_that_nobody_knows_are_kept(app: Flask, path: str) -> None:
    post(app, path, fresh(code="", new_field="1", **{"document_id[]": "crm", "template[name]": "x"}))

    (row,) = rows(app)
    assert row.extra == {"new_field": "1", "document_id": {"0": "crm"}, "template": {"name": "x"}}


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\xff\xfe\x00",
        b"&".join(b"k%d=1" % n for n in range(2000)),
        b"a" + b"[x]" * 200 + b"=1",
        b"auth=x&auth[a]=1&auth[a][b]=2&[]=3&]=4&[=5&a[=6&a[]b=7",
        b"%",
        b"=" * 1000,
        b"message_id[]=1&message_to[a]=2&message_body[b]=3",
        urlencode(CARD).encode() + b"&" + b"&".join(b"k%d=1" % n for n in range(2000)),
        urlencode(CARD).encode() + b"&a" + b"[x]" * 20 + b"=1",
    ],
    ids=["empty", "bytes", "fields", "depth", "clash", "percent", "equals", "nested", "many", "deep"],
)
def test_fault_15_odd_bodies_are_refused_quickly_and_never_break_us(
    app: Flask, path: str, body: bytes
) -> None:
    answer = post(app, path, body)

    assert answer.status_code == 400
    assert rows(app) == []


def test_conflicting_keys_beside_a_good_message_do_no_harm(app: Flask, path: str) -> None:
    body = urlencode(fresh()) + "&auth=x&auth[a]=1&bindings=y&bindings[0]=z"

    assert post(app, path, body).status_code == 200
    assert len(rows(app)) == 1


@pytest.mark.parametrize(
    ("sent", "stored"),
    [
        (b"a%00b", "ab"),
        (b"%ff%feok", "\ufffd\ufffdok"),
        ("👨‍👩‍👧 שלום".encode(), "👨‍👩‍👧 שלום"),
        (b"line%0D%0Aline", "line\r\nline"),
        (b"x" * 20_000, "x" * 20_000),
    ],
    ids=["nul", "not utf-8", "emoji and hebrew", "lines", "long"],
)
def test_fault_16_texts_are_stored_without_loss(app: Flask, path: str, sent: bytes, stored: str) -> None:
    body = urlencode({k: v for k, v in fresh().items() if k != "message_body"}).encode()

    assert post(app, path, body + b"&message_body=" + sent).status_code == 200
    assert rows(app)[0].text == stored


def test_fault_9_same_id_with_another_text_keeps_the_first(app: Flask, path: str) -> None:
    first = post(app, path, fresh())
    second = post(app, path, fresh(message_body="Something else"))

    assert (first.status_code, second.status_code) == (200, 200)
    assert [row.text for row in rows(app)] == ["Hello 👋"]


def test_fault_14_too_long_a_body_is_refused(app: Flask, path: str) -> None:
    assert post(app, path, fresh(message_body="x" * 600_000)).status_code == 413
    assert post(app, path, fresh(message_body="x" * 500_000)).status_code == 200
    assert len(rows(app)) == 1


def test_only_post_is_answered(app: Flask, path: str) -> None:
    assert app.test_client().get(path).status_code == 405
    assert rows(app) == []


@pytest.mark.slow
def test_fault_14_endless_and_slow_bodies_do_not_hold_up_the_others(stack: StackFactory) -> None:
    started = stack(web_workers=1, web_threads=8)
    portal = PortalSandbox(started.portal_url)
    portal.install(finish=True)
    path = urlsplit(portal.info()["senders"][0]["handler"]).path
    address = urlsplit(started.web_url)
    assert address.hostname is not None and address.port is not None

    with ExitStack() as opened:
        for _ in range(4):
            slow = opened.enter_context(socket.create_connection((address.hostname, address.port)))
            slow.sendall(
                f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: 400000\r\n\r\nmessage_id=".encode()
            )
        endless = http.client.HTTPConnection(address.hostname, address.port, timeout=20)
        opened.callback(endless.close)
        good = urlencode(fresh(message_body="x")).encode()
        endless.request("POST", path, body=iter([good, *[b"x" * 60_000] * 12]), encode_chunked=True,
                        headers={"Transfer-Encoding": "chunked"})  # fmt: skip
        refused = endless.getresponse().status
        began = time.monotonic()
        sent = portal.send_sms()
        portal.wait_rest()
        took_s = time.monotonic() - began

    assert refused == 413
    assert [post["status"] for post in portal.message(sent["message_id"])["posts"]] == [200]
    assert took_s < 10
    assert len(started.flask("messages", "list", portal.info()["member_id"])) == 1


def test_a_fresh_application_token_counts_at_the_next_call(app: Flask, path: str) -> None:
    """The portal is remembered for some seconds, and the app was updated in them."""
    portal = a_portal(MEMBER)
    tokens = ("the token of the first installation", "the token after an update of the app")
    for number, token in enumerate(tokens):
        portals.keep_application_token(portal, token, now=utcnow())
        post(app, path, fresh(message_id=f"m{number}", **{"auth[application_token]": token}))

    assert [row.work for row in rows(app)] == ["queued", "queued"]
