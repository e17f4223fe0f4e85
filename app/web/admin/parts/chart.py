"""Charts as SVG. Every text is escaped here; the colours are the style sheet's."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

# The picture is stretched to the width of the page, so its units are no pixels.
_STEP, _BAR, _HEIGHT = 10.0, 7.0, 100.0


@dataclass(frozen=True)
class Bar:
    """One bar: its parts from the bottom up, as the name of their colour and how much."""

    title: str
    parts: Sequence[tuple[str, int]]
    is_partial: bool = False  # its time is not over yet

    @property
    def total(self) -> int:
        return sum(amount for _, amount in self.parts)


def stacked_bars(bars: Sequence[Bar], *, title: str) -> Markup:
    """Bars beside each other; the highest one fills the height."""
    highest = max((bar.total for bar in bars), default=0) or 1
    drawn = Markup().join(_bar(bar, place * _STEP, highest) for place, bar in enumerate(bars))
    return Markup(
        '<svg class="chart" role="img" aria-label="{title}" direction="ltr" preserveAspectRatio="none"'
        ' viewBox="0 0 {width:g} {height:g}"><title>{title}</title>{drawn}</svg>'
    ).format(title=title, width=len(bars) * _STEP, height=_HEIGHT, drawn=drawn)


def _bar(bar: Bar, left: float, highest: int) -> Markup:
    pieces, top = [], _HEIGHT
    for colour, amount in bar.parts:
        height = _HEIGHT * amount / highest
        top -= height
        if amount:
            pieces.append(
                Markup('<rect class="{}" x="{:g}" y="{:.2f}" width="{:g}" height="{:.2f}"/>').format(
                    colour, left + (_STEP - _BAR) / 2, top, _BAR, height
                )
            )
    return Markup("<g{}><title>{}</title>{}</g>").format(
        Markup(' class="partial"') if bar.is_partial else "", bar.title, Markup().join(pieces)
    )
