"""What can be made to go wrong: rules for REST and the authorization server, settings for queue and races."""

from __future__ import annotations

import itertools
import random
import time
from dataclasses import asdict, dataclass, field
from typing import Any

from sandbox.portal.errors import SYSTEM_ERRORS, RestError
from sandbox.portal.wire import Answer, json_answer

# error    the usual JSON envelope               html    a proxy's page          empty   no body at all
# junk     JSON that is cut in the middle        hang    silence for `seconds`   drop    connection closed
# lost     the work is done, the answer is not   slow    the right answer, `seconds` late
KINDS = ("error", "html", "empty", "junk", "hang", "drop", "lost", "slow")


@dataclass
class Fault:
    """One rule: the next `count` calls (or all calls for `for_s` seconds) of `method` go wrong this way."""

    id: int
    kind: str
    method: str = "*"
    portal: int | None = None
    count: int | None = 1
    every: int = 1
    until: float | None = None
    error: str = ""
    description: str | None = None
    status: int | None = None
    seconds: float = 30.0
    hits: int = 0
    seen: int = 0

    def view(self) -> dict[str, Any]:
        view = asdict(self)
        view["left_s"] = None if self.until is None else round(self.until - time.monotonic(), 2)
        del view["until"]
        return view


class FaultList:
    """Rules in the order they were given; the first that fits a call decides. Guarded by `World.lock`."""

    def __init__(self) -> None:
        self.faults: list[Fault] = []
        self._ids = itertools.count(1)

    def add(self, **fields: Any) -> Fault:
        for_s = fields.pop("for_s", None)
        if for_s is not None:
            fields.setdefault("count", None)
            fields["until"] = time.monotonic() + float(for_s)
        if fields.get("error") and "kind" not in fields:
            fields["kind"] = "error"
        if fields.get("kind") not in KINDS:
            raise ValueError(f"kind must be one of {', '.join(KINDS)}")
        if fields["kind"] == "error" and not fields.get("error"):
            raise ValueError("a fault of kind error needs an error code")
        fault = Fault(id=next(self._ids), **fields)
        self.faults.append(fault)
        return fault

    def take(self, method: str, portal: int | None) -> Fault | None:
        """The rule for this call, counted, or None."""
        now = time.monotonic()
        self.faults = [
            fault
            for fault in self.faults
            if (fault.until is None or fault.until > now) and (fault.count is None or fault.count > 0)
        ]
        for fault in self.faults:
            if fault.portal not in (None, portal):
                continue
            if fault.method not in ("*", method):
                continue
            fault.seen += 1
            if fault.seen % fault.every:
                continue
            fault.hits += 1
            if fault.count is not None:
                fault.count -= 1
            return fault
        return None

    def operating_reset_in(self, method: str, portal: int) -> float | None:
        """Seconds until a time-limit block on this method ends, if a rule blocks it."""
        for fault in self.faults:
            if fault.error != "OPERATION_TIME_LIMIT" or fault.until is None:
                continue
            if fault.method in ("*", method) and fault.portal in (None, portal):
                return max(0.0, fault.until - time.monotonic())
        return None

    def clear(self) -> None:
        self.faults.clear()


def as_rest_error(fault: Fault) -> RestError:
    known = SYSTEM_ERRORS.get(fault.error)
    description = fault.description if fault.description is not None else (None if known else "")
    return RestError(fault.error, description, fault.status)


_PROXY_PAGE = b"<html><head><title>Bad gateway</title></head><body><h1>Not available</h1></body></html>"


def broken_answer(fault: Fault, column: str) -> Answer:
    """The answer that a fault asks for. Kinds `hang`, `lost` and `slow` are timed by the caller."""
    if fault.kind == "error":
        error = as_rest_error(fault)
        return json_answer(error.body(), error.status(column))
    if fault.kind == "html":
        return Answer(fault.status or 502, _PROXY_PAGE, "text/html; charset=utf-8")
    if fault.kind == "empty":
        return Answer(fault.status or 200, b"")
    if fault.kind == "junk":
        return Answer(fault.status or 200, b'{"result":')
    return Answer(0, b"", aborted=True)


@dataclass
class Races:
    """The portal's own start-up races. `sent_delay_s`: the status SENT is written that long after the
    hand-over. `id_delay_s`: in direct sends and old portals the external id is stored that late."""

    enabled: bool = True
    sent_delay_s: float = 0.3
    id_delay_s: float = 0.5

    def view(self) -> dict[str, Any]:
        return asdict(self)


@dataclass
class QueueFaults:
    """Shares are 0..1. `delay_s` is a range; `reorder_s` holds each post back for a random part of it."""

    duplicate: float = 0.0
    drop: float = 0.0
    delay_s: tuple[float, float] = (0.0, 0.0)
    reorder_s: float = 0.0
    paused: bool = False

    def view(self) -> dict[str, Any]:
        return asdict(self)

    def plan(self, rng: random.Random) -> list[float]:
        """The delays after which one item is posted: none when it is dropped, two when doubled."""
        if rng.random() < self.drop:
            return []
        copies = 2 if rng.random() < self.duplicate else 1
        low, high = self.delay_s
        return [
            rng.uniform(low, high) + (rng.uniform(0, self.reorder_s) if self.reorder_s else 0.0)
            for _ in range(copies)
        ]


@dataclass
class AuthSettings:
    """How the authorization server behaves for everybody."""

    rotation: str = "strict"  # strict: the old refresh token dies at once; grace: when the new pair is used
    lost_every: int = 0  # the answer of every n-th refresh is lost after the rotation
    with_expires: bool = True
    with_user_id: bool = True
    access_lifetime_s: int = 3600
    faults: FaultList = field(default_factory=FaultList)

    def view(self) -> dict[str, Any]:
        return {
            "rotation": self.rotation,
            "lost_every": self.lost_every,
            "with_expires": self.with_expires,
            "with_user_id": self.with_user_id,
            "access_lifetime_s": self.access_lifetime_s,
        }
