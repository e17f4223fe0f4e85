"""Portals: who they are, found by what calls say of them, and their settings."""

from __future__ import annotations

import hmac
from collections.abc import Sequence
from dataclasses import dataclass, fields
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from app.domain.audit import Action
from app.domain.portals import Opener, Portal, PortalSettings, PortalState
from app.store import audit
from app.store.database import AnyRow, insert_or_ignore, statement, utcnow, writing
from app.store.database.secrets import new_secret, secret_box
from app.store.portals import events, old_addresses
from app.store.portals.rows import still_installed, update
from app.store.portals.weekly import weekly_due_at
from app.store.tables import portals

TOKEN_OVERLAP = timedelta(hours=24)  # calls under way still carry the previous application_token

FIRST_LOOK = timedelta(seconds=30)  # when the opened page did not finish the registration, a job does

_COLUMNS = [portals.c[f.name] for f in fields(Portal)]


class StaleProof(Exception):
    """Who was verified was so before the app was removed: that proves nothing now. Verify them again."""


class SettingsConflict(Exception):
    """Somebody else saved these settings meanwhile; load them again and repeat the change."""


@dataclass(frozen=True)
class HandlerPortal:
    """What the HANDLER has to know of a portal, found by the secret in its URL."""

    id: int
    member_id: str
    state: PortalState
    time_to_live_s: int
    token_hash: str
    previous_token_hash: str
    previous_token_until: datetime | None

    def recognises(self, *, application_token: str, member_id: str, now: datetime) -> bool:
        """Whether what the call says of itself fits; what it does not say cannot speak against it."""
        if member_id and member_id != self.member_id:
            return False
        if not application_token or not self.token_hash:
            return True
        return _token_fits(
            application_token, self.token_hash, self.previous_token_hash, self.previous_token_until, now
        )


def _token_fits(
    token: str, current: str, previous: str, previous_until: datetime | None, now: datetime
) -> bool:
    hashes = secret_box().hashes(token)
    if any(hmac.compare_digest(h, current) for h in hashes):
        return True
    is_previous = bool(previous) and any(hmac.compare_digest(h, previous) for h in hashes)
    return is_previous and previous_until is not None and now < previous_until


def _portal(row: AnyRow) -> Portal:
    values = dict(row._mapping)
    values["state"] = PortalState(values["state"])
    values["settings"] = PortalSettings.from_json(values["settings"])
    return Portal(**values)


def _one(condition: sa.ColumnElement[bool]) -> Portal | None:
    with statement() as connection:
        row = connection.execute(sa.select(*_COLUMNS).where(condition)).first()
    return _portal(row) if row else None


_BY_ID = sa.select(*_COLUMNS).where(portals.c.id == sa.bindparam("portal"))


def by_id(portal_id: int) -> Portal:
    """The portal of a row that exists; LookupError otherwise (its data was erased meanwhile)."""
    with statement() as connection:
        row = connection.execute(_BY_ID, {"portal": portal_id}).first()
    if row is None:
        raise LookupError(f"portal {portal_id} is gone")
    return _portal(row)


def by_member(member_id: str) -> Portal | None:
    return _one(portals.c.member_id == member_id)


def all_portals() -> list[Portal]:
    with statement() as connection:
        return [_portal(row) for row in connection.execute(sa.select(*_COLUMNS).order_by(portals.c.id))]


def by_handler_secret(secret: str, *, now: datetime | None = None) -> HandlerPortal | None:
    """The portal behind a HANDLER's address, also behind one that was renewed lately."""
    return _handler_portal(portals.c.handler_hash.in_(secret_box().hashes(secret))) or _handler_portal(
        portals.c.id == old_addresses.portal_of(secret, now=now or utcnow())
    )


def for_test_message(portal_id: int) -> HandlerPortal | None:
    """The portal as the HANDLER sees it, for a message that its admin writes here."""
    return _handler_portal(portals.c.id == portal_id)


def _handler_portal(condition: sa.ColumnElement[bool]) -> HandlerPortal | None:
    query = sa.select(
        portals.c.id,
        portals.c.member_id,
        portals.c.state,
        portals.c.settings,
        portals.c.application_token_hash,
        portals.c.previous_token_hash,
        portals.c.previous_token_until,
    ).where(condition)
    with statement() as connection:
        row = connection.execute(query).first()
    if row is None:
        return None
    settings = PortalSettings.from_json(row.settings)
    return HandlerPortal(
        id=row.id,
        member_id=row.member_id,
        state=PortalState(row.state),
        time_to_live_s=settings.time_to_live_s,
        token_hash=row.application_token_hash,
        previous_token_hash=row.previous_token_hash,
        previous_token_until=row.previous_token_until,
    )


def handler_secret(portal_id: int) -> str:
    """The secret in the portal's HANDLER address.

    Raises:
        LookupError: there is none, because the app is not installed: such an address must not get anywhere.
    """
    query = sa.select(portals.c.member_id, portals.c.handler_secret).where(portals.c.id == portal_id)
    with statement() as connection:
        row = connection.execute(query).first()
    if row is None or not row.handler_secret:
        raise LookupError(f"the app is not installed in portal {portal_id}")
    return secret_box().open(row.member_id, row.handler_secret)


