"""How the gateway behaves: what it answers to a submission, and which reports follow."""

from __future__ import annotations

import random
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any

DEFAULT_KEY = "sandbox-key"

# Each answer: whether the message is taken, and what the caller sees.
ANSWERS: dict[str, tuple[bool, str]] = {
    "accept": (True, "202 with an id"),
    "hang": (True, "nothing, the connection stays open for `hang_s`"),
    "reset": (True, "the connection is reset (RST)"),
    "close": (True, "the connection is closed without an answer"),
    "error_after": (True, "500, although the message was taken; `status` picks another code"),
    "html": (True, "200 with an HTML page"),
    "truncated": (True, "half of the JSON, then the connection is closed"),
    "no_id": (True, "202 with JSON that has no id"),
    "slow": (True, "202, one byte at a time over `slow_s`"),
    "slow_head": (True, "202, its headers one byte at a time over `slow_s`"),
    "huge": (True, "200 with two megabytes"),
    "hang_before": (False, "nothing, the connection stays open for `hang_s`"),
    "reset_before": (False, "the connection is reset (RST)"),
    "error_before": (False, "500; `status` picks another code"),
    "unavailable": (False, "503, with Retry-After when `retry_after` is set"),
    "rate_limit": (False, "429 with Retry-After"),
    "unauthorized": (False, "401"),
    "no_money": (False, "402"),
    "reject": (False, "400 with an error code: `code`, by default 1001 (bad number)"),
    "redirect": (False, "302 to `location`"),
}


class BehaviourInvalid(Exception):
    """A control call asked for something that the gateway does not know; the text says what."""


@dataclass(frozen=True)
class Reports:
    """The delivery reports of one message."""

    words: tuple[str, ...] = ("ENROUTE", "DELIVRD")
    final: tuple[tuple[str, float], ...] = ()  # instead of the last word: one of these, by weight
    delay_s: float = 0.05  # from the answer to the first report
    jitter_s: float = 0.0
    gap_s: float = 0.02  # between the words of one message
    loss: float = 0.0  # share of reports that are never sent
    duplicates: float = 0.0  # share of reports that are sent twice
    shuffle: float = 0.0  # share of messages whose reports come in random order
    early: bool = False  # the first report is sent before the submission is answered
    retries: int = 20  # how often a report that was not answered 2xx is sent again
    retry_delay_s: float = 0.5  # doubles each time, up to 10 s
    timeout_s: float = 10.0
    format: str = "json"  # json | array | form | query


@dataclass(frozen=True)
class Behaviour:
    """What happens to one submission."""

    answer: str = "accept"
    latency_s: float = 0.0
    hang_s: float = 60.0
    slow_s: float = 5.0
    status: int = 0  # 0: the answer's own
    retry_after: str = "1"  # as it goes on the wire: seconds, a date, or nonsense; empty: no header
    code: str = "1001"
    location: str = "http://169.254.169.254/"
    deduplicate: bool = False  # a reference that was taken before is answered like the first time, taken once
    kill_pid: int = 0  # SIGKILL this process after the message was taken (or not) and before the answer
    rate_per_s: float = 0.0  # more than this is answered like `rate_limit`; 0: no limit
    reports: Reports = field(default_factory=Reports)
    seed: int = 0
    mixture: tuple[tuple[str, float], ...] = ()  # percentages of answers; the rest is `answer`

    @property
    def takes_message(self) -> bool:
        return ANSWERS[self.answer][0]


_FIELDS = {spec.name for spec in fields(Behaviour)}
_REPORT_FIELDS = {spec.name for spec in fields(Reports)}
_FORMATS = ("json", "array", "form", "query")


def changed(base: Behaviour, changes: Mapping[str, Any]) -> Behaviour:
    """`base` with the given fields changed; `reports` is an object of its own fields."""
    _refuse_unknown(set(changes) - _FIELDS)
    values = dict(changes)
    if "reports" in values:
        values["reports"] = _changed_reports(base.reports, values["reports"])
    if "mixture" in values:
        values["mixture"] = tuple((str(name), float(share)) for name, share in values["mixture"].items())
    result = replace(base, **values)
    for name in (result.answer, *(name for name, _ in result.mixture)):
        if name not in ANSWERS:
            raise BehaviourInvalid(f"no such answer: {name}; there are {', '.join(ANSWERS)}")
    return result


