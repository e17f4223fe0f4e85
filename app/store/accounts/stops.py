"""An account that is refused for its own sake (wrong key, no money) stops; probes find out when it works."""

from __future__ import annotations

from datetime import datetime

import sqlalchemy as sa

from app.domain.retry import REFUSALS_TO_STOP
from app.store.accounts.accounts import Account
from app.store.accounts.rows import OF_PORTAL_THAT_IS_THERE, ids, locked, set_values, update
from app.store.database import writing
from app.store.tables import gateway_accounts


def count_refusal(account: Account, row_id: int, *, reason: str, probe_at: datetime, now: datetime) -> bool:
    """A message was refused for the account's sake; True when this one stopped the account.

    One message may be refused for its own sake, so only different ones count, with none taken in between. Of
    settings that were changed meanwhile it says nothing.
    """
    with writing() as connection:
        row = locked(connection, account.id)
        if row is None or row.version != account.version or row.circuit_open_since is not None:
            return False
        refused = sorted({*row.refused_rows, row_id})
        values: dict[str, object] = {"refused_rows": refused, "failures": len(refused)}
        is_over = len(refused) >= REFUSALS_TO_STOP
        if is_over:
            values |= {"circuit_open_since": now, "probe_at": probe_at, "circuit_reason": reason[:500]}
        set_values(connection, account.id, **values)
    return is_over


def lift(account: Account) -> bool:
    """It works again. False when it was connected anew meanwhile."""
    columns = gateway_accounts.c
    with writing() as connection:
        return bool(
            connection.execute(
                sa.update(gateway_accounts)
                .where(columns.id == account.id, columns.version == account.version)
                .values(
                    circuit_open_since=None, circuit_reason="", probe_at=None, failures=0, refused_rows=[]
                )
            ).rowcount
        )


def postpone_probe(account_id: int, until: datetime) -> None:
    update(account_id, probe_at=until)


def due_for_probe(now: datetime, *, limit: int) -> list[int]:
    """Stopped accounts of portals that are there."""
    return ids(
        gateway_accounts.c.probe_at <= now,
        gateway_accounts.c.circuit_open_since.is_not(None),
        OF_PORTAL_THAT_IS_THERE,
        limit=limit,
    )
