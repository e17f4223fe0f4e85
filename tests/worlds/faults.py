"""Portal, product and gateway in one process with a clock to move: a message can be stopped anywhere.

Jobs run when a test says so. A "worker" that dies or sleeps is a call of the gateway that does not come
back while the clock passes the end of its lease.
"""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import requests

from app.domain.messages import Message
from app.domain.retry import Timing
from app.gateway_accounts import connect
from app.jobs.messages.faults import note_exception
from app.store.accounts import accounts
from app.store.messages import messages
from app.store.messages.timeline import attempts_of, timeline
from sandbox.client import PortalSandbox
from sandbox.gateway.app import GatewayApp
from sandbox.gateway.ledger import Ledger
from sandbox.gateway_client import GatewayClient
from sandbox.serving import Server
from tests.worlds.portals import PortalWorld, portal_world

TIMING = Timing(
    gateway_deadline_s=1.0,
    lease_s=30.0,
    sweep_s=5.0,
    first_push_s=0,
    push_fill_s=0,
    push_repeat_s=0,
    portal_call_s=10,
    retry_base_s=1.0,
)


class FaultWorld:
    """`gateway` are the controls of the sandbox gateway; `send()` goes in at the HANDLER."""

    def __init__(self, world: PortalWorld, gateway: GatewayClient, app: GatewayApp) -> None:
        self.world = world
        self.services = world.services
        self.portal = world.portal
        world.engine.on_failure = partial(note_exception, self.services)
        self.gateway = gateway
        self._gateway_app = app
        self._fresh = 0

    def connect(
        self,
        *,
        key: str = "sandbox-key",
        can: str = "",
        portal: PortalSandbox | None = None,
        reports: bool = False,
    ) -> accounts.Account:
        """Connect the portal to an account that drops "repeats", answers a "look-up", or neither."""
        self.gateway.make_account(key)
        words = {} if reports else {"words": []}
        self.gateway.behave(key, deduplicate=can == "repeats", reports={"delay_s": 0, "gap_s": 0, **words})
        settings = self.gateway.settings(key, idempotent=can == "repeats")
        if can == "look-up":
            settings = self.gateway.lookup_settings(key)
        adapter = self.services.gateways.get("http")
        assert adapter is not None
        return connect(
            self.world.row_of(portal or self.portal),
            adapter,
            {name: value for name, value in settings.items() if value},
            allow_private=True,
            now=self.world.now(),
        )

    def another_portal(self, **options: Any) -> PortalSandbox:
        other = self.portal.on(self.portal.create_portals()[0]["portal"])
        assert other.install(finish=True)["status"] == 200
        self.world.work()
        self.connect(portal=other, **options)
        return other

    def send(self, *, portal: PortalSandbox | None = None, **fields: Any) -> str:
        """A message of the portal, stored and hinted, not submitted yet."""
        self._fresh += 1
        fields.setdefault("to", f"+49151{self._fresh:08}")
        fields.setdefault("text", f"message {self._fresh}")
        sent: str = (portal or self.portal).send_sms(**fields)["message_id"]
        self.portal.wait_rest()
        return sent

    def work(self, rounds: int = 3) -> None:
        """Everything that is due now, with the reports that follow."""
        for _ in range(rounds):
            self.world.work()
            self.reports_done()

    def later(self, seconds: float, *, steps: int = 1) -> None:
        """Time passes, and the sweeper finds what that makes due."""
        for _ in range(steps):
            self.world.pass_time(seconds=seconds / steps)
            self.world.sweep()
            self.reports_done()
            self.world.work()

    def reports_done(self) -> None:
        deadline = time.monotonic() + 10
        while self._gateway_app.reports.waiting and time.monotonic() < deadline:
            time.sleep(0.01)

    @contextmanager
    def sleeping_worker(self, message_id: str) -> Iterator[None]:
        """A worker that submits this message and hangs in the gateway's call for as long as the block."""
        self.world.engine.hints = [hint for hint in self.world.engine.hints if hint[0] != "submit"]
        worker = threading.Thread(target=self.submit, args=(message_id,))
        before = self.gateway.ledger()["submissions"]
        worker.start()
        self.gateway.wait_for(submissions=before + 1)
        yield
        worker.join(10)
        assert not worker.is_alive()

    def submit(self, message_id: str) -> None:
        """A worker comes by for the portal of this message."""
        with self.world.app.app_context():
            self.world.engine.perform("submit", self.row(message_id).portal_id)

    def lease_ends(self, message_id: str) -> None:
        """Its worker still sleeps, and another one finds the lost lease."""
        self.world.pass_time(seconds=self.services.timing.lease_s + 1)
        with self.world.app.app_context():
            self.world.engine.perform("recover", self.row(message_id).id)

    def row(self, message_id: str, portal: PortalSandbox | None = None) -> Message:
        found = messages.find(self.world.row_of(portal or self.portal).id, message_id)
        assert found is not None
        return found

    def status(self, message_id: str) -> tuple[str, str]:
        row = self.row(message_id)
        return row.status.value, row.reason

    def events(self, message_id: str) -> list[str]:
        return [entry.event for entry in timeline(self.row(message_id))]

    def attempts(self, message_id: str) -> list[dict[str, Any]]:
        return attempts_of(self.row(message_id))

    def taken(self, message_id: str) -> list[dict[str, Any]]:
        """What the gateway took for this message."""
        return list(self.gateway.messages(to=self.row(message_id).recipient))

    def report(self, message_id: str, *words: str) -> list[int]:
        """The gateway reports these words about a message that it took, one after the other."""
        (taken,) = self.taken(message_id)[:1]
        return [self.gateway.report(taken["id"], word) for word in words]

    def post_report(self, account: accounts.Account, body: Any, *, secret: str = "") -> int:
        url = self.services.report_url(account).replace(
            account.report_secret, secret or account.report_secret
        )
        return requests.post(url, json=body, timeout=10).status_code

    def told(self, message_id: str) -> list[str]:
        return self.world.told(message_id)


@contextmanager
def locked_sqlite(file: Path) -> Iterator[None]:
    """Nobody can write: somebody else holds the lock."""
    with closing(sqlite3.connect(file, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        yield
        other.execute("ROLLBACK")


@contextmanager
def fault_world(**timing: float) -> Iterator[FaultWorld]:
    """Installed and ready; no gateway is connected yet."""
    values = {**{name: getattr(TIMING, name) for name in TIMING.__dataclass_fields__}, **timing}
    with ExitStack() as ending:
        world = ending.enter_context(portal_world(timing=Timing(**values)))  # type: ignore[arg-type]
        gateway_app = GatewayApp(Ledger())
        ending.callback(gateway_app.close)
        server = Server(gateway_app)
        ending.callback(server.stop, grace_s=0.2)
        server.start()
        world.install()
        with world.app.app_context():
            yield FaultWorld(world, GatewayClient(f"http://127.0.0.1:{server.port}"), gateway_app)
