"""Gateway accounts: a portal's settings of a gateway, and its report URL's secret."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from app.domain.audit import Action
from app.domain.messages import Work
from app.domain.policy import Standing
from app.domain.portals import PortalState
from app.domain.retry import BAD_CALLS_TO_PAUSE
from app.store import audit
from app.store.accounts.rows import ids
from app.store.database import AnyRow, statement, utcnow, writing
from app.store.database.secrets import new_secret, secret_box
from app.store.portals import old_addresses
from app.store.tables import gateway_accounts, messages, portals


class PortalRemoved(Exception):
    """The app was removed from the portal: nothing is connected there any more."""


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
    stopped_since: datetime | None
    stopped_reason: str
    probe_at: datetime | None
    paused_until: datetime | None
    failures: int
    bad_calls: int
    rate_per_s: float | None
    next_slot_at: datetime | None
    last_report_at: datetime | None
    failed_checks: int
    failed_check_text: str
    version: int
    retired_at: datetime | None = None  # replaced or removed: it lives on until its messages are over

    @property
    def is_silent(self) -> bool:
        """No sensible answer so often that it gets one call at a time."""
        return self.bad_calls >= BAD_CALLS_TO_PAUSE

    @property
    def standing(self) -> Standing:
        return Standing(self.stopped_since is not None, self.stopped_reason, self.probe_at)


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
        stopped_since=row.circuit_open_since,
        stopped_reason=row.circuit_reason,
        probe_at=row.probe_at,
        paused_until=row.paused_until,
        failures=row.failures,
        bad_calls=row.bad_calls,
        rate_per_s=row.rate_per_s,
        next_slot_at=row.next_slot_at,
        last_report_at=row.last_report_at,
        failed_checks=row.failed_checks,
        failed_check_text=row.failed_check_text,
        version=row.version,
        retired_at=row.retired_at,
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


_LIVES = gateway_accounts.c.retired_at.is_(None)


def default_of(portal_id: int) -> Account | None:
    """The account that sends for this portal; None before the admin connected one."""
    return _first(gateway_accounts.c.portal_id == portal_id, gateway_accounts.c.is_default, _LIVES)


_BY_ID = _query().where(gateway_accounts.c.id == sa.bindparam("account"))


def by_id(account_id: int) -> Account | None:
    with statement() as connection:
        row = connection.execute(_BY_ID, {"account": account_id}).first()
    return _account(row) if row else None


def by_report_secret(slug: str, secret: str, *, now: datetime | None = None) -> Account | None:
    """The account behind a report URL, also behind one that was renewed lately."""
    hashes, has_slug = secret_box().hashes(secret), gateway_accounts.c.slug == slug
    return _first(gateway_accounts.c.report_hash.in_(hashes), has_slug) or _first(
        gateway_accounts.c.id == old_addresses.account_of(secret, now=now or utcnow()), has_slug
    )


def of_portal(portal_id: int) -> list[Account]:
    """The accounts that the portal has, the one that sends first."""
    with statement() as connection:
        rows = connection.execute(
            _query()
            .where(gateway_accounts.c.portal_id == portal_id, _LIVES)
            .order_by(gateway_accounts.c.is_default.desc(), gateway_accounts.c.id)
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
    base: Account | None = None,
    is_same: bool = False,
) -> Account | None:
    """Make these settings the portal's default account; None when `base` was changed by somebody meanwhile.

    `base` is the account whose settings these were. One that is the same account at the gateway keeps its
    row and its report URL; else it is retired, so that its messages and reports stay with what they were
    sent by, and a new one begins.

    Raises:
        PortalRemoved: nobody would ever erase its secrets.
    """
    box = secret_box()
    values = {
        "label": label[:80],
        "settings": dict(public),
        "secrets": box.seal(member_id, json.dumps(dict(secrets))),
        "is_default": True,
        "checked_at": None,
        "check_text": "",
        "next_slot_at": None,
        **_FRESH,
    }
    columns = gateway_accounts.c
    with writing() as connection:
        _lock_portal(connection, portal_id)
        if base is not None:
            change = values if is_same else {"retired_at": now, "is_default": False, **_FRESH}
            updated = connection.execute(
                sa.update(gateway_accounts)
                .where(columns.id == base.id, columns.version == base.version, _LIVES)
                .values(version=columns.version + 1, **change)
            ).rowcount
            if not updated:
                return None
        account_id = base.id if base is not None and is_same else None
        if account_id is None:
            secret = new_secret()
            account_id = connection.scalar(
                sa.insert(gateway_accounts)
                .values(
                    portal_id=portal_id,
                    slug=slug,
                    report_secret=box.seal(member_id, secret),
                    report_hash=box.hashes(secret)[0],
                    created_at=now,
                    **values,
                )
                .returning(columns.id)
            )
        connection.execute(
            sa.update(gateway_accounts)
            .where(columns.portal_id == portal_id, columns.id != account_id, columns.is_default)
            .values(is_default=False)
        )
        given = {**public, **secrets}
        was, became = audit.masked(base.settings if base is not None else {}, given, set(secrets))
        audit.record(
            connection,
            Action.GATEWAY_CHANGED if base is not None else Action.GATEWAY_CONNECTED,
            portal_id,
            about=slug,
            before=was,
            after=became,
            at=now,
        )
    mine = gateway_accounts.c.portal_id == portal_id
    return _first(gateway_accounts.c.id == account_id, mine) if account_id is not None else None


_FRESH: dict[str, object] = {
    "circuit_open_since": None,
    "circuit_reason": "",
    "probe_at": None,
    "paused_until": None,
    "failures": 0,
    "refused_rows": [],
    "bad_calls": 0,
    "rate_per_s": None,
    "failed_checks": 0,
    "failed_check_text": "",
}


def _lock_portal(connection: sa.Connection, portal_id: int) -> None:
    """One change of a portal's accounts at a time: two first ones would both be the default."""
    state = connection.scalar(
        sa.select(portals.c.state).where(portals.c.id == portal_id).with_for_update(key_share=True)
    )
    if state is None or state == PortalState.UNINSTALLED:
        raise PortalRemoved("the app is not installed in this portal")


