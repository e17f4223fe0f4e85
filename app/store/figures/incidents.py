"""Troubles of portals: read from what is stored, kept while they last, told once at each end."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal

import sqlalchemy as sa

from app.domain.incidents import (
    AWAY_TO_BE_OVER,
    FAILED_CHECKS_TO_TELL,
    LASTS_TO_BE_TOLD,
    GatewayCause,
    IncidentKind,
    Symptom,
    is_low,
)
from app.domain.portals import PortalState
from app.domain.retry import BAD_CALLS_TO_PAUSE
from app.store.database import AnyRow, insert_or_ignore, statement, writing
from app.store.figures.rushes import rushing
from app.store.tables import gateway_accounts, incidents, portals

KEPT = timedelta(days=30)

Event = Literal["begun", "over"]


# --- what is wrong now


def present(portal_id: int | None = None, *, now: datetime) -> list[Symptom]:
    """The symptoms of this moment, of one portal or of all: at most one of a kind, a portal's worst first."""
    rushes = [Symptom(found, IncidentKind.RUSH, "rush", None) for found in rushing(portal_id, now)]
    return [*_portal_symptoms(portal_id), *_account_symptoms(portal_id), *rushes]


def _portal_symptoms(portal_id: int | None) -> list[Symptom]:
    well = (PortalState.ACTIVE, PortalState.UNINSTALLED)
    query = sa.select(portals.c.id, portals.c.state, portals.c.state_since).where(
        portals.c.state.not_in(well)
    )
    if portal_id is not None:
        query = query.where(portals.c.id == portal_id)
    with statement() as connection:
        rows = connection.execute(query.order_by(portals.c.id)).all()
    return [Symptom(row.id, IncidentKind.PORTAL, row.state, row.state_since) for row in rows]


_ACCOUNT_COLUMNS = (
    "portal_id",
    "label",
    "checked_at",
    "check_text",
    "circuit_open_since",
    "circuit_reason",
    "bad_calls",
    "failed_checks",
    "failed_check_text",
)


def _account_symptoms(portal_id: int | None) -> list[Symptom]:
    """Of the accounts that send. Nothing is unsealed for it."""
    columns = [gateway_accounts.c[name] for name in _ACCOUNT_COLUMNS]
    query = (
        sa.select(*columns, portals.c.settings)
        .join(portals, portals.c.id == gateway_accounts.c.portal_id)
        .where(gateway_accounts.c.is_default, portals.c.state != PortalState.UNINSTALLED)
    )
    if portal_id is not None:
        query = query.where(gateway_accounts.c.portal_id == portal_id)
    with statement() as connection:
        rows = connection.execute(query.order_by(gateway_accounts.c.portal_id)).all()
    found = [symptom for row in rows for symptom in (_gateway_symptom(row), _low_balance(row))]
    return [symptom for symptom in found if symptom is not None]


def _gateway_symptom(row: AnyRow) -> Symptom | None:
    check = _check(row)
    if row.circuit_open_since is not None:
        cause, since, words = GatewayCause.STOPPED, row.circuit_open_since, row.circuit_reason
    elif row.bad_calls >= BAD_CALLS_TO_PAUSE:
        cause, since, words = GatewayCause.SILENT, None, ""
    elif row.failed_checks >= FAILED_CHECKS_TO_TELL:
        cause, since, words = GatewayCause.CHECK, None, row.failed_check_text
    elif check and not check["ok"]:
        cause, since, words = GatewayCause.CHECK, row.checked_at, check["text"]
    else:
        return None
    return Symptom(row.portal_id, IncidentKind.GATEWAY, cause, since, gateway=row.label, words=words)


def _low_balance(row: AnyRow) -> Symptom | None:
    check = _check(row)
    if not check or not is_low(check["balance"], str(row.settings.get("low_balance", ""))):
        return None
    return Symptom(
        row.portal_id,
        IncidentKind.BALANCE,
        "low",
        row.checked_at,
        gateway=row.label,
        balance=check["balance"],
    )


def _check(row: AnyRow) -> Mapping[str, Any]:
    said: dict[str, Any] = json.loads(row.check_text) if row.check_text else {}
    return said


# --- the incidents that they are


def note(symptoms: Iterable[Symptom], *, now: datetime) -> None:
    """Begin, open and end incidents, so that they say the same as the symptoms of this moment.

    Every step is a commit of its own, and is taken once, whoever else takes it at the same time.
    """
    present_by_key = {(symptom.portal_id, symptom.kind): symptom for symptom in symptoms}
    known = {(row.portal_id, row.kind): row for row in _not_ended()}
    for key, symptom in present_by_key.items():
        if key in known:
            _goes_on(known[key], symptom, now)
        else:
            _begin(symptom, now)
    for key, row in known.items():
        if key not in present_by_key:
            _is_away(row, now)


def _not_ended() -> list[AnyRow]:
    query = (
        sa.select(incidents, portals.c.state)
        .join(portals, portals.c.id == incidents.c.portal_id)
        .where(incidents.c.ended_at.is_(None))
    )
    with statement() as connection:
        return list(connection.execute(query).all())


