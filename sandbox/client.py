"""A client for the portal double's control API: what a test, a demo or a benchmark asks the portal to do.

    portal = PortalSandbox("http://localhost:8701")
    portal.register_app("app.1", "secret", "http://127.0.0.1:8702")
    portal.install(finish=True)
    message = portal.send_sms("+4915112345678", "Hello")
    portal.wait_status(message["message_id"], "delivered")

Every method answers the JSON of the call; `sandbox/README.md` has the fields. `on(n)` is the same client for
portal n.
"""

from __future__ import annotations

import time
from typing import Any

import requests

Json = dict[str, Any]

_TIMEOUT_S = 90.0


class SandboxError(Exception):
    """The control API refused: the request was wrong, or cannot be done in this state."""


class PortalSandbox:
    """The control API of one portal process, speaking for one portal (the first by default)."""

    def __init__(
        self, portal_url: str, portal: int | str = 1, session: requests.Session | None = None
    ) -> None:
        self.url = portal_url.rstrip("/")
        self.portal = portal
        self._session = session or requests.Session()

    def on(self, portal: int | str) -> PortalSandbox:
        """The same process, another portal: by number or member_id."""
        return PortalSandbox(self.url, portal, self._session)

    def close(self) -> None:
        self._session.close()

    def __enter__(self) -> PortalSandbox:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def get(self, path: str, /, **query: Any) -> Json:
        return self._call("GET", path, query=query)

    def post(self, path: str, /, **fields: Any) -> Json:
        """Call any endpoint; `portal` is filled in unless given."""
        return self._call("POST", path, body={"portal": self.portal, **fields})

    # The application and the portals

    def register_app(self, client_id: str, client_secret: str, app_url: str, **fields: Any) -> Json:
        body = {"client_id": client_id, "client_secret": client_secret, "app_url": app_url, **fields}
        return self._call("POST", "/sandbox/app", body=body)

    def state(self) -> Json:
        return self.get("/sandbox/state")

    def create_portals(self, count: int = 1, **fields: Any) -> list[Json]:
        """Further portals, under `/p/<n>/`; `version="old"` for an old box, `bucket=False` without limit."""
        body = {"count": count, **fields}
        portals: list[Json] = self._call("POST", "/sandbox/portals", body=body)["portals"]
        return portals

    def portals(self) -> list[Json]:
        portals: list[Json] = self.get("/sandbox/portals")["portals"]
        return portals

    def info(self) -> Json:
        return self.get("/sandbox/portal", portal=self.portal)

    def configure(self, **fields: Any) -> Json:
        """version, rest_allowed, error_statuses, limited_to, scope, license, lang, title, bucket, races."""
        return self.post("/sandbox/portal", **fields)

    def set_user(self, id: int, **fields: Any) -> Json:
        """Create or change a user: name, last_name, role (admin, employee, dismissed), lang, time_zone."""
        return self.post("/sandbox/users", id=id, **fields)

    # What an administrator does

    def install(self, *, finish: bool = False, user: int = 1, **fields: Any) -> Json:
        return self.post("/sandbox/install", finish=finish, user=user, **fields)

    def finish(self) -> bool:
        return bool(self.post("/sandbox/finish")["finished"])

    def open(self, user: int = 1, **fields: Any) -> Json:
        return self.post("/sandbox/open", user=user, **fields)

    def update(self, **fields: Any) -> Json:
        return self.post("/sandbox/update", **fields)

    def uninstall(self, *, clean: bool = True) -> Json:
        return self.post("/sandbox/uninstall", clean=clean)

    def reinstall(self, **fields: Any) -> Json:
        return self.post("/sandbox/reinstall", **fields)

    def payment(self, *, expired: bool, **fields: Any) -> Json:
        return self.post("/sandbox/payment", expired=expired, **fields)

    def rename(self, **fields: Any) -> Json:
        """host, path, or port=True for a new one; `redirect` is what the old address answers."""
        return self.post("/sandbox/rename", **fields)

    def fire_event(self, event: str, data: Json | None = None, **fields: Any) -> int:
        return int(self.post("/sandbox/event", event=event, data=data or {}, **fields)["posts"])

    def forge_event(self, event: str, data: Json | None = None, *, user: int = 5, **fields: Any) -> list[int]:
        """Post an event as an employee with browser tools can; `times`, `with_tokens` (their own)."""
        body = {"event": event, "data": data or {}, "user": user, **fields}
        statuses: list[int] = self.post("/sandbox/forge", **body)["statuses"]
        return statuses

    def mint_tokens(self, user: int = 1) -> Json:
        """A token pair of a user, for a second client beside the application."""
        return self.post("/sandbox/tokens", user=user)

    def mint_code(self, user: int = 1) -> str:
        return str(self.post("/sandbox/code", user=user)["code"])

    def probe(self, urls: list[str] | None = None) -> Json:
        """HEAD and GET status of each address of the application."""
        return self._call("POST", "/sandbox/probe", body={"urls": urls} if urls else {})

    # Messages

    def send_sms(
        self, to: str = "+4915112345678", text: str = "Hello from the sandbox", **fields: Any
    ) -> Json:
        """sender, origin, author, auth, ts_offset_s, copies, direct, message_id, extra, omit."""
        return self.post("/sandbox/messages", to=to, text=text, **fields)

    def repeat_sms(self, message_id: str, copies: int = 1) -> Json:
        return self.post("/sandbox/messages/repeat", message_id=message_id, copies=copies)

    def messages(self, **query: Any) -> list[Json]:
        query.setdefault("portal", self.portal)
        rows: list[Json] = self.get("/sandbox/messages", **query)["messages"]
        return rows

    def message(self, message_id: str) -> Json:
        rows = self.messages(message_id=message_id)
        if not rows:
            raise SandboxError(f"there is no message {message_id}")
        return rows[0]

    def count_messages(self, **query: Any) -> Json:
        """How many rows, and how many in each status."""
        query.setdefault("portal", self.portal)
        return self.get("/sandbox/messages", count=1, **query)

    def wait_status(self, message_id: str, *statuses: str, timeout_s: float = 20.0) -> Json:
        """The row once it has one of the statuses.

        Raises:
            TimeoutError: it still has another one; the message says which.
        """
        deadline = time.monotonic() + timeout_s
        while True:
            row = self.message(message_id)
            if row["status"] in statuses:
                return row
            if time.monotonic() > deadline:
                raise TimeoutError(f"{message_id} is {row['status']}, not {' or '.join(statuses)}")
            time.sleep(0.05)

    def campaign(self, count: int, rate: float = 0.0, **fields: Any) -> int:
        """Start a campaign in the background; its number. `portals` spreads it ("*" for all)."""
        return int(self.post("/sandbox/campaigns", count=count, rate=rate, **fields)["campaign"])

    def campaign_progress(self, campaign: int) -> Json:
        return self.get("/sandbox/campaigns", campaign=campaign)

    def wait_campaign(self, campaign: int, timeout_s: float = 120.0) -> Json:
        """The progress once everything is handed over and the queue has come to rest."""
        deadline = time.monotonic() + timeout_s
        while True:
            progress = self.get("/sandbox/campaigns", campaign=campaign, brief=1)
            if progress["done"] and self.state()["backlog"] == 0:
                return self.campaign_progress(campaign)
            if time.monotonic() > deadline:
                raise TimeoutError(f"campaign {campaign}: {progress}")
            time.sleep(0.1)

    def wait_rest(self, timeout_s: float = 30.0) -> int:
        """Wait until queue and races are done; what is left over (0 unless time ran out)."""
        return int(self._call("POST", "/sandbox/wait", body={"timeout_s": timeout_s})["backlog"])

    def senders(self, **query: Any) -> list[Json]:
        senders: list[Json] = self.get("/sandbox/senders", portal=self.portal, **query)["senders"]
        return senders

    # Time, tokens, faults

    def move_clock(self, seconds: float) -> Json:
        return self._call("POST", "/sandbox/clock", body={"move_s": seconds})

    def expire_tokens(self, *, refresh: bool = False, everywhere: bool = False) -> Json:
        return self.post("/sandbox/tokens/expire", refresh=refresh, portal="*" if everywhere else self.portal)

    def set_auth(self, **fields: Any) -> Json:
        """rotation (strict, grace), lost_every, with_expires, with_user_id, access_lifetime_s."""
        return self._call("POST", "/sandbox/auth", body=fields)

    def add_fault(self, *, side: str = "rest", everywhere: bool = False, **fields: Any) -> Json:
        """method, kind, error, description, status, count (0: until cleared), every, for_s, seconds."""
        return self.post("/sandbox/faults", side=side, portal="*" if everywhere else self.portal, **fields)

    def faults(self) -> Json:
        return self.get("/sandbox/faults")

    def clear_faults(self) -> Json:
        return self._call("DELETE", "/sandbox/faults")

    def set_queue(self, *, everywhere: bool = False, **fields: Any) -> Json:
        """duplicate, drop (shares), delay_s (number or pair), reorder_s, paused."""
        return self.post("/sandbox/queue", portal="*" if everywhere else self.portal, **fields)

    def empty_bucket(self) -> Json:
        return self.post("/sandbox/bucket/empty")

    # What it saw

    def ledger(self, kind: str | None = None, **query: Any) -> list[Json]:
        """Entries of this portal, oldest first; `portal="*"` for all, `since` for those after number n."""
        query.setdefault("portal", self.portal)
        if kind is not None:
            query["kind"] = kind
        entries: list[Json] = self.get("/sandbox/ledger", **query)["entries"]
        return entries

    def counts(self, **query: Any) -> dict[str, int]:
        """`kind:outcome` -> how often, for this portal; `portal="*"` for all."""
        query.setdefault("portal", self.portal)
        counts: dict[str, int] = self.get("/sandbox/counts", **query)["counts"]
        return counts

    def refreshes(self) -> dict[str, int]:
        """How often each portal's token was refreshed, by portal number."""
        refreshes: dict[str, int] = self.get("/sandbox/counts")["refreshes"]
        return refreshes

    def clear_ledger(self) -> Json:
        return self._call("DELETE", "/sandbox/ledger")

    def _call(self, method: str, path: str, *, query: Json | None = None, body: Json | None = None) -> Json:
        response = self._session.request(
            method, f"{self.url}{path}", params=query, json=body, timeout=_TIMEOUT_S
        )
        answer: Json = response.json()
        if not response.ok:
            raise SandboxError(f"{method} {path}: {answer.get('detail') or answer}")
        return answer
