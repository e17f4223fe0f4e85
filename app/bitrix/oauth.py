"""The authorization server: whose token is this, and a new one for the old.

Only servers of the configuration are ever asked, and only they get the client secret. The documented
interface carries tokens and the secret in the query, so an address of these calls is never logged.
Source: https://apidocs.bitrix24.com/settings/oauth/index.html
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

from app.bitrix.errors import PortalBusy, oauth_error, parsed
from app.domain.hosts import ascii_url
from app.domain.portals import TokenPair
from app.transport import HttpClient

SKEW = timedelta(seconds=30)


@dataclass(frozen=True)
class AppInfo:
    """What the authorization server says of an access token."""

    client_id: str
    user_id: str
    member_id: str
    domain: str
    client_endpoint: str
    status: str
    version: str
    is_installing: bool


@dataclass(frozen=True)
class Refreshed:
    tokens: TokenPair
    member_id: str
    client_endpoint: str
    status: str


class OAuth:
    """The authorization servers of the configuration."""

    def __init__(
        self,
        http: HttpClient,
        *,
        client_id: str,
        client_secret: str,
        servers: Sequence[str],
        timeout_s: float,
    ) -> None:
        self.client_id = client_id
        self._client_secret = client_secret
        self.servers = tuple(servers)
        self._http = http
        self._timeout_s = timeout_s

    def server_of(self, server_endpoint: str) -> str:
        """The configured server behind a `server_endpoint`, else the default; never anything else."""
        parts = urlsplit(server_endpoint)
        origin = f"{parts.scheme}://{parts.netloc}"
        return origin if origin in self.servers else self.servers[0]

    def knows(self, server_endpoint: str) -> bool:
        """False for a portal with an authorization server of its own, which we cannot ask."""
        parts = urlsplit(server_endpoint)
        return not server_endpoint or f"{parts.scheme}://{parts.netloc}" in self.servers

    def app_info(self, server: str, access_token: str) -> AppInfo:
        """Whose token this is, and for which application.

        Raises:
            PortalError: not a token of ours (`TokenRefused`, `TokenExpired`, `PortalGone`, ...).
            TransportError: the server did not answer; says nothing about the token.
        """
        body = self._get(f"{server}/rest/app.info", {"auth": access_token})
        result = body.get("result")
        install = result.get("install") if isinstance(result, Mapping) else None
        if not isinstance(result, Mapping) or not isinstance(install, Mapping):
            raise PortalBusy("ERROR_UNEXPECTED_ANSWER", "app.info without an installation")
        return AppInfo(
            client_id=str(result.get("client_id", "")),
            user_id=str(result.get("user_id", "")),
            member_id=str(install.get("member_id", "")),
            domain=str(install.get("domain", "")),
            client_endpoint=ascii_url(str(install.get("client_endpoint", ""))),
            status=str(install.get("status", "")),
            version=str(install.get("version", "")),
            is_installing=install.get("installed") in (False, "false", "N", 0, "0"),
        )

    def refresh(self, server: str, refresh_token: str, *, now: datetime) -> Refreshed:
        """A new pair of tokens; the old refresh token may be dead from here on, so store the new one first.

        Raises:
            PortalError: `TokenRefused` for a used or old token, `PortalGone`, `PaymentRequired`, ...
            TransportError: no answer. The pair may have been changed all the same.
        """
        body = self._get(
            f"{server}/oauth/token/",
            {
                "grant_type": "refresh_token",
                "client_id": self.client_id,
                "client_secret": self._client_secret,
                "refresh_token": refresh_token,
            },
        )
        access, fresh = body.get("access_token"), body.get("refresh_token")
        if not isinstance(access, str) or not isinstance(fresh, str) or not access or not fresh:
            raise PortalBusy("ERROR_UNEXPECTED_ANSWER", "no tokens in the answer")
        lifetime = timedelta(seconds=_seconds(body.get("expires_in"), 3600))
        return Refreshed(
            tokens=TokenPair(access, fresh, now + lifetime - SKEW),
            member_id=str(body.get("member_id", "")),
            client_endpoint=ascii_url(str(body.get("client_endpoint", ""))),
            status=str(body.get("status", "")),
        )

    def _get(self, url: str, params: Mapping[str, str]) -> Mapping[str, Any]:
        answer = self._http.request("GET", url, params=params, timeout_s=self._timeout_s)
        body = parsed(answer)
        if error := body.get("error"):
            raise oauth_error(str(error), str(body.get("error_description", "")), status=answer.status)
        if not answer.ok:
            raise PortalBusy(f"HTTP_{answer.status}", "the authorization server is in trouble")
        return body


def _seconds(value: Any, default: int) -> int:
    try:
        return max(0, min(int(value), 10**7))
    except (TypeError, ValueError):
        return default
