"""Bitrix24's own clients as judges: what they expect of Bitrix24, the sandbox must do.

The calls are the examples of Bitrix24's pages on senders and statuses, once with each client.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from b24pysdk import Client

from tests.sandbox.official_sdks import (
    JavaScriptClient,
    OfficialClient,
    PythonClient,
    SdkRefused,
    python_token,
)
from tests.sandbox.stage import CLIENT_ID, Stage

if TYPE_CHECKING:
    from playwright.sync_api import Page


def phrases(live: Stage, code: str) -> dict[str, list[str | None]]:
    found: dict[str, list[str | None]] = next(
        sender["phrases"] for sender in live.sandbox.info()["senders"] if sender["code"] == code
    )
    return found


class Examples:
    """With either client."""

    def test_a_sender_is_added_with_plain_texts_and_with_maps(
        self, live: Stage, client: OfficialClient
    ) -> None:
        plain = {"NAME": "SMS provider", "DESCRIPTION": "Sends SMS", "TYPE": "SMS", "HANDLER": live.handler}
        maps = {
            "NAME": {"en": "SMS provider", "de": "SMS-Anbieter"},
            "DESCRIPTION": {"en": "Sends", "de": "Sendet"},
        }

        assert client.call("messageservice.sender.add", CODE="provider1", **plain) is True
        assert client.call("messageservice.sender.add", CODE="provider2", **{**plain, **maps}) is True

        assert client.call("messageservice.sender.list") == ["sms", "provider1", "provider2"]
        assert phrases(live, "provider1") == {"**": ["SMS provider", "Sends SMS"]}
        assert phrases(live, "provider2")["de"] == ["SMS-Anbieter", "Sendet"]

    def test_a_sender_is_updated_with_plain_texts(self, live: Stage, client: OfficialClient) -> None:
        moved = f"{live.handler}/new"

        assert client.call("messageservice.sender.update", CODE="sms", NAME="New", DESCRIPTION="Text") is True
        assert client.call("messageservice.sender.update", CODE="sms", HANDLER=moved) is True

        (sender,) = live.sandbox.info()["senders"]
        assert sender["handler"] == moved
        assert sender["phrases"] == {"**": ["New", "Text"], "en": ["Example", None]}

    def test_a_sender_is_updated_with_maps(self, live: Stage, client: OfficialClient) -> None:
        names = {"en": "New name", "de": "Neuer Name"}
        texts = {"en": "New text", "de": "Neuer Text"}

        assert client.call("messageservice.sender.update", CODE="sms", NAME=names, DESCRIPTION=texts) is True

        labels = {lang: live.sandbox.senders(lang=lang)[0] for lang in ("en", "de", "fr")}
        assert {lang: found["label"] for lang, found in labels.items()} == {
            "en": "[Example SMS] New name",
            "de": "[Example SMS] Neuer Name",
            "fr": "[Example SMS] New name",
        }
        assert labels["de"]["description"] == "Neuer Text"

    def test_a_sender_is_deleted_once(self, live: Stage, client: OfficialClient) -> None:
        assert client.call("messageservice.sender.delete", CODE="sms") is True

        with pytest.raises(SdkRefused, match="ERROR_SENDER_NOT_FOUND"):
            client.call("messageservice.sender.delete", CODE="sms")
        assert client.call("messageservice.sender.list") == []

    @pytest.mark.parametrize(
        ("method", "params", "error"),
        [
            ("sender.update", {"CODE": "sms"}, "ERROR_SENDER_OTHER_PARAMS_REQUIRED"),
            ("sender.update", {"CODE": "nobody", "NAME": "X"}, "ERROR_SENDER_NOT_FOUND"),
            (
                "sender.add",
                {"CODE": "SMS", "TYPE": "SMS", "HANDLER": "https://app.example/h", "NAME": "X"},
                "ERROR_SENDER_ALREADY_INSTALLED",
            ),
            (
                "message.status.update",
                {"CODE": "sms", "MESSAGE_ID": "nobody", "STATUS": "failed"},
                "ERROR_MESSAGE_NOT_FOUND",
            ),
        ],
    )
    def test_refusals_reach_the_sdk_as_its_own_errors(
        self, client: OfficialClient, method: str, params: dict[str, Any], error: str
    ) -> None:
        with pytest.raises(SdkRefused, match=error):
            client.call(f"messageservice.{method}", **params)

    def test_a_status_is_updated(self, live: Stage, client: OfficialClient) -> None:
        message_id = live.sandbox.send_sms()["message_id"]
        live.sandbox.wait_rest()

        told = client.call(
            "messageservice.message.status.update", CODE="sms", MESSAGE_ID=message_id, STATUS="delivered"
        )

        assert told is True
        assert live.sandbox.message(message_id)["status"] == "delivered"

    def test_an_expired_token_is_renewed_by_the_sdk(self, live: Stage, client: OfficialClient) -> None:
        live.sandbox.expire_tokens()

        assert client.call("messageservice.sender.list") == ["sms"]
        assert client.access_token != live.access_token
        assert live.sandbox.counts()["token:ok"] == 1


class TestPython(Examples):
    @pytest.fixture
    def client(self, live: Stage, monkeypatch: pytest.MonkeyPatch) -> OfficialClient:
        return PythonClient(python_token(live, monkeypatch))

    def test_a_batch(self, live: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
        sdk: Any = Client(python_token(live, monkeypatch))
        answer = sdk.call_batch({"who": sdk.profile(), "senders": sdk.messageservice.sender.list()})

        assert answer.result.result["who"]["ID"] == "1"
        assert answer.result.result["senders"] == ["sms"]

    def test_app_info_parses_into_the_sdks_model(self, live: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
        info = python_token(live, monkeypatch).get_app_info().result

        assert (info.client_id, info.user_id) == (CLIENT_ID, 1)
        assert info.install.member_id == live.info["member_id"]
        assert info.install.client_endpoint == live.info["client_endpoint"]
        assert info.scope == ["messageservice"]


class TestJavaScript(Examples):
    @pytest.fixture
    def client(self, live: Stage, page: Page) -> OfficialClient:
        return JavaScriptClient(live, page)

    def test_a_batch(self, live: Stage, client: JavaScriptClient) -> None:
        message_id = live.sandbox.send_sms()["message_id"]
        live.sandbox.wait_rest()
        status = {"CODE": "sms", "MESSAGE_ID": message_id, "STATUS": "failed"}

        answers = client.batch(
            {
                "senders": ["messageservice.sender.list", {}],
                "told": ["messageservice.message.status.update", status],
                "unknown": ["messageservice.message.status.update", {**status, "MESSAGE_ID": "nobody"}],
            }
        )

        assert answers["senders"] == ["sms"]
        assert answers["told"] is True
        assert "Message not found!" in str(answers["unknown"])
        assert live.sandbox.message(message_id)["status"] == "failed"
