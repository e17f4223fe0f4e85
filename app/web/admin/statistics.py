"""Figures of the last days: how many messages, how many arrived, how fast, why not, through whom."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

from flask import Response, request

from app.domain.delivery_times import time_within
from app.domain.prices import Price, parse_price, totals
from app.domain.status import MessageStatus
from app.services import services
from app.store.figures import statistics
from app.store.figures.statistics import Span, Tally
from app.store.messages import log as message_log
from app.web.admin.frame import document, sessions
from app.web.admin.parts.chart import Bar, stacked_bars
from app.web.admin.parts.days import begin_of, day_of
from app.web.admin.parts.filters import gateway_title
from app.web.admin.words.language import duration, money, number, percent, short_date
from app.web.admin.words.language import gettext as _
from app.web.admin.words.messages import title_of_reason

blueprint = document.page_blueprint("ui_statistics")

PERIODS = (7, 30, 90)
_DEFAULT = 30

# Each outcome as the chart shows it, from the bottom up: the name of its colour, and the statuses in it.
_OUTCOMES = (
    ("ok", (MessageStatus.DELIVERED,)),
    ("sent", (MessageStatus.SENT,)),
    ("wait", (MessageStatus.QUEUED, MessageStatus.UNKNOWN)),
    ("bad", (MessageStatus.UNDELIVERED, MessageStatus.FAILED)),
)


@blueprint.get("/statistics")
def show() -> Response:
    period = request.args.get("days", type=int)
    days = _days(period if period in PERIODS else _DEFAULT)
    portal_id = sessions.this().portal.id
    spans = [Span(begin_of(day), begin_of(day + timedelta(days=1))) for day in days]
    whole = Span(spans[0].since, spans[-1].until)
    tallies = statistics.tallies(portal_id, spans)
    return document.page(
        "statistics.html",
        tab="statistics",
        periods=PERIODS,
        days=len(days),
        first=short_date(days[0]),
        last=short_date(days[-1]),
        total=sum(tally.count for tally in tallies),
        figures=_figures(tallies, statistics.delivery_times(portal_id, whole)),
        spent=[money(price) for price in _spent(statistics.costs(portal_id, whole))],
        **_by_day(days, tallies),
        reasons=_reasons(statistics.reasons(portal_id, whole)),
        gateways=_gateways(tallies, message_log.gateways_of(portal_id)),
    )


def _days(count: int) -> list[date]:
    """The last days up to today, which is not over yet."""
    today = day_of(services().now())
    return [today - timedelta(days=back) for back in reversed(range(count))]


# --- all of them together


def _figures(tallies: Sequence[Tally], times: dict[float, int]) -> list[tuple[str, str]]:
    median, most = time_within(times, 0.5), time_within(times, 0.9)
    return [
        (number(sum(tally.count for tally in tallies)), _("Messages")),
        (_share(tallies), _("Delivered, of those whose end is known")),
        (duration(median) if median is not None else "–", _("Half were delivered within")),
        (duration(most) if most is not None else "–", _("Nine of ten were delivered within")),
        (number(sum(tally.segments for tally in tallies)), _("Segments")),
    ]


def _share(tallies: Iterable[Tally]) -> str:
    """How many of those that came to an end came to the good one."""
    ended = [tally for tally in tallies if tally.status.is_final]
    good = sum(tally.count for tally in ended if tally.status is MessageStatus.DELIVERED)
    return percent(good / sum(tally.count for tally in ended)) if ended else "–"


def _spent(costs: dict[str, int]) -> list[Price]:
    found = ((parse_price(words), count) for words, count in costs.items())
    return totals(Price(price.amount * count, price.currency) for price, count in found if price)


# --- day by day


def _by_day(days: Sequence[date], tallies: Iterable[Tally]) -> dict[str, Any]:
    """The chart, its legend, and the same numbers for its table."""
    counts: Counter[tuple[int, MessageStatus]] = Counter()
    for tally in tallies:
        counts[tally.span, tally.status] += tally.count
    labels = {
        "ok": _("Delivered"),
        "sent": _("Sent, not confirmed"),
        "wait": _("Waiting or unknown"),
        "bad": _("Failed or not delivered"),
    }
    bars, rows = [], []
    for place, day in enumerate(days):
        amounts = [(colour, sum(counts[place, s] for s in statuses)) for colour, statuses in _OUTCOMES]
        is_today = place == len(days) - 1
        name = _("%(day)s, so far", day=short_date(day)) if is_today else short_date(day)
        told = (f"{labels[colour]}: {number(amount)}" for colour, amount in amounts if amount)
        bars.append(Bar("\n".join([name, *told]), amounts, is_partial=is_today))
        rows.append({"name": name, "amounts": [(labels[colour], amount) for colour, amount in amounts]})
    return {
        "chart": stacked_bars(bars, title=_("Messages by day and outcome")),
        "highest": number(max(bar.total for bar in bars)),
        "legend": labels,
        "rows": rows[::-1],
    }


# --- why, and through whom


@dataclass(frozen=True)
class Share:
    title: str
    count: int
    share: str


def _reasons(counts: dict[str, int]) -> list[Share]:
    """The most frequent reason first."""
    whole = sum(counts.values())
    ordered = sorted(counts.items(), key=lambda item: -item[1])
    return [Share(title_of_reason(reason), count, percent(count / whole)) for reason, count in ordered]


def _gateways(tallies: Sequence[Tally], slugs: dict[int, str]) -> list[Share]:
    """The busiest gateway first; the share is what it delivered of what came to an end."""
    found = []
    for account_id in dict.fromkeys(tally.account_id for tally in tallies):
        mine = [tally for tally in tallies if tally.account_id == account_id]
        slug = slugs.get(account_id or 0)
        title = gateway_title(slug) if slug else _("Not handed to a gateway")
        found.append(Share(title, sum(tally.count for tally in mine), _share(mine)))
    return sorted(found, key=lambda row: -row.count)
