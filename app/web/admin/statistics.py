"""Figures of some days: how many messages, how many arrived, how fast, why not, by whom, through whom."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

from flask import Response, abort, request, url_for

from app.domain.audit import Action
from app.domain.delivery_times import time_within
from app.domain.prices import Price, parse_price, totals
from app.domain.status import MessageStatus
from app.services import services
from app.store import audit
from app.store.figures import statistics
from app.store.figures.statistics import Span, Tally
from app.store.messages import log as message_log
from app.web.admin.frame import document, sessions
from app.web.admin.parts import figure_tables, periods
from app.web.admin.parts.chart import Bar, chart
from app.web.admin.parts.days import day_of
from app.web.admin.parts.figure_tables import FigureTable
from app.web.admin.parts.periods import PERIODS, Period
from app.web.admin.words.language import duration, full_date, money, number, short_date, weekday_date
from app.web.admin.words.language import gettext as _

blueprint = document.page_blueprint("ui_statistics")

# Each outcome as the chart shows it, from the bottom up: the name of its colour, and the statuses in it.
_OUTCOMES = (
    ("ok", (MessageStatus.DELIVERED,)),
    ("sent", (MessageStatus.SENT,)),
    ("wait", (MessageStatus.QUEUED, MessageStatus.UNKNOWN)),
    ("bad", (MessageStatus.UNDELIVERED, MessageStatus.FAILED)),
)


@blueprint.get("/statistics")
def show() -> Response:
    portal_id, period = sessions.this().portal.id, periods.read(request.args, services().now())
    found = _found(portal_id, period)
    days, chosen = _days_table(found), request.args.get("days", type=int)
    return document.page(
        "statistics.html",
        tab="statistics",
        periods=PERIODS,
        chosen=None if _has_own_days() else chosen if chosen in PERIODS else periods.USUAL,
        period=period,
        today=day_of(services().now()),
        first=full_date(period.first),
        last=full_date(period.last),
        total=sum(tally.count for tally in found.now),
        figures=_figures(portal_id, period, found),
        chart=_chart(found),
        legend={**_outcomes(), "before": _("Previous period")},
        days=days,
        tables=_tables(portal_id, period, found),
        is_complete=found.splits.is_complete,
        csv_url=lambda table: url_for(".export", name=table.name, **_asked()),
        csv_name=lambda table: f"{table.name}-{period.first.isoformat()}-{period.last.isoformat()}.csv",
    )


@blueprint.get("/statistics/<name>.csv")
def export(name: str) -> Response:
    """One of the tables as a file."""
    portal_id, period = sessions.this().portal.id, periods.read(request.args, services().now())
    found = _found(portal_id, period)
    tables = [_days_table(found), *_tables(portal_id, period, found)]
    wanted = next((table for table in tables if table.name == name), None) or abort(404)
    audit.note(Action.STATISTICS_EXPORTED, portal_id, about=name)
    return Response(figure_tables.as_csv(wanted), mimetype="text/csv")


def _tables(portal_id: int, period: Period, found: Found) -> list[FigureTable]:
    return [
        figure_tables.by_sender(found.splits.senders, period),
        figure_tables.by_author(found.splits.authors, period),
        figure_tables.by_gateway(found.now, message_log.gateways_of(portal_id), period),
        figure_tables.by_reason(found.now, period),
    ]


def _asked() -> dict[str, Any]:
    return {name: request.args[name] for name in ("days", "from", "to") if request.args.get(name)}


def _has_own_days() -> bool:
    return bool(request.args.get("from") or request.args.get("to"))


# --- what is found


@dataclass(frozen=True)
class Found:
    """The messages of the period by its parts, and those of the period before by the same parts."""

    parts: Sequence[Period]
    now: Sequence[Tally]
    before: Sequence[Tally]
    splits: statistics.Splits


def _found(portal_id: int, period: Period) -> Found:
    parts, earlier = period.parts(), period.before.parts()
    spans = [part.span for part in (*parts, *earlier)]
    tallies = statistics.tallies(portal_id, spans)
    return Found(
        parts,
        now=[tally for tally in tallies if tally.span < len(parts)],
        before=[tally for tally in tallies if tally.span >= len(parts)],
        splits=statistics.splits(portal_id, period.span),
    )


# --- all of them together


@dataclass(frozen=True)
class Figure:
    value: str
    label: str
    before: str  # the same of the period before


def _figures(portal_id: int, period: Period, found: Found) -> list[Figure]:
    times = _times(portal_id, period.span), _times(portal_id, period.before.span)
    spent = statistics.costs(portal_id, period.span), statistics.costs(portal_id, period.before.span)
    both = found.now, found.before
    rows = [
        (_("Messages"), [number(_sum(tallies)) for tallies in both]),
        (_("Delivered"), [figure_tables.delivered_share(tallies) for tallies in both]),
        (_("Half of them were delivered within"), [half for half, _most in times]),
        (_("90% of them were delivered within"), [most for _half, most in times]),
        (_("Segments"), [number(sum(tally.segments for tally in tallies)) for tallies in both]),
    ]
    figures = [Figure(now, label, before) for label, (now, before) in rows]
    prices, earlier = _spent(spent[0]), {price.currency: price for price in _spent(spent[1])}
    for price in prices:
        before = earlier.get(price.currency)
        figures.append(
            Figure(money(price), _("Spent, according to the gateway"), money(before) if before else "–")
        )
    return figures


def _sum(tallies: Iterable[Tally]) -> int:
    return sum(tally.count for tally in tallies)


def _times(portal_id: int, span: Span) -> tuple[str, str]:
    seen = statistics.delivery_times(portal_id, span)
    found = [time_within(seen, share) for share in (0.5, 0.9)]
    half, most = (duration(time_s) if time_s is not None else "–" for time_s in found)
    return half, most


def _spent(costs: dict[str, int]) -> list[Price]:
    found = ((parse_price(words), count) for words, count in costs.items())
    return totals(Price(price.amount * count, price.currency) for price, count in found if price)


# --- day by day


def _outcomes() -> dict[str, str]:
    return {
        "ok": _("Delivered"),
        "sent": _("Sent, no report"),
        "wait": _("Waiting or unknown"),
        "bad": _("Failed or not delivered"),
    }


def _amounts(found: Found) -> list[dict[str, int]]:
    """How many of each outcome every part has."""
    counts: Counter[tuple[int, MessageStatus]] = Counter()
    for tally in found.now:
        counts[tally.span, tally.status] += tally.count
    return [
        {colour: sum(counts[place, s] for s in statuses) for colour, statuses in _OUTCOMES}
        for place in range(len(found.parts))
    ]


def _before(found: Found) -> list[int]:
    """How many messages the same parts of the period before had."""
    counts: Counter[int] = Counter()
    for tally in found.before:
        counts[tally.span - len(found.parts)] += tally.count
    return [counts[place] for place in range(len(found.parts))]


def _name_of(part: Period, today: date) -> str:
    name = (
        weekday_date(part.first) if part.days == 1 else f"{short_date(part.first)} – {short_date(part.last)}"
    )
    return _("%(day)s, so far", day=name) if part.last == today else name


def _chart(found: Found) -> Any:
    labels, today = _outcomes(), day_of(services().now())
    bars = []
    for part, amounts, before in zip(found.parts, _amounts(found), _before(found), strict=True):
        told = [f"{labels[colour]}: {number(amount)}" for colour, amount in amounts.items() if amount]
        bars.append(
            Bar(
                label=short_date(part.first),
                title=_name_of(part, today),
                told=[*(told or [_("No messages")]), f"{_('Previous period')}: {number(before)}"],
                parts=list(amounts.items()),
                url=url_for("ui_messages.show_log", **part.address),
                before=before,
                is_partial=part.last == today,
            )
        )
    return chart(bars, title=_("Messages by day and outcome"))


def _days_table(found: Found) -> FigureTable:
    today = day_of(services().now())
    rows = zip(found.parts, _amounts(found), _before(found), strict=True)
    return figure_tables.by_day(
        [(part, _name_of(part, today), amounts, before) for part, amounts, before in rows], _outcomes()
    )
