"""The log of messages; one message, every step of its way, and what can be done about it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any
from urllib.parse import urljoin

from flask import Response, abort, request, url_for

from app.actions.cancel import cancel as end_unsent
from app.actions.resolve import resolve as write_down
from app.actions.send_again import send_again as queue_again
from app.bitrix.cards import Card, cards_of
from app.domain.audit import Action
from app.domain.life import Again, may_be_resolved, may_send_again, why_not_cancelled
from app.domain.messages import Message, Reason, Work
from app.domain.numbers import mask
from app.domain.prices import parse_price, totals
from app.domain.status import MessageStatus
from app.domain.texts import measure
from app.services import services
from app.store import audit
from app.store.database.secrets import new_secret
from app.store.messages import log as message_log
from app.store.messages import messages
from app.store.messages.log import Count, Position
from app.store.messages.timeline import attempts_of, timeline
from app.web.admin.frame import document, privacy, sessions
from app.web.admin.parts import cures, filters, log_columns
from app.web.admin.parts.filters import LogQuery
from app.web.admin.words import codes
from app.web.admin.words.language import duration, money, number
from app.web.admin.words.language import gettext as _
from app.web.admin.words.messages import (
    author_label,
    card_label,
    reason_text,
    retention_note,
    status_label,
    status_tone,
    steps,
    summary,
    telling,
    visible,
    words_with,
)

blueprint = document.page_blueprint("ui_messages")

PAGE_SIZE = 50
TEXT_SHOWN = 60


# --- the log


@blueprint.get("/messages")
@document.employees_may_read
def show_log() -> Response:
    """The newest messages first; `after` is the place where the page before ended."""
    return _log(filters.place_of(request.args.get("after", "")))


@blueprint.post("/messages/columns")
def choose_columns() -> Response:
    log_columns.choose(request.form.getlist("column"))
    return _log()


@blueprint.post("/messages/numbers")
def show_numbers() -> Response:
    privacy.show_numbers(request.form.get("show") == "true")
    return _log()


def _log(place: Position | None = None) -> Response:
    portal_id, query = sessions.this().portal.id, _query()
    found = message_log.find(portal_id, query.filters, limit=PAGE_SIZE, after=place)
    costs = message_log.costs_of([message.id for message in found.messages])
    gateways = message_log.gateways_of(portal_id)
    columns = log_columns.shown(useful=_useful(query, found.messages, costs))
    return document.page(
        "messages.html",
        tab="messages",
        query=query,
        rows=[_row(message, costs.get(message.id, []), gateways) for message in found.messages],
        columns=columns,
        column_choices=log_columns.choices(columns),
        views=_views(query),
        statuses=_statuses(query),
        other_searches=_other_searches(query),
        is_first=place is None,
        looked_until=found.looked_until,
        older_url=_address(query, after=filters.text_of_place(found.next)) if found.next else "",
        newest_url=_address(query),
        live_url=_address(query) if place is None else "",
        bulk_key=new_secret(),
        retention=retention_note(sessions.this().portal.settings),
        numbers=_numbers_switch(),
    )


def _address(query: LogQuery, **more: str) -> str:
    """The log with these filters, and others in their place."""
    return url_for(".show_log", **{name: value for name, value in {**query.chosen, **more}.items() if value})


def _useful(query: LogQuery, shown: Sequence[Message], costs: Mapping[int, Any]) -> set[str]:
    """Columns that say something in this list."""
    has_texts = any(message.text for message in shown) and privacy.may_search_texts()
    told = {"source", "reason", "segments", "cards"}
    told |= {"text"} if has_texts else set()
    told |= {"price"} if costs else set()
    return told | ({"sender"} if len(query.sender_codes) > 1 else set())


def _numbers_switch() -> str:
    """What an administrator can do about masked numbers: "show" them, "mask" them again, or nothing."""
    session = sessions.this()
    if not (session.is_admin and session.portal.settings.mask_numbers):
        return ""
    return "show" if privacy.are_numbers_masked() else "mask"


def _query() -> LogQuery:
    return filters.read(sessions.this().portal.id, request.values, now=services().now())


@dataclass(frozen=True)
class CardLink:
    """A page of the portal. The frame opens it in the portal's slider, else it is a link like any other."""

    url: str
    label: str


@dataclass(frozen=True)
class View:
    """Filters that are often wanted together."""

    label: str
    url: str
    is_chosen: bool


def _views(query: LogQuery) -> list[View]:
    wanted: list[tuple[str, dict[str, Any]]] = [
        (_("Failed today"), {"period": "today", "status": "failed"}),
        (_("Failed yesterday"), {"period": "yesterday", "status": "failed"}),
        (_("Not delivered today"), {"period": "today", "status": "undelivered"}),
    ]
    return [View(label, url_for(".show_log", **chosen), chosen == query.chosen) for label, chosen in wanted]


@dataclass(frozen=True)
class StatusFilter:
    """One status, how many messages the other filters leave of it, and the log of these."""

    value: str
    label: str
    tone: str
    count: str
    url: str
    is_chosen: bool


