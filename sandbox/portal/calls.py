"""What a REST method is to the portal, and the table of all of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from sandbox.portal.errors import RestError
from sandbox.portal.tokens import AccessToken
from sandbox.portal.world import Installation, Portal, User, World


@dataclass(frozen=True, slots=True)
class Call:
    """An authorized call. `token` None: an incoming webhook, which has no application."""

    world: World
    portal: Portal
    user: User
    token: AccessToken | None

    def require_app(self) -> Installation:
        """The application's row; refuses callers without application context."""
        if self.token is None or self.portal.installation is None:
            raise RestError("ACCESS_DENIED", "Access denied! Application context required")
        return self.portal.installation

    def require_admin(self) -> None:
        if not self.user.is_admin:
            raise RestError("ACCESS_DENIED")


Runner = Callable[[Call, dict[str, Any]], Any]


@dataclass(frozen=True, slots=True)
class MethodSpec:
    run: Runner
    scope: str  # empty: the basic scope, always there
    new_only: bool


METHODS: dict[str, MethodSpec] = {}


def rest_method(name: str, scope: str = "", *, new_only: bool = False) -> Callable[[Runner], Runner]:
    """Put a function into the table under its REST name."""

    def put(run: Runner) -> Runner:
        METHODS[name] = MethodSpec(run, scope, new_only)
        return run

    return put


def granted_scope(world: World, portal: Portal) -> list[str]:
    if portal.granted is not None:
        return portal.granted
    return world.app.scope if world.app is not None else []
