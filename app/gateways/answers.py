"""Reads gateways' answers: values at a path, and what a refusal means."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from app.domain.outcomes import RefusalKind, Refused, Unknown
from app.domain.texts import clean
from app.transport import AddressRefused, HttpAnswer, NoAnswer, NotSent

WORD_LIMIT = 200


class QuestionRefused(Exception):
    """The gateway's answer to a question (balance, originators, webhooks) is a refusal, or makes no sense.

    The text is the gateway's own words, for people to read; `outcome` is what they mean.
    """

    def __init__(self, outcome: Refused | Unknown) -> None:
        self.outcome = outcome
        if isinstance(outcome, Refused):
            super().__init__(f"{outcome.code} {outcome.text}".strip())
        else:
            super().__init__(outcome.reason)


def outcome_of(error: Exception) -> Refused | Unknown:
    """What a submission means whose call failed with this: an adapter's own fault leaves it unknown."""
    if isinstance(error, AddressRefused):  # nobody but the admin can mend this
        return Refused(RefusalKind.CONFIG, "address", str(error))
    if isinstance(error, NotSent):
        return Refused(RefusalKind.TEMPORARY, "not_sent", str(error))
    if isinstance(error, NoAnswer):
        return Unknown(str(error))
    return Unknown(f"the adapter failed: {type(error).__name__}")


@dataclass(frozen=True)
class ErrorTable:
    """A gateway's own errors, as data.

    `kinds` maps its codes, found at `code_path`; None marks a code that is no error. `other` is for codes
    that are not listed, in an answer that is not an error by its HTTP status alone. `statuses` overrides
    what an HTTP status means here; None marks one after which the outcome is unknown.
    """

    code_path: str = ""
    text_path: str = ""
    kinds: Mapping[str, RefusalKind | None] = field(default_factory=dict)
    other: RefusalKind | None = None
    statuses: Mapping[int, RefusalKind | None] = field(default_factory=dict)


# 429 and 503 say "not now"; after 408, 500, 502 and 504 the message may be on its way.
_STATUSES: dict[int, RefusalKind | None] = {
    401: RefusalKind.CONFIG,
    402: RefusalKind.CONFIG,
    403: RefusalKind.CONFIG,
    408: None,
    429: RefusalKind.THROTTLE,
    503: RefusalKind.TEMPORARY,
}
_LATER = frozenset({RefusalKind.TEMPORARY, RefusalKind.THROTTLE})


def refusal(
    answer: HttpAnswer, table: ErrorTable | None = None, value: Any = None
) -> Refused | Unknown | None:
    """What an answer to a submission says against it; None when it says nothing against it.

    The gateway's own code comes first, its HTTP status second. An unlisted code never turns an unknown
    outcome into a refusal. `value` is the parsed body where it is not JSON.
    """
    table = table or ErrorTable()
    body = json_or_none(answer) if value is None else value
    code = word_at(body, table.code_path) if table.code_path else ""
    text = word_at(body, table.text_path) if table.text_path else ""
    kind = table.kinds.get(code) if code else None
    if kind is None and not answer.ok:
        kind = _kind_of_status(answer.status, table)
        if kind is None:
            return Unknown(f"The gateway answered HTTP {answer.status}.")
        if kind is RefusalKind.PERMANENT and code and code not in table.kinds:
            kind = table.other or kind
    elif kind is None and code and code not in table.kinds:
        kind = table.other
    if kind is None:
        return None
    pause_s = answer.retry_after_s if kind in _LATER else None
    return Refused(kind, code or f"HTTP {answer.status}", text or words_of(answer), pause_s)


def body_of(answer: HttpAnswer, table: ErrorTable | None = None) -> Any:
    """The parsed body of an answer to a question that is not a submission.

    Raises:
        QuestionRefused: the answer says something against it, or is not JSON.
    """
    if against := refusal(answer, table):
        raise QuestionRefused(against)
    body = json_or_none(answer)
    if body is None:
        raise QuestionRefused(Unknown("The answer is not JSON."))
    return body


def _kind_of_status(status: int, table: ErrorTable) -> RefusalKind | None:
    for statuses in (table.statuses, _STATUSES):
        if status in statuses:
            return statuses[status]
    if 300 <= status < 400:
        return RefusalKind.CONFIG  # an address that has moved: redirects are never followed
    return RefusalKind.PERMANENT if 400 <= status < 500 else None


def json_or_none(answer: HttpAnswer) -> Any:
    """The parsed body, or None when it is not JSON."""
    try:
        return answer.json()
    except ValueError:
        return None


def at_path(value: Any, path: str) -> Any:
    """The value at a dotted path such as `messages.0.id`; None when there is nothing.

    `*` stands for the first item of a list or object, for gateways that use phone numbers as names.
    `a|b` is the value at `a`, or else the one at `b`.
    """
    if "|" in path:
        found = (at_path(value, one) for one in path.split("|"))
        return next((one for one in found if one not in (None, "")), None)
    for step in path.split("."):
        if step == "*" and isinstance(value, (Mapping, list)):
            value = next(iter(value.values() if isinstance(value, Mapping) else value), None)
        elif isinstance(value, Mapping):
            value = value.get(step)
        elif isinstance(value, list) and step.isascii() and step.isdigit() and len(step) < 6:
            value = value[int(step)] if int(step) < len(value) else None
        else:
            return None
    return value


def word_at(value: Any, path: str) -> str:
    """The text or number at a path as a short clean text; empty when it is missing or something else."""
    return word(at_path(value, path))


def word(value: Any) -> str:
    """A gateway's id, code or word: storable, and never longer than `WORD_LIMIT`."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (str, int, float)):
        return clean(str(value).strip())[0][:WORD_LIMIT]
    return ""


# Where gateways put a sentence for people.
_SENTENCES = (
    "message",
    "error",
    "error_message",
    "error_text",
    "description",
    "detail",
    "title",
    "text",
    "reason",
)
_ENVELOPES = ("error", "errors", "fault", "data")
_TAG = re.compile(r"<(script|style)\b.*?</\1>|<[^>]*>", re.DOTALL | re.IGNORECASE)


def words_of(answer: HttpAnswer) -> str:
    """What an answer says to people, in short: a plain text, the words of a page, a sentence in JSON."""
    kind = answer.header("content-type").partition(";")[0].strip().lower()
    if kind == "text/plain":
        return word(answer.text)
    if "html" in kind or answer.body[:1] == b"<":
        return word(" ".join(_TAG.sub(" ", answer.text[:20_000]).split()))
    return _sentence_in(json_or_none(answer))


def _sentence_in(body: Any) -> str:
    inner = [at_path(body, name) for name in _ENVELOPES] if isinstance(body, Mapping) else []
    inner = [one[0] if isinstance(one, list) and one else one for one in (body, *inner)]
    found = (word_at(one, name) for one in inner for name in _SENTENCES)
    return next((text for text in found if text), "")
