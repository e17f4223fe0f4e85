"""The report URL: whose it is, what is junk, and over which address a signature counts."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlencode

import pytest
from flask import Flask
from werkzeug.test import TestResponse

from app.gateways.adapters.twilio import sign
from app.store.accounts import accounts
from app.store.accounts.accounts import Account
from app.store.database import utcnow
from tests.worlds.product import ENVIRONMENT, a_portal, product

FORM = {"MessageSid": "SM" + "a" * 32, "MessageStatus": "delivered", "To": "+14155552345"}
TOKEN = "0123456789abcdef0123456789abcdef"


@pytest.fixture
def app(tmp_path: Path) -> Iterator[Flask]:
    with product(tmp_path) as app:
        yield app


@pytest.fixture
def account(app: Flask) -> Account:
    """A Twilio account, which signs its reports."""
    portal = a_portal()
    return accounts.connect(
        portal.id, portal.member_id, "twilio", label="Twilio",
        public={"account_sid": "AC" + "b" * 32, "from": "+15005550006"},
        secrets={"auth_token": TOKEN}, now=utcnow(),
    )  # fmt: skip


def _post(app: Flask, path: str, body: str, signature: str = "") -> TestResponse:
    return app.test_client().post(
        path,
        data=body,
        content_type="application/x-www-form-urlencoded",
        headers={"X-Twilio-Signature": signature},
    )


def _signed(app: Flask, account: Account, base: str, key: str) -> int:
    path = f"/reports/twilio/{account.report_secret}/r1"
    signature = sign(base + path, {name: [value] for name, value in FORM.items()}, key)
    return _post(app, path, urlencode(FORM), signature).status_code


def test_a_report_is_signed_over_the_public_address(app: Flask, account: Account) -> None:
    """Behind a proxy we are called at another address than the gateway called."""
    assert _signed(app, account, ENVIRONMENT["PUBLIC_URL"], TOKEN) == 200
    assert _signed(app, account, "http://localhost", TOKEN) == 403


@pytest.mark.parametrize("key", ["", "another account's token"])
def test_a_report_signed_with_another_key_is_refused(app: Flask, account: Account, key: str) -> None:
    assert _signed(app, account, ENVIRONMENT["PUBLIC_URL"], key) == 403


def test_an_account_without_a_key_takes_no_report_signed_with_the_empty_one(app: Flask) -> None:
    portal = a_portal()
    keyless = accounts.connect(
        portal.id, portal.member_id, "twilio", label="Twilio", public={}, secrets={}, now=utcnow()
    )

    assert _signed(app, keyless, ENVIRONMENT["PUBLIC_URL"], "") == 403


def test_an_unknown_report_address_is_not_found(app: Flask, account: Account) -> None:
    secret = account.report_secret

    for path in (f"/reports/twilio/{secret[:-1]}", f"/reports/demo/{secret}", f"/reports/pigeon/{secret}"):
        assert _post(app, path, urlencode(FORM)).status_code == 404


def test_junk_at_a_report_address_is_refused(app: Flask) -> None:
    portal = a_portal()
    demo = accounts.connect(
        portal.id, portal.member_id, "smsc", label="SMSC", public={}, secrets={}, now=utcnow()
    )

    assert _post(app, f"/reports/smsc/{demo.report_secret}", "id=&status=%FF").status_code in (400, 403)
