"""Errors to Sentry, where the operator set SENTRY_DSN: the trace, and nothing that came with a request."""

from __future__ import annotations

import logging

import sentry_sdk
from sentry_sdk.integrations.logging import LoggingIntegration
from sentry_sdk.types import Event, Hint

from app import redaction


def set_up(dsn: str) -> None:
    """Report what is logged as an error; with an empty `dsn` nothing is reported.

    Tokens, texts and numbers stay here: no request, no local variables, no breadcrumbs. Reports leave in
    a thread of their own, so a Sentry that hangs holds up nobody.
    """
    if not dsn:
        return
    sentry_sdk.init(
        dsn=dsn,
        default_integrations=False,
        auto_enabling_integrations=False,
        integrations=[LoggingIntegration(level=None, event_level=logging.ERROR)],
        include_local_variables=False,
        max_request_body_size="never",
        max_breadcrumbs=0,
        before_send=_redacted,
    )


def _redacted(event: Event, _hint: Hint) -> Event:
    for part in ("request", "user", "breadcrumbs"):
        event.pop(part, None)  # type: ignore[misc]
    for part in ("logentry", "message", "exception", "extra", "contexts", "tags", "threads", "transaction"):
        if part in event:
            event[part] = redaction.hide_all(event[part])  # type: ignore[literal-required]
    return event
