"""The tokens of a portal's users: one speaks for the portal, other admins' are kept as spares."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Protocol

import sqlalchemy as sa

from app.domain.portals import Opener, Portal, PortalState, TokenPair
from app.store.database import AnyRow, StoreUnavailable, statement, utcnow, writing
from app.store.database.secrets import secret_box
from app.store.portals import portals as portal_store
from app.store.portals import states, turns
from app.store.tables import credentials, portals

SPARES = 3
STORE_PAUSES_S = (0.2, 1.0, 3.0, 5.0)
# Reasons that may pass by themselves: rights come back, and then the tokens are as good as before.
PASSING = ("ACCESS_DENIED", "INVALID_CREDENTIALS", "USER_ACCESS_ERROR", "AUTHORIZATION_ERROR")


class FreshTokens(Protocol):
    """A refresh as the authorization server answered it."""

    @property
    def tokens(self) -> TokenPair: ...
    @property
    def client_endpoint(self) -> str: ...
    @property
    def status(self) -> str: ...


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
    broken_at: datetime | None


def keep(portal: Portal, opener: Opener, *, now: datetime, language: str = "") -> None:
    """Keep an admin's tokens; they take over the service when the present one is broken or no admin's.

    An ordinary user's tokens are never kept: they would take the portal's rights away. Nor are tokens that
    were issued before the ones we have: an event may be worked on late, when its tokens were refreshed
    already and their refresh token is dead. Nor is anything kept for another installation than that of
    `portal`. `language` is the portal's code of the one that the user reads; empty where the call does not
    say.
    """
    if not opener.is_admin:
        return
    box = secret_box()
    values = {
        "is_admin": True,
        "access_token": box.seal(opener.member_id, opener.tokens.access_token),
        "expires_at": opener.tokens.expires_at,
        "refreshed_at": now,
        "broken": "",
        "broken_at": None,
    }
    if opener.tokens.refresh_token:  # not every call brings one, and the one we have stays good
        values["refresh_token"] = box.seal(opener.member_id, opener.tokens.refresh_token)
    if language:
        values["language"] = language[:8]
    portal_id = portal.id
    mine = (credentials.c.portal_id == portal_id) & (credentials.c.user_id == opener.user_id)
    with writing() as connection:
        _lock_portal(connection, portal_id)
        row = connection.execute(
            sa.select(credentials.c.expires_at, credentials.c.broken).where(mine)
        ).first()
        if row is None:
            connection.execute(
                sa.insert(credentials).values(
                    portal_id=portal_id,
                    user_id=opener.user_id,
                    is_service=False,
                    **{"refresh_token": "", **values},
                )
            )
        elif row.broken or row.expires_at <= opener.tokens.expires_at:
            connection.execute(
                sa.update(credentials).where(mine).values(version=credentials.c.version + 1, **values)
            )
        _elect(connection, portal_id)
        _drop_surplus(connection, portal_id)


def _lock_portal(connection: sa.Connection, portal_id: int) -> int | None:
    """Who keeps, breaks or revives tokens of a portal does it alone: they decide together who speaks.

    Returns which installation it is; None when the app is not installed.
    """
    row = connection.execute(
        sa.select(portals.c.generation, portals.c.state)
        .where(portals.c.id == portal_id)
        .with_for_update(key_share=True)
    ).first()
    return row.generation if row is not None and row.state != PortalState.UNINSTALLED else None


def _elect(connection: sa.Connection, portal_id: int) -> bool:
    """See to it that a working credential speaks for the portal; False when there is none.

    The one that speaks keeps doing so while it works; else the one that was refreshed last takes over.
    """
    if connection.scalar(sa.select(credentials.c.id).where(*_works(portal_id))) is not None:
        return True
    mine = credentials.c.portal_id == portal_id
    next_one = connection.scalar(
        sa.select(credentials.c.id)
        .where(mine, credentials.c.broken == "", credentials.c.is_admin)
        .order_by(credentials.c.refreshed_at.desc(), credentials.c.id)
        .limit(1)
    )
    if next_one is None:
        return False
    # One after the other: no two may speak, not even within a statement.
    connection.execute(sa.update(credentials).where(mine, credentials.c.is_service).values(is_service=False))
    connection.execute(sa.update(credentials).where(credentials.c.id == next_one).values(is_service=True))
    return True


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
    return _one(credentials.c.portal_id == portal_id, credentials.c.is_service)


def by_id(credential_id: int) -> Credential | None:
    return _one(credentials.c.id == credential_id)


def _query() -> sa.Select[Any]:
    return sa.select(credentials, portals.c.member_id).join(portals, portals.c.id == credentials.c.portal_id)


def _one(*conditions: sa.ColumnElement[bool]) -> Credential | None:
    with statement() as connection:
        row = connection.execute(_query().where(*conditions)).first()
    return _credential(row) if row else None


def _credential(row: AnyRow) -> Credential:
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
        broken_at=row.broken_at,
    )


def store_refreshed(credential: Credential, member_id: str, tokens: TokenPair, *, now: datetime) -> bool:
    """Compare-and-set on the version; False when somebody stored newer tokens meanwhile."""
    box = secret_box()
    with writing() as connection:
        changed = connection.execute(
            sa.update(credentials)
            .where(_is(credential))
            .values(
                access_token=box.seal(member_id, tokens.access_token),
                refresh_token=box.seal(member_id, tokens.refresh_token),
                expires_at=tokens.expires_at,
                refreshed_at=now,
                version=credentials.c.version + 1,
                broken="",
                broken_at=None,
            )
        ).rowcount
    return bool(changed)


def mark_broken(credential: Credential, reason: str, *, now: datetime) -> bool:
    """Stop using a credential; True when a spare took over, False when an admin is needed.

    One that was refreshed meanwhile is not the one that failed, so it stays.
    """
    with writing() as connection:
        _lock_portal(connection, credential.portal_id)
        connection.execute(
            sa.update(credentials)
            .where(_is(credential), credentials.c.broken == "")
            .values(broken=reason[:200] or "?", broken_at=now)
        )
        return _elect(connection, credential.portal_id)


def _is(credential: Credential) -> sa.ColumnElement[bool]:
    """This user's tokens, as they were read."""
    return sa.and_(
        credentials.c.id == credential.id,
        credentials.c.portal_id == credential.portal_id,
        credentials.c.version == credential.version,
    )


