"""The state: one application, many portals, one clock. Who works on it holds `World.lock`."""

from __future__ import annotations

import secrets
import threading
import time
from dataclasses import dataclass, field
from hashlib import md5
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sandbox.portal.errors import KERNEL
from sandbox.portal.faults import AuthSettings, FaultList, QueueFaults, Races
from sandbox.portal.ledger import Ledger
from sandbox.portal.limits import Bucket

if TYPE_CHECKING:
    from sandbox.portal.event_queue import EventQueue
    from sandbox.portal.tokens import TokenStore

ADMIN, EMPLOYEE, DISMISSED = "admin", "employee", "dismissed"

# The menu name that a marketplace card has in each of these languages.
CARD_LANGUAGES = ("en", "de", "ru", "la", "br", "fr", "it", "pl", "ua", "tr", "ar", "ja", "sc", "tc")


class Clock:
    """Portal time: the machine's, plus what somebody moved it by."""

    def __init__(self) -> None:
        self.offset_s = 0.0

    def now(self) -> float:
        return time.time() + self.offset_s

    def move(self, seconds: float) -> None:
        self.offset_s += seconds


@dataclass
class App:
    """The application as its card at the vendor says."""

    client_id: str
    client_secret: str
    app_url: str
    install_url: str
    redirect_url: str
    scope: list[str]
    name: str = "SMS Provider"
    code: str = "vendor.sms"
    menu_names: dict[str, str] = field(default_factory=dict)
    status: str = "F"
    version: int = 1


@dataclass
class User:
    id: int
    name: str
    last_name: str
    role: str = EMPLOYEE
    lang: str = "en"
    time_zone: str = "Europe/Berlin"

    @property
    def is_admin(self) -> bool:
        return self.role == ADMIN

    @property
    def is_active(self) -> bool:
        return self.role != DISMISSED

    def view(self) -> dict[str, Any]:
        return {
            "id": self.id,
            "name": self.name,
            "last_name": self.last_name,
            "role": self.role,
            "lang": self.lang,
        }


@dataclass
class Installation:
    """The application's row in one portal. It survives uninstalling with `active` False."""

    installer_id: int
    application_token: str
    active: bool = True
    installed: bool = False
    version: int = 1
    status: str = "F"
    generation: int = 1
    installed_at: float = 0.0
    payment_expired: bool = False
    payment_allow: bool = True
    days: int | None = None
    options: dict[str, Any] = field(default_factory=dict)
    first_runs: set[int] = field(default_factory=set)


@dataclass
class Sender:
    code: str
    handler: str
    author_id: int
    phrases: dict[str, tuple[str, str | None]]  # language -> (name, description)


@dataclass
class EventRow:
    id: int
    event: str
    handler: str
    user_id: int  # 0: the binding is the application's, not one user's


@dataclass(slots=True)
class Message:
    """A row of the portal's message table, with what became of it in `history`."""

    id: int
    external_id: str
    sender: str
    to: str
    text: str
    author: int
    origin: str
    created_at: float
    status: str = "pending"
    stored: bool = False  # the external id can be found by status.update
    error: str = ""
    campaign: int = 0
    bindings: list[dict[str, str]] = field(default_factory=list)
    history: list[tuple[float, str, str]] = field(default_factory=list)
    posts: list[tuple[float, int, float]] = field(default_factory=list)  # at, HTTP status or 0, seconds

    def set_status(self, status: str, by: str) -> bool:
        """Write a status if it differs, as the kernel's UPDATE does; any transition is allowed."""
        if status == self.status:
            return False
        self.status = status
        self.history.append((time.time(), status, by))
        return True

    def view(self) -> dict[str, Any]:
        return {
            "id": self.id,
            "message_id": self.external_id,
            "sender": self.sender,
            "to": self.to,
            "text": self.text,
            "author": self.author,
            "origin": self.origin,
            "status": self.status,
            "error": self.error,
            "campaign": self.campaign,
            "created_at": round(self.created_at, 3),
            "history": [{"at": round(at, 3), "status": status, "by": by} for at, status, by in self.history],
            "posts": [
                {"at": round(at, 3), "status": status, "seconds": round(seconds, 4)}
                for at, status, seconds in self.posts
            ],
        }


