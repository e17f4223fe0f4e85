"""Draining: whoever holds an owner works off what is due of it, lets go, and looks once more.

An owner is a gateway account (its messages are submitted) or a portal (its statuses are told). One worker
at a time holds it, by a short lease that is kept alive, so that a killed worker's owner moves on soon.
"""

from __future__ import annotations

import time
from typing import Protocol

# Somebody may have stored a row just before we let go and found the owner held: see `Engine.hint`.
LAST_LOOK_S = 0.025


class Owner(Protocol):
    def take(self) -> bool:
        """Hold it; False while another worker does, or while it has to rest."""

    def work(self) -> bool:
        """Work off what is due. False when it must be left alone for a while."""

    def release(self) -> None: ...

    def has_due(self) -> bool:
        """Whether something is due by now."""


def drain(owner: Owner) -> None:
    while owner.take():
        try:
            may_go_on = owner.work()
        finally:
            owner.release()
        if not may_go_on:
            return
        if not owner.has_due():
            time.sleep(LAST_LOOK_S)
            if not owner.has_due():
                return
