"""A portal as the product sees it: who it is, how it stands, what its admin chose."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from datetime import datetime
from enum import StrEnum
from typing import Any


class PortalState(StrEnum):
    """How our installation in a portal stands. Messages go out in every state but the last."""

    NEW = "new"  # known, not finished: the sender or the events are not registered yet
    ACTIVE = "active"
    RECONNECT = "reconnect"  # no admin's token works: an admin must open the app
    PAYMENT = "payment"  # the app's paid period or trial is over
    NO_REST = "no_rest"  # the portal's plan has no REST
    GONE = "gone"  # the portal says that the app is not there, or it does not answer any more
    UNINSTALLED = "uninstalled"

    @property
    def can_be_told(self) -> bool:
        return self in (PortalState.NEW, PortalState.ACTIVE)


@dataclass(frozen=True)
class TokenPair:
    """An access token (an hour) and the refresh token behind it (180 days)."""

    access_token: str = field(repr=False)
    refresh_token: str = field(repr=False)
    expires_at: datetime


@dataclass(frozen=True)
class Opener:
    """A user of a portal as the authorization server and the portal vouched for, never as posted."""

    member_id: str
    user_id: str
    is_admin: bool
    domain: str
    client_endpoint: str
    oauth_server: str
    app_status: str
    app_version: str
    tokens: TokenPair
    name: str = ""
    time_zone: str = ""
    is_installing: bool = False  # the portal waits for the installer page to finish
    proved_at: datetime | None = None  # when we began to ask; what happened before is over for this proof


@dataclass(frozen=True)
class PortalSettings:
    """What the portal's admin chose; the defaults are the product's."""

    default_country: str = ""  # two letters; empty: numbers must be international
    country_asked: bool = False  # the set-up's question was answered, maybe with none
    countries: tuple[str, ...] = ()  # empty: all
    expensive_numbers: bool = False  # whether premium, shared-cost and satellite numbers are allowed
    time_to_live_s: int = 0  # 0: the product's default
    unknown_policy: str = "wait"  # or "resend": submit again although it may arrive twice
    language: str = ""  # empty: as in the portal
    theme: str = "light"  # or "dark", or "auto": as the device
    mask_numbers: bool = True  # in lists; one message's own page shows its number in full
    hide_texts: bool = False  # from everybody; they are kept for sending all the same
    text_days: int = 30  # kept so long after receipt; 0: until the message is final and told
    row_days: int = 180  # then the message is forgotten altogether
    low_balance: str = ""  # a plain decimal number in the gateway's currency; empty: no warning
    employees_see_log: bool = False
    employees_see_own: bool = False  # the messages that they wrote, where they do not see all of them
    notices: str = "all"  # which administrators get them: "all", "some" (`notice_users`) or "none"
    notice_users: tuple[str, ...] = ()  # by their number in the portal
    weekly_summary: bool = False  # on Monday morning, of the week before
    time_zone: str = ""  # in which that morning comes: of whoever saved the settings last

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> PortalSettings:
        known = {f.name for f in fields(cls)}
        values = {name: value for name, value in data.items() if name in known}
        for name in ("countries", "notice_users"):
            values[name] = tuple(values.get(name, ()))
        return cls(**values)

    def to_json(self) -> dict[str, Any]:
        values = asdict(self)
        return {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}

    def wants_notices(self, user_id: str) -> bool:
        """Whether this administrator is told of troubles, and of the week."""
        return self.notices == "all" or (self.notices == "some" and user_id in self.notice_users)


@dataclass(frozen=True)
class Portal:
    """One row of `portals`, without its secrets."""

    id: int
    member_id: str
    state: PortalState
    state_reason: str
    domain: str
    client_endpoint: str
    oauth_server: str
    app_version: str
    app_status: str
    installed_at: datetime | None
    finished_at: datetime | None
    generation: int  # which installation this is
    healings: int  # how often it was found to work
    session_epoch: int
    settings: PortalSettings
    settings_version: int
    registration: Mapping[str, Any]
    last_pushed_at: datetime | None
    paused_at: datetime | None  # by the operator: nothing is submitted
    paused_why: str
    created_at: datetime

    @property
    def is_paused(self) -> bool:
        return self.paused_at is not None
