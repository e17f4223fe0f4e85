"""Errors of our own: a message that a job fails at is tried again some times, then it is a dead letter."""

from __future__ import annotations

import logging

from app.services import Services
from app.store.database import StoreRefused, StoreUnavailable
from app.store.messages import messages

log = logging.getLogger(__name__)


def note_exception(services: Services, job: str, key: int, error: Exception) -> None:
    """A job raised: its message is tried again some times, then it is a dead letter and the portal hears."""
    is_down = isinstance(error, (StoreUnavailable, MemoryError)) and not isinstance(error, StoreRefused)
    if is_down or job not in ("follow_up", "verify_held"):
        return  # not the message's fault: its row stays due
    note_fault(services, key, type(error).__name__)


def note_fault(services: Services, row_id: int, why: str) -> None:
    if messages.note_exception(row_id, why, now=services.now(), timing=services.timing):
        log.error("dead letter", extra={"message_row": row_id})
