"""Cancel a message that waits to be sent: one effect for the page and the command."""

from __future__ import annotations

from app.domain.life import why_not_cancelled
from app.domain.messages import Message
from app.services import Services
from app.store.messages import by_hand


def cancel(services: Services, seen: Message) -> bool:
    """False when it does not wait with us alone, or not any more."""
    if why_not_cancelled(seen):
        return False
    if not by_hand.cancel(seen, now=services.now(), timing=services.timing):
        return False
    services.engine.hint("push", seen.portal_id)
    return True