def make_default(portal_id: int, account_id: int) -> bool:
    """From now on messages go through this account; False when the portal does not have it any more."""
    columns = gateway_accounts.c
    with writing() as connection:
        _lock_portal(connection, portal_id)
        chosen = connection.scalar(
            sa.update(gateway_accounts)
            .where(columns.id == account_id, columns.portal_id == portal_id, _LIVES)
            .values(is_default=True)
            .returning(columns.slug)
        )
        if chosen:
            audit.record(connection, Action.GATEWAY_CHOSEN, portal_id, about=chosen)
            connection.execute(
                sa.update(gateway_accounts)
                .where(columns.portal_id == portal_id, columns.id != account_id, columns.is_default)
                .values(is_default=False)
            )
    return bool(chosen)


def retire(portal_id: int, account_id: int, *, version: int, now: datetime) -> bool:
    """Take an account away; False when somebody changed it meanwhile."""
    columns = gateway_accounts.c
    with writing() as connection:
        _lock_portal(connection, portal_id)
        retired = connection.scalar(
            sa.update(gateway_accounts)
            .where(
                columns.id == account_id,
                columns.portal_id == portal_id,
                columns.version == version,
                _LIVES,
            )
            .values(retired_at=now, is_default=False, version=columns.version + 1, **_FRESH)
            .returning(columns.slug)
        )
        if retired:
            audit.record(connection, Action.GATEWAY_REMOVED, portal_id, about=retired, at=now)
    return bool(retired)


def over(before: datetime, *, limit: int) -> list[int]:
    """Retired accounts whose messages have all ended, and whose last reports had the time to come."""
    is_open = sa.exists().where(
        messages.c.account_id == gateway_accounts.c.id, messages.c.work != Work.CLOSED
    )
    return ids(
        gateway_accounts.c.retired_at <= before, gateway_accounts.c.secrets != "", ~is_open, limit=limit
    )


def wipe(account_id: int) -> None:
    """Forget the settings of an account that is over; its row stays, for the log names it."""
    with writing() as connection:
        connection.execute(
            sa.update(gateway_accounts)
            .where(gateway_accounts.c.id == account_id, gateway_accounts.c.retired_at.is_not(None))
            .values(settings={}, secrets="")
        )


_NO_FAILED_CHECK = {"failed_checks": 0, "failed_check_text": ""}