def _begin(symptom: Symptom, now: datetime) -> None:
    with writing() as connection:
        connection.execute(
            insert_or_ignore(connection, incidents).values(
                portal_id=symptom.portal_id,
                kind=symptom.kind,
                cause=symptom.cause,
                began_at=min(symptom.since or now, now),
                told=[],
            )
        )


def _goes_on(row: AnyRow, symptom: Symptom, now: datetime) -> None:
    if row.away_since is not None or row.cause != symptom.cause:
        _update(row.id, away_since=None, cause=symptom.cause)
    if row.opened_at is None and now - row.began_at >= LASTS_TO_BE_TOLD:
        not_yet = incidents.c.opened_at.is_(None)
        _update(row.id, not_yet, opened_at=now, notice="begun", notice_due_at=now)


def _is_away(row: AnyRow, now: datetime) -> None:
    if row.opened_at is None:
        not_yet = incidents.c.opened_at.is_(None)
        with writing() as connection:
            connection.execute(sa.delete(incidents).where(incidents.c.id == row.id, not_yet))
    elif row.state == PortalState.UNINSTALLED:
        _update(row.id, ended_at=now, **_NO_NOTICE)  # nobody is left to be told
    elif row.away_since is None:
        _update(row.id, away_since=now)
    elif now - row.away_since >= AWAY_TO_BE_OVER:
        # Who was not told of the beginning is not told of the end; but a portal could not be told by REST.
        tell = bool(row.told) or row.kind == IncidentKind.PORTAL
        # Another look may have seen it again since this one: then it is not over.
        still_away = incidents.c.away_since == row.away_since
        _update(
            row.id,
            incidents.c.ended_at.is_(None),
            still_away,
            ended_at=now,
            **(_end_to_tell(now) if tell else _NO_NOTICE),
        )


_NO_NOTICE: Mapping[str, object] = {"notice": "", "notice_due_at": None}


def _end_to_tell(now: datetime) -> dict[str, object]:
    return {"notice": "over", "notice_due_at": now, "notice_tries": 0, "told": []}


def _update(incident_id: int, *conditions: sa.ColumnElement[bool], **values: object) -> None:
    with writing() as connection:
        _set(connection, incident_id, *conditions, **values)


def _set(
    connection: sa.Connection, incident_id: int, *conditions: sa.ColumnElement[bool], **values: object
) -> None:
    connection.execute(
        sa.update(incidents).where(incidents.c.id == incident_id, *conditions).values(**values)
    )


def open_by_kind() -> dict[str, int]:
    """How many incidents people were, or could be, told of and that are not over."""
    query = (
        sa.select(incidents.c.kind, sa.func.count())
        .where(incidents.c.ended_at.is_(None), incidents.c.opened_at.is_not(None))
        .group_by(incidents.c.kind)
    )
    with statement() as connection:
        return {str(kind): int(count) for kind, count in connection.execute(query)}


def purge(now: datetime) -> None:
    with writing() as connection:
        connection.execute(sa.delete(incidents).where(incidents.c.ended_at < now - KEPT))


# --- what people still have to be told


@dataclass(frozen=True)
class Notice:
    """The beginning or the end of one incident, claimed to be told by one worker."""

    incident_id: int
    portal_id: int
    kind: IncidentKind
    cause: str
    event: Event
    tries: int  # this one included
    told: tuple[str, ...]  # the users who have it already


def due_notices(now: datetime, *, limit: int) -> list[int]:
    query = sa.select(incidents.c.id).where(*_is_to_tell(now)).limit(limit)
    with statement() as connection:
        return list(connection.scalars(query))


def _is_to_tell(now: datetime) -> tuple[sa.ColumnElement[bool], ...]:
    """A beginning is not told while the trouble is away: at that moment it would not be true."""
    is_true = sa.or_(incidents.c.notice == "over", incidents.c.away_since.is_(None))
    return (incidents.c.notice_due_at <= now, is_true)


def claim_notice(incident_id: int, *, now: datetime, lease: timedelta) -> Notice | None:
    """The right to tell it; None when it is told, or another worker is at it. A dead worker's comes back."""
    with writing() as connection:
        row = connection.execute(
            sa.update(incidents)
            .where(incidents.c.id == incident_id, *_is_to_tell(now))
            .values(notice_due_at=now + lease, notice_tries=incidents.c.notice_tries + 1)
            .returning(incidents)
        ).first()
    if row is None:
        return None
    return Notice(
        incident_id=row.id,
        portal_id=row.portal_id,
        kind=IncidentKind(row.kind),
        cause=row.cause,
        event=row.notice,
        tries=row.notice_tries,
        told=tuple(row.told),
    )


def record_notice(notice: Notice, told: Iterable[str], *, again_at: datetime | None, now: datetime) -> None:
    """Who has heard it by now; `again_at` is when the others are tried again, None: not at all."""
    users = list(told)
    with writing() as connection:
        row = connection.execute(
            sa.select(incidents).where(incidents.c.id == notice.incident_id).with_for_update()
        ).first()
        if row is None:
            return
        if row.notice == notice.event:
            waits: Mapping[str, object] = {"notice_due_at": again_at} if again_at else _NO_NOTICE
            _set(connection, row.id, told=users, **waits)
        elif users and notice.event == "begun" and not row.notice:
            # It ended while we were telling that it began.
            _set(connection, row.id, **_end_to_tell(now))
