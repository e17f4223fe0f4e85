"""One portal's REST interface: tokens kept fresh, limits obeyed, addresses followed, calls written down."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol
from urllib.parse import urlencode, urlsplit

from app.bitrix.errors import (
    AccessDenied,
    MethodMissing,
    PortalBusy,
    PortalError,
    SenderExists,
    SenderNotFound,
    TokenExpired,
    TokenRefused,
    parsed,
    portal_error,
)
from app.bitrix.oauth import OAuth, Refreshed
from app.domain.numbers import mask
from app.domain.portals import TokenPair
from app.domain.status import MessageStatus
from app.transport import HttpAnswer, HttpClient, NoAnswer

REFRESH_LEASE_S = 40.0
REFRESH_WAIT_S = 20.0
BATCH_LIMIT = 50
_REDIRECTS = (301, 302, 303, 307, 308)


class TokenKeeper(Protocol):
    """Where a portal's tokens live. One process at a time refreshes: `claim_refresh` says who.

    A credential is the store's own value with `user_id`, `tokens` and a `version` that changes with every
    new pair; it is handed back as it came.
    """

    def current(self) -> Any: ...
    def claim_refresh(self, lease_s: float) -> str | None: ...
    def release_refresh(self, lease: str) -> None: ...
    def store(self, credential: Any, tokens: TokenPair, *, client_endpoint: str, status: str) -> None: ...
    def moved(self, client_endpoint: str) -> None: ...
    def mark_broken(self, credential: Any, reason: str) -> bool: ...
    def expires_soon(self, credential: Any) -> bool: ...


@dataclass(frozen=True)
class Journal:
    """One REST call for the log, secrets already removed."""

    method: str
    params: str
    http_status: int
    error: str
    answer: str
    took_ms: int


@dataclass(frozen=True)
class StatusUpdate:
    """One word for one message; `message_id` is the text that the HANDLER call carried."""

    key: str
    code: str
    message_id: str
    status: MessageStatus


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
        take_call: Callable[[], float],
        journal: Callable[[Journal], None],
        clock: Callable[[], datetime],
        timeout_s: float,
    ) -> None:
        self._http = http
        self._oauth = oauth
        self._oauth_server = oauth_server
        self._member_id = member_id
        self._endpoint = client_endpoint
        self._tokens = tokens
        self._take_call = take_call
        self._journal = journal
        self._clock = clock
        self._timeout_s = timeout_s

    # --- messageservice ---

    def sender_codes(self) -> list[str]:
        """The CODEs of our senders in this portal."""
        result = self.call("messageservice.sender.list")
        # The kernel answers plain strings; an empty map is written as a list by PHP.
        return [str(code) for code in result] if isinstance(result, list) else []

    def add_sender(
        self, code: str, handler: str, name: Mapping[str, str], description: Mapping[str, str]
    ) -> None:
        self.call(
            "messageservice.sender.add",
            {
                "CODE": code,
                "TYPE": "SMS",
                "HANDLER": handler,
                "NAME": dict(name),
                "DESCRIPTION": dict(description),
            },
        )

    def update_sender(
        self,
        code: str,
        *,
        handler: str | None = None,
        name: Mapping[str, str] | None = None,
        description: Mapping[str, str] | None = None,
    ) -> None:
        """Change a sender's handler, name or description; at least one of them.

        Raises:
            SenderNotFound: add it. MethodMissing: the portal is too old; delete and add.

        Source: https://apidocs.bitrix24.com/api-reference/messageservice/messageservice-sender-update.html
        """
        changes: dict[str, Any] = {"HANDLER": handler, "NAME": name, "DESCRIPTION": description}
        params = {key: value for key, value in changes.items() if value is not None}
        if not params:
            raise ValueError("sender.update wants a handler, a name or a description")
        self.call("messageservice.sender.update", {"CODE": code, **params})

    def put_sender(
        self, code: str, handler: str, name: Mapping[str, str], description: Mapping[str, str]
    ) -> None:
        """Update the sender, or add it; on portals without `update`, delete and add.

        Both maps are always sent whole: a name in a new language is refused without the others.
        """
        try:
            self.update_sender(code, handler=handler, name=name, description=description)
        except SenderNotFound:
            self.put_sender_anew(code, handler, name, description)
        except MethodMissing:
            self.delete_sender(code)
            self.add_sender(code, handler, name, description)

    def put_sender_anew(
        self, code: str, handler: str, name: Mapping[str, str], description: Mapping[str, str]
    ) -> None:
        """Add the sender, or update it when another process was faster."""
        try:
            self.add_sender(code, handler, name, description)
        except SenderExists:
            self.update_sender(code, handler=handler, name=name, description=description)

    def delete_sender(self, code: str) -> None:
        try:
            self.call("messageservice.sender.delete", {"CODE": code})
        except SenderNotFound:
            pass

    def update_message_statuses(self, updates: list[StatusUpdate]) -> dict[str, PortalError | None]:
        """Tell up to 50 statuses in one call; by key, None where it was told, else why not.

        `true` also means "no change" there, and the portal takes any order of words: the order is our care.

        Raises:
            PortalError: the whole call failed and nothing is known to be told.

        Source: https://apidocs.bitrix24.com/api-reference/messageservice/messageservice-message-status-update.html
        """
        if len(updates) > BATCH_LIMIT:
            raise ValueError(f"at most {BATCH_LIMIT} statuses in one call")
        commands = {
            update.key: "messageservice.message.status.update?"
            + urlencode({"CODE": update.code, "MESSAGE_ID": update.message_id, "STATUS": update.status.value})
            for update in updates
        }
        result = self.call("batch", {"halt": 0, "cmd": commands}, timeout_s=self._timeout_s * 2)
        done, errors = _map(result, "result"), _map(result, "result_error")
        answers: dict[str, PortalError | None] = {}
        for update in updates:
            if (error := errors.get(update.key)) is not None:
                answers[update.key] = _inner_error(error)
            elif update.key in done:
                answers[update.key] = None
            else:
                answers[update.key] = PortalBusy("NO_RESULT", "the batch's answer leaves this command out")
        return answers

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

    # --- one call ---

    def call(
        self, method: str, params: Mapping[str, Any] | None = None, *, timeout_s: float | None = None
    ) -> Any:
        """The `result` of one method.

        A token that ran out is refreshed once; a renamed portal is followed once, to the address that the
        authorization server names. A user who lost his rights is replaced by a spare admin.

        Raises:
            PortalError: see `app.bitrix.errors`.
            TransportError: no usable answer; these calls are safe to repeat.
        """
        credential = self._credential()
        refreshed = followed = False
        while True:
            try:
                answer = self._post(method, params or {}, credential.tokens.access_token, timeout_s)
                if answer.status in _REDIRECTS and not followed:
                    self._follow(credential)
                    followed = True
                    continue
                return self._result(answer)
            except TokenExpired as error:
                if refreshed:
                    credential = self._replace(credential, error)
                    refreshed = False
                else:
                    credential = self._refresh(credential)
                    refreshed = True
            except (TokenRefused, AccessDenied) as error:
                credential = self._replace(credential, error)
                refreshed = False

    def _credential(self) -> Any:
        credential = self._tokens.current()
        if credential is None:
            raise TokenRefused("NO_TOKENS", "no administrator has connected the app")
        return self._refresh(credential) if self._tokens.expires_soon(credential) else credential

    def _replace(self, credential: Any, error: PortalError) -> Any:
        """The next admin's credential; the error itself when there is none."""
        if not self._tokens.mark_broken(credential, error.code):
            raise error
        return self._credential()

    def _post(
        self, method: str, params: Mapping[str, Any], access_token: str, timeout_s: float | None
    ) -> HttpAnswer:
        wait_s = self._take_call()
        if wait_s > 0:
            if wait_s > self._timeout_s:
                raise PortalBusy("OUR_LIMIT", "too many calls to this portal", retry_after_s=wait_s)
            time.sleep(wait_s)
            return self._post(method, params, access_token, timeout_s)
        started = time.monotonic()
        answer: HttpAnswer | None = None
        failure = ""
        try:
            answer = self._http.request(
                "POST",
                f"{self._endpoint}{method}",
                json={**params, "auth": access_token},
                headers={"Accept": "application/json"},
                timeout_s=timeout_s or self._timeout_s,
            )
            return answer
        except Exception as error:
            failure = type(error).__name__
            raise
        finally:
            self._journal(_journal_entry(method, params, answer, failure, time.monotonic() - started))

    def _result(self, answer: HttpAnswer) -> Any:
        body = parsed(answer)
        if error := body.get("error"):
            raise portal_error(
                str(error),
                str(body.get("error_description", "")),
                status=answer.status,
                retry_after_s=self._retry_after(body),
            )
        if not answer.ok or "result" not in body:
            raise PortalBusy(f"HTTP_{answer.status}", "an answer without a result")
        return body["result"]

    def _retry_after(self, body: Mapping[str, Any]) -> float | None:
        time_node = body.get("time")
        reset_at = time_node.get("operating_reset_at") if isinstance(time_node, Mapping) else None
        reset_at = body.get("operating_reset_at", reset_at)
        if not isinstance(reset_at, int | float):
            return None
        return min(max(0.0, reset_at - self._clock().timestamp()), 600.0)

    def _follow(self, credential: Any) -> None:
        """The portal answers with a redirect: only the authorization server's word moves it."""
        info = self._oauth.app_info(self._oauth_server, credential.tokens.access_token)
        if info.member_id != self._member_id or not urlsplit(info.client_endpoint).hostname:
            raise PortalBusy("MOVED", "the portal moved and the authorization server does not say where")
        if info.client_endpoint == self._endpoint:
            raise PortalBusy("MOVED", "the portal redirects, and its address has not changed yet")
        self._endpoint = info.client_endpoint
        self._tokens.moved(info.client_endpoint)

    # --- tokens ---

    def refresh_now(self) -> None:
        """Keep a quiet portal's tokens from reaching their 180 days."""
        if (credential := self._tokens.current()) is not None:
            self._refresh(credential)

    def _refresh(self, credential: Any) -> Any:
        """Newer tokens than `credential` has, whoever fetches them.

        No transaction is open while we wait for the authorization server, and the new pair is stored
        before it is used.
        """
        give_up = time.monotonic() + REFRESH_WAIT_S
        while time.monotonic() < give_up:
            lease = self._tokens.claim_refresh(REFRESH_LEASE_S)
            present = self._tokens.current()
            if (
                present is None
                or present.user_id != credential.user_id
                or present.version != credential.version
            ):
                if lease:
                    self._tokens.release_refresh(lease)
                if present is None:
                    raise TokenRefused("NO_TOKENS", "no administrator's tokens work")
                return present
            if lease is None:
                time.sleep(0.1)
                continue
            try:
                return self._fetch(present)
            finally:
                self._tokens.release_refresh(lease)
        raise PortalBusy("REFRESHING", "another process is refreshing the token for too long")

    def _fetch(self, credential: Any) -> Any:
        try:
            fresh = self._fetch_twice(credential.tokens.refresh_token)
        except TokenRefused as error:
            return self._replace(credential, error)
        if fresh.member_id and fresh.member_id != self._member_id:
            raise PortalBusy("FOREIGN_TOKEN", "the authorization server answered for another portal")
        self._tokens.store(
            credential, fresh.tokens, client_endpoint=fresh.client_endpoint, status=fresh.status
        )
        if fresh.client_endpoint:
            self._endpoint = fresh.client_endpoint
        stored = self._tokens.current()
        if stored is None:
            raise TokenRefused("NO_TOKENS", "no administrator's tokens work")
        return stored

    def _fetch_twice(self, refresh_token: str) -> Refreshed:
        """When the answer is lost the old token is tried once more: some servers let it live till then."""
        try:
            return self._oauth.refresh(self._oauth_server, refresh_token, now=self._clock())
        except NoAnswer:
            return self._oauth.refresh(self._oauth_server, refresh_token, now=self._clock())


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


_HIDDEN = re.compile(
    r'("(?:auth|access_token|refresh_token|application_token)"\s*:\s*)"[^"]*"', re.IGNORECASE
)
_SECRET_PATH = re.compile(r"(/sms/|/reports/[a-z0-9_]+/)[A-Za-z0-9_-]{16,}")
_PHONE = re.compile(r"\+\d{8,15}")


def _journal_entry(
    method: str, params: Mapping[str, Any], answer: HttpAnswer | None, failure: str, took_s: float
) -> Journal:
    body = answer.text if answer is not None else ""
    error = failure
    if answer is not None and '"error"' in body:
        try:
            error = str(json.loads(body).get("error", ""))
        except (ValueError, AttributeError):
            error = "not JSON"
    return Journal(
        method=method,
        params=_without_secrets(json.dumps(dict(params), ensure_ascii=False)),
        http_status=answer.status if answer is not None else 0,
        error=error,
        answer=_without_secrets(body[:4000]),
        took_ms=int(took_s * 1000),
    )


def _without_secrets(text: str) -> str:
    text = _HIDDEN.sub(r'\1"***"', text)
    text = _SECRET_PATH.sub(r"\1***", text)
    return _PHONE.sub(lambda match: mask(match.group()), text)
