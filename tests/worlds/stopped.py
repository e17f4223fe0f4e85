"""An account that its gateway refuses."""

from __future__ import annotations

from datetime import datetime

from app.domain.retry import REFUSALS_TO_STOP
from app.store.accounts import accounts, stops


def stop(account: accounts.Account, reason: str, *, probe_at: datetime, now: datetime) -> None:
    """So many messages were refused for its sake that it stops."""
    for row_id in range(REFUSALS_TO_STOP):
        stops.count_refusal(account, row_id, reason=reason, probe_at=probe_at, now=now)