def _works(portal_id: int) -> tuple[sa.ColumnElement[bool], ...]:
    return (credentials.c.portal_id == portal_id, credentials.c.is_service, credentials.c.broken == "")


def has_working(portal_id: int) -> bool:
    with statement() as connection:
        return connection.scalar(sa.select(credentials.c.id).where(*_works(portal_id))) is not None


def administrators(portal_id: int) -> list[tuple[str, str]]:
    """Whose tokens work: (user_id, language); the one who speaks for the portal first."""
    query = (
        sa.select(credentials.c.user_id, credentials.c.language)
        .where(credentials.c.portal_id == portal_id, credentials.c.broken == "", credentials.c.is_admin)
        .order_by(credentials.c.is_service.desc(), credentials.c.id)
    )
    with statement() as connection:
        return [(row.user_id, row.language) for row in connection.execute(query)]


def revive(portal_id: int) -> None:
    """Try again what may have passed: the rights of a user who lost them."""
    with writing() as connection:
        _lock_portal(connection, portal_id)
        revived = connection.execute(
            sa.update(credentials)
            .where(credentials.c.portal_id == portal_id, credentials.c.broken.in_(PASSING))
            .values(broken="", broken_at=None)
        ).rowcount
        if revived:
            _elect(connection, portal_id)


def idle_since(moment: datetime, *, limit: int) -> list[int]:
    """Portals with tokens, spares as well, that were not refreshed since: none may reach its 180 days."""
    query = (
        sa.select(credentials.c.portal_id)
        .where(credentials.c.broken == "", credentials.c.refreshed_at < moment)
        .distinct()
        .limit(limit)
    )
    with statement() as connection:
        return list(connection.scalars(query))


