"""What a portal's or the authorization server's error means, named by what to do next.

Dispatch is on `error`, case-insensitively; documentation and kernel differ about HTTP statuses, so a
status decides only where there is no `error`.
Source: https://apidocs.bitrix24.com/settings/how-to-call-rest-api/error-codes.html
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from app.transport import HttpAnswer


class PortalError(Exception):
    """An answer that is not a result. `code` is the portal's word, upper-case."""

    def __init__(self, code: str, description: str = "", *, retry_after_s: float | None = None) -> None:
        super().__init__(f"{code}: {description}".rstrip(": "))
        self.code = code
        self.description = description
        self.retry_after_s = retry_after_s


class PortalBusy(PortalError):
    """Over a limit, or in trouble: try again after `retry_after_s`, with growing pauses."""


class TokenExpired(PortalError):
    """Refresh once and repeat once."""


class TokenRefused(PortalError):
    """This user's tokens are of no use any more: take a spare, or an admin must open the app."""


class AccessDenied(PortalError):
    """The user is no administrator (any more): take a spare admin."""


class PortalGone(PortalError):
    """The app is not installed there, or the portal is closed: stop, probe now and then."""


class PaymentRequired(PortalError):
    """The app's paid period is over: keep everything, probe daily."""


class NoRest(PortalError):
    """The portal's plan has no REST: keep everything, probe daily."""


class ScopeMissing(PortalError):
    """The portal did not grant `messageservice`: an admin must update or reinstall the app."""


class MethodMissing(PortalError):
    """This portal is too old for the method: use the fallback."""


class MessageNotFound(PortalError):
    """Not stored there yet, or never: try for some minutes, then stop."""


class SenderExists(PortalError):
    """`sender.add` for a CODE that is there: update it."""


class SenderNotFound(PortalError):
    """`sender.update` for a CODE that is not there: add it."""


class AlreadyBound(PortalError):
    """`event.bind` for a handler that is bound: success for us."""


class Refused(PortalError):
    """Final, and repeating it unchanged would not help."""


class ServerConfigError(PortalError):
    """The authorization server refuses our application itself: alarm, and touch no portal's state."""


_BY_CODE: Mapping[str, type[PortalError]] = {
    # limits and trouble
    "QUERY_LIMIT_EXCEEDED": PortalBusy,
    "OPERATION_TIME_LIMIT": PortalBusy,
    "OVERLOAD_LIMIT": PortalBusy,
    "INTERNAL_SERVER_ERROR": PortalBusy,
    "ERROR_UNEXPECTED_ANSWER": PortalBusy,
    "CONNECTION_ERROR": PortalBusy,
    # tokens
    "EXPIRED_TOKEN": TokenExpired,
    "INVALID_TOKEN": TokenExpired,
    "NO_AUTH_FOUND": TokenExpired,
    "AUTHORIZATION_ERROR": TokenRefused,
    "USER_ACCESS_ERROR": TokenRefused,
    "INVALID_CREDENTIALS": AccessDenied,
    "INSUFFICIENT_SCOPE": ScopeMissing,
    # the app and the portal
    "APPLICATION_NOT_FOUND": PortalGone,
    "PORTAL_DELETED": PortalGone,
    "PAYMENT_REQUIRED": PaymentRequired,
    # methods
    "ERROR_METHOD_NOT_FOUND": MethodMissing,
    "ERROR_MESSAGE_NOT_FOUND": MessageNotFound,
    "ERROR_SENDER_ALREADY_INSTALLED": SenderExists,
    "ERROR_SENDER_NOT_FOUND": SenderNotFound,
}

# The least pause after each limit; the portal's own word counts when it is longer.
_PAUSES_S: Mapping[str, float] = {
    "QUERY_LIMIT_EXCEEDED": 2.0,
    "OPERATION_TIME_LIMIT": 60.0,
    "OVERLOAD_LIMIT": 3600.0,
}

_OAUTH: Mapping[str, type[PortalError]] = {
    "INVALID_GRANT": TokenRefused,
    "INVALID_CLIENT": PortalGone,
    "NOT_INSTALLED": PortalGone,
    "WRONG_CLIENT": PortalGone,
    "PAYMENT_REQUIRED": PaymentRequired,
    "INVALID_REQUEST": ServerConfigError,
    "INSUFFICIENT_SCOPE": ServerConfigError,
    "INVALID_SCOPE": ServerConfigError,
}


def portal_error(
    code: str, description: str, *, status: int = 0, retry_after_s: float | None = None
) -> PortalError:
    """The exception for an error of a portal's REST interface."""
    word = code.upper()
    if word == "ACCESS_DENIED":
        return _access_denied(description)
    if word == "ERROR_CORE" and "already binded" in description.lower():
        return AlreadyBound(word, description)
    known = _BY_CODE.get(word)
    if known is None:
        known = PortalBusy if status >= 500 else Refused
    pause = retry_after_s if retry_after_s is not None else _PAUSES_S.get(word)
    return known(word, description, retry_after_s=pause)


def _access_denied(description: str) -> PortalError:
    """Three meanings under one code; only the description tells them apart."""
    text = description.lower()
    if "commercial plan" in text:
        return NoRest("ACCESS_DENIED", description)
    if "application context" in text:
        return Refused("ACCESS_DENIED", description)
    return AccessDenied("ACCESS_DENIED", description)


def oauth_error(code: str, description: str, *, status: int = 0) -> PortalError:
    """The exception for an error of the authorization server."""
    word = code.upper()
    known = _OAUTH.get(word) or _BY_CODE.get(word)
    if known is None:
        known = PortalBusy if status >= 500 else TokenRefused if status in (401, 403) else PortalBusy
    return known(word, description)


def parsed(answer: HttpAnswer) -> Mapping[str, Any]:
    """The JSON object of an answer.

    Raises:
        PortalBusy: HTML, nothing, or anything else that is no JSON object; classified by its status.
    """
    try:
        body = answer.json()
    except ValueError:
        body = None
    if not isinstance(body, Mapping):
        raise PortalBusy(f"HTTP_{answer.status}", "the answer is not JSON")
    return body
