"""Gateway accounts: a portal's settings of a gateway, its report URL's secret, and its circuit."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from app.store.database import AnyRow, statement, writing
from app.store.secrets import new_secret, secret_box
from app.store.tables import gateway_accounts, portals


@dataclass(frozen=True)
class Check:
    """What the last "Save and check" said."""

    ok: bool
    text: str
    balance: str
    at: datetime


@dataclass(frozen=True, repr=False)
class Account:
    """One gateway account with its settings opened: never log or send one of these."""

    id: int
    portal_id: int
    member_id: str
    slug: str
    label: str
    settings: Mapping[str, str]
    report_secret: str
    is_default: bool
    check: Check | None
    circuit_open_since: datetime | None
    circuit_reason: str
    probe_at: datetime | None
    paused_until: datetime | None
    failures: int
    last_report_at: datetime | None
    version: int


def _account(row: AnyRow) -> Account:
    box = secret_box()
    secrets = json.loads(box.open(row.member_id, row.secrets) or "{}")
    return Account(
        id=row.id,
        portal_id=row.portal_id,
        member_id=row.member_id,
        slug=row.slug,
        label=row.label,
        settings={**row.settings, **secrets},
        report_secret=box.open(row.member_id, row.report_secret),
        is_default=row.is_default,
        check=_check(row),
        circuit_open_since=row.circuit_open_since,
        circuit_reason=row.circuit_reason,
        probe_at=row.probe_at,
        paused_until=row.paused_until,
        failures=row.failures,
        last_report_at=row.last_report_at,
        version=row.version,
    )


def _check(row: AnyRow) -> Check | None:
    if row.checked_at is None or not row.check_text:
        return None
    said = json.loads(row.check_text)
    return Check(said["ok"], said["text"], said["balance"], row.checked_at)


def _query() -> sa.Select[Any]:
    return sa.select(gateway_accounts, portals.c.member_id).join(
        portals, portals.c.id == gateway_accounts.c.portal_id
    )


def _first(*conditions: sa.ColumnElement[bool]) -> Account | None:
    with statement() as connection:
        row = connection.execute(_query().where(*conditions).order_by(gateway_accounts.c.id)).first()
    return _account(row) if row else None


def default_of(portal_id: int) -> Account | None:
    """The account that sends for this portal; None before the admin connected one."""
    return _first(gateway_accounts.c.portal_id == portal_id, gateway_accounts.c.is_default)


def by_id(account_id: int) -> Account | None:
    return _first(gateway_accounts.c.id == account_id)


def by_report_secret(slug: str, secret: str) -> Account | None:
    """The account behind a report URL."""
    hashes = secret_box().hashes(secret)
    return _first(gateway_accounts.c.report_hash.in_(hashes), gateway_accounts.c.slug == slug)


def of_portal(portal_id: int) -> list[Account]:
    with statement() as connection:
        rows = connection.execute(
            _query().where(gateway_accounts.c.portal_id == portal_id).order_by(gateway_accounts.c.id)
        )
        return [_account(row) for row in rows]


def connect(
    portal_id: int,
    member_id: str,
    slug: str,
    *,
    label: str,
    public: Mapping[str, str],
    secrets: Mapping[str, str],
    now: datetime,
) -> Account:
    """Make this gateway the portal's default; the same gateway keeps its report URL."""
    box = secret_box()
    values = {
        "label": label[:80],
        "settings": dict(public),
        "secrets": box.seal(member_id, json.dumps(dict(secrets))),
        "is_default": True,
        "checked_at": None,
        "check_text": "",
        "circuit_open_since": None,
        "circuit_reason": "",
        "probe_at": None,
        "paused_until": None,
        "failures": 0,
    }
    mine = gateway_accounts.c.portal_id == portal_id
    with writing() as connection:
        connection.execute(sa.update(gateway_accounts).where(mine).values(is_default=False))
        updated = connection.execute(
            sa.update(gateway_accounts)
            .where(mine, gateway_accounts.c.slug == slug)
            .values(version=gateway_accounts.c.version + 1, **values)
        ).rowcount
        if not updated:
            secret = new_secret()
            connection.execute(
                sa.insert(gateway_accounts).values(
                    portal_id=portal_id,
                    slug=slug,
                    report_secret=box.seal(member_id, secret),
                    report_hash=box.hashes(secret)[0],
                    created_at=now,
                    **values,
                )
            )
    account = _first(mine, gateway_accounts.c.slug == slug)
    assert account is not None
    return account


def record_check(account_id: int, check: Check) -> None:
    said = {"ok": check.ok, "text": check.text[:500], "balance": check.balance[:60]}
    _update(account_id, checked_at=check.at, check_text=json.dumps(said))


def pause(account_id: int, until: datetime) -> None:
    """The gateway asks us to slow down: no submissions of this account before `until`."""
    _update(account_id, paused_until=until)


def count_failure(account_id: int, *, reason: str, limit: int, probe_at: datetime, now: datetime) -> bool:
    """Count a refusal of the account itself; True when this one opened the circuit."""
    with writing() as connection:
        connection.execute(
            sa.update(gateway_accounts)
            .where(gateway_accounts.c.id == account_id)
            .values(failures=gateway_accounts.c.failures + 1, circuit_reason=reason[:500])
        )
        return bool(
            connection.execute(
                sa.update(gateway_accounts)
                .where(
                    gateway_accounts.c.id == account_id,
                    gateway_accounts.c.failures >= limit,
                    gateway_accounts.c.circuit_open_since.is_(None),
                )
                .values(circuit_open_since=now, probe_at=probe_at)
            ).rowcount
        )


def close_circuit(account_id: int) -> None:
    _update(account_id, circuit_open_since=None, circuit_reason="", probe_at=None, failures=0)


def postpone_probe(account_id: int, until: datetime) -> None:
    _update(account_id, probe_at=until)


def due_for_probe(now: datetime, *, limit: int) -> list[int]:
    with statement() as connection:
        return list(
            connection.scalars(
                sa.select(gateway_accounts.c.id).where(gateway_accounts.c.probe_at <= now).limit(limit)
            )
        )


def _update(account_id: int, **values: object) -> None:
    with writing() as connection:
        connection.execute(
            sa.update(gateway_accounts).where(gateway_accounts.c.id == account_id).values(**values)
        )
