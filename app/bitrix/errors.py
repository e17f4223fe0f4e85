"""What a portal's or the authorization server's error means, named by what to do next.

Dispatch is on `error`, case-insensitively; documentation and kernel differ about HTTP statuses, so a
status decides only where there is no `error`. `docs/portal.md` lists the same codes for people.
Source: https://apidocs.bitrix24.com/settings/how-to-call-rest-api/error-codes.html
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from app.transport import HttpAnswer


class PortalError(Exception):
    """An answer that is not a result. `code` is the portal's word, upper-case.

    `is_known` is False for a code that nobody has described: it is handled by its HTTP status, logged and
    counted.
    """

    def __init__(
        self, code: str, description: str = "", *, retry_after_s: float | None = None, is_known: bool = True
    ) -> None:
        super().__init__(f"{code}: {description}".rstrip(": "))
        self.code = code
        self.description = description
        self.retry_after_s = retry_after_s
        self.is_known = is_known


class PortalBusy(PortalError):
    """Over a limit, or in trouble: try again after `retry_after_s`, with growing pauses."""


class BucketFull(PortalBusy):
    """Too many requests in a short while: slower, after a moment."""


class MethodBusy(PortalBusy):
    """This one method has used up its running time: leave it alone until `retry_after_s` is over."""


class PortalBlocked(PortalBusy):
    """Bitrix24 blocked our calls by hand: alarm, and look once an hour."""


class TokenExpired(PortalError):
    """Refresh once and repeat once."""


class TokenRefused(PortalError):
    """This user's tokens are of no use any more: take a spare, or an admin must open the app."""


class AccessDenied(PortalError):
    """The user is no administrator (any more): take a spare admin."""


class PortalGone(PortalError):
    """The app is not there, or the portal is closed: keep everything, look now and then."""


class AppNotFound(PortalGone):
    """The portal says that the app is not installed: believe it when it says so again later."""


class ClientRefused(PortalGone):
    """The authorization server does not know the app in that portal, or does not accept our secret.

    One portal: it has removed the app. All portals: the secret is wrong, and no portal is to blame.
    """


class PaymentRequired(PortalError):
    """The app's paid period is over: keep everything, look now and then."""


class NoRest(PortalError):
    """The portal's plan has no REST: keep everything, look now and then."""


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


class NotSaved(Refused):
    """The portal could not save the sender, for instance because a text is too long."""


class HandlerRefused(Refused):
    """The portal does not take our address: PUBLIC_URL is none that Bitrix24 can call."""


class NotConfirmed(Refused):
    """An administrator of the portal has to allow this method first, or has forbidden it."""


class OurMistake(Refused):
    """We called wrongly, which is a defect of this program: alarm, never repeat."""


class ServerConfigError(PortalError):
    """The authorization server refuses our application itself: alarm, and touch no portal's state."""


@dataclass(frozen=True)
class Meaning:
    """What we do about a code. `pause_s` is the least pause; a longer one that the portal names counts."""

    kind: type[PortalError]
    pause_s: float | None = None


# What a portal's REST interface answers; ACCESS_DENIED has three meanings, see `_access_denied`.
PORTAL_CODES: Mapping[str, Meaning] = {
    # limits and trouble
    "QUERY_LIMIT_EXCEEDED": Meaning(BucketFull, pause_s=2.0),
    "OPERATION_TIME_LIMIT": Meaning(MethodBusy, pause_s=60.0),
    "OVERLOAD_LIMIT": Meaning(PortalBlocked, pause_s=3600.0),
    "INTERNAL_SERVER_ERROR": Meaning(PortalBusy),
    "ERROR_UNEXPECTED_ANSWER": Meaning(PortalBusy),
    "CONNECTION_ERROR": Meaning(PortalBusy),  # HTTP 401, but only the portal's own trouble
    # tokens and rights
    "EXPIRED_TOKEN": Meaning(TokenExpired),
    "INVALID_TOKEN": Meaning(TokenExpired),
    "NO_AUTH_FOUND": Meaning(TokenExpired),
    "AUTHORIZATION_ERROR": Meaning(TokenRefused),
    "USER_ACCESS_ERROR": Meaning(TokenRefused),
    "INVALID_CREDENTIALS": Meaning(AccessDenied),
    "INSUFFICIENT_SCOPE": Meaning(ScopeMissing),
    "WRONG_AUTH_TYPE": Meaning(OurMistake),
    # the app and the portal
    "APPLICATION_NOT_FOUND": Meaning(AppNotFound),
    "PORTAL_DELETED": Meaning(PortalGone),
    "PAYMENT_REQUIRED": Meaning(PaymentRequired),
    # calls
    "ERROR_METHOD_NOT_FOUND": Meaning(MethodMissing),
    "METHOD_CONFIRM_WAITING": Meaning(NotConfirmed),
    "METHOD_CONFIRM_DENIED": Meaning(NotConfirmed),
    "INVALID_REQUEST": Meaning(Refused),
    "ERROR_MANIFEST_IS_NOT_AVAILABLE": Meaning(Refused),
    "ERROR_ARGUMENT": Meaning(Refused),
    "ERROR_CORE": Meaning(Refused),
    "ERROR_NOT_FOUND": Meaning(Refused),
    "WRONG_ENCODING": Meaning(OurMistake),
    "ERROR_BATCH_LENGTH_EXCEEDED": Meaning(OurMistake),
    "ERROR_BATCH_METHOD_NOT_ALLOWED": Meaning(OurMistake),
    # senders
    "ERROR_SENDER_VALIDATION_FAILURE": Meaning(OurMistake),
    "ERROR_SENDER_CODE_REQUIRED": Meaning(OurMistake),
    "ERROR_SENDER_OTHER_PARAMS_REQUIRED": Meaning(OurMistake),
    "ERROR_SENDER_ALREADY_INSTALLED": Meaning(SenderExists),
    "ERROR_SENDER_NOT_FOUND": Meaning(SenderNotFound),
    "ERROR_SENDER_ADD_FAILURE": Meaning(NotSaved),
    "ERROR_SENDER_UPDATE_FAILURE": Meaning(NotSaved),
    "ERROR_WRONG_HANDLER_URL": Meaning(HandlerRefused),
    "ERROR_UNSUPPORTED_PROTOCOL": Meaning(HandlerRefused),
    "ERROR_HANDLER_URL_MATCH": Meaning(HandlerRefused),
    # messages and events
    "ERROR_MESSAGE_NOT_FOUND": Meaning(MessageNotFound),
    "ERROR_MESSAGE_STATUS_INCORRECT": Meaning(OurMistake),
    "ERROR_EVENT_NOT_FOUND": Meaning(Refused),
}

