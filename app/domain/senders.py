"""What a sender may be called, and what the phone may show as its originator."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

Text = str | Mapping[str, str]
ENGLISH = "en"  # what everybody sees whose language has no text of its own

# The portal's own limits; https://apidocs.bitrix24.com/api-reference/messageservice/messageservice-sender-add.html
NAME_LIMIT = 500
DESCRIPTION_LIMIT = 1000
# Phone networks carry a number of up to 15 digits, or a name of up to 11 characters with a letter in it.
ORIGINATOR_DIGITS = 15
ORIGINATOR_LETTERS = 11
_NUMBER = re.compile(rf"\+?[0-9]{{3,{ORIGINATOR_DIGITS}}}")
_NAME = re.compile(rf"(?=.*[A-Za-z])[A-Za-z0-9 &._+-]{{1,{ORIGINATOR_LETTERS}}}")
# A pool of numbers by its id, from which the gateway chooses: Twilio's Messaging Service.
_POOL = re.compile(r"[A-Z]{2}[0-9a-f]{32}")

FieldName = Literal["originator", "name", "description"]
ProblemCode = Literal["originator", "too_long", "empty", "language"]

_SENTENCES: Mapping[ProblemCode, str] = {
    "originator": f"an originator is a number of 3 to {ORIGINATOR_DIGITS} digits, or a name of up to"
    f" {ORIGINATOR_LETTERS} Latin letters, digits, spaces and & . _ + -, with a letter in it",
    "too_long": f"a name has at most {NAME_LIMIT} characters, a description {DESCRIPTION_LIMIT}",
    "empty": "a text in some language is empty",
    "language": "languages have two letters in Bitrix24, such as en, de, ua; longer codes are dropped there",
}


@dataclass(frozen=True)
class SenderProblem:
    """Why one field of a sender cannot be so. `language` is set where one text of several is wrong."""

    field: FieldName
    code: ProblemCode
    language: str = ""

    def __str__(self) -> str:
        where = f"{self.field} ({self.language})" if self.language else self.field
        return f"{where}: {_SENTENCES[self.code]}"


class SenderInvalid(Exception):
    """Nothing was stored; `problems` has one entry for each field that is wrong."""

    def __init__(self, problems: list[SenderProblem]) -> None:
        super().__init__("; ".join(map(str, problems)))
        self.problems = problems


def check_sender(*, originator: str = "", name: Text = "", description: Text = "") -> None:
    """Empty fields are fine: they stand for the gateway's originator and the product's own texts.

    Raises:
        SenderInvalid: the networks or the portal would not take it, or would drop it without a word.
    """
    problems = []
    if originator and not any(form.fullmatch(originator) for form in (_NUMBER, _NAME, _POOL)):
        problems.append(SenderProblem("originator", "originator"))
    problems += _text_problems("name", name, NAME_LIMIT)
    problems += _text_problems("description", description, DESCRIPTION_LIMIT)
    if problems:
        raise SenderInvalid(problems)


@dataclass(frozen=True)
class InLanguages:
    """A text in these languages alone: the others stay as they are. An empty text takes one away."""

    texts: Mapping[str, str]

    def over(self, text: Text) -> Text:
        before = {ENGLISH: text} if isinstance(text, str) else text
        after = {**before, **{language.lower(): words for language, words in self.texts.items()}}
        return {language: words for language, words in after.items() if words.strip()}


def changed(text: Text, given: Text | InLanguages) -> Text:
    """What a sender's text becomes."""
    return given.over(text) if isinstance(given, InLanguages) else given


def languages_of(*texts: Text) -> list[str]:
    """The languages in which one of the texts has words of its own."""
    found = [language.lower() for text in texts if not isinstance(text, str) for language in text]
    return sorted(set(found))


def is_language(code: str) -> bool:
    """Whether the portal keeps a text in this language."""
    return len(code) == 2 and code.isascii() and code.isalpha()


def _text_problems(field: FieldName, text: Text, limit: int) -> list[SenderProblem]:
    if isinstance(text, str):
        return [SenderProblem(field, "too_long")] if len(text) > limit else []
    problems = []
    for language, words in text.items():
        if not is_language(language):
            problems.append(SenderProblem(field, "language", language))
        elif not words.strip():
            problems.append(SenderProblem(field, "empty", language))
        elif len(words) > limit:
            problems.append(SenderProblem(field, "too_long", language))
    return problems
