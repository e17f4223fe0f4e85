"""Who is looking: proved at Bitrix24 when the app is opened, then carried by a short-lived signed token.

No cookies: browsers do not send them into the portal's frame. The token travels once, in a `<meta>` of the
opened page, and comes back as `Authorization: Bearer`; it is never in an address.
"""

from __future__ import annotations

import hashlib
import logging
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from flask import g, request
from itsdangerous import BadSignature, URLSafeSerializer

from app.bitrix.callbacks import Entry
from app.domain.portals import Opener, Portal, PortalState
from app.services import services
from app.store.portals import portals
from app.web import outward

log = logging.getLogger(__name__)

VERSION = 3
LIFETIME = timedelta(minutes=15)
# Who writes was proved to have the right so lately: a demoted administrator changes nothing for longer. The
# page renews the token by itself and repeats what was asked.
PROOF_FOR_WRITES = timedelta(minutes=5)
READING = ("GET", "HEAD")


@dataclass(frozen=True)
class Session:
    """A verified user of one portal. Every query is scoped by this portal, never by the request."""

    portal: Portal
    user_id: str
    language: str
    time_zone: str
    is_admin: bool

    @property
    def is_allowed(self) -> bool:
        """Administrators always; other employees while the settings let them read the log, or their part."""
        settings = self.portal.settings
        return self.is_admin or settings.employees_see_log or settings.employees_see_own

    @property
    def sees_only_own(self) -> bool:
        """Of all messages those alone that this user wrote."""
        return not self.is_admin and not self.portal.settings.employees_see_log


def verify(entry: Entry) -> Opener:
    """The user behind what the browser posted.

    The authorization server is asked, never an address out of the request.

    Raises:
        OpenerRefused: forged, expired, or of another portal or application.
        PortalError, TransportError, outward.TooManyWaiting: no answer; try again.
    """
    known = portals.by_member(entry.member_id)
    server = known.oauth_server if known else services().oauth.server_of(entry.server_endpoint)
    outward.on_behalf_of(entry.member_id if known else "", is_proved=False)
    return services().openers.verify(
        member_id=entry.member_id,
        access_token=entry.access_token,
        refresh_token=entry.refresh_token,
        expires_in_s=entry.expires_in_s,
        server=server,
        received_at=services().now(),
        said_server=entry.server_endpoint,
    )


def _serializer() -> URLSafeSerializer:
    # itsdangerous signs with the last key; ours is the first.
    keys = list(reversed(services().config.secret_keys))
    return URLSafeSerializer(keys, salt="ui-session", signer_kwargs={"digest_method": hashlib.sha256})


def issue(session: Session) -> str:
    """A token for the next fifteen minutes. Right after the proof, whose age is its age."""
    return str(
        _serializer().dumps(
            {
                "v": VERSION,
                "portal": session.portal.id,
                "member": session.portal.member_id,  # a number alone could be another portal's one day
                "user": session.user_id,
                "lang": session.language,
                "zone": session.time_zone,
                "admin": session.is_admin,
                "epoch": session.portal.session_epoch,
                "iat": int(services().now().timestamp()),
            }
        )
    )


def current(*, may_be_old: bool = False) -> Session | None:
    """The session of this request's bearer token; None when there is none, or none that counts: one that is
    good enough to read may be too old to write.

    `may_be_old` is for the renewal alone, which proves the user anew.
    """
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() != "bearer":
        return None
    try:
        claims: dict[str, Any] = _serializer().loads(token)
    except BadSignature:
        return None
    if claims.get("v") != VERSION:
        return None
    age_s = services().now().timestamp() - claims["iat"]
    limit = LIFETIME if request.method in READING else PROOF_FOR_WRITES
    if age_s > limit.total_seconds() and not may_be_old:
        return None
    try:
        portal = portals.by_id(claims["portal"])
    except LookupError:
        return None
    if portal.member_id != claims["member"] or portal.session_epoch != claims["epoch"]:
        return None
    if portal.state is PortalState.UNINSTALLED:
        return None
    session = Session(portal, claims["user"], claims["lang"], claims["zone"], claims["admin"])
    return session if session.is_allowed else None


def this() -> Session:
    """The session that the page's hook has checked."""
    session: Session = g.session
    return session
