"""Bars over days: what each shows, how high it is, and the lines behind them. Drawn by `ui/_chart.html`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

LABELS = 5  # so many fit below the bars on a telephone
MOST_STEPS = 4


@dataclass(frozen=True)
class Bar:
    """One bar: its parts from the bottom up, as the name of their colour and how much."""

    label: str  # below it, where there is room
    title: str
    told: Sequence[str]  # its numbers in words
    parts: Sequence[tuple[str, int]]
    url: str  # its messages
    before: int | None = None  # the same stretch of the period before
    is_partial: bool = False  # its time is not over yet

    @property
    def total(self) -> int:
        return sum(amount for _, amount in self.parts)


@dataclass(frozen=True)
class Piece:
    """A rectangle, in hundredths of the chart's height from its top."""

    colour: str
    top: float
    height: float


@dataclass(frozen=True)
class Column:
    """A bar as it is drawn."""

    bar: Bar
    pieces: Sequence[Piece]
    before_at: float | None
    is_labelled: bool


@dataclass(frozen=True)
class Chart:
    title: str
    lines: Sequence[int]  # the values of the lines behind the bars, from the bottom up
    columns: Sequence[Column]


def chart(bars: Sequence[Bar], *, title: str) -> Chart:
    highest = max((max(bar.total, bar.before or 0) for bar in bars), default=0)
    lines = lines_up_to(highest)
    apart = max(1, -(-len(bars) // LABELS))
    columns = [
        Column(
            bar,
            _pieces(bar, lines[-1]),
            None if bar.before is None else _top(bar.before, lines[-1]),
            is_labelled=(len(bars) - 1 - place) % apart == 0,
        )
        for place, bar in enumerate(bars)
    ]
    return Chart(title, lines, columns)


def lines_up_to(highest: int) -> list[int]:
    """Round values from nothing to at least the highest: 0, 20, 40, 60."""
    step, digit = 1, 0
    while step * MOST_STEPS < highest:
        step = (1, 2, 5)[(digit := digit + 1) % 3] * 10 ** (digit // 3)
    steps = max(1, -(-highest // step))
    return [step * place for place in range(steps + 1)]


def _top(amount: int, whole: int) -> float:
    return round(100 - 100 * amount / whole, 2)


def _pieces(bar: Bar, whole: int) -> list[Piece]:
    found, below = [], 0
    for colour, amount in bar.parts:
        if amount:
            found.append(Piece(colour, _top(below + amount, whole), round(100 * amount / whole, 2)))
        below += amount
    return found
