"""The log of messages, one message with every step of its way, and sending it again."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from flask import Response, abort, request, url_for

from app.domain.messages import Message
from app.domain.status import MessageStatus
from app.engine import PRIORITY_SINGLE
from app.services import services
from app.store import messages
from app.store.rows import attempts_of, timeline
from app.web import ui, ui_privacy, ui_session
from app.web.ui_language import gettext as _
from app.web.ui_message_texts import (
    can_send_again,
    may_arrive_twice,
    reason_text,
    status_label,
    status_tone,
    steps,
    summary,
)

blueprint = ui.page_blueprint("ui_messages")

PAGE_SIZE = 50


@blueprint.get("/messages")
@ui.employees_may_read
def show_log() -> Response:
    """The newest messages first; `before` is the last row of the page before."""
    status, number = _status(request.args.get("status", "")), _digits(request.args.get("number", ""))
    number = number if ui_privacy.may_search_numbers() else ""
    found = messages.page(
        ui_session.this().portal.id,
        limit=PAGE_SIZE + 1,
        before_id=request.args.get("before", type=_row_id),
        status=status,
        number_part=number,
    )
    rows, has_more = found[:PAGE_SIZE], len(found) > PAGE_SIZE
    filters: dict[str, Any] = {"status": status.value if status else None, "number": number or None}
    return ui.page(
        "messages.html",
        tab="messages",
        rows=[_row(message) for message in rows],
        statuses=[(s.value, status_label(s)) for s in MessageStatus],
        filters=filters,
        is_filtered=any(filters.values()),
        is_first="before" not in request.args,
        older_url=url_for(".show_log", **filters, before=rows[-1].id) if has_more else "",
        newest_url=url_for(".show_log", **filters),
    )


def _row_id(text: str) -> int:
    number = int(text)
    if not 0 <= number <= ui.ROW_LIMIT:
        raise ValueError("no number of a row")
    return number


def _status(word: str) -> MessageStatus | None:
    try:
        return MessageStatus(word)
    except ValueError:
        return None


def _digits(text: str) -> str:
    """The digits that were typed, in any spelling of a number."""
    return re.sub(r"[^0-9]", "", text)[:20]


@dataclass(frozen=True)
class Row:
    url: str
    at: datetime
    recipient: str
    label: str
    tone: str
    reason: str
    segments: int
    is_test: bool


def _row(message: Message) -> Row:
    reason = reason_text(message)
    return Row(
        url=url_for(".show_message", row_id=message.id),
        at=message.received_at,
        recipient=ui_privacy.number_in_list(message.recipient),
        label=status_label(message.status),
        tone=status_tone(message.status),
        reason=reason.title if reason else "",
        segments=message.segments,
        is_test=message.origin == "test",
    )


@blueprint.get(f"/messages/{ui.ROW}")
@ui.employees_may_read
def show_message(row_id: int) -> Response:
    return ui.page("message.html", **_facts(_message(row_id)))


@blueprint.get(f"/messages/{ui.ROW}/again")
def ask_again(row_id: int) -> Response:
    """The question before a resend."""
    message = _message(row_id)
    if not can_send_again(message):
        return _not_now(message)
    return ui.page("again.html", **_facts(message))


@blueprint.post(f"/messages/{ui.ROW}/again")
def send_again(row_id: int) -> Response:
    """A new attempt. Where a first copy may have arrived, a person must have said that he knows."""
    message = _message(row_id)
    if not can_send_again(message):
        return _not_now(message)
    if may_arrive_twice(message) and request.form.get("sure") != "true":
        error = _("Confirm that you know it: the recipient may get the message twice.")
        return ui.page("again.html", status=422, **_facts(message), error=error)
    if not messages.resend(message.id, now=services().now(), timing=services().timing):
        return _not_now(_message(row_id))
    services().engine.hint("submit", message.id, priority=PRIORITY_SINGLE)
    return ui.page("message.html", **_facts(_message(row_id)), notice="again")


def _not_now(message: Message) -> Response:
    return ui.page("message.html", status=409, **_facts(message), notice="not_now")


def _message(row_id: int) -> Message:
    return messages.by_row(ui_session.this().portal.id, row_id) or abort(404)


def _facts(message: Message) -> dict[str, Any]:
    return {
        "tab": "messages",
        "message": ui_privacy.shown(message),
        "is_masked_in_list": ui_privacy.are_numbers_masked(),
        "label": status_label(message.status),
        "tone": status_tone(message.status),
        "summary": summary(message),
        "reason": reason_text(message),
        "told": status_label(message.told) if message.told else "",
        "steps": steps(ui_privacy.shown_entries(message, timeline(message))),
        "attempts": [_attempt(a) for a in attempts_of(message)] if ui_session.this().is_admin else [],
        "can_send_again": can_send_again(message) and ui_session.this().is_admin,
        "may_arrive_twice": may_arrive_twice(message),
    }


def _attempt(attempt: Mapping[str, Any]) -> dict[str, Any]:
    outcomes = {
        "accepted": (_("Taken"), "sent"),
        "refused": (_("Refused"), "bad"),
        "unknown": (_("No clear answer"), "wait"),
        "replaced": (_("Replaced by a new attempt"), ""),
        "not_made": (_("Not made"), ""),
    }
    label, tone = outcomes.get(attempt["outcome"], (_("Under way"), "wait"))
    adapter = services().gateways.get(attempt["gateway"])
    return {
        **attempt,
        "label": label,
        "tone": tone,
        "title": adapter.title if adapter else attempt["gateway"],
    }
