"""Send a message again: one question and one effect for the page and the command."""

from __future__ import annotations

from app.domain.life import Again, may_send_again
from app.domain.messages import Message
from app.engine import PRIORITY_SINGLE
from app.services import Services
from app.store.messages import by_hand
from app.store.portals import portals

CHANGED = Again("no", "on_its_way")


def send_again(
    services: Services, seen: Message, *, is_sure: bool, seen_attempts: int | None = None
) -> Again:
    """A new attempt, if the message is still what the person saw. "yes": it is queued.

    `is_sure`: they know that it may arrive twice, where that is the question. `seen_attempts`: how many there
    were on the page that they clicked, so that the second of two clicks finds the first one's.
    """
    country = portals.by_id(seen.portal_id).settings.default_country
    again = may_send_again(seen, country=country)
    if again.answer == "no" or (again.answer == "ask" and not is_sure):
        return again
    if seen_attempts is not None and seen_attempts != seen.attempts:
        return CHANGED
    if not by_hand.resend(seen, now=services.now(), timing=services.timing):
        return CHANGED
    services.engine.hint("submit", seen.portal_id, priority=PRIORITY_SINGLE)
    return Again("yes")
