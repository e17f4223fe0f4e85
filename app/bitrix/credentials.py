"""Whose token speaks for the portal, and how it is kept fresh.

A credential is the store's own value with `user_id`, `tokens` and a `version` that changes with every new
pair; it is handed back as it came.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from datetime import datetime
from typing import Any, Protocol

from app.bitrix.errors import PortalBusy, PortalError, TokenRefused
from app.bitrix.oauth import OAuth, Refreshed
from app.domain.rest_calls import RestCall
from app.transport import NoAnswer, TransportError

REFRESH_LEASE_S = 40.0  # longer than two calls of the authorization server
REFRESH_WAIT_S = 20.0
# After a refresh without an answer the others wait this long before one of them asks again.
COOL_S = 2.0


class TokenKeeper(Protocol):
    """Where a portal's tokens live. One process at a time refreshes: `claim_refresh` says who."""

    def current(self) -> Any:
        """The credential that speaks for the portal; None when no admin's works."""

    def reread(self, credential: Any) -> Any:
        """The same user's credential as it is now; None when it is gone or broken."""

    def claim_refresh(self, lease_s: float) -> str | None:
        """The right to refresh; None while another process has it."""

    def release_refresh(self, lease: str, *, cool_s: float = 0.0) -> None:
        """Give the right back; nobody gets it for `cool_s`."""

    def store(self, credential: Any, fresh: Refreshed) -> None:
        """Keep a new pair, unless somebody stored a newer one meanwhile."""

    def moved(self, client_endpoint: str) -> None:
        """The portal's address as the authorization server names it."""

    def mark_broken(self, credential: Any, reason: str) -> bool:
        """Stop using it. True when there is something else to go on with."""

    def expires_soon(self, credential: Any) -> bool: ...


class Credentials:
    """The tokens of one portal in the hands of one client."""

    def __init__(
        self,
        keeper: TokenKeeper,
        oauth: OAuth,
        *,
        server: str,
        member_id: str,
        clock: Callable[[], datetime],
        journal: Callable[[RestCall], None],
        on_address: Callable[[str], None],
    ) -> None:
        self._keeper = keeper
        self._oauth = oauth
        self._server = server
        self._member_id = member_id
        self._clock = clock
        self._journal = journal
        self._on_address = on_address

    def present(self) -> Any:
        """A credential to call with, refreshed when its time is over."""
        credential = self._keeper.current()
        if credential is None:
            raise TokenRefused("NO_TOKENS", "no administrator's tokens work")
        return self.refreshed(credential) if self._keeper.expires_soon(credential) else credential

    def replaced(self, credential: Any, error: PortalError) -> Any:
        """Another admin's credential; the error itself when there is none."""
        if not self._keeper.mark_broken(credential, error.code):
            raise error
        return self.present()

    def new_address(self, access_token: str) -> str:
        """Where the portal lives now. Only the authorization server's word counts, and its token's portal."""
        info = self._oauth.app_info(self._server, access_token)
        if info.member_id != self._member_id or not info.client_endpoint:
            raise PortalBusy("MOVED", "the portal moved and the authorization server does not say where")
        self._keeper.moved(info.client_endpoint)
        return info.client_endpoint

    def refreshed(self, credential: Any) -> Any:
        """Newer tokens than `credential` has, whoever fetches them.

        No transaction is open while we wait for the authorization server, and the new pair is stored
        before it is used.
        """
        give_up = time.monotonic() + REFRESH_WAIT_S
        pause_s = 0.05
        while time.monotonic() < give_up:
            if (found := self._changed(credential)) is not None:
                return found
            lease = self._keeper.claim_refresh(REFRESH_LEASE_S)
            if lease is not None:
                return self._refresh_under(lease, credential)
            time.sleep(pause_s * random.uniform(0.5, 1.5))  # noqa: S311 - spreads those who wait
            pause_s = min(pause_s * 1.5, 1.0)
        raise PortalBusy("REFRESHING", "another process is refreshing the token", retry_after_s=5.0)

    def _changed(self, credential: Any) -> Any:
        """What another process made of it meanwhile; None when it is as it was."""
        now = self._keeper.reread(credential)
        if now is None:
            return self.present()
        return now if now.version != credential.version else None

    def _refresh_under(self, lease: str, credential: Any) -> Any:
        try:
            found = self._fetched_under(lease, credential)
        except TokenRefused as error:
            # The right is given back by now: a spare whose time is over needs it for itself.
            return self.replaced(credential, error)
        return found or self.present()

    def _fetched_under(self, lease: str, credential: Any) -> Any:
        cool_s = 0.0
        try:
            # Read again: between our last look and the lease another process may have been through.
            now = self._keeper.reread(credential)
            if now is None or now.version != credential.version:
                return now
            return self._fetch(credential)
        except (PortalBusy, TransportError):
            cool_s = COOL_S * random.uniform(1.0, 2.0)  # noqa: S311 - spreads those who wait
            raise
        finally:
            self._keeper.release_refresh(lease, cool_s=cool_s)

    def _fetch(self, credential: Any) -> Any:
        fresh = self._fetch_twice(credential.tokens.refresh_token)
        if fresh.member_id and fresh.member_id != self._member_id:
            raise PortalBusy("FOREIGN_TOKEN", "the authorization server answered for another portal")
        self._keeper.store(credential, fresh)
        if fresh.client_endpoint:
            self._on_address(fresh.client_endpoint)
        return self._keeper.reread(credential)

    def _fetch_twice(self, refresh_token: str) -> Refreshed:
        """When the answer is lost the old token is tried once more: some servers let it live till then."""
        if not refresh_token:
            raise TokenRefused("NO_REFRESH_TOKEN", "this user's tokens cannot be refreshed")
        try:
            return self._asked(refresh_token)
        except NoAnswer:
            return self._asked(refresh_token)

    def _asked(self, refresh_token: str) -> Refreshed:
        started = time.monotonic()
        problem = ""
        try:
            return self._oauth.refresh(self._server, refresh_token, now=self._clock())
        except PortalError as error:
            problem = error.code
            raise
        except TransportError as error:
            problem = type(error).__name__
            raise
        finally:
            took_ms = int((time.monotonic() - started) * 1000)
            self._journal(RestCall("oauth.token", "{}", 0 if problem else 200, problem, "", took_ms))
