"""How fast an account may be called: one worker at a time, at its pace, one call at a time into silence."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from app.domain.retry import BAD_CALLS_TO_PAUSE
from app.store import leases
from app.store.accounts.accounts import Account
from app.store.accounts.rows import locked, set_values
from app.store.database import writing
from app.store.tables import gateway_accounts

SLOWEST_PER_S = 0.2

FASTEST_PER_S = 200.0  # a pace above this is none


def claim_drain(account_id: int, *, now: datetime, lease_s: float) -> str | None:
    """The right to hand over this account's messages; None while another worker has it."""
    return leases.take(gateway_accounts, account_id, "drain", now=now, lease_s=lease_s)


def keep_drain(account_id: int, lease: str, *, until: datetime) -> bool:
    """Hold on to that right; False when it was lost meanwhile."""
    return leases.keep(gateway_accounts, account_id, "drain", lease, until=until)


def release_drain(account_id: int, lease: str, *, next_at: datetime | None) -> None:
    """Give it back, with the moment at which the account's pace lets the next one go."""
    more = {} if next_at is None else {"next_slot_at": next_at}
    leases.release(gateway_accounts, account_id, "drain", lease, **more)


def begin_lone_call(account: Account, *, now: datetime, pause_s: float) -> bool:
    """Into the silence goes one call at a time; True when it may begin now."""
    until = gateway_accounts.c.paused_until
    with writing() as connection:
        return bool(
            connection.execute(
                sa.update(gateway_accounts)
                .where(gateway_accounts.c.id == account.id, sa.or_(until.is_(None), until <= now))
                .values(paused_until=now + timedelta(seconds=pause_s))
            ).rowcount
        )


def slow_down(account: Account, *, pause_s: float, seen_per_s: float, now: datetime) -> None:
    """The gateway found us too fast: half the pace, once a second at most, and a pause as it asked.

    It is silent no more: one lone call every so often would not keep to that pause.
    """
    with writing() as connection:
        row = locked(connection, account.id)
        if row is None or row.version != account.version:
            return
        resume_at = max(row.next_slot_at or now, now + timedelta(seconds=pause_s))
        values: dict[str, object] = {"next_slot_at": resume_at, "bad_calls": 0, "paused_until": None}
        if row.slowed_at is None or row.slowed_at <= now - timedelta(seconds=1):
            values["rate_per_s"] = max(SLOWEST_PER_S, (row.rate_per_s or max(seen_per_s, 2.0)) / 2)
            values["slowed_at"] = now
        set_values(connection, account.id, **values)


def note_answered(connection: sa.Connection, account_id: int, *, accepted: bool) -> None:
    """The gateway is not silent; and after an acceptance we may go a little faster."""
    connection.execute(_ANSWERED[accepted], {"account": account_id})


def _answered(*, accepted: bool) -> sa.Update:
    columns = gateway_accounts.c
    values: dict[str, Any] = {"bad_calls": 0, "paused_until": None}
    condition = columns.bad_calls > 0
    if accepted:
        faster = columns.rate_per_s * 1.1 + 0.2
        values |= {
            "failures": 0,
            "refused_rows": [],
            "rate_per_s": sa.case((faster < FASTEST_PER_S, faster), else_=None),
        }
        condition = sa.or_(condition, columns.failures > 0, columns.rate_per_s.is_not(None))
    update = sa.update(gateway_accounts).where(columns.id == sa.bindparam("account"), condition)
    return update.values(values)


_ANSWERED = {accepted: _answered(accepted=accepted) for accepted in (True, False)}


def note_no_answer(account: Account, *, pause_s: float, now: datetime) -> bool:
    """A call without a sensible answer. True when this one made it too many in a row."""
    with writing() as connection:
        bad_calls = connection.scalar(
            sa.update(gateway_accounts)
            .where(gateway_accounts.c.id == account.id, gateway_accounts.c.version == account.version)
            .values(bad_calls=gateway_accounts.c.bad_calls + 1)
            .returning(gateway_accounts.c.bad_calls)
        )
        if bad_calls is None or bad_calls < BAD_CALLS_TO_PAUSE:
            return False
        set_values(connection, account.id, paused_until=now + timedelta(seconds=pause_s))
    return bool(bad_calls == BAD_CALLS_TO_PAUSE)
