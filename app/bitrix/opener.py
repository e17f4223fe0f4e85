"""Who opened the app: asked at the authorization server and in the portal, never taken from the request."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from functools import partial
from typing import Any
from urllib.parse import urlsplit

from app.bitrix.errors import PortalBusy, PortalError, parsed, portal_error
from app.bitrix.oauth import AppInfo, OAuth
from app.bitrix.rest import sent
from app.domain.portals import Opener, TokenPair
from app.domain.rest_calls import RestCall
from app.transport import AddressRefused, HttpClient, TransportError


class OpenerRefused(Exception):
    """The request is not what it says; the text is for the log."""


class TokenUnknown(OpenerRefused):
    """No authorization server knows the token, or it ran out: it proves nothing, in either way."""


class UnknownServer(TokenUnknown):
    """The portal has an authorization server of its own, as isolated self-hosted ones do: not supported."""


class PortalNotListed(TransportError):
    """The portal's address is one that this server calls only when its operator lists it.

    `entry` is what would have to stand in PRIVATE_HOSTS.
    """

    def __init__(self, client_endpoint: str, why: str) -> None:
        parts = urlsplit(client_endpoint)
        host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
        super().__init__(why)
        self.entry = f"portal:{host}:{parts.port or (80 if parts.scheme == 'http' else 443)}"


class OpenerCheck:
    """Verifies tokens that somebody brought."""

    def __init__(
        self,
        http: HttpClient,
        oauth: OAuth,
        *,
        timeout_s: float,
        journal: Callable[[str, RestCall], None] = lambda _member_id, _call: None,
    ) -> None:
        self._http = http
        self._oauth = oauth
        self._timeout_s = timeout_s
        self._journal = journal

    def vouched(
        self, access_token: str, member_id: str, *, server: str, said_server: str = ""
    ) -> tuple[AppInfo, str]:
        """The authorization server's word that this token is of our app in this portal, and who said so.

        `server` is asked first, then the other configured ones: a portal of the old kind does not say
        which is its own. `said_server`, which the request names, only explains a failure.

        Raises:
            OpenerRefused: no server vouches for it, or it belongs to another portal or application.
            UnknownServer: none does, and the portal names a server that we may not ask.
            PortalBusy, TransportError: a server could not answer; try again.
        """
        refusal: PortalError | None = None
        busy: PortalBusy | TransportError | None = None
        for candidate in dict.fromkeys((self._oauth.server_of(server), *self._oauth.servers)):
            try:
                info = self._oauth.app_info(candidate, access_token)
            except (PortalBusy, TransportError) as error:
                busy = error
                continue
            except PortalError as error:
                refusal = error
                continue
            if info.client_id != self._oauth.client_id:
                raise OpenerRefused("the token belongs to another application")
            if info.member_id != member_id:
                raise OpenerRefused("the token belongs to another portal")
            if not info.user_id or not urlsplit(info.client_endpoint).hostname:
                raise OpenerRefused("the authorization server named no user or no address")
            return info, candidate
        if not self._oauth.knows(said_server):
            host = (urlsplit(said_server).hostname or "unnamed")[:100]
            raise UnknownServer(f"the portal has an authorization server of its own: {host}")
        if busy is not None:
            raise busy
        raise TokenUnknown(f"no authorization server knows the token: {refusal}")

    def verify(
        self,
        *,
        member_id: str,
        access_token: str,
        refresh_token: str,
        expires_in_s: int,
        server: str,
        received_at: datetime,
        asked_at: datetime | None = None,
        said_server: str = "",
    ) -> Opener:
        """The user behind a token, with their rights in the portal; see `vouched` for the servers.

        `expires_in_s` counts from `received_at`; `asked_at` is now, where that is later.

        Raises:
            OpenerRefused: forged, expired, or of another portal.
            PortalError, TransportError: Bitrix24 did not answer; try again.
        """
        info, vouching = self.vouched(access_token, member_id, server=server, said_server=said_server)
        profile = self._profile(info, access_token)
        if str(profile.get("ID", "")) != info.user_id:
            raise OpenerRefused("the portal knows the token as another user's")
        name = " ".join(str(profile.get(key, "") or "") for key in ("NAME", "LAST_NAME")).strip()
        return Opener(
            member_id=info.member_id,
            user_id=info.user_id,
            is_admin=profile.get("ADMIN") in (True, "true", "Y", 1, "1"),
            domain=info.domain,
            client_endpoint=info.client_endpoint,
            oauth_server=vouching,
            app_status=info.status,
            app_version=info.version,
            tokens=TokenPair(
                access_token, refresh_token, received_at + timedelta(seconds=max(0, expires_in_s - 30))
            ),
            name=name[:100],
            is_installing=info.is_installing,
            proved_at=asked_at or received_at,
            time_zone=str(profile.get("TIME_ZONE", "") or "")[:60],
        )

    def _profile(self, info: AppInfo, access_token: str) -> dict[str, Any]:
        try:
            answer = sent(
                self._http,
                f"{info.client_endpoint}profile",
                "profile",
                {},
                access_token,
                journal=partial(self._journal, info.member_id),
                timeout_s=self._timeout_s,
            )
        except AddressRefused as refused:
            raise PortalNotListed(info.client_endpoint, str(refused)) from refused
        body = parsed(answer)
        if error := body.get("error"):
            raise portal_error(str(error), str(body.get("error_description", "")), status=answer.status)
        result = body.get("result")
        return result if isinstance(result, dict) else {}
