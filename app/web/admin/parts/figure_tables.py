"""The tables of the statistics: the same rows for the page and for the file."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from flask import url_for

from app.domain.messages import Author
from app.domain.status import BAD, MessageStatus
from app.store.figures.statistics import Share, Tally
from app.web.admin.parts import log_csv
from app.web.admin.parts.filters import gateway_title
from app.web.admin.parts.periods import Period
from app.web.admin.words.adapters import text_of
from app.web.admin.words.language import decimal_sign, number, percent
from app.web.admin.words.language import gettext as _
from app.web.admin.words.messages import author_label, title_of_reason


@dataclass(frozen=True)
class Part:
    """A share of one, which is a number of its own to a spreadsheet; None where there is nothing to share."""

    share: float | None

    def __str__(self) -> str:
        return "–" if self.share is None else percent(self.share)


Cell = int | str | Part


@dataclass(frozen=True)
class Row:
    title: str
    url: str  # of its messages in the log; empty where the log has no such filter
    cells: Sequence[Cell]


@dataclass(frozen=True)
class FigureTable:
    name: str  # in addresses
    title: str
    columns: Sequence[str]  # the first one is that of the rows' titles
    rows: Sequence[Row]
    empty: str = ""

    def shown(self, cell: Cell) -> str:
        return number(cell) if isinstance(cell, int) else str(cell)


def as_csv(table: FigureTable) -> str:
    """As spreadsheets of the person's language read it."""
    rows = [[row.title, *map(_plain, row.cells)] for row in table.rows]
    return "\ufeff" + log_csv.written([list(table.columns), *rows])


def _plain(cell: Cell) -> str:
    if isinstance(cell, Part):
        share = "" if cell.share is None else str(Decimal(str(round(cell.share, 4))))
        return share.replace(".", decimal_sign())
    return str(cell)


def by_day(
    days: Iterable[tuple[Period, str, Mapping[str, int], int]], outcomes: Mapping[str, str]
) -> FigureTable:
    """The newest day first; `outcomes` are the names of the amounts."""
    rows = [
        Row(name, _log(part), [sum(amounts.values()), *amounts.values(), before])
        for part, name, amounts, before in days
    ]
    columns = [_("Day"), _("Messages"), *outcomes.values(), _("Previous period")]
    return FigureTable("days", _("Messages by day"), columns, rows[::-1])


def by_sender(shares: Mapping[str, Share], period: Period) -> FigureTable:
    rows = [_share_row(code, share, _log(period, sender=code)) for code, share in _busiest(shares)]
    return FigureTable("senders", _("By sender"), [_("Sender"), *_share_columns()], rows)


def by_author(shares: Mapping[str, Share], period: Period) -> FigureTable:
    rows = [
        _share_row(author_label(Author(author)), share, _log(period, author=author))
        for author, share in _busiest(shares)
    ]
    return FigureTable("authors", _("Who or what sent them"), [_("Sent by"), *_share_columns()], rows)


def _busiest(shares: Mapping[str, Share]) -> list[tuple[str, Share]]:
    return sorted(shares.items(), key=lambda item: -item[1].count)


def _share_columns() -> list[str]:
    return [_("Messages"), _("Delivered"), _("Failed"), _("Segments")]


def _share_row(title: str, share: Share, url: str) -> Row:
    delivered = Part(share.delivered / share.ended if share.ended else None)
    return Row(title, url, [share.count, delivered, share.failed, share.segments])


def by_gateway(tallies: Iterable[Tally], slugs: Mapping[int, str], period: Period) -> FigureTable:
    """By the gateways' names: several accounts of one are one row."""
    mine: dict[str, list[Tally]] = {}
    for tally in tallies:
        mine.setdefault(slugs.get(tally.account_id or 0, ""), []).append(tally)
    rows = [
        Row(
            text_of(gateway_title(slug)) if slug else _("Not handed to a gateway"),
            _log(period, gateway=slug) if slug else "",
            [
                _count(found),
                _delivered(found),
                _count(_failed(found)),
                _segments(found),
            ],
        )
        for slug, found in sorted(mine.items(), key=lambda item: -_count(item[1]))
    ]
    return FigureTable("gateways", _("By gateway"), [_("Gateway"), *_share_columns()], rows)


def by_reason(tallies: Iterable[Tally], period: Period) -> FigureTable:
    """Why messages did not arrive, the most frequent reason first."""
    counts: dict[str, int] = {}
    for tally in _failed(tallies):
        counts[tally.reason] = counts.get(tally.reason, 0) + tally.count
    whole = sum(counts.values())
    rows = [
        Row(
            title_of_reason(reason),
            _log(period, reason=reason) if reason else "",
            [count, Part(count / whole)],
        )
        for reason, count in sorted(counts.items(), key=lambda item: -item[1])
    ]
    columns = [_("Reason"), _("Messages"), _("Share")]
    return FigureTable(
        "reasons", _("Why messages did not arrive"), columns, rows, empty=_("No message failed.")
    )


def _log(period: Period, **more: Any) -> str:
    return url_for("ui_messages.show_log", **period.address, **more)


def _count(tallies: Iterable[Tally]) -> int:
    return sum(tally.count for tally in tallies)


def _failed(tallies: Iterable[Tally]) -> list[Tally]:
    return [tally for tally in tallies if tally.status in BAD]


def _segments(tallies: Iterable[Tally]) -> int:
    return sum(tally.segments for tally in tallies)


def _delivered(tallies: Iterable[Tally]) -> Part:
    """How many of those that came to an end came to the good one."""
    ended = [tally for tally in tallies if tally.status.is_final]
    good = _count(tally for tally in ended if tally.status is MessageStatus.DELIVERED)
    return Part(good / _count(ended) if ended else None)


def delivered_share(tallies: Iterable[Tally]) -> str:
    return str(_delivered(tallies))