class Portal:
    """One Bitrix24 account."""

    def __init__(self, number: int, host: str, prefix: str, version: str) -> None:
        self.number = number
        self.member_id = md5(f"portal {number} {secrets.token_hex(8)}".encode()).hexdigest()
        self.host = host
        self.prefix = prefix
        self.version = version
        self.title = "Example Ltd." if number == 1 else f"Example {number} Ltd."
        self.lang = "en"
        self.license = "en_basic"
        self.rest_allowed = True
        self.error_column = KERNEL
        self.users = {
            1: User(1, "Alice", "Archer", ADMIN),
            2: User(2, "Bruno", "Berger", ADMIN, lang="de"),
            5: User(5, "Clara", "Cole"),
            6: User(6, "Dmitri", "Danov", lang="ru"),
        }
        self.limited_to: set[int] | None = None
        self.granted: list[str] | None = None  # None: what the application asks for
        self.webhook_code = secrets.token_hex(8)
        self.installation: Installation | None = None
        self.senders: dict[str, Sender] = {}  # by CODE in lower case: the database compares it so
        self.events: list[EventRow] = []
        self.messages: dict[int, Message] = {}
        self.by_external: dict[str, Message] = {}  # what status.update finds
        self.sent_as: dict[str, Message] = {}  # the same before the id is stored
        self.notifications: list[dict[str, Any]] = []
        self.next_row = 1
        self.bucket = Bucket(rate=2.0, limit=50.0)
        self.races = Races()
        self.queue_faults = QueueFaults()
        self.operating: dict[str, float] = {}
        self.author_tokens: dict[int, tuple[float, Any]] = {}

    @property
    def is_old(self) -> bool:
        return self.version == "old"

    @property
    def base_url(self) -> str:
        return f"http://{self.host}{self.prefix}"

    @property
    def client_endpoint(self) -> str:
        return f"{self.base_url}/rest/"

    def take_row_id(self) -> int:
        number = self.next_row
        self.next_row += 1
        return number

    def may_open(self, user: User) -> bool:
        """Admins always may; others unless the admin limited the application to named users."""
        return user.is_active and (user.is_admin or self.limited_to is None or user.id in self.limited_to)

    def live_installation(self) -> Installation | None:
        return self.installation if self.installation is not None and self.installation.active else None

    def view(self) -> dict[str, Any]:
        row = self.installation
        return {
            "portal": self.number,
            "member_id": self.member_id,
            "title": self.title,
            "url": f"{self.base_url}/",
            "domain": self.host,
            "client_endpoint": self.client_endpoint,
            "version": self.version,
            "rest_allowed": self.rest_allowed,
            "error_statuses": self.error_column,
            "users": [user.view() for user in self.users.values()],
            "limited_to": sorted(self.limited_to) if self.limited_to is not None else None,
            "webhook": f"{self.client_endpoint}1/{self.webhook_code}/",
            "senders": [
                {"code": sender.code, "handler": sender.handler, "phrases": sender.phrases}
                for sender in self.senders.values()
            ],
            "events": [{"event": row.event, "handler": row.handler} for row in self.events],
            "installation": None
            if row is None
            else {
                "active": row.active,
                "installed": row.installed,
                "version": row.version,
                "status": row.status,
                "installer": row.installer_id,
                "application_token": row.application_token,
                "payment_expired": row.payment_expired,
                "payment_allow": row.payment_allow,
                "options": row.options,
            },
            "messages": len(self.messages),
            "notifications": self.notifications,
            "races": self.races.view(),
            "queue_faults": self.queue_faults.view(),
        }


class World:
    """Everything there is. `lock` guards all of it; nobody holds it while waiting for the network."""

    queue: EventQueue
    tokens: TokenStore

    def __init__(self, state_dir: Path | None = None) -> None:
        self.lock = threading.RLock()
        self.clock = Clock()
        self.ledger = Ledger(state_dir)
        self.app: App | None = None
        self.portals: dict[int, Portal] = {}
        self.addresses: dict[tuple[str, str], Portal] = {}
        self.moved: dict[tuple[str, str], int] = {}  # an address given up -> how it redirects
        self.rest_faults = FaultList()
        self.auth = AuthSettings()
        self.host = ""
        self.auth_url = ""

    def place(self, host: str, auth_url: str) -> None:
        """Say where the servers listen; before this no portal can be made."""
        self.host = host
        self.auth_url = auth_url

    @property
    def server_endpoint(self) -> str:
        return f"{self.auth_url}/rest/"

    @property
    def auth_domain(self) -> str:
        return self.auth_url.partition("://")[2]

    def add_portal(self, version: str = "new") -> Portal:
        with self.lock:
            number = len(self.portals) + 1
            prefix = "" if number == 1 else f"/p/{number}"
            portal = Portal(number, self.host, prefix, version)
            self.portals[number] = portal
            self.addresses[portal.host, prefix] = portal
            return portal

    def find_by_address(self, host: str, prefix: str) -> tuple[Portal, int] | None:
        """The portal at an address, and 0 or the redirect status if it lives elsewhere now.

        A host that was never given to anybody counts as the first one's alias, so that both spellings of
        loopback reach a portal that was not renamed.
        """
        key = (host, prefix)
        portal = self.addresses.get(key)
        if portal is None:
            key = (self.host, prefix)
            portal = self.addresses.get(key)
        if portal is None:
            return None
        return portal, self.moved.get(key, 0)


def new_application_token() -> str:
    return secrets.token_hex(16)
