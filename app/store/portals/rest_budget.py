"""The limits of a portal's REST interface, kept in its row: they hold across processes and machines."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

import sqlalchemy as sa

from app.store.database import statement, writing
from app.store.tables import portals, rest_calls

STRIKES_WITHIN = timedelta(minutes=30)
ALL_CALLS = ""


def take_call(portal_id: int, methods: Sequence[str], *, now: datetime, rate: float, burst: float) -> float:
    """Count one REST call into the portal's leaky bucket.

    Returns the seconds to wait when the bucket is full or one of the methods has to rest (then nothing was
    counted), else 0.
    """
    with writing() as connection:
        row = connection.execute(
            sa.select(portals.c.bucket_level, portals.c.bucket_at, portals.c.call_pauses)
            .where(portals.c.id == portal_id)
            .with_for_update(key_share=True)
        ).first()
        if row is None:
            return 0.0
        if (rest_s := _rest_s(row.call_pauses, methods, now)) > 0:
            return rest_s
        passed = max(0.0, (now - row.bucket_at).total_seconds()) if row.bucket_at else 0.0
        level = max(0.0, row.bucket_level - passed * rate)
        if level + 1 > burst:
            return float(level + 1 - burst) / rate
        connection.execute(
            sa.update(portals)
            .where(portals.c.id == portal_id)
            .values(bucket_level=level + 1, bucket_at=max(now, row.bucket_at or now))
        )
    return 0.0


def _rest_s(pauses: Mapping[str, float], methods: Sequence[str], now: datetime) -> float:
    return max((pauses.get(name, 0.0) - now.timestamp() for name in (ALL_CALLS, *methods)), default=0.0)


def fill_bucket(portal_id: int, *, now: datetime, burst: float) -> None:
    """The portal says that its own bucket is full: believe it rather than our count."""
    with writing() as connection:
        connection.execute(
            sa.update(portals).where(portals.c.id == portal_id).values(bucket_level=burst, bucket_at=now)
        )


def pause_calls(portal_id: int, method: str, *, until: datetime, now: datetime) -> None:
    """Leave one method alone until then, or with an empty name the whole portal."""
    with writing() as connection:
        pauses = connection.scalar(
            sa.select(portals.c.call_pauses).where(portals.c.id == portal_id).with_for_update(key_share=True)
        )
        lasting = {name: at for name, at in (pauses or {}).items() if at > now.timestamp()}
        lasting[method] = max(until.timestamp(), lasting.get(method, 0.0))
        connection.execute(sa.update(portals).where(portals.c.id == portal_id).values(call_pauses=lasting))


def known_reset(portal_id: int, method: str, *, now: datetime) -> float | None:
    """The unix time at which the method's running time is forgotten, as the portal named it last."""
    with statement() as connection:
        reset_at: float | None = connection.scalar(
            sa.select(rest_calls.c.operating_reset_at)
            .where(
                rest_calls.c.portal_id == portal_id,
                rest_calls.c.method.in_(_written_as(method)),
                rest_calls.c.operating_reset_at.is_not(None),
            )
            .order_by(rest_calls.c.id.desc())
            .limit(1)
        )
    return reset_at if reset_at is not None and reset_at > now.timestamp() else None


def strikes(portal_id: int, method: str, *, now: datetime) -> int:
    """How often the method was blocked for its running time lately, this time not counted."""
    with statement() as connection:
        count = connection.scalar(
            sa.select(sa.func.count())
            .select_from(rest_calls)
            .where(
                rest_calls.c.portal_id == portal_id,
                rest_calls.c.at > now - STRIKES_WITHIN,
                rest_calls.c.method.in_(_written_as(method)),
                rest_calls.c.error.contains("OPERATION_TIME_LIMIT"),
            )
        )
    return max(0, int(count or 0) - 1)


def _written_as(method: str) -> tuple[str, str]:
    """Statuses are told inside batches, and the journal knows these by their own name."""
    return (method, "batch") if method.endswith("status.update") else (method, method)
