"""Today beside a usual day: how many messages, how many fail and what is behind it, what waits and why."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from flask import url_for

from app.domain.messages import Reason
from app.domain.status import BAD, MessageStatus
from app.domain.usual import WEEKS_BACK, is_much_failing, is_silent, usual_by_now
from app.store.accounts.accounts import Account
from app.store.figures import overview, statistics
from app.store.figures.counts import QUARTER_S, quarter_of
from app.store.figures.statistics import Span, Tally
from app.store.messages.log import gateways_of
from app.web.admin.parts.days import begin_of, day_of
from app.web.admin.parts.filters import gateway_title
from app.web.admin.words.adapters import text_of
from app.web.admin.words.language import gettext as _
from app.web.admin.words.language import number, percent, weekday
from app.web.admin.words.messages import status_label, title_of_reason

_QUARTER = timedelta(seconds=QUARTER_S)
_DAY = timedelta(days=1)
_WEEK = timedelta(days=7)
_TILES = (
    (MessageStatus.DELIVERED, "ok"),
    (MessageStatus.SENT, ""),
    (MessageStatus.QUEUED, ""),
    (MessageStatus.UNKNOWN, ""),
    (MessageStatus.UNDELIVERED, "bad"),
    (MessageStatus.FAILED, "bad"),
)


@dataclass(frozen=True)
class Tile:
    label: str
    count: int
    tone: str
    url: str


@dataclass(frozen=True)
class Behind:
    """What most of the failed messages have in common."""

    kind: str
    name: str
    told: str  # how many of them
    url: str


@dataclass(frozen=True)
class Failing:
    """More failures than one passes over."""

    share: str
    told: str
    behind: Sequence[Behind]


@dataclass(frozen=True)
class Waiting:
    """Messages that wait for one reason. `next_at` is when the first is tried; None: nothing is planned."""

    title: str
    count: str
    next_at: datetime | None
    is_now: bool
    url: str


@dataclass(frozen=True)
class Today:
    tiles: Sequence[Tile]
    so_far: str
    usual: str  # by this time of day; empty where nothing is usual yet
    weekday: str
    is_silent: bool
    failing: Failing | None


def today(portal_id: int, now: datetime) -> Today:
    """The person's own day, and the last 24 hours for what fails."""
    begin, until = begin_of(day_of(now)), quarter_of(now) + _QUARTER
    weeks_before = [day_of(now) - weeks * _WEEK for weeks in range(1, WEEKS_BACK + 1)]
    same_time = [Span(begin_of(day), begin_of(day) + (quarter_of(now) - begin)) for day in weeks_before]
    lately = Span(until - _DAY, until)
    found = statistics.tallies(portal_id, [Span(begin, until), lately, *same_time])
    counts = Counter[int]()
    for tally in found:
        counts[tally.span] += tally.count
    usual = usual_by_now([counts[place] for place in range(2, 2 + len(same_time))])
    return Today(
        tiles=_tiles([tally for tally in found if tally.span == 0]),
        so_far=number(counts[0]),
        usual="" if usual is None else number(round(usual)),
        weekday=weekday(day_of(now)),
        is_silent=is_silent(counts[0], usual),
        failing=_failing(portal_id, [tally for tally in found if tally.span == 1], lately),
    )


def _tiles(tallies: Iterable[Tally]) -> list[Tile]:
    counts = Counter[MessageStatus]()
    for tally in tallies:
        counts[tally.status] += tally.count
    return [
        Tile(
            status_label(status),
            counts[status],
            tone if counts[status] else "",
            _log(period="today", status=status.value),
        )
        for status, tone in _TILES
    ]


# --- what fails


def _failing(portal_id: int, tallies: Sequence[Tally], lately: Span) -> Failing | None:
    bad = [tally for tally in tallies if tally.status in BAD]
    failed = sum(tally.count for tally in bad)
    ended = sum(tally.count for tally in tallies if tally.status.is_final)
    if not is_much_failing(failed, ended):
        return None
    told = _("%(failed)s of %(ended)s messages", failed=number(failed), ended=number(ended))
    return Failing(percent(failed / ended), told, list(_behind(portal_id, bad, failed, lately)))


def _behind(portal_id: int, bad: Iterable[Tally], failed: int, lately: Span) -> list[Behind]:
    """The most frequent reason, gateway and sender among the failed messages."""
    reasons, gateways = Counter[str](), Counter[str]()
    slugs = gateways_of(portal_id)
    for tally in bad:
        reasons[tally.reason] += tally.count
        gateways[slugs.get(tally.account_id or 0, "")] += tally.count
    shares = statistics.splits(portal_id, lately).senders
    senders = Counter({code: share.failed for code, share in shares.items()})
    period = _custom(lately)
    found = []
    for kind, counts, name_of, filter_ in (
        (_("Reason"), reasons, title_of_reason, "reason"),
        (_("Gateway"), gateways, _gateway_name, "gateway"),
        (_("Sender"), senders, str, "sender"),
    ):
        [(value, count)] = counts.most_common(1) or [("", 0)]
        if value and count:
            told = _("%(failed)s of %(ended)s", failed=number(count), ended=number(failed))
            found.append(Behind(kind, name_of(value), told, _log(**period, **{filter_: value})))
    return found


def _gateway_name(slug: str) -> str:
    return text_of(gateway_title(slug))


# --- what waits


def waiting(portal_id: int, account: Account | None, now: datetime) -> list[Waiting]:
    """Why messages wait, and when they are looked at next; then the statuses that Bitrix24 has yet to get."""
    waits = overview.waits(portal_id)
    found = []
    for each in waits.by_reason:
        at = each.next_at
        if each.reason == Reason.ACCOUNT_STOPPED and account is not None and account.probe_at is not None:
            at = account.probe_at
        title = title_of_reason(each.reason) if each.reason else _("Waiting to be sent")
        url = _log(status="queued", **({"reason": each.reason} if each.reason else {}))
        found.append(_waiting(title, each.count, at, now, url, is_more=waits.is_more))
    to_tell = overview.waits_to_be_told(portal_id)
    if to_tell.count:
        is_more = to_tell.count >= overview.COUNTED
        title = _("Statuses not yet shown in Bitrix24")
        found.append(_waiting(title, to_tell.count, to_tell.next_at, now, "", is_more=is_more))
    return found


def _waiting(
    title: str, count: int, at: datetime | None, now: datetime, url: str, *, is_more: bool
) -> Waiting:
    told = _("%(count)s or more", count=number(count)) if is_more else number(count)
    return Waiting(title, told, at, is_now=at is not None and at <= now, url=url)


# --- the log


def _custom(span: Span) -> dict[str, Any]:
    return {
        "period": "custom",
        "from": day_of(span.since).isoformat(),
        "to": day_of(span.until - _QUARTER).isoformat(),
    }


def _log(**filters: Any) -> str:
    return url_for("ui_messages.show_log", **filters)
