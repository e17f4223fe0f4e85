"""Write down what a person found out about an unknown outcome: one effect for the page and the command."""

from __future__ import annotations

from app.domain.life import may_be_resolved
from app.domain.messages import Message
from app.domain.status import MessageStatus
from app.services import Services
from app.store.messages import by_hand


def resolve(services: Services, seen: Message, found: MessageStatus) -> bool:
    """False when its outcome is not unknown, or not any more."""
    if not may_be_resolved(seen):
        return False
    if not by_hand.resolve(seen, found, now=services.now(), timing=services.timing):
        return False
    services.engine.hint("push", seen.portal_id)
    return True
