"""The official Python SDK as a second client: what it expects of Bitrix24, the sandbox must do."""

from __future__ import annotations

import sys
from typing import Any

import pytest
from b24pysdk import BitrixApp, BitrixToken, Client
from b24pysdk.api.requesters import BitrixOAuthRequester
from b24pysdk.errors import BitrixAPIError

from tests.sandbox.stage import CLIENT_ID, CLIENT_SECRET, Stage


@pytest.fixture
def token(live: Stage, monkeypatch: pytest.MonkeyPatch) -> BitrixToken:
    """A token of the SDK. It has no setting for other addresses, so they are patched."""
    # The package hides this module behind a function of the same name.
    module = vars(sys.modules["b24pysdk.api.callers.call_method"])
    caller = next(
        value for value in module.values() if isinstance(value, type) and "_base_url" in vars(value)
    )
    monkeypatch.setattr(caller, "_base_url", property(lambda self: live.info["client_endpoint"].rstrip("/")))
    monkeypatch.setattr(BitrixOAuthRequester, "_OAUTH_TOKEN_URL", f"{live.auth_url}/oauth/token/")
    monkeypatch.setattr(BitrixOAuthRequester, "_APP_INFO_URL", f"{live.auth_url}/rest/app.info/")
    return BitrixToken(
        domain=live.info["domain"],
        auth_token=live.access_token,
        refresh_token=live.refresh_token,
        bitrix_app=BitrixApp(client_id=CLIENT_ID, client_secret=CLIENT_SECRET),
    )


@pytest.fixture
def client(token: BitrixToken) -> Any:
    return Client(token)


def test_senders_are_added_changed_listed_and_deleted(live: Stage, client: Any) -> None:
    sender = client.messageservice.sender
    names = {"en": "Second", "de": "Zweiter"}

    assert sender.add(code="two", type="SMS", handler=live.handler, name=names).result is True
    assert sender.update(code="two", name={"en": "Changed", "de": "Anders"}).result is True
    assert sender.list().result == ["sms", "two"]
    assert live.sandbox.senders(lang="de")[1]["label"] == "[Example SMS] Anders"
    assert sender.delete(code="two").result is True


def test_refusals_reach_the_sdk_as_its_own_errors(client: Any, live: Stage) -> None:
    with pytest.raises(BitrixAPIError) as caught:
        client.messageservice.sender.add(code="sms", type="SMS", handler=live.handler, name="X").result  # noqa: B018

    assert caught.value.error == "ERROR_SENDER_ALREADY_INSTALLED"


def test_status_is_updated(live: Stage, client: Any) -> None:
    message_id = live.sandbox.send_sms()["message_id"]
    live.sandbox.wait_rest()

    request = client.messageservice.message.status.update(
        code="sms", message_id=message_id, status="delivered"
    )

    assert request.result is True
    assert live.sandbox.message(message_id)["status"] == "delivered"


def test_expired_token_is_renewed_by_the_sdk(live: Stage, client: Any, token: BitrixToken) -> None:
    live.sandbox.expire_tokens()

    assert client.profile().result["ID"] == "1"
    assert token.auth_token != live.access_token
    assert live.sandbox.counts()["token:ok"] == 1


def test_batch_of_the_sdk(client: Any) -> None:
    answer = client.call_batch({"who": client.profile(), "senders": client.messageservice.sender.list()})

    assert answer.result.result["who"]["ID"] == "1"
    assert answer.result.result["senders"] == ["sms"]


def test_app_info_parses_into_the_sdks_model(live: Stage, token: BitrixToken) -> None:
    info = token.get_app_info().result

    assert (info.client_id, info.user_id) == (CLIENT_ID, 1)
    assert info.install.member_id == live.info["member_id"]
    assert info.install.client_endpoint == live.info["client_endpoint"]
    assert info.scope == ["messageservice"]
