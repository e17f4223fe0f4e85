"""One portal's REST interface: the methods we use, each with a token that works and at the right address."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import urlencode

from app.bitrix.credentials import Credentials, TokenKeeper
from app.bitrix.errors import (
    AccessDenied,
    BucketFull,
    MethodMissing,
    PortalBusy,
    PortalError,
    SenderExists,
    SenderNotFound,
    TokenExpired,
    TokenRefused,
    portal_error,
)
from app.bitrix.oauth import OAuth
from app.bitrix.rest import CallLimits, RestWire
from app.bitrix.sender_names import Localized, localized, matched
from app.domain.rest_calls import RestCall
from app.domain.senders import DESCRIPTION_LIMIT, NAME_LIMIT
from app.domain.status import MessageStatus
from app.transport import HttpAnswer, HttpClient

BATCH_LIMIT = 50
STATUS_UPDATE = "messageservice.message.status.update"
SENDER_UPDATE = "messageservice.sender.update"
NOTIFY = "im.notify.system.add"
_REDIRECTS = (301, 302, 303, 307, 308)
_ROUNDS = 12  # more credentials and repeats than a call can have


@dataclass(frozen=True)
class StatusUpdate:
    """One word for one message; `message_id` is the text that the HANDLER call carried."""

    key: str
    code: str
    message_id: str
    status: MessageStatus

    @property
    def params(self) -> dict[str, str]:
        return {"CODE": self.code, "MESSAGE_ID": self.message_id, "STATUS": self.status.value}


class PortalClient:
    """REST calls in the name of the portal's service credential."""

    def __init__(
        self,
        *,
        http: HttpClient,
        oauth: OAuth,
        oauth_server: str,
        member_id: str,
        client_endpoint: str,
        tokens: TokenKeeper,
        limits: CallLimits,
        journal: Callable[[RestCall], None],
        clock: Callable[[], datetime],
        timeout_s: float,
        on_error: Callable[[PortalError], object],
    ) -> None:
        self._on_error = on_error
        self._endpoint = client_endpoint
        self._timeout_s = timeout_s
        self._wire = RestWire(http=http, limits=limits, journal=journal, clock=clock, timeout_s=timeout_s)
        self._credentials = Credentials(
            tokens,
            oauth,
            server=oauth_server,
            member_id=member_id,
            clock=clock,
            journal=journal,
            on_address=self._move_to,
        )

    def _move_to(self, client_endpoint: str) -> None:
        self._endpoint = client_endpoint

    # --- senders ---

    def sender_codes(self) -> list[str]:
        """The CODEs of our senders in this portal."""
        result = self.call("messageservice.sender.list")
        # The kernel answers plain strings; an empty map is written as a list by PHP.
        return [str(code) for code in result] if isinstance(result, list) else []

    def add_sender(self, code: str, handler: str, name: Localized, description: Localized) -> None:
        """Register a sender.

        Raises:
            SenderExists: update it.

        Source: https://apidocs.bitrix24.com/api-reference/messageservice/messageservice-sender-add.html
        """
        names, descriptions = matched(name, description)
        self.call(
            "messageservice.sender.add",
            {"CODE": code, "TYPE": "SMS", "HANDLER": handler, "NAME": names, "DESCRIPTION": descriptions},
        )

    def update_sender(
        self,
        code: str,
        *,
        handler: str | None = None,
        name: Localized | None = None,
        description: Localized | None = None,
    ) -> None:
        """Change a sender's handler, name or description; at least one of them.

        A text may be plain or a map of two-letter languages. A description in a new language counts only
        together with a name in it, so give both where a language is new.

        Raises:
            ValueError: nothing to change, or a text that the portal would drop without a word.
            SenderNotFound: add it. MethodMissing: the portal is too old; delete and add.

        Source: https://apidocs.bitrix24.com/api-reference/messageservice/messageservice-sender-update.html
        """
        params: dict[str, Any] = {}
        if handler is not None:
            params["HANDLER"] = handler
        if name is not None and description is not None:
            params["NAME"], params["DESCRIPTION"] = matched(name, description)
        elif name is not None:
            params["NAME"] = localized(name, NAME_LIMIT)
        elif description is not None:
            params["DESCRIPTION"] = localized(description, DESCRIPTION_LIMIT)
        if not params:
            raise ValueError("sender.update wants a handler, a name or a description")
        self.call(SENDER_UPDATE, {"CODE": code, **params})

    def put_sender(self, code: str, handler: str, name: Localized, description: Localized) -> None:
        """Update the sender, or add it; on portals without `update`, delete and add.

        Between the two a message fails in the portal: call this only when something changed.
        """
        try:
            self.update_sender(code, handler=handler, name=name, description=description)
        except SenderNotFound:
            self.put_sender_anew(code, handler, name, description)
        except MethodMissing:
            self._replace_sender(code, handler, name, description)

    def put_sender_anew(self, code: str, handler: str, name: Localized, description: Localized) -> None:
        """Add the sender, or update it when it is there after all."""
        try:
            self.add_sender(code, handler, name, description)
        except SenderExists:
            try:
                self.update_sender(code, handler=handler, name=name, description=description)
            except MethodMissing:
                self._replace_sender(code, handler, name, description)

    def _replace_sender(self, code: str, handler: str, name: Localized, description: Localized) -> None:
        self.delete_sender(code)
        try:
            self.add_sender(code, handler, name, description)
        except (
            SenderExists
        ):  # a call of ours that was given up ran there late, and may have said something older
            self.delete_sender(code)
            self.add_sender(code, handler, name, description)

    def delete_sender(self, code: str) -> None:
        try:
            self.call("messageservice.sender.delete", {"CODE": code})
        except SenderNotFound:
            pass

    # --- statuses ---

    def update_message_statuses(self, updates: Sequence[StatusUpdate]) -> dict[str, PortalError | None]:
        """Tell up to 50 statuses in one call; by key, None where it was told, else why not.

        `true` also means "no change" there, and the portal takes any order of words: the order is our care.
        Where the user has lost their rights another admin's token tells the rest.

        Raises:
            PortalError: the whole call failed and nothing is known to be told.

        Source: https://apidocs.bitrix24.com/api-reference/messageservice/messageservice-message-status-update.html
        """
        if len(updates) > BATCH_LIMIT:
            raise ValueError(f"at most {BATCH_LIMIT} statuses in one call")
        answers, credential = self._batch(updates)
        while denied := [update for update in updates if isinstance(answers[update.key], AccessDenied)]:
            error = answers[denied[0].key]
            assert isinstance(error, AccessDenied)
            try:
                self._credentials.replaced(credential, error)
            except PortalError:
                return answers
            again, credential = self._batch(denied)
            answers |= again
        return answers

    def _batch(self, updates: Sequence[StatusUpdate]) -> tuple[dict[str, PortalError | None], Any]:
        commands = {update.key: f"{STATUS_UPDATE}?{urlencode(update.params)}" for update in updates}
        result, credential = self._call(
            "batch", {"halt": 0, "cmd": commands}, inner=(STATUS_UPDATE,), timeout_s=self._timeout_s * 2
        )
        done, errors = _map(result, "result"), _map(result, "result_error")
        answers: dict[str, PortalError | None] = {}
        for update in updates:
            if (said := errors.get(update.key)) is not None:
                answers[update.key] = error = _inner_error(said)
                self._wire.note(error, STATUS_UPDATE)
            elif update.key in done:
                answers[update.key] = None
            else:
                answers[update.key] = PortalBusy("NO_RESULT", "the batch's answer leaves this command out")
        return answers, credential

    def update_status_as_author(self, update: StatusUpdate, access_token: str) -> None:
        """The last resort where no admin's token works: a message's author may tell of their own message.

        His token lives an hour and is never refreshed.

        Raises:
            PortalError: as the portal says; nothing is concluded from it for the portal.
        """
        answer = self._wire.post(self._endpoint, STATUS_UPDATE, update.params, access_token)
        self._wire.result(answer, STATUS_UPDATE)

    def assert_message(self, code: str, message_id: str) -> None:
        """Whether the portal knows a message: told "sent", which it shows by itself, nothing changes.

        Raises:
            MessageNotFound: not stored there yet, or not the portal's at all.
        """
        self.call(STATUS_UPDATE, {"CODE": code, "MESSAGE_ID": message_id, "STATUS": "sent"})

    # --- events and facts ---

    def bound_events(self) -> list[tuple[str, str]]:
        """(event, handler) pairs of our application."""
        result = self.call("event.get")
        rows = result if isinstance(result, list) else []
        return [
            (str(row.get("event", "")).upper(), str(row.get("handler", "")))
            for row in rows
            if isinstance(row, dict)
        ]

    def bind_event(self, event: str, handler: str) -> None:
        self.call("event.bind", {"event": event, "handler": handler})

    def unbind_event(self, event: str, handler: str) -> None:
        self.call("event.unbind", {"event": event, "handler": handler})

    def app_info(self) -> Mapping[str, Any]:
        result = self.call("app.info")
        return result if isinstance(result, Mapping) else {}

    def own_name(self) -> str:
        """The name of the administrator who speaks for the portal here; empty where they gave none."""
        profile = self.call("profile")
        if not isinstance(profile, Mapping):
            return ""
        return " ".join(str(profile.get(key) or "") for key in ("NAME", "LAST_NAME")).strip()[:100]

    def granted_scope(self) -> frozenset[str]:
        """The rights that the portal gave the application: asked before a notice, with as little harm."""
        result = self._quietly("scope", {})
        return frozenset(str(name).lower() for name in result) if isinstance(result, list) else frozenset()

    def notify(self, user_id: str, text: str, *, tag: str) -> None:
        """A notice of the application in a user's notification centre. One with the same tag replaces it.

        Raises:
            PortalError, TransportError: not told. Nothing is concluded from it for tokens or portal: a notice
                must do no harm.

        Source: https://apidocs.bitrix24.com/api-reference/chats/notifications/im-notify-system-add.html
        """
        self._quietly(NOTIFY, {"USER_ID": user_id, "MESSAGE": text, "TAG": tag})

    def _quietly(self, method: str, params: Mapping[str, Any]) -> Any:
        """A call of which nothing is concluded, neither for tokens nor for the portal."""
        token = self._credentials.present().tokens.access_token
        return self._wire.result(self._wire.post(self._endpoint, method, params, token), method)

    def has_method(self, name: str) -> bool:
        """Whether this portal's version knows a method."""
        result = self.call("method.get", {"name": name})
        return isinstance(result, Mapping) and result.get("isExisting") is True

    # --- one call ---

    def call(
        self, method: str, params: Mapping[str, Any] | None = None, *, timeout_s: float | None = None
    ) -> Any:
        """The `result` of one method.

        A token that ran out is refreshed once; a renamed portal is followed once, to the address that the
        authorization server names; a full bucket is waited for. A user who lost their rights is replaced by
        a spare admin.

        Raises:
            PortalError: see `app.bitrix.errors`.
            TransportError: no usable answer; these calls are safe to repeat.
        """
        return self._call(method, params or {}, timeout_s=timeout_s)[0]

    def _call(
        self,
        method: str,
        params: Mapping[str, Any],
        *,
        inner: Sequence[str] = (),
        timeout_s: float | None = None,
    ) -> tuple[Any, Any]:
        """The result, and the credential that got it."""
        try:
            return self._called(method, params, inner=inner, timeout_s=timeout_s)
        except PortalError as error:
            self._on_error(error)  # what it says of the portal is kept, whoever asked
            raise

    def _called(
        self, method: str, params: Mapping[str, Any], *, inner: Sequence[str], timeout_s: float | None
    ) -> tuple[Any, Any]:
        credential = self._credentials.present()
        refreshed = followed = waited = False
        for _ in range(_ROUNDS):
            try:
                token = credential.tokens.access_token
                answer = self._wire.post(
                    self._endpoint, method, params, token, inner=inner, timeout_s=timeout_s
                )
                if answer.status not in _REDIRECTS:
                    return self._wire.result(answer, method, inner=inner), credential
                self._follow(token, answer, again=followed)
                followed = True
            except TokenExpired as error:
                if refreshed:
                    credential = self._credentials.replaced(credential, error)
                else:
                    credential = self._credentials.refreshed(credential)
                refreshed = not refreshed
            except (TokenRefused, AccessDenied) as error:
                credential = self._credentials.replaced(credential, error)
                refreshed = False
            except BucketFull as error:
                if waited:
                    raise
                waited = True
                time.sleep((error.retry_after_s or 2.0) * random.uniform(0.5, 1.0))  # noqa: S311 - jitter
        raise PortalBusy("TOO_MANY_ROUNDS", "no credential and address settled")

    def _follow(self, access_token: str, answer: HttpAnswer, *, again: bool) -> None:
        """The portal answers with a redirect; where it leads to is a hint and never an address to call."""
        if again:
            raise PortalBusy(f"HTTP_{answer.status}", "the portal's new address redirects as well")
        address = self._credentials.new_address(access_token)
        if address == self._endpoint:
            raise PortalBusy("MOVED", "the portal redirects, and its address has not changed yet")
        self._endpoint = address

    def connect(self) -> None:
        """Make sure of a token that lives, without a call to the portal."""
        self._credentials.present()

    def refresh_now(self, credential: Any) -> None:
        """Keep the tokens of a quiet portal, or of a spare admin, from reaching their 180 days."""
        self._credentials.refreshed(credential)


def _map(node: Any, name: str) -> Mapping[str, Any]:
    """A map of a batch's answer; PHP writes an empty one as [], numeric keys as a list."""
    value = node.get(name) if isinstance(node, Mapping) else None
    if isinstance(value, list):
        return {str(index): item for index, item in enumerate(value)}
    return value if isinstance(value, Mapping) else {}


def _inner_error(error: Any) -> PortalError:
    if not isinstance(error, Mapping):
        return PortalBusy("ERROR_UNEXPECTED_ANSWER", "an error without a code")
    return portal_error(str(error.get("error", "")), str(error.get("error_description", "")))
