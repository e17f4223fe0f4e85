"""One REST call on the wire: its turn under the portal's limits, its line in the journal, its result."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Protocol
from urllib.parse import urlsplit, urlunsplit

from app.bitrix.errors import (
    BucketFull,
    MethodBusy,
    PortalBlocked,
    PortalBusy,
    PortalError,
    parsed,
    portal_error,
)
from app.bitrix.journal import operating, written_down
from app.domain.hosts import ascii_host
from app.domain.rest_calls import RestCall
from app.transport import AddressRefused, HttpAnswer, HttpClient, NotSent

log = logging.getLogger(__name__)

# Bitrix24 blocks a method after some 480 s of running time in ten minutes, a box after 420.
OPERATING_LIMIT_S = 400.0
LONGEST_PAUSE_S = 600.0


class CallLimits(Protocol):
    """The portal's limits, kept in rows, so that they hold across processes and machines."""

    def wait_s(self, methods: Sequence[str]) -> float:
        """Count one call; or, with nothing counted, how many seconds to wait for it."""

    def bucket_is_full(self) -> None:
        """The portal says so: believe it rather than our count."""

    def pause(self, method: str, until: datetime) -> None:
        """Leave one method alone until then, or with an empty name the whole portal."""

    def known_reset(self, method: str) -> float | None:
        """The unix time that the portal named last for this method, when it lies ahead."""

    def strikes(self, method: str) -> int:
        """How often the method was blocked lately."""


def no_journal(_: RestCall) -> None:
    """For calls before we know the portal."""


class RestWire:
    """Calls to one portal with somebody's access token."""

    def __init__(
        self,
        *,
        http: HttpClient,
        limits: CallLimits,
        journal: Callable[[RestCall], None],
        clock: Callable[[], datetime],
        timeout_s: float,
    ) -> None:
        self._http = http
        self._limits = limits
        self._journal = journal
        self._clock = clock
        self.timeout_s = timeout_s

    def post(
        self,
        endpoint: str,
        method: str,
        params: Mapping[str, Any],
        access_token: str,
        *,
        inner: Sequence[str] = (),
        timeout_s: float | None = None,
    ) -> HttpAnswer:
        """The answer, whatever it is. `inner` are the methods inside a batch: their blocks count, too.

        Raises:
            PortalBusy: our own limits would make it wait for too long.
            TransportError: no complete answer.
        """
        while (wait_s := self._limits.wait_s((method, *inner))) > 0:
            if wait_s > self.timeout_s:
                raise PortalBusy("OUR_LIMIT", "this portal must rest", retry_after_s=wait_s)
            time.sleep(wait_s)
        return sent(
            self._http,
            f"{endpoint}{method}",
            method,
            params,
            access_token,
            journal=self._journal,
            timeout_s=timeout_s or self.timeout_s,
        )

    def result(self, answer: HttpAnswer, method: str, *, inner: Sequence[str] = ()) -> Any:
        """The `result` of an answer; what it says of limits is remembered.

        Raises:
            PortalError: named by what to do next.
        """
        try:
            body = parsed(answer)
            if error := body.get("error"):
                raise portal_error(
                    str(error),
                    str(body.get("error_description", "")),
                    status=answer.status,
                    retry_after_s=self._retry_after(answer, body),
                )
            if not answer.ok or "result" not in body:
                raise PortalBusy(f"HTTP_{answer.status}", "an answer without a result")
        except PortalError as error:
            self.note(error, inner[0] if inner else method)
            raise
        self._watch(body, (method, *inner))
        return body["result"]

    def note(self, error: PortalError, method: str) -> None:
        """Remember what an error says of limits, and say so when nobody knows the code."""
        if not error.is_known:
            log.warning("unknown portal error", extra={"code": error.code, "method": method})
        match error:
            case BucketFull():
                self._limits.bucket_is_full()
            case MethodBusy():
                error.retry_after_s = self._method_pause_s(method, error.retry_after_s)
                self._limits.pause(method, self._after(error.retry_after_s))
            case PortalBlocked():
                log.error("Bitrix24 blocked our calls to a portal", extra={"code": error.code})
                self._limits.pause("", self._after(error.retry_after_s or 3600.0))

    def _method_pause_s(self, method: str, said_s: float | None) -> float:
        """Until the moment that the portal named, in this answer or before; else longer each time."""
        reset_at = self._limits.known_reset(method)
        if reset_at is not None:
            return min(max(1.0, reset_at - self._clock().timestamp()), LONGEST_PAUSE_S)
        return min((said_s or 60.0) * 2.0 ** self._limits.strikes(method), LONGEST_PAUSE_S)

    def _retry_after(self, answer: HttpAnswer, body: Mapping[str, Any]) -> float | None:
        time_node = body.get("time")
        reset_at = time_node.get("operating_reset_at") if isinstance(time_node, Mapping) else None
        reset_at = body.get("operating_reset_at", reset_at)
        if not isinstance(reset_at, int | float):
            return answer.retry_after_s
        return min(max(0.0, reset_at - self._clock().timestamp()), LONGEST_PAUSE_S)

    def _watch(self, body: Mapping[str, Any], methods: Sequence[str]) -> None:
        used_s, reset_at = operating(body)
        if used_s is None or reset_at is None or used_s < OPERATING_LIMIT_S:
            return
        log.warning("a method's running time is nearly used up", extra={"methods": methods, "used_s": used_s})
        self._limits.pause(methods[-1], self._after(reset_at - self._clock().timestamp()))

    def _after(self, seconds: float) -> datetime:
        return self._clock() + timedelta(seconds=min(max(0.0, seconds), 3600.0))


