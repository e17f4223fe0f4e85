"""The regular check: what the balance is, and whether the account still works."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime

import sqlalchemy as sa

from app.store.accounts.accounts import _NO_FAILED_CHECK, Account, Check
from app.store.accounts.rows import OF_PORTAL_THAT_IS_THERE, ids, update
from app.store.database import writing
from app.store.tables import gateway_accounts


def record_check(account_id: int, check: Check) -> None:
    update(account_id, **_checked(check))


def _checked(check: Check) -> dict[str, object]:
    said = {"ok": check.ok, "text": check.text[:500], "balance": check.balance[:60]}
    return {"checked_at": check.at, "check_text": json.dumps(said), **_NO_FAILED_CHECK}


# --- the regular check: what the balance is, and whether the account still works ---


def unplanned_checks(slugs: Sequence[str], *, limit: int) -> list[int]:
    """Accounts that send, of these gateways, whose next regular check nobody has planned yet."""
    return ids(
        *_SENDS, gateway_accounts.c.slug.in_(slugs), gateway_accounts.c.next_check_at.is_(None), limit=limit
    )


def due_for_check(now: datetime, *, limit: int) -> list[int]:
    """Accounts that send. A stopped one is asked by its probe instead."""
    return ids(
        *_SENDS,
        gateway_accounts.c.next_check_at <= now,
        gateway_accounts.c.circuit_open_since.is_(None),
        limit=limit,
    )


_SENDS = (gateway_accounts.c.is_default, OF_PORTAL_THAT_IS_THERE)


def plan_check(account_id: int, at: datetime) -> None:
    update(account_id, next_check_at=at)


def claim_check(account_id: int, *, now: datetime, next_at: datetime) -> bool:
    """The right to make this account's due check; False when another worker has it."""
    with writing() as connection:
        return bool(
            connection.execute(
                sa.update(gateway_accounts)
                .where(gateway_accounts.c.id == account_id, gateway_accounts.c.next_check_at <= now)
                .values(next_check_at=next_at)
            ).rowcount
        )


def record_regular_check(account: Account, check: Check) -> int:
    """Keep what the regular check said; returns how many have failed in a row.

    A good one counts as the admin's own. One that fails is only counted, beside what the admin was told last:
    it may be the network's fault, and passes. Of settings that were changed meanwhile it says nothing.
    """
    same = (gateway_accounts.c.id == account.id, gateway_accounts.c.version == account.version)
    values = _checked(check) if check.ok else _failed_check(check)
    with writing() as connection:
        failed = connection.scalar(
            sa.update(gateway_accounts)
            .where(*same)
            .values(**values)
            .returning(gateway_accounts.c.failed_checks)
        )
    return int(failed or 0)


def _failed_check(check: Check) -> dict[str, object]:
    return {
        "failed_checks": gateway_accounts.c.failed_checks + 1,
        "failed_check_text": check.text[:500],
    }
