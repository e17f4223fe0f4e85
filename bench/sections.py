"""What every benchmark hands back: a heading, what was done, a table, and the figures for a machine."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Section:
    """One part of docs/benchmarks.md."""

    title: str
    text: str
    table: list[str]
    figures: dict[str, Any]
    notes: list[str] = field(default_factory=list)
    is_as_promised: bool = True  # False ends the command with an error

    def markdown(self) -> str:
        parts = [f"## {self.title}", self.text.strip(), "\n".join(self.table)]
        if self.notes:
            parts.append("\n".join(f"- {note}" for note in self.notes))
        return "\n\n".join(part for part in parts if part) + "\n"


def table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> list[str]:
    """Markdown; the first column to the left, figures to the right."""
    lines = [_row(head), _row(["---", *("---:" for _ in head[1:])])]
    return [*lines, *(_row(row) for row in rows)]


def _row(cells: Sequence[object]) -> str:
    return "| " + " | ".join(_cell(cell) for cell in cells) + " |"


def _cell(value: object) -> str:
    if isinstance(value, float):
        return figure(value)
    return "" if value is None else str(value)


def figure(value: float) -> str:
    """Three digits that count."""
    if value == 0:
        return "0"
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"


def share_of(values: Sequence[float], share: float) -> float:
    """The value that this share of the sorted ones does not reach."""
    return round(values[min(len(values) - 1, int(len(values) * share))], 1)
