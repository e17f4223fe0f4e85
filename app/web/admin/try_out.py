"""A test SMS: a real message on the same way as the portal's, watched until it is delivered."""

from __future__ import annotations

import secrets
from datetime import timedelta
from typing import Any

from flask import Response, abort, request

from app.domain.messages import CallAuth, HandedMessage, Message, Work
from app.domain.numbers import NumberRefused, Recipient, parse_recipient
from app.domain.texts import clean, measure
from app.engine import PRIORITY_SINGLE
from app.services import services
from app.store.accounts import accounts
from app.store.messages import acceptance, by_hand, messages
from app.store.messages.timeline import timeline
from app.store.portals import portals
from app.store.portals.senders import FIRST_CODE
from app.web.admin.frame import document, sessions
from app.web.admin.words.language import gettext as _
from app.web.admin.words.messages import (
    number_refused,
    reason_text,
    status_label,
    status_tone,
    steps,
    summary,
    visible,
)

blueprint = document.page_blueprint("ui_test")

A_MINUTE = 5  # of one administrator: each of them may cost money

TEXT_LIMIT = 1000
WATCHED_FOR = timedelta(minutes=5)
_UNITS = {"gsm7": (160, 153), "ucs2": (70, 67)}


@blueprint.get("/test")
def show() -> Response:
    return document.page("test.html", **_facts(text=_("Test of the SMS gateway. It works.")))


@blueprint.post("/test")
def send() -> Response:
    """Accept one message as the HANDLER would, and show its timeline."""
    raw, text = request.form.get("number", "").strip(), clean(request.form.get("text", ""))[0].strip()
    number = _number(raw)
    errors = _errors(number, text)
    if errors or isinstance(number, NumberRefused):
        return document.page("test.html", status=422, **_facts(number=raw, text=text, errors=errors))
    session, since = sessions.this(), services().now() - timedelta(minutes=1)
    if by_hand.count_tests(session.portal.id, session.user_id, since=since) >= A_MINUTE:
        errors["number"] = _("You can send five test messages a minute. Try again in a minute.")
        return document.page("test.html", status=429, **_facts(number=raw, text=text, errors=errors))
    message = _accept(number.number, text)
    return document.page("test.html", **_facts(number=raw, text=text), **_live(message))


@blueprint.post("/test/measure")
def measure_text() -> Response:
    """How the text under the cursor travels; changes nothing, but a text does not belong in an address."""
    return document.page("_measure.html", measured=_measured(clean(request.form.get("text", ""))[0]))


@blueprint.get(f"/test/{document.ROW}")
def watch(row_id: int) -> Response:
    """The timeline as it stands, asked for every two seconds until the end; 204 when nothing was added."""
    message = messages.by_row(sessions.this().portal.id, row_id) or abort(404)
    facts = _live(message)
    if facts["goes_on"] and request.args.get("seen") == str(len(facts["steps"])):
        return Response(status=204)
    return document.page("_live.html", **facts)


def _number(raw: str) -> Recipient | NumberRefused:
    return parse_recipient(raw, default_country=sessions.this().portal.settings.default_country or None)


def _errors(number: Recipient | NumberRefused, text: str) -> dict[str, str]:
    errors = {}
    if isinstance(number, NumberRefused):
        is_empty = number.code == "empty"
        missing = _("Write the phone number that the SMS should go to.")
        errors["number"] = missing if is_empty else number_refused(number)
    if not text:
        errors["text"] = _("Write a text: an empty message cannot be sent.")
    elif len(text) > TEXT_LIMIT:
        errors["text"] = _("The text is longer than %(limit)s characters.", limit=TEXT_LIMIT)
    return errors


def _accept(number: str, text: str) -> Message:
    session = sessions.this()
    portal = portals.for_test_message(session.portal.id) or abort(404)
    incoming = HandedMessage(
        message_id=f"test-{secrets.token_hex(8)}",
        recipient=number,
        text=text,
        sender_code=FIRST_CODE,
        auth=CallAuth(user_id=session.user_id),
        origin="test",
    )
    accepted = acceptance.accept(portal, incoming, now=services().now(), timing=services().timing)
    assert accepted.row_id is not None  # its id is new
    services().engine.hint("submit", session.portal.id, priority=PRIORITY_SINGLE)
    return messages.by_row(session.portal.id, accepted.row_id) or abort(404)


def _facts(*, number: str = "", text: str = "", errors: dict[str, str] | None = None) -> dict[str, Any]:
    return {
        "tab": "test",
        "account": accounts.default_of(sessions.this().portal.id),
        "number": number,
        "text": text,
        "errors": errors or {},
        "limit": TEXT_LIMIT,
        "measured": _measured(text),
    }


def _measured(text: str) -> dict[str, Any]:
    found = measure(text)
    alone, in_chain = _UNITS[found.encoding]
    room = alone if found.segments == 1 else in_chain * found.segments
    return {"measure": found, "room": room, "forcing": visible(found.forcing)}


def _live(message: Message) -> dict[str, Any]:
    is_over = message.status.is_final or message.work is Work.CLOSED
    is_late = services().now() - message.received_at > WATCHED_FOR
    return {
        "message": message,
        "label": status_label(message.status),
        "tone": status_tone(message.status),
        "summary": summary(message),
        "reason": reason_text(message),
        "steps": steps(timeline(message)),
        "goes_on": not is_over and not is_late,
        "is_late": is_late and not is_over,
    }
