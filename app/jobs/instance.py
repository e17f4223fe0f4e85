"""This process among the others: it says that it lives, and rests while its machine is to take no work.

Resting is the end that SIGTERM brings (what is open is finished, nothing more is taken), but for the end: the
process stays, so that no supervisor starts another one in its place, and begins anew when it may.
"""

from __future__ import annotations

import logging
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable
from datetime import datetime

from app.services import Services
from app.store import instances
from app.store.database import StoreUnavailable
from app.store.instances import State
from app.version import VERSION

log = logging.getLogger(__name__)

ENDS = (signal.SIGTERM, signal.SIGINT)
LOOK_S = 2.0  # how often a resting process asks whether it may work again


class Process:
    """`end`: how the work of this process is told to end."""

    def __init__(self, services: Services, kind: str, end: Callable[[], None]) -> None:
        self._services, self._kind, self._end = services, kind, end
        self._host = socket.gethostname()
        self._name = f"{kind} {self._host}:{os.getpid()}"
        self._started_at = services.now()
        self.rests = False

    def look(self) -> None:
        """While it works: say so, and end the work when the machine is to be drained."""
        if not self.rests and self._is_to_rest("working"):
            self.rests = True
            log.info("instance drains", extra={"instance": self._name})
            self._say("draining")
            self._end()

    def wait_for_work(self) -> bool:
        """Rest as long as the machine is drained. False when the process is told to end meanwhile."""
        stopping = threading.Event()
        before = {name: signal.signal(name, lambda *_: stopping.set()) for name in ENDS}
        while self._is_to_rest("drained" if self.rests else "working"):
            self.rests = True
            if stopping.wait(LOOK_S):
                return False
        self.rests = False
        for name, handler in before.items():  # who works hears of its end by itself
            signal.signal(name, handler)
        return not stopping.is_set()

    def begin_anew(self) -> None:
        """The same program in the same process: pools of threads that were shut down open no more."""
        os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])  # noqa: S606 - our own command line

    def leave(self) -> None:
        try:
            instances.leave(self._name)
        except StoreUnavailable:
            pass  # it is forgotten by itself

    def _is_to_rest(self, state: State) -> bool:
        try:
            return self._say(state)
        except StoreUnavailable:
            return self.rests  # whoever rests goes on to rest; whoever works says what is wrong

    def _say(self, state: State) -> bool:
        now: datetime = self._services.now()
        return instances.say(
            instances.Instance(
                name=self._name,
                kind=self._kind,
                host=self._host,
                version=VERSION,
                state=state,
                started_at=self._started_at,
                seen_at=now,
            )
        )


def run(process: Process, work: Callable[[], None]) -> None:
    """Work, rest while the machine is drained, and begin anew afterwards."""
    if process.wait_for_work():
        work()
        if process.rests and process.wait_for_work():
            process.begin_anew()
    process.leave()
