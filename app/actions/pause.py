"""Pause a portal and continue: its messages are taken in and wait, and nothing of them is lost."""

from __future__ import annotations

from app.domain.portals import Portal
from app.services import Services
from app.store.messages import messages
from app.store.portals import states


def pause_portal(services: Services, portal: Portal, why: str) -> bool:
    """Submit nothing more; calls that are open end as they end. False when it was paused already."""
    return states.pause(portal.id, why, now=services.now())


def continue_portal(services: Services, portal: Portal) -> bool:
    """Everything that waited is due again. False when it was not paused."""
    if not states.end_pause(portal.id):
        return False
    messages.wake_account(None, portal.id, now=services.now())
    services.engine.hint("submit", portal.id)
    return True
