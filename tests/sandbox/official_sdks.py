"""Bitrix24's own clients, pointed at the sandbox: foreign judges of whether it behaves as they expect.

The Python one is installed. The JavaScript one is the build that the product's pages load, in Chromium.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import pytest
from b24pysdk import BitrixApp, BitrixToken, Client
from b24pysdk.api.requesters import BitrixOAuthRequester
from b24pysdk.errors import BitrixAPIError

from tests.sandbox.stage import CLIENT_ID, CLIENT_SECRET, Stage

if TYPE_CHECKING:
    from playwright.sync_api import Page

BUILD = Path(__file__).parents[2] / "app/web/static/ui/vendor/b24jssdk-2.2.0.min.js"


class SdkRefused(Exception):
    """The portal's error as the SDK handed it on; the text is its code."""


class OfficialClient(Protocol):
    def call(self, method: str, **params: Any) -> Any:
        """The `result` of one method.

        Raises:
            SdkRefused: the portal refused it.
        """

    @property
    def access_token(self) -> str: ...


# --- Python


def python_token(live: Stage, patch: pytest.MonkeyPatch) -> BitrixToken:
    """A token of the SDK. It has no setting for other addresses, so they are patched."""
    # The package hides this module behind a function of the same name.
    module = vars(sys.modules["b24pysdk.api.callers.call_method"])
    caller = next(
        value for value in module.values() if isinstance(value, type) and "_base_url" in vars(value)
    )
    patch.setattr(caller, "_base_url", property(lambda self: live.info["client_endpoint"].rstrip("/")))
    patch.setattr(BitrixOAuthRequester, "_OAUTH_TOKEN_URL", f"{live.auth_url}/oauth/token/")
    patch.setattr(BitrixOAuthRequester, "_APP_INFO_URL", f"{live.auth_url}/rest/app.info/")
    return BitrixToken(
        domain=live.info["domain"],
        auth_token=live.access_token,
        refresh_token=live.refresh_token,
        bitrix_app=BitrixApp(client_id=CLIENT_ID, client_secret=CLIENT_SECRET),
    )


class PythonClient:
    """Calls go through the SDK's own typed methods, which have opinions of their own about parameters."""

    def __init__(self, token: BitrixToken) -> None:
        self._token = token
        service = Client(token).messageservice
        self._methods = {
            "messageservice.sender.add": service.sender.add,
            "messageservice.sender.update": service.sender.update,
            "messageservice.sender.list": service.sender.list,
            "messageservice.sender.delete": service.sender.delete,
            "messageservice.message.status.update": service.message.status.update,
        }

    def call(self, method: str, **params: Any) -> Any:
        try:
            return self._methods[method](**{name.lower(): value for name, value in params.items()}).result
        except BitrixAPIError as error:
            raise SdkRefused(error.error) from error

    @property
    def access_token(self) -> str:
        return str(self._token.auth_token)


# --- JavaScript

_MAKE = """([options, secret]) => {
    const sdk = window.B24Js;
    window.client = new sdk.B24OAuth(options, secret);
    window.client.offClientSideWarning();
    window.renewed = [];
    window.client.setCallbackRefreshAuth(async ({b24OAuthParams}) => window.renewed.push(b24OAuthParams));
}"""
_CALL = """async ([method, params]) => {
    try {
        const answer = await window.client.actions.v2.call.make({method, params});
        return answer.isSuccess
            ? {result: answer.getData().result} : {error: answer.getErrorMessages().join("; ")};
    } catch (error) {
        return {error: String(error.code || error)};
    }
}"""
_BATCH = """async commands => {
    const answer = await window.client.actions.v2.batch.make(
        {calls: commands, options: {isHaltOnError: false, returnAjaxResult: true}});
    const found = {};
    for (const [key, part] of Object.entries(answer.getData()))
        found[key] = part.isSuccess ? part.getData().result : part.getErrorMessages();
    return found;
}"""


class JavaScriptClient:
    """`B24OAuth` in an empty page: another site than the portal, so each call crosses origins as well."""

    def __init__(self, live: Stage, page: Page) -> None:
        self._page = page
        self._first = live.access_token
        page.add_script_tag(path=BUILD)
        options = {
            "applicationToken": "",
            "userId": 1,
            "memberId": live.info["member_id"],
            "accessToken": live.access_token,
            "refreshToken": live.refresh_token,
            "expires": int(time.time()) + 3600,
            "expiresIn": 3600,
            "scope": "messageservice",
            "domain": live.info["domain"],
            "clientEndpoint": live.info["client_endpoint"],
            "serverEndpoint": f"{live.auth_url}/rest/",
            "status": "L",
        }
        page.evaluate(_MAKE, [options, {"clientId": CLIENT_ID, "clientSecret": CLIENT_SECRET}])

    def call(self, method: str, **params: Any) -> Any:
        answer = self._page.evaluate(_CALL, [method, params])
        if "error" in answer:
            raise SdkRefused(answer["error"])
        return answer["result"]

    def batch(self, commands: dict[str, list[Any]]) -> dict[str, Any]:
        found: dict[str, Any] = self._page.evaluate(_BATCH, commands)
        return found

    @property
    def access_token(self) -> str:
        renewed = self._page.evaluate("window.renewed")
        return str(renewed[-1]["accessToken"]) if renewed else self._first
