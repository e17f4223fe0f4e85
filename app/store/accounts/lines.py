"""Which accounts have a line, which process keeps it, and which have something to say over theirs."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa

from app.domain.messages import Work
from app.domain.portals import PortalState
from app.domain.status import MessageStatus
from app.store import leases
from app.store.database import statement
from app.store.tables import gateway_accounts, messages, portals

_c = gateway_accounts.c


@dataclass(frozen=True)
class Wanted:
    """An account that needs its line, as far as one has to know to keep it. `login` tells whose receipts a
    message centre sends over any line of that login."""

    account_id: int
    version: int
    portal_id: int
    login: tuple[str, str]
    is_replaced: bool


_COLUMNS = (_c.id, _c.version, _c.portal_id, _c.settings, _c.retired_at)
_IS_THERE = _c.portal_id.in_(sa.select(portals.c.id).where(portals.c.state != PortalState.UNINSTALLED))


def connected(slugs: Collection[str]) -> list[Wanted]:
    """Accounts of these gateways that portals have."""
    return _wanted(_c.slug.in_(sorted(slugs)), _c.retired_at.is_(None), _IS_THERE)


def waiting(slugs: Collection[str]) -> list[Wanted]:
    """Accounts that were replaced or taken away, and have messages that can still get a report."""
    can_hear = sa.exists().where(
        messages.c.portal_id == _c.portal_id,
        messages.c.due_at.is_not(None),
        messages.c.account_id == _c.id,
        messages.c.work != Work.CLOSED,
    )
    return _wanted(_c.slug.in_(sorted(slugs)), _c.retired_at.is_not(None), _c.secrets != "", can_hear)


def _wanted(*conditions: sa.ColumnElement[bool]) -> list[Wanted]:
    with statement() as connection:
        rows = connection.execute(sa.select(*_COLUMNS).where(*conditions).order_by(_c.id))
        return [
            Wanted(
                row.id,
                row.version,
                row.portal_id,
                (row.settings.get("host", "").lower(), row.settings.get("system_id", "")),
                row.retired_at is not None,
            )
            for row in rows
        ]


def take(account_id: int, *, now: datetime, lease_s: float) -> str | None:
    """The fence; None while another process keeps the line."""
    return leases.take(gateway_accounts, account_id, "line", now=now, lease_s=lease_s)


def keep(account_id: int, lease: str, *, until: datetime) -> bool:
    return leases.keep(gateway_accounts, account_id, "line", lease, until=until)


def release(account_id: int, lease: str) -> None:
    leases.release(gateway_accounts, account_id, "line", lease)


def with_due(account_ids: Collection[int], now: datetime) -> set[int]:
    """Of these accounts those that have a message to submit by now: the default one what is its portal's,
    each the repeats of what it was called for."""
    column = messages.c
    is_repeat = column.status == MessageStatus.UNKNOWN
    is_mine = sa.or_(
        sa.and_(is_repeat, column.account_id == _c.id),
        sa.and_(_c.is_default, sa.or_(~is_repeat, column.account_id.is_(None))),
    )
    due = sa.exists().where(
        column.portal_id == _c.portal_id, column.work == Work.QUEUED, column.due_at <= now, is_mine
    )
    with statement() as connection:
        return set(connection.scalars(sa.select(_c.id).where(_c.id.in_(sorted(account_ids)), due)))
