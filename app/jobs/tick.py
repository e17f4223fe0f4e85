"""What every worker does every few seconds by itself; `sweep` among it, which one of them does for all."""

from __future__ import annotations

import logging

from app.jobs.sweep import sweep
from app.services import Services
from app.store.database import StoreUnavailable
from app.store.database.trouble import explain
from app.store.figures import worker_counts

log = logging.getLogger(__name__)


def tick(services: Services) -> None:
    """One round. What was counted is kept even when the sweep fails."""
    try:
        sweep(services)
    except StoreUnavailable as error:
        log.error("not swept, it is tried again", extra={"why": explain(error)})
    finally:
        keep_counts(services)


def keep_counts(services: Services) -> None:
    """Add what this worker counted to the rows that /metrics shows; later, if the database is down now."""
    services.counts.add("sms_lost_hints_total", services.engine.take_lost_hints())
    taken = services.counts.take()
    try:
        worker_counts.add(taken)
    except StoreUnavailable as error:
        services.counts.give_back(taken)
        log.warning("counts are kept later", extra={"why": str(error)})
