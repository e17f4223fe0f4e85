"""Turns for calls to somebody else's server while a browser waits: few at once, a fair share for each portal.

A server that hangs holds the threads of those who wait for it. So a request takes a turn with its first
outward call and keeps it to its end; who finds none free is told at once. Nobody has to remember that: the
HTTP client itself asks here. Jobs and commands need no turn, for nobody's browser waits.
"""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass
from threading import Lock

from flask import Flask, has_request_context, request

from app.transport import NotSent

AT_ONCE = 5  # of those whose session proves who they are, and as many of those who are yet to prove it
SHARE = 3  # of one portal; portals that we do not know share one
CALLS_BEGIN_WITHIN_S = 25.0


class TooManyWaiting(Exception):
    """Too many people wait for other servers at this moment; try again."""


class _Turns:
    def __init__(self) -> None:
        self._taken: Counter[str] = Counter()
        self._lock = Lock()

    def take(self, who: str) -> bool:
        with self._lock:
            if self._taken.total() >= AT_ONCE or self._taken[who] >= SHARE:
                return False
            self._taken[who] += 1
            return True

    def give_back(self, who: str) -> None:
        with self._lock:
            self._taken[who] -= 1
            self._taken += Counter()  # drops who has none


_proved, _unproved = _Turns(), _Turns()


@dataclass(frozen=True)
class _Place:
    turns: _Turns
    who: str


@dataclass
class _Mine:
    """What one request waits for and has. It belongs to the request alone: `g` may outlive it."""

    waits_for: _Place | None = None
    turn: _Place | None = None
    calls_until: float = 0.0


def _mine() -> _Mine:
    found: _Mine = request.environ.setdefault("sms.outward", _Mine())
    return found


def init_app(app: Flask) -> None:
    """A turn ends with its request."""

    @app.teardown_request
    def _end(_error: BaseException | None) -> None:
        turn = _mine().turn
        if turn is not None:
            turn.turns.give_back(turn.who)


def on_behalf_of(member_id: str, *, is_proved: bool) -> None:
    """Whose share this request's outward calls are; empty for a portal that we do not know.

    Who only says to be of a portal takes nothing away from those who have proved it.
    """
    mine = _mine()
    if mine.turn is None and (is_proved or mine.waits_for is None):
        mine.waits_for = _Place(_proved if is_proved else _unproved, member_id)


def need_turn() -> None:
    """Before every outward call, and before work that a call without a turn would leave half done.

    Raises:
        TooManyWaiting: no turn is free.
        NotSent: this request has made outward calls for long enough.
    """
    if not has_request_context():
        return
    mine = _mine()
    if mine.turn is not None:
        if time.monotonic() > mine.calls_until:
            raise NotSent("other servers took too long before this call")
        return
    place = mine.waits_for or _Place(_unproved, "")
    if not place.turns.take(place.who):
        raise TooManyWaiting
    mine.turn = place
    mine.calls_until = time.monotonic() + CALLS_BEGIN_WITHIN_S
