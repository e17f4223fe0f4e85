"""Turns for calls to somebody else's server while a browser waits: few at once, a fair share for each portal.

A server that hangs holds the threads of those who wait for it. So a request takes a turn with its first
outward call and keeps it to its end; who finds none free is told at once. Nobody has to remember that: the
HTTP client itself asks here. Jobs and commands need no turn, for nobody's browser waits.
"""

from __future__ import annotations

import time
from collections import Counter
from threading import Lock

from flask import Flask, g, has_request_context

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


def init_app(app: Flask) -> None:
    """A turn ends with its request."""

    @app.teardown_request
    def _end(_error: BaseException | None) -> None:
        turns, who = g.pop("turn", (None, ""))
        g.pop("waits_for", None)
        if turns is not None:
            turns.give_back(who)


def on_behalf_of(member_id: str, *, is_proved: bool) -> None:
    """Whose share this request's outward calls are; empty for a portal that we do not know.

    Who only says to be of a portal takes nothing away from those who have proved it.
    """
    if "turn" not in g and (is_proved or "waits_for" not in g):
        g.waits_for = (_proved if is_proved else _unproved, member_id)


def need_turn() -> None:
    """Before every outward call, and before work that a call without a turn would leave half done.

    Raises:
        TooManyWaiting: no turn is free.
        NotSent: this request has made outward calls for long enough.
    """
    if not has_request_context():
        return
    if "turn" in g:
        if time.monotonic() > g.calls_until:
            raise NotSent("other servers took too long before this call")
        return
    turns, who = g.get("waits_for", (_unproved, ""))
    if not turns.take(who):
        raise TooManyWaiting
    g.turn = (turns, who)
    g.calls_until = time.monotonic() + CALLS_BEGIN_WITHIN_S
