"""What the log is narrowed to: from the address of the page to the store's filters, and back."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any

from app.domain.messages import Author, Reason
from app.domain.status import MessageStatus
from app.domain.texts import clean
from app.services import services
from app.store.messages.log import Filters, Position, gateways_of, sender_codes_of
from app.web.admin.frame import privacy
from app.web.admin.parts import searching
from app.web.admin.parts.days import begin_of, day_of
from app.web.admin.words.language import gettext as _
from app.web.admin.words.language import short_date
from app.web.admin.words.messages import author_label, status_label, title_of_reason
from app.words.catalogues import N_

_DAYS = {"today": 1, "7": 7, "30": 30}
_PERIODS = {
    "today": N_("Today"),
    "yesterday": N_("Yesterday"),
    "7": N_("The last 7 days"),
    "30": N_("The last 30 days"),
    "custom": N_("Choose the days"),
}
REASONS = tuple(reason.value for reason in Reason if reason)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


@dataclass(frozen=True)
class LogQuery:
    """The filters, what was chosen for them by the names in the address, and what can be chosen."""

    filters: Filters
    chosen: Mapping[str, Any]
    periods: list[tuple[str, str]]
    statuses: list[tuple[str, str]]
    gateways: list[tuple[str, str]]
    sender_codes: list[tuple[str, str]]
    reasons: list[tuple[str, str]]
    authors: list[tuple[str, str]]
    other_ways: tuple[str, ...]  # in which the same words can be searched for

    @property
    def is_filtered(self) -> bool:
        return bool(self.chosen)


def read(portal_id: int, asked: Mapping[str, str], *, now: datetime) -> LogQuery:
    """The query of a page's address. What cannot be understood narrows nothing."""
    accounts = gateways_of(portal_id)
    codes = sender_codes_of(portal_id)
    given = {name: clean(value)[0].strip() for name, value in asked.items()}
    slug = given.get("gateway", "") if given.get("gateway") in accounts.values() else ""
    account_ids = tuple(id_ for id_, name in accounts.items() if slug and name == slug)
    status = _status(given.get("status", ""))
    code = given.get("sender", "") if given.get("sender") in codes else ""
    kind = _author(given.get("author", ""))
    reason = given.get("reason", "") if given.get("reason") in REASONS else ""
    period, days = _period(given, now)
    since, until = _bounds(period, days, now)
    narrowed = Filters(
        since=since,
        until=until,
        status=status,
        account_ids=account_ids,
        sender_code=code,
        author_id=privacy.only_author(),
        author=kind,
        reason=reason,
    )
    search = searching.find(portal_id, given.get("q", ""), given.get("how", ""), narrowed)
    chosen = {
        "period": period,
        **days,
        "status": status.value if status else "",
        "gateway": slug,
        "sender": code,
        "author": kind.value if kind else "",
        "reason": reason,
        "q": given.get("q", "") if search.how else "",
        "how": search.how,
    }
    return LogQuery(
        filters=search.filters,
        chosen={name: value for name, value in chosen.items() if value},
        periods=[(value, _(label)) for value, label in _PERIODS.items()],
        statuses=[(s.value, status_label(s)) for s in MessageStatus],
        gateways=[(slug, gateway_title(slug)) for slug in dict.fromkeys(accounts.values())],
        sender_codes=[(code, code) for code in codes],
        reasons=[(each, title_of_reason(each)) for each in REASONS],
        authors=[(author.value, author_label(author)) for author in Author],
        other_ways=search.other_ways,
    )


def in_words(portal_id: int, chosen: Mapping[str, str], *, now: datetime) -> list[tuple[str, str]]:
    """The name of each filter that narrows, and what was chosen, as a person reads it."""
    searched = ("q", "how")
    query = read(portal_id, {name: chosen[name] for name in chosen if name not in searched}, now=now)
    given = query.chosen
    choices = (
        ("status", _("Status"), query.statuses),
        ("gateway", _("Gateway"), query.gateways),
        ("sender", _("Sender"), query.sender_codes),
    )
    words = [
        (label, dict(known).get(given[name], given[name])) for name, label, known in choices if name in given
    ]
    if days := [short_date(date.fromisoformat(given[name])) for name in ("from", "to") if name in given]:
        words.insert(0, (_("Period"), " – ".join(dict.fromkeys(days))))
    elif "period" in given:
        words.insert(0, (_("Period"), dict(query.periods)[given["period"]]))
    if "q" in chosen:
        words.append((_("Search"), chosen["q"]))
    return words or [(_("Messages"), _("All"))]


def gateway_title(slug: str) -> str:
    """A gateway's name, also of one that this version does not have any more."""
    adapter = services().gateways.get(slug)
    return adapter.title if adapter else slug


def _author(word: str) -> Author | None:
    try:
        return Author(word)
    except ValueError:
        return None


def _status(word: str) -> MessageStatus | None:
    try:
        return MessageStatus(word)
    except ValueError:
        return None


# --- the period


def _period(given: Mapping[str, str], now: datetime) -> tuple[str, dict[str, str]]:
    """The chosen period, and the days of a period of one's own."""
    period = given.get("period", "")
    if period != "custom":
        return (period if period in _PERIODS else ""), {}
    days = {name: day.isoformat() for name in ("from", "to") if (day := _day(given.get(name, ""), now))}
    return ("custom" if days else ""), days


def _day(text: str, now: datetime) -> date | None:
    try:
        day = date.fromisoformat(text)
    except ValueError:
        return None
    # Far beyond both ends no database and no time zone can follow.
    return min(max(day, date(2000, 1, 1)), day_of(now) + timedelta(days=366))


def _bounds(period: str, days: Mapping[str, str], now: datetime) -> tuple[datetime | None, datetime | None]:
    if period == "yesterday":
        return begin_of(day_of(now) - timedelta(days=1)), begin_of(day_of(now))
    if period in _DAYS:
        return begin_of(day_of(now) - timedelta(days=_DAYS[period] - 1)), None
    first, last = (date.fromisoformat(days[name]) if name in days else None for name in ("from", "to"))
    if first and last and last < first:
        first, last = last, first
    return begin_of(first) if first else None, begin_of(last + timedelta(days=1)) if last else None


# --- the place in the log


def place_of(text: str) -> Position | None:
    """A position out of an address; None when it is none."""
    found = re.fullmatch(r"([0-9]{1,17})-([0-9]{1,18})", text)
    return Position(_EPOCH + int(found[1]) * _MICROSECOND, int(found[2])) if found else None


def text_of_place(place: Position) -> str:
    return f"{(place.received_at - _EPOCH) // _MICROSECOND}-{place.row_id}"