def _statuses(query: LogQuery) -> list[StatusFilter]:
    """Counts are for a glance, so a search is done without them."""
    counts = {} if query.chosen.get("q") else message_log.counts_of(sessions.this().portal.id, query.filters)
    everything = StatusFilter("", _("All"), "", "", _address(query, status=""), not query.filters.status)
    return [everything, *(_status(query, status, counts.get(status)) for status in MessageStatus)]


def _status(query: LogQuery, status: MessageStatus, count: Count | None) -> StatusFilter:
    is_chosen = query.filters.status is status
    return StatusFilter(
        status.value,
        status_label(status),
        status_tone(status),
        "" if count is None else f"{number(count.count)}{'+' if count.is_more else ''}",
        _address(query, status="" if is_chosen else status.value),
        is_chosen,
    )


def _other_searches(query: LogQuery) -> list[tuple[str, str]]:
    """The same words looked for in another way."""
    words = query.chosen.get("q", "")
    labels = {
        "number": _("Search for “%(words)s” in phone numbers", words=words),
        "id": _("Search for “%(words)s” in ids", words=words),
        "text": _("Search for “%(words)s” in the texts", words=words),
    }
    return [(labels[how], _address(query, how=how)) for how in query.other_ways if how in labels]


@dataclass(frozen=True)
class Row:
    id: int
    url: str
    at: datetime
    recipient: str
    text: str  # its beginning
    sender: str
    source: str
    label: str
    tone: str
    reason: str
    next_at: datetime | None  # when a message that waits is tried again
    segments: int
    price: str
    cards: list[CardLink]
    is_test: bool
    gateway: str
    message_id: str


def _row(message: Message, costs: list[str], gateways: Mapping[int, str]) -> Row:
    reason = reason_text(message)
    return Row(
        id=message.id,
        url=url_for(".show_message", row_id=message.id),
        at=message.received_at,
        recipient=privacy.number_in_list(message.recipient),
        text=_beginning(privacy.shown(message).text),
        sender=message.sender_code,
        source=author_label(message.author),
        label=status_label(message.status),
        tone=status_tone(message.status),
        reason=reason.title if reason else "",
        next_at=message.due_at if reason and message.work is Work.QUEUED else None,
        segments=message.segments,
        price=_price(costs),
        cards=[_card_link(card) for card in cards_of(message.bindings)],
        is_test=message.origin == "test",
        gateway=filters.gateway_title(gateways.get(message.account_id or 0, "")),
        message_id=message.message_id,
    )


