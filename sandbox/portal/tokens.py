"""Access and refresh tokens of all portals: minting, looking up, rotating, expiring."""

from __future__ import annotations

import secrets
from dataclasses import dataclass

from sandbox.portal.world import Portal, World

REFRESH_LIFETIME_S = 180 * 86_400
CODE_LIFETIME_S = 30


class GrantError(Exception):
    """A refusal of the authorization server."""

    def __init__(self, error: str, description: str, status: int = 400) -> None:
        super().__init__(error)
        self.error = error
        self.description = description
        self.status = status


@dataclass(slots=True)
class RefreshToken:
    value: str
    portal: Portal
    user_id: int
    expires_at: float
    generation: int
    parent: RefreshToken | None = None
    dead: bool = False


@dataclass(slots=True)
class AccessToken:
    value: str
    portal: Portal
    user_id: int
    expires_at: float
    generation: int
    parent: RefreshToken | None = None


@dataclass(frozen=True, slots=True)
class TokenPair:
    access: AccessToken
    refresh: RefreshToken | None


class TokenStore:
    """Call it under `World.lock`."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._access: dict[str, AccessToken] = {}
        self._refresh: dict[str, RefreshToken] = {}
        self._codes: dict[str, tuple[Portal, int, float]] = {}

    def mint(
        self, portal: Portal, user_id: int, *, renewable: bool = True, parent: RefreshToken | None = None
    ) -> TokenPair:
        """A new access token for a user, with a refresh token unless it is for a webhook."""
        installation = portal.installation
        generation = installation.generation if installation is not None else 0
        now = self._world.clock.now()
        lifetime = self._world.auth.access_lifetime_s
        access = AccessToken(secrets.token_hex(35), portal, user_id, now + lifetime, generation, parent)
        self._access[access.value] = access
        if not renewable:
            return TokenPair(access, None)
        refresh = RefreshToken(
            secrets.token_hex(35), portal, user_id, now + REFRESH_LIFETIME_S, generation, parent
        )
        self._refresh[refresh.value] = refresh
        return TokenPair(access, refresh)

    def mint_code(self, portal: Portal, user_id: int) -> str:
        code = secrets.token_hex(35)
        self._codes[code] = (portal, user_id, self._world.clock.now() + CODE_LIFETIME_S)
        return code

    def find_access(self, value: str) -> AccessToken | None:
        return self._access.get(value)

    def find_refresh(self, value: str) -> RefreshToken | None:
        return self._refresh.get(value)

    def is_expired(self, token: AccessToken | RefreshToken) -> bool:
        return token.expires_at <= self._world.clock.now()

    def used(self, token: AccessToken | RefreshToken) -> None:
        """A token of a new pair was seen: in grace mode this is what ends the old refresh token."""
        if token.parent is not None:
            token.parent.dead = True
            token.parent = None

    def redeem_code(self, code: str) -> TokenPair:
        portal, user_id, expires_at = self._codes.pop(code, (None, 0, 0.0))
        if portal is None or expires_at <= self._world.clock.now():
            raise GrantError("invalid_grant", "The authorization code is wrong or expired")
        self._check_portal(portal)
        return self.mint(portal, user_id)

    def rotate(self, value: str) -> TokenPair:
        """Exchange a refresh token for a new pair.

        Raises:
            GrantError: unknown, used, expired or foreign token, or a portal that may not have one.
        """
        old = self._refresh.get(value)
        if old is None:
            raise GrantError("invalid_grant", "Invalid refresh token")
        self._check_portal(old.portal)
        installation = old.portal.installation
        assert installation is not None
        if old.dead or old.generation != installation.generation or self.is_expired(old):
            raise GrantError("invalid_grant", "Invalid refresh token")
        self.used(old)
        strict = self._world.auth.rotation == "strict"
        old.dead = strict  # kept, so that whoever comes back with it is known by portal
        return self.mint(old.portal, old.user_id, parent=None if strict else old)

    def _check_portal(self, portal: Portal) -> None:
        installation = portal.live_installation()
        if installation is None:
            raise GrantError("invalid_client", "The application is not installed")
        if not installation.payment_allow:
            raise GrantError("PAYMENT_REQUIRED", "Payment required")

    def expire_access(self, portal: Portal | None = None) -> int:
        """Make all access tokens (of one portal) expired now."""
        now = self._world.clock.now()
        count = 0
        for token in self._access.values():
            if (portal is None or token.portal is portal) and token.expires_at > now:
                token.expires_at = now - 1
                count += 1
        for each in self._world.portals.values():
            if portal is None or each is portal:
                each.author_tokens.clear()
        return count

    def kill_refresh(self, portal: Portal | None = None) -> int:
        """Make all refresh tokens (of one portal) unusable, as after 180 quiet days."""
        count = 0
        for token in self._refresh.values():
            if (portal is None or token.portal is portal) and not token.dead:
                token.dead = True
                count += 1
        return count