def save_opener(opener: Opener, *, now: datetime) -> Portal:
    """Create or refresh the portal of a verified user: its address and authorization server.

    A portal that was uninstalled comes back to life: new sessions, new handler secret, same settings. That,
    and every installer page, is a new installation, with which removals that were told before are void.

    Raises:
        StaleProof: the app was removed after this user was verified.
    """
    mine = portals.c.member_id == opener.member_id
    values: dict[str, Any] = {
        "domain": opener.domain,
        "client_endpoint": opener.client_endpoint,
        "oauth_server": opener.oauth_server,
        "app_status": opener.app_status[:4],
        "app_version": opener.app_version[:40],
    }
    with writing() as connection:
        is_new = connection.execute(
            insert_or_ignore(connection, portals, "member_id").values(
                member_id=opener.member_id,
                state=PortalState.NEW,
                state_since=now,
                settings=PortalSettings().to_json(),
                registration={},
                created_at=now,
                installed_at=now,
                reconcile_at=now + FIRST_LOOK,
                **_fresh_handler_secret(opener.member_id),
                **values,
            )
        ).rowcount
        row = connection.execute(
            sa.select(portals.c.state, portals.c.state_since, portals.c.handler_secret)
            .where(mine)
            .with_for_update(key_share=True)
        ).one()
        values["opened_at"] = now
        if row.state == PortalState.UNINSTALLED:
            if opener.proved_at is not None and opener.proved_at <= row.state_since:
                raise StaleProof
            values |= _installed_anew(now)
        if row.state == PortalState.UNINSTALLED or not row.handler_secret:
            values |= _fresh_handler_secret(opener.member_id)
        if row.state == PortalState.UNINSTALLED or opener.is_installing:
            values |= {
                "generation": portals.c.generation + 1,
                "installed_at": now,
                "suspect_since": None,
                "reconcile_lease": None,  # whoever was at it tells the removed installation's senders
            }
            events.close_removals(connection, opener.member_id, before=opener.proved_at or now)
        connection.execute(sa.update(portals).where(mine).values(**values))
        portal = _portal(connection.execute(sa.select(*_COLUMNS).where(mine)).one())
        if is_new or "generation" in values:
            facts = {"domain": portal.domain, "version": portal.app_version}
            audit.record(connection, Action.PORTAL_INSTALLED, portal.id, after=facts, at=now)
        return portal


def _installed_anew(now: datetime) -> dict[str, Any]:
    return {
        "state": PortalState.NEW,
        "state_reason": "",
        "state_since": now,
        "finished_at": None,
        "registration": {},
        "session_epoch": portals.c.session_epoch + 1,
        "reconcile_at": now + FIRST_LOOK,
        "application_token_hash": "",
        "previous_token_hash": "",
        "erased_at": None,
        "call_pauses": {},
        "push_paused_until": None,
    }


def _fresh_handler_secret(member_id: str) -> dict[str, str]:
    secret, box = new_secret(), secret_box()
    return {"handler_secret": box.seal(member_id, secret), "handler_hash": box.hashes(secret)[0]}


def update_address(portal_id: int, *, client_endpoint: str, app_status: str = "") -> None:
    """Follow a renamed portal; the address comes from the authorization server alone."""
    host = client_endpoint.split("://", 1)[-1].split("/", 1)[0]
    values: dict[str, object] = {"client_endpoint": client_endpoint, "domain": host}
    if app_status:
        values["app_status"] = app_status[:4]
    update(portal_id, **values)


def keep_application_token(portal: Portal, token: str, *, now: datetime) -> None:
    """Store what an administrator proved to be this installation's application_token; the one before stays
    good for a day."""
    new = secret_box().hashes(token)[0]
    with writing() as connection:
        connection.execute(
            sa.update(portals)
            .where(*still_installed(portal), portals.c.application_token_hash != new)
            .values(
                previous_token_hash=portals.c.application_token_hash,
                previous_token_until=now + TOKEN_OVERLAP,
                application_token_hash=new,
            )
        )


def knows_application_token(member_id: str, token: str, *, now: datetime) -> bool:
    """Whether this portal's call is proved by its application_token alone."""
    query = sa.select(
        portals.c.application_token_hash, portals.c.previous_token_hash, portals.c.previous_token_until
    ).where(portals.c.member_id == member_id)
    with statement() as connection:
        row = connection.execute(query).first()
    if row is None or not token or not row.application_token_hash:
        return False
    return _token_fits(
        token, row.application_token_hash, row.previous_token_hash, row.previous_token_until, now
    )


def save_settings(
    portal_id: int, settings: PortalSettings, *, version: int, now: datetime | None = None
) -> None:
    """Replace the settings that had `version`; with them go the moment of the next weekly summary.

    Raises:
        SettingsConflict: they have another version by now.
    """
    mine = (portals.c.id == portal_id, portals.c.settings_version == version)
    with writing() as connection:
        before = connection.scalar(sa.select(portals.c.settings).where(*mine).with_for_update())
        if before is None:
            raise SettingsConflict
        after = settings.to_json()
        connection.execute(
            sa.update(portals)
            .where(*mine)
            .values(
                settings=after,
                settings_version=version + 1,
                weekly_due_at=weekly_due_at(settings, now or utcnow()),
            )
        )
        was = PortalSettings.from_json(before).to_json()
        audit.record(connection, Action.SETTINGS_CHANGED, portal_id, before=was, after=after)


def end_sessions(portal_id: int) -> None:
    with writing() as connection:
        connection.execute(
            sa.update(portals)
            .where(portals.c.id == portal_id)
            .values(session_epoch=portals.c.session_epoch + 1)
        )
        audit.record(connection, Action.SESSIONS_ENDED, portal_id)


def ids(states: Sequence[PortalState]) -> list[int]:
    with statement() as connection:
        return list(connection.scalars(sa.select(portals.c.id).where(portals.c.state.in_(states))))


def ids_from(first: int) -> list[int]:
    """All portals from this one on, by their numbers."""
    with statement() as connection:
        return list(
            connection.scalars(sa.select(portals.c.id).where(portals.c.id >= first).order_by(portals.c.id))
        )