def _beginning(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= TEXT_SHOWN else f"{line[:TEXT_SHOWN].rstrip()}…"


def _price(costs: list[str]) -> str:
    """What all attempts cost together; words that are no price stay as the gateway wrote them."""
    prices = [parse_price(cost) for cost in costs]
    unknown = [cost for cost, price in zip(costs, prices, strict=True) if price is None]
    return " + ".join([money(price) for price in totals(filter(None, prices))] + unknown)


def _card_link(card: Card) -> CardLink:
    return CardLink(_portal_url(card.path), card_label(card))


def _portal_url(path: str) -> str:
    """An address in the portal, at the host that the authorization server vouched for."""
    return urljoin(sessions.this().portal.client_endpoint, f"..{path}")  # beside its /rest/


# --- one message


@blueprint.get(f"/messages/{document.ROW}")
@document.employees_may_read
def show_message(row_id: int) -> Response:
    message = _message(row_id)
    if privacy.shows_what_lists_mask():
        number = {"number": message.id, "to_number": mask(message.recipient)}
        audit.note_once(Action.NUMBER_SHOWN, message.portal_id, about=message.message_id, after=number)
    return _one("message.html", **_facts(message))


@blueprint.get(f"/messages/{document.ROW}/again")
def ask_again(row_id: int) -> Response:
    """The question before a resend."""
    message = _message(row_id)
    if _again(message).answer == "no":
        return _not_now(message)
    return _one("again.html", **_facts(message))


@blueprint.post(f"/messages/{document.ROW}/again")
def send_again(row_id: int) -> Response:
    """A new attempt. Where a first copy may have arrived, a person must have said that they know."""
    message, seen = _message(row_id), request.form.get("attempts", "")
    is_sure = request.form.get("sure") == "true"
    seen_attempts = int(seen) if seen.isdecimal() and len(seen) < 6 else None
    again = queue_again(services(), message, is_sure=is_sure, seen_attempts=seen_attempts)
    if again.answer == "ask":
        error = _("Confirm that you know it: the recipient may get the message twice.")
        return _one("again.html", status=422, **_facts(message), error=error)
    if again.answer == "no":
        return _not_now(_message(row_id))
    return _one("message.html", **_facts(_message(row_id)), notice="again")


def _one(template: str, *, status: int = 200, **values: Any) -> Response:
    """A page about one message; beside the list, where the browser asks for it there."""
    is_beside = request.headers.get("X-Beside") == "1"
    layout = "ui/_beside.html" if is_beside else "ui/_page.html"
    answer = document.page(template, status=status, layout=layout, **values)
    if is_beside:
        answer.headers["X-Beside"] = "1"
    return answer


def _not_now(message: Message) -> Response:
    return _one("message.html", status=409, **_facts(message), notice="not_now")


# What a person can have found out at the gateway.
_FINDINGS = {"delivered": MessageStatus.DELIVERED, "failed": MessageStatus.FAILED}


@blueprint.post(f"/messages/{document.ROW}/resolve")
def resolve(row_id: int) -> Response:
    """Write down what became of a message whose outcome was unknown."""
    message = _message(row_id)
    found = _FINDINGS.get(request.form.get("found", "")) or abort(400)
    if not write_down(services(), message, found):
        return _one("message.html", status=409, **_facts(_message(row_id)), notice="not_unknown")
    return _one("message.html", **_facts(_message(row_id)), notice="resolved")


@blueprint.post(f"/messages/{document.ROW}/cancel")
def cancel(row_id: int) -> Response:
    """A message that waits is not sent any more."""
    if not end_unsent(services(), _message(row_id)):
        return _one("message.html", status=409, **_facts(_message(row_id)), notice="not_cancelled")
    return _one("message.html", **_facts(_message(row_id)), notice="cancelled")


def _message(row_id: int) -> Message:
    """One that this session may see, of whoever's portal it is."""
    session = sessions.this()
    message = messages.by_row(session.portal.id, row_id) or abort(404)
    if session.sees_only_own and message.author_id != session.user_id:
        abort(404)  # as if there were none: who guesses numbers learns nothing
    return message


def _facts(row: Message) -> dict[str, Any]:
    message, session = privacy.shown(row), sessions.this()
    attempts = [_attempt(attempt) for attempt in attempts_of(row)] if session.is_admin else []
    again = _again(row)
    return {
        "tab": "messages",
        "message": message,
        "live_url": url_for(".show_message", row_id=row.id) if _goes_on(row) else "",
        "is_masked_in_list": privacy.are_numbers_masked(),
        "label": status_label(message.status),
        "tone": status_tone(message.status),
        "summary": summary(message),
        "reason": reason_text(row),
        "words": words_with(replace(row, reason_text=message.reason_text)),
        "cure": cures.cure_of(row) if session.is_admin else None,
        "next_at": row.due_at if row.work is Work.QUEUED else None,
        "decided_at": row.deadline_at if row.work is Work.WAITING else None,
        "plain_words": _plain_words_on(row, attempts),
        "forcing": visible(measure(message.text).forcing) if message.text else "",
        "price": _price([attempt["cost"] for attempt in attempts if attempt["cost"]]),
        "cards": [_card_link(card) for card in cards_of(message.bindings)],
        "author": user_link(message.author_id),
        "told": status_label(message.told) if message.told else "",
        "telling": telling(message, can_be_told=session.portal.state.can_be_told),
        "steps": steps(privacy.shown_entries(row, timeline(row))),
        "attempts": attempts,
        "can_send_again": again.answer != "no" and session.is_admin,
        "again": again,
        "can_cancel": not why_not_cancelled(row) and session.is_admin,
        "can_resolve": may_be_resolved(row) and session.is_admin,
    }


def _plain_words_on(message: Message, attempts: list[dict[str, Any]]) -> str:
    """What the words of the reason mean; of what was given up they would say that it is tried again."""
    is_given_up = message.status.is_final and message.reason in (Reason.GAVE_UP, Reason.NOT_REACHED)
    if not attempts or is_given_up:
        return ""
    return _plain_words(attempts[-1]["gateway"], message.reason_text)


def _again(message: Message) -> Again:
    return may_send_again(message, country=sessions.this().portal.settings.default_country)


def _goes_on(message: Message) -> bool:
    """Whether something may happen to it without anybody's doing."""
    return message.work is not Work.CLOSED or message.push_due_at is not None


def user_link(user: str) -> CardLink | None:
    """A user of the portal; None for what is none's number."""
    if not (user.isascii() and user.isdigit() and int(user)):
        return None  # an automatic message has none
    return CardLink(_portal_url(f"/company/personal/user/{user}/"), _("User %(number)s", number=user))


def _attempt(attempt: Mapping[str, Any]) -> dict[str, Any]:
    outcomes = {
        "accepted": (_("Taken"), "sent"),
        "refused": (_("Refused"), "bad"),
        "not_reached": (_("Not reached"), "wait"),
        "unknown": (_("No clear answer"), "wait"),
        "replaced": (_("Replaced by a new attempt"), ""),
        "not_made": (_("Not made"), ""),
    }
    words = ": ".join(filter(None, (attempt["code"], attempt["text"])))
    label, tone = outcomes.get(attempt["outcome"], (_("Under way"), "wait"))
    adapter = services().gateways.get(attempt["gateway"])
    return {
        **attempt,
        "label": label,
        "tone": tone,
        "title": adapter.title if adapter else attempt["gateway"],
        "price": _price([attempt["cost"]]) if attempt["cost"] else "",
        "words": words,
        "plain_words": _plain_words(attempt["gateway"], words),
        "took": duration(attempt["took_ms"] / 1000) if attempt["took_ms"] is not None else "",
    }


def _plain_words(gateway: str, words: str) -> str:
    return codes.meaning(services().gateways.get(gateway), words)
