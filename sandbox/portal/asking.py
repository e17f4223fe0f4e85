"""Reading a request of the control API: JSON body or query, which portal, which type, or a clear 400."""

from __future__ import annotations

from typing import Any, TypeVar

from flask import request
from werkzeug.exceptions import BadRequest

from sandbox.portal.world import Portal, User, World

T = TypeVar("T", str, int, float, bool)


class Question:
    """One request: body fields before query fields; each is taken once, and left-overs are refused."""

    def __init__(self, world: World) -> None:
        self._world = world
        body = request.get_json(silent=True) if request.data else None
        if request.data and not isinstance(body, dict):
            raise BadRequest("The body must be a JSON object.")
        self._fields: dict[str, Any] = {**request.args.to_dict(), **(body or {})}
        self._portal = self._fields.pop("portal", None)

    def __contains__(self, name: str) -> bool:
        return self._fields.get(name) is not None

    def portal(self) -> Portal:
        """The portal asked for by number or member_id; the first by default."""
        if self._portal in (None, ""):
            return self._world.portals[1]
        for portal in self._world.portals.values():
            if str(self._portal) in (str(portal.number), portal.member_id):
                return portal
        raise BadRequest(f"There is no portal {self._portal}.")

    def portal_or_all(self) -> Portal | None:
        """None stands for all of them, which is the default here and can be written as `*`."""
        return None if self._portal in (None, "", "*") else self.portal()

    def portals(self) -> list[Portal]:
        """`portals`: a list of numbers or `*`; else the one asked for."""
        wanted = self._fields.pop("portals", None)
        if wanted is None:
            return [self.portal()]
        if wanted == "*":
            return list(self._world.portals.values())
        try:
            return [self._world.portals[int(number)] for number in wanted]
        except (KeyError, TypeError, ValueError):
            raise BadRequest("portals must be a list of portal numbers or *.") from None

    def user(self, portal: Portal, default: int = 1) -> User:
        number = self.get("user", default)
        user = portal.users.get(number)
        if user is None:
            raise BadRequest(f"Portal {portal.number} has no user {number}.")
        return user

    def get(self, name: str, default: T) -> T:
        """A field in the type of its default; query values are read as that type."""
        value = self._fields.pop(name, None)
        return default if value is None else self._convert(name, value, type(default))

    def maybe(self, name: str, kind: type[T]) -> T | None:
        value = self._fields.pop(name, None)
        return None if value is None else self._convert(name, value, kind)

    def need(self, name: str) -> str:
        value = self._fields.pop(name, None)
        if value in (None, ""):
            raise BadRequest(f"{name} is missing.")
        return str(value)

    def raw(self, name: str, default: Any = None) -> Any:
        return self._fields.pop(name, default)

    def rest(self) -> dict[str, Any]:
        """All that was not taken yet."""
        rest, self._fields = self._fields, {}
        return rest

    def done(self) -> None:
        """Refuse misspelt fields instead of ignoring them: a switch that does nothing costs hours."""
        if self._fields:
            raise BadRequest(f"Unknown: {', '.join(sorted(self._fields))}.")

    def _convert(self, name: str, value: Any, kind: type[T]) -> T:
        if kind is bool:
            text = str(value).lower()
            if text in ("1", "true", "yes", "y", "on"):
                return kind(True)
            if text in ("0", "false", "no", "n", "off", ""):
                return kind(False)
            raise BadRequest(f"{name} must be true or false.")
        try:
            return kind(value)
        except (TypeError, ValueError):
            raise BadRequest(f"{name} must be of type {kind.__name__}.") from None
