"""Which process keeps the line of an account, and which accounts have something to say over theirs."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime

import sqlalchemy as sa

from app.store import leases
from app.store.database import statement
from app.store.tables import gateway_accounts, messages

_c = gateway_accounts.c
LEASE_S = 20.0  # a dead process's accounts move on after that


def to_keep(slugs: Collection[str]) -> list[int]:
    """Accounts of these gateways that are connected; a replaced one has no line any more."""
    query = sa.select(_c.id).where(_c.slug.in_(sorted(slugs)), _c.retired_at.is_(None)).order_by(_c.id)
    with statement() as connection:
        return list(connection.scalars(query))


def take(account_id: int, *, now: datetime) -> str | None:
    """The fence; None while another process keeps the line."""
    return leases.take(gateway_accounts, account_id, "line", now=now, lease_s=LEASE_S)


def keep(account_id: int, lease: str, *, until: datetime) -> bool:
    return leases.keep(gateway_accounts, account_id, "line", lease, until=until)


def release(account_id: int, lease: str) -> None:
    leases.release(gateway_accounts, account_id, "line", lease)


def portals_with_due(portal_ids: Collection[int], now: datetime) -> set[int]:
    """Those that have a message to be submitted by now."""
    query = (
        sa.select(messages.c.portal_id)
        .where(
            messages.c.portal_id.in_(sorted(portal_ids)),
            messages.c.work == "queued",
            messages.c.due_at <= now,
        )
        .distinct()
    )
    with statement() as connection:
        return set(connection.scalars(query))