def idle_of(portal_id: int, moment: datetime) -> list[Credential]:
    """The working credentials of one portal that were not refreshed since."""
    query = sa.select(credentials.c.id).where(
        credentials.c.portal_id == portal_id, credentials.c.broken == "", credentials.c.refreshed_at < moment
    )
    with statement() as connection:
        found = [by_id(credential_id) for credential_id in connection.scalars(query).all()]
    return [credential for credential in found if credential is not None]


def erase(connection: sa.Connection, portal_id: int) -> None:
    """Forget all tokens of a portal, in the transaction that says why."""
    connection.execute(sa.delete(credentials).where(credentials.c.portal_id == portal_id))


def erase_abandoned(portal_id: int) -> None:
    """Forget the tokens of a portal that does not answer any more, while that is so."""
    with writing() as connection:
        _lock_portal(connection, portal_id)
        state = connection.scalar(sa.select(portals.c.state).where(portals.c.id == portal_id))
        if state == PortalState.GONE:
            erase(connection, portal_id)


def versions(connection: sa.Connection, portal_id: int) -> dict[int, int]:
    """Which tokens there are, by credential, and in which version: others than before came from somebody."""
    rows = connection.execute(
        sa.select(credentials.c.id, credentials.c.version).where(credentials.c.portal_id == portal_id)
    )
    return {row.id: row.version for row in rows}


def all_of(portal_id: int) -> list[Credential]:
    """Every credential of a portal, broken or not."""
    with statement() as connection:
        found = connection.execute(
            _query().where(credentials.c.portal_id == portal_id).order_by(credentials.c.id)
        ).all()
    return [_credential(row) for row in found]


class PortalTokens:
    """The tokens of one portal, as `app.bitrix.client.TokenKeeper` asks for them."""

    def __init__(self, portal_id: int, member_id: str, clock: Callable[[], datetime] = utcnow) -> None:
        self.portal_id = portal_id
        self.member_id = member_id
        self._now = clock

    def current(self) -> Credential | None:
        credential = service(self.portal_id)
        return credential if credential and not credential.broken else None

    def reread(self, credential: Credential) -> Credential | None:
        found = by_id(credential.id)
        return found if found and not found.broken else None

    def claim_refresh(self, lease_s: float) -> str | None:
        if turns.is_refreshing(self.portal_id, self._now()):
            return None
        return turns.claim_refresh(self.portal_id, now=self._now(), lease_s=lease_s)

    def release_refresh(self, lease: str, *, cool_s: float = 0.0) -> None:
        free_at = self._now() + timedelta(seconds=cool_s) if cool_s else None
        turns.release_refresh(self.portal_id, lease, free_at=free_at)

    def store(self, credential: Credential, fresh: FreshTokens) -> None:
        """The old refresh token may be dead by now, so a database in trouble is asked several times."""
        now = self._now()
        if not self._store_surely(credential, fresh.tokens, now):
            return
        if fresh.client_endpoint:
            portal_store.update_address(
                self.portal_id, client_endpoint=fresh.client_endpoint, app_status=fresh.status
            )
        states.look_soon(self.portal_id, now=now)

    def _store_surely(self, credential: Credential, tokens: TokenPair, now: datetime) -> bool:
        for pause_s in STORE_PAUSES_S:
            try:
                return store_refreshed(credential, self.member_id, tokens, now=now)
            except StoreUnavailable:
                time.sleep(pause_s)
        return store_refreshed(credential, self.member_id, tokens, now=now)

    def moved(self, client_endpoint: str) -> None:
        portal_store.update_address(self.portal_id, client_endpoint=client_endpoint)

    def mark_broken(self, credential: Credential, reason: str) -> bool:
        return mark_broken(credential, reason, now=self._now())

    def expires_soon(self, credential: Credential) -> bool:
        return credential.tokens.expires_at <= self._now() + timedelta(seconds=60)
