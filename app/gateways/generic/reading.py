"""What an answer to a submission says: taken with these ids, refused, or nobody knows."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Literal

from app.domain.outcomes import Accepted, Outcome, RefusalKind, Refused, Unknown
from app.domain.status import MessageStatus
from app.gateways.answers import at_path, refusal, word, word_at, words_of
from app.gateways.generic.content import items_at, value_of
from app.gateways.generic.plan import Plan
from app.transport import HttpAnswer

# What gateways write where others write an error code.
_FINE = frozenset({"", "0", "00", "000", "ok", "success", "successful", "none", "null", "false", "no"})
# How answers that nobody described begin when they are refusals.
_COMPLAINTS = (
    "err",
    "fail",
    "denied",
    "invalid",
    "reject",
    "unauthor",
    "forbidden",
    "insufficient",
    "no credit",
)
_ERROR_NAMES = ("error", "errors", "error_code", "errorcode", "errcode", "errorCode", "fault")
_STATE_NAMES = ("success", "ok", "status", "result", "state")


def outcome_of_answer(plan: Plan, answer: HttpAnswer) -> Outcome:
    """The outcome by the plan's rules; never an acceptance of what may be a refusal inside a 200."""
    value = value_of(answer.body, answer.header("content-type"))
    if against := refusal(answer, plan.errors, value):
        return against
    ids = _ids(plan, value)
    code = word_at(value, plan.errors.code_path) if plan.errors.code_path else ""
    verdict = _verdict(plan, answer, value, code)
    if verdict == "yes" and (ids or not plan.text("id_path")):
        return Accepted(tuple(ids), _status(plan, value), _segments(plan, value), _cost(plan, value))
    words = word_at(value, plan.errors.text_path) if plan.errors.text_path else ""
    words = words or _plain(value) or words_of(answer)
    if verdict == "no" and ids and not _has_rule(plan):
        return Unknown(f"The answer has an id and an error: {code} {words}".strip())
    if verdict == "no":
        return Refused(RefusalKind.PERMANENT, code or "refused", words)
    if verdict == "unclear":
        return Unknown(f"The answer does not say whether the message was taken. {words}".strip())
    return Unknown(f"The answer has no id at {plan.text('id_path')!r}. {words}".strip())


def _verdict(plan: Plan, answer: HttpAnswer, value: Any, code: str) -> Literal["yes", "no", "unclear"]:
    """Whether an answer that is no error by its HTTP status, nor by a listed code, is an acceptance."""
    statuses = plan.words("success_statuses")
    if statuses and str(answer.status) not in statuses:
        return "no"
    if _has_rule(plan):
        return _by_rule(plan, value)
    if code in plan.errors.kinds:
        return "yes"  # the map calls it fine
    if plan.errors.code_path and code.casefold() not in _FINE:
        return "no"
    has_place = isinstance(value, Mapping) and plan.errors.code_path.partition(".")[0] in value
    return "no" if not has_place and _complains(value) else "yes"


def _has_rule(plan: Plan) -> bool:
    return bool(plan.words("success_values"))


def _by_rule(plan: Plan, value: Any) -> Literal["yes", "no", "unclear"]:
    """By the words of success; an answer that has no place for them, such as a page, says nothing."""
    wanted = [one.casefold() for one in plan.words("success_values")]
    path, text = plan.text("success_path"), _plain(value).casefold()
    if path:
        found = word_at(value, path).casefold()
        is_data = isinstance(value, Mapping) and not isinstance(value.get("words"), list)
        return "yes" if found in wanted else "no" if found and is_data else "unclear"
    if any(text.startswith(one) for one in wanted):
        return "yes"
    return "no" if text else "unclear"


def _complains(value: Any) -> bool:
    """Whether an answer that nobody described says no, as far as one can tell without knowing it."""
    if text := _plain(value).casefold():
        return text.startswith(_COMPLAINTS) or (text.startswith("-") and text[1:].isdigit())
    if not isinstance(value, Mapping):
        return False
    named = [value[name] for name in _ERROR_NAMES if name in value]
    if any(isinstance(one, (Mapping, list)) and one for one in named):
        return True
    if any(word(one).casefold() not in _FINE for one in named):
        return True
    states = [value[name] for name in _STATE_NAMES if name in value]
    return any(one is False or _is_bad_word(one) for one in states)


def _is_bad_word(value: Any) -> bool:
    return isinstance(value, str) and value.strip().casefold().startswith(_COMPLAINTS)


_PLAIN = re.compile(r"[\w(+#*\"'-][^\x00\ufffd]*")


def _plain(value: Any) -> str:
    """The text of an answer in plain words; empty for pages, broken JSON and bytes."""
    if not isinstance(value, Mapping) or not isinstance(value.get("words"), list):
        return ""
    text = word(value["text"])
    return text if _PLAIN.fullmatch(text) else ""


def _ids(plan: Plan, value: Any) -> list[str]:
    """One id for each part that is reported on; several where the path goes through a list with `[]`."""
    path = plan.text("id_path")
    if not path:
        return []
    before, is_list, after = path.partition("[]")
    if not is_list:
        found = [word_at(value, path)]
    else:
        after = after.strip(".")
        items = items_at(value, before.strip("."))
        found = [word_at(item, after) if after else word(item) for item in items]
    return [one for one in found if one]


def _status(plan: Plan, value: Any) -> MessageStatus:
    path = plan.text("accepted_status_path")
    found = plan.status(word_at(value, path)) if path else None
    return found if found is MessageStatus.QUEUED else MessageStatus.SENT


def _segments(plan: Plan, value: Any) -> int | None:
    found = at_path(value, plan.text("segments_path")) if plan.text("segments_path") else None
    text = word(found)
    return int(text) if text.isascii() and text.isdigit() and 0 < int(text[:6]) < 256 else None


def _cost(plan: Plan, value: Any) -> str | None:
    amount = word_at(value, plan.text("cost_path")) if plan.text("cost_path") else ""
    currency = word_at(value, plan.text("currency_path")) if plan.text("currency_path") else ""
    return f"{amount} {currency or plan.text('currency')}".strip() if amount else None
