"""The tokens of a portal's users: one speaks for the portal, other admins' are kept as spares."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

import sqlalchemy as sa

from app.domain.portals import Opener, TokenPair
from app.store import portals as portal_store
from app.store.database import statement, utcnow, writing
from app.store.secrets import secret_box
from app.store.tables import credentials, portals

SPARES = 3


@dataclass(frozen=True)
class Credential:
    """One user's tokens, opened."""

    id: int
    portal_id: int
    user_id: str
    is_admin: bool
    tokens: TokenPair
    refreshed_at: datetime
    version: int
    broken: str


def keep(portal_id: int, opener: Opener, *, now: datetime) -> None:
    """Keep an admin's tokens; they take over the service when the present one is broken or no admin's.

    An ordinary user's tokens are never kept: they would take the portal's rights away.
    """
    if not opener.is_admin:
        return
    box = secret_box()
    values = {
        "is_admin": True,
        "access_token": box.seal(opener.member_id, opener.tokens.access_token),
        "refresh_token": box.seal(opener.member_id, opener.tokens.refresh_token),
        "expires_at": opener.tokens.expires_at,
        "refreshed_at": now,
        "broken": "",
    }
    mine = (credentials.c.portal_id == portal_id) & (credentials.c.user_id == opener.user_id)
    with writing() as connection:
        row = connection.execute(sa.select(credentials.c.id).where(mine)).first()
        if row is None:
            connection.execute(
                sa.insert(credentials).values(
                    portal_id=portal_id, user_id=opener.user_id, is_service=False, **values
                )
            )
        else:
            connection.execute(
                sa.update(credentials).where(mine).values(version=credentials.c.version + 1, **values)
            )
        service_works = connection.execute(
            sa.select(credentials.c.id).where(
                credentials.c.portal_id == portal_id, credentials.c.is_service, credentials.c.broken == ""
            )
        ).first()
        if service_works is None:
            connection.execute(
                sa.update(credentials).where(credentials.c.portal_id == portal_id).values(is_service=False)
            )
            connection.execute(sa.update(credentials).where(mine).values(is_service=True))
        _drop_surplus(connection, portal_id)


def _drop_surplus(connection: sa.Connection, portal_id: int) -> None:
    spares = connection.scalars(
        sa.select(credentials.c.id)
        .where(credentials.c.portal_id == portal_id, ~credentials.c.is_service)
        .order_by(credentials.c.refreshed_at.desc())
    ).all()
    if surplus := spares[SPARES:]:
        connection.execute(sa.delete(credentials).where(credentials.c.id.in_(surplus)))


def service(portal_id: int) -> Credential | None:
    """The credential that speaks for the portal, broken or not; None before any admin came."""
    query = (
        sa.select(credentials, portals.c.member_id)
        .join(portals, portals.c.id == credentials.c.portal_id)
        .where(credentials.c.portal_id == portal_id, credentials.c.is_service)
    )
    with statement() as connection:
        row = connection.execute(query).first()
    if row is None:
        return None
    box = secret_box()
    return Credential(
        id=row.id,
        portal_id=row.portal_id,
        user_id=row.user_id,
        is_admin=row.is_admin,
        tokens=TokenPair(
            access_token=box.open(row.member_id, row.access_token),
            refresh_token=box.open(row.member_id, row.refresh_token),
            expires_at=row.expires_at,
        ),
        refreshed_at=row.refreshed_at,
        version=row.version,
        broken=row.broken,
    )


def store_refreshed(credential: Credential, member_id: str, tokens: TokenPair, *, now: datetime) -> bool:
    """Compare-and-set on the version; False when somebody stored newer tokens meanwhile."""
    box = secret_box()
    with writing() as connection:
        changed = connection.execute(
            sa.update(credentials)
            .where(credentials.c.id == credential.id, credentials.c.version == credential.version)
            .values(
                access_token=box.seal(member_id, tokens.access_token),
                refresh_token=box.seal(member_id, tokens.refresh_token),
                expires_at=tokens.expires_at,
                refreshed_at=now,
                version=credentials.c.version + 1,
                broken="",
            )
        ).rowcount
    return bool(changed)


def mark_broken(credential: Credential, reason: str) -> bool:
    """Stop using a credential; True when a spare took over, False when an admin is needed."""
    with writing() as connection:
        connection.execute(
            sa.update(credentials)
            .where(credentials.c.id == credential.id, credentials.c.version == credential.version)
            .values(broken=reason)
        )
        spare = connection.scalar(
            sa.select(credentials.c.id)
            .where(
                credentials.c.portal_id == credential.portal_id,
                credentials.c.broken == "",
                credentials.c.is_admin,
            )
            .order_by(credentials.c.refreshed_at.desc())
            .limit(1)
        )
        if spare is None:
            return False
        connection.execute(
            sa.update(credentials)
            .where(credentials.c.portal_id == credential.portal_id)
            .values(is_service=credentials.c.id == spare)
        )
    return True


def idle_since(moment: datetime, *, limit: int) -> list[int]:
    """Portals whose service tokens were not refreshed since; they must not reach their 180 days."""
    query = (
        sa.select(credentials.c.portal_id)
        .where(credentials.c.is_service, credentials.c.broken == "", credentials.c.refreshed_at < moment)
        .limit(limit)
    )
    with statement() as connection:
        return list(connection.scalars(query))


def erase(portal_id: int) -> None:
    with writing() as connection:
        connection.execute(sa.delete(credentials).where(credentials.c.portal_id == portal_id))


class PortalTokens:
    """The tokens of one portal, as `app.bitrix.client.TokenKeeper` asks for them."""

    def __init__(self, portal_id: int, member_id: str, clock: Callable[[], datetime] = utcnow) -> None:
        self.portal_id = portal_id
        self.member_id = member_id
        self._now = clock

    def current(self) -> Credential | None:
        credential = service(self.portal_id)
        return credential if credential and not credential.broken else None

    def claim_refresh(self, lease_s: float) -> str | None:
        return portal_store.claim_refresh(self.portal_id, now=self._now(), lease_s=lease_s)

    def release_refresh(self, lease: str) -> None:
        portal_store.release_refresh(self.portal_id, lease)

    def store(self, credential: Credential, tokens: TokenPair, *, client_endpoint: str, status: str) -> None:
        if store_refreshed(credential, self.member_id, tokens, now=self._now()) and client_endpoint:
            portal_store.update_address(self.portal_id, client_endpoint=client_endpoint, app_status=status)

    def moved(self, client_endpoint: str) -> None:
        portal_store.update_address(self.portal_id, client_endpoint=client_endpoint)

    def mark_broken(self, credential: Credential, reason: str) -> bool:
        return mark_broken(credential, reason)

    def expires_soon(self, credential: Credential) -> bool:
        return credential.tokens.expires_at <= self._now() + timedelta(seconds=60)