_REDIRECTS = (301, 302, 303, 307, 308)


def _posted(post: Callable[[str], HttpAnswer], url: str) -> HttpAnswer:
    """The answer; of a portal that names plain http, which we must not speak to it, the one over TLS."""
    try:
        return post(url)
    except AddressRefused as refused:
        parts = urlsplit(url)
        if parts.scheme != "http" or parts.port is not None:
            raise
        try:
            return post(urlunsplit(parts._replace(scheme="https")))
        except NotSent:
            raise refused from None


def _same_host_over_tls(url: str, answer: HttpAnswer) -> str:
    """Where a portal behind a proxy sends us that thinks it speaks plain http; empty for any other answer.

    Scheme and port are all that may change: with its token a call goes to no other host and to no other page.
    """
    if answer.status not in _REDIRECTS or not url.startswith("http://"):
        return ""
    here = urlsplit(url)
    try:
        there = urlsplit(answer.header("location"))
        is_same = there.scheme == "https" and ascii_host(there.hostname or "") == here.hostname
        port = there.port or 443
    except ValueError:
        return ""
    if not is_same or there.path.rstrip("/") != here.path.rstrip("/") or "@" in there.netloc:
        return ""
    host = f"[{here.hostname}]" if ":" in (here.hostname or "") else here.hostname
    return urlunsplit(("https", f"{host}:{port}", here.path, here.query, ""))


def sent(
    http: HttpClient,
    url: str,
    method: str,
    params: Mapping[str, Any],
    access_token: str,
    *,
    journal: Callable[[RestCall], None],
    timeout_s: float,
) -> HttpAnswer:
    """POST one call and write it down. The token travels in the body, where no proxy logs it."""
    started = time.monotonic()
    answer: HttpAnswer | None = None
    failure = ""

    def post(address: str) -> HttpAnswer:
        return http.request(
            "POST",
            address,
            json={**params, "auth": access_token},
            headers={"Accept": "application/json"},
            deadline=started + timeout_s,
        )

    try:
        answer = _posted(post, url)
        if secure := _same_host_over_tls(url, answer):
            answer = post(secure)
        return answer
    except Exception as error:
        failure = type(error).__name__
        raise
    finally:
        journal(written_down(method, params, answer, failure, time.monotonic() - started))