# What the authorization server answers; the codes of the portal's table count there as well.
OAUTH_CODES: Mapping[str, Meaning] = {
    "INVALID_GRANT": Meaning(TokenRefused),
    "INVALID_CLIENT": Meaning(ClientRefused),
    "NOT_INSTALLED": Meaning(ClientRefused),
    "WRONG_CLIENT": Meaning(ClientRefused),
    "PAYMENT_REQUIRED": Meaning(PaymentRequired),
    "INVALID_REQUEST": Meaning(ServerConfigError),
    "INSUFFICIENT_SCOPE": Meaning(ServerConfigError),
    "INVALID_SCOPE": Meaning(ServerConfigError),
}


def portal_error(
    code: str, description: str, *, status: int = 0, retry_after_s: float | None = None
) -> PortalError:
    """The exception for an error of a portal's REST interface."""
    word = code.upper()[:80]
    if word == "ACCESS_DENIED":
        return _access_denied(description)
    if word == "ERROR_CORE" and "already binded" in description.lower():
        return AlreadyBound(word, description)
    meaning = PORTAL_CODES.get(word)
    if meaning is None:
        kind: type[PortalError] = PortalBusy if status >= 500 or status == 429 else Refused
        return kind(word, description, retry_after_s=retry_after_s, is_known=False)
    return meaning.kind(word, description, retry_after_s=_longer(retry_after_s, meaning.pause_s))


def _longer(said_s: float | None, least_s: float | None) -> float | None:
    known = [seconds for seconds in (said_s, least_s) if seconds is not None]
    return max(known) if known else None


def _access_denied(description: str) -> PortalError:
    """Three meanings under one code; only the description tells them apart."""
    text = description.lower()
    if "commercial plan" in text:
        return NoRest("ACCESS_DENIED", description)
    if "application context" in text:
        return OurMistake("ACCESS_DENIED", description)
    return AccessDenied("ACCESS_DENIED", description)


def oauth_error(code: str, description: str, *, status: int = 0) -> PortalError:
    """The exception for an error of the authorization server."""
    word = code.upper()[:80]
    meaning = OAUTH_CODES.get(word) or PORTAL_CODES.get(word)
    if meaning is None:
        # A word that nobody knows is no reason to throw tokens away.
        return PortalBusy(word, description, is_known=False)
    return meaning.kind(word, description, retry_after_s=meaning.pause_s)


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
        raise PortalBusy(
            f"HTTP_{answer.status}", "the answer is not JSON", retry_after_s=answer.retry_after_s
        )
    return body


def is_known_code(said: str) -> bool:
    """Whether the journal's error is one that we have an answer to; a batch has several, with commas."""
    return all(_is_known(code.strip().upper()) for code in said.split(","))


def _is_known(code: str) -> bool:
    tables = (PORTAL_CODES, OAUTH_CODES, _OWN_WORDS)
    return any(code in table for table in tables) or code.startswith("HTTP_")


# ACCESS_DENIED is told apart by its description; the others are our transport's.
_OWN_WORDS = ("ACCESS_DENIED", "NOANSWER", "NOTSENT", "ADDRESSREFUSED")
