"""Sentences for people: written in English where they are thought of, said by the pages in any language."""

from __future__ import annotations

from collections.abc import Mapping


def N_(text: str) -> str:
    """Marks a text for the catalogues that is translated later."""
    return text


class Sentence(str):
    """An English sentence with its named values filled in, which remembers how it was made.

    It is a text like any other for logs, rows and commands; a page looks `pattern` up in the catalogues and
    fills in `values` itself. A value that is a sentence, too, is translated with it.
    """

    pattern: str
    values: Mapping[str, object]

    def __new__(cls, pattern: str, **values: object) -> Sentence:
        made = super().__new__(cls, pattern % values if values else pattern)
        made.pattern, made.values = pattern, values
        return made
