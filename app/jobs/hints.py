"""Hints that several jobs give."""

from __future__ import annotations

from app.services import Services
from app.store.messages import telling


def hint_push(services: Services, portal_id: int) -> None:
    """Wake somebody when the portal's next status is due, unless the sweeper comes by before."""
    delay_s = telling.seconds_to_push(portal_id, now=services.now())
    if delay_s is not None:
        services.engine.hint("push", portal_id, delay_s=delay_s)