def _changed_reports(base: Reports, changes: Mapping[str, Any]) -> Reports:
    _refuse_unknown(set(changes) - _REPORT_FIELDS)
    values = dict(changes)
    if "words" in values:
        values["words"] = tuple(str(word) for word in values["words"])
    if "final" in values:
        values["final"] = tuple((str(word), float(weight)) for word, weight in values["final"].items())
    result = replace(base, **values)
    if result.format not in _FORMATS:
        raise BehaviourInvalid(f"no such format of reports: {result.format}")
    return result


def _refuse_unknown(names: set[str]) -> None:
    if names:
        raise BehaviourInvalid(f"no such fields: {', '.join(sorted(names))}")


@dataclass
class _NextCalls:
    left: int
    changes: dict[str, Any]


class Account:
    """One customer of the gateway, known by its key. Rules: the next calls, then the recipient's last
    digits (the longest suffix wins), then the account's own behaviour."""

    def __init__(self, key: str) -> None:
        self.key = key
        self.base = Behaviour()
        self.credit: int | None = None  # messages that are still paid for; None: without end
        self._suffixes: dict[str, dict[str, Any]] = {}
        self._next: list[_NextCalls] = []
        self._lock = threading.Lock()
        self._bucket = (0.0, 0.0)

    def set_base(self, changes: Mapping[str, Any]) -> None:
        with self._lock:
            self.base = changed(self.base, changes)

    def set_suffix(self, suffix: str, changes: Mapping[str, Any]) -> None:
        changed(self.base, changes)
        with self._lock:
            self._suffixes[suffix] = dict(changes)

    def add_next(self, calls: int, changes: Mapping[str, Any]) -> None:
        changed(self.base, changes)
        with self._lock:
            self._next.append(_NextCalls(calls, dict(changes)))

    def reset(self) -> None:
        with self._lock:
            self.base, self.credit = Behaviour(), None
            self._suffixes.clear()
            self._next.clear()

    def choose(self, recipient: str, message_key: str, attempt: int, now: float) -> Behaviour:
        """The behaviour for one submission. Chance depends on the seed, the message and its attempt
        alone, so the same seed gives the same faults whatever the order of the calls."""
        with self._lock:
            behaviour = changed(self.base, self._rule_for(recipient)) if self._has_rules() else self.base
            if behaviour.rate_per_s and not self._take_token(behaviour.rate_per_s, now):
                return replace(behaviour, answer="rate_limit")
        if behaviour.mixture:
            chance = random.Random(f"{behaviour.seed}:{message_key}:{attempt}").uniform(0, 100)
            for name, share in behaviour.mixture:
                chance -= share
                if chance < 0:
                    return replace(behaviour, answer=name)
        return behaviour

    def as_json(self) -> dict[str, Any]:
        with self._lock:
            return {
                "key": self.key,
                "answer": self.base.answer,
                "deduplicate": self.base.deduplicate,
                "credit": self.credit,
                "suffixes": dict(self._suffixes),
                "next": [{"calls": item.left, "behaviour": item.changes} for item in self._next],
            }

    def _has_rules(self) -> bool:
        return bool(self._next or self._suffixes)

    def _rule_for(self, recipient: str) -> dict[str, Any]:
        if self._next:
            first = self._next[0]
            first.left -= 1
            if first.left <= 0:
                self._next.pop(0)
            return first.changes
        matching = [suffix for suffix in self._suffixes if recipient.endswith(suffix)]
        return self._suffixes[max(matching, key=len)] if matching else {}

    def _take_token(self, rate_per_s: float, now: float) -> bool:
        level, at = self._bucket
        level = min(max(rate_per_s, 1.0), level + (now - at) * rate_per_s)
        self._bucket = (level - 1 if level >= 1 else level, now)
        return level >= 1


class Accounts:
    """All accounts by key. Those that a control call names come into being with it."""

    def __init__(self) -> None:
        self._accounts = {DEFAULT_KEY: Account(DEFAULT_KEY)}
        self._lock = threading.Lock()

    def get(self, key: str) -> Account | None:
        return self._accounts.get(key)

    def make(self, key: str) -> Account:
        with self._lock:
            return self._accounts.setdefault(key, Account(key))

    def all(self) -> list[Account]:
        return list(self._accounts.values())
