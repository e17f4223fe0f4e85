"""What adapters and calls say (labels, hints, complaints, why a call failed) in the person's language.

Adapters write English. What a catalogue lacks stays as it is, and so do a gateway's own words.
"""

from __future__ import annotations

import re

from app.domain.sentences import Sentence
from app.web.admin.words.language import adapters_text

# `the answer could not be read (ValueError)`: what stands in the parentheses is for whoever reads logs.
_DETAIL = re.compile(r"(.*\S) (\([^()]*\))")
# `not_sent: the connection was refused`: the code first, as rows keep it.
_CODED = re.compile(r"(\w+): (.*)")


def text_of(text: str) -> str:
    """A text of ours, translated if the catalogue of the gateways has it; of several lines each by itself."""
    if isinstance(text, Sentence):
        values = {name: _value(value) for name, value in text.values.items()}
        pattern = adapters_text(text.pattern)
        return pattern % values if values else pattern
    return " ".join(_line(line) for line in text.split("\n")) if text else ""


def _value(value: object) -> object:
    return text_of(value) if isinstance(value, Sentence) else value


def _line(line: str) -> str:
    if line.startswith("(") and line.endswith(")"):
        return f"({_line(line[1:-1])})"
    if (translated := adapters_text(line)) != line:
        return translated
    if coded := _CODED.fullmatch(line):
        return f"{coded[1]}: {adapters_text(coded[2])}"
    if detailed := _DETAIL.fullmatch(line):
        return f"{adapters_text(detailed[1])} {detailed[2]}"
    return line
