"""A Bitrix24 and the product in one process: the product's real code over real HTTP, and a clock to move.

The sandbox portal and the product's web are served by threads of the test. Jobs do not run by themselves:
`world.work()` performs what was hinted, so that a test says when.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from shutil import copyfile
from tempfile import TemporaryDirectory
from typing import Any

from cryptography.fernet import Fernet
from flask import Flask

from app import wiring
from app.config import Config
from app.domain.portals import Portal
from app.domain.retry import Timing
from app.engine import Engine
from app.jobs import sweep
from app.services import Services
from app.store.database import db
from app.store.portals import portals, tokens
from sandbox.client import PortalSandbox
from sandbox.portal.event_queue import EventQueue
from sandbox.portal.oauth import AuthServer
from sandbox.portal.site import PortalSite
from sandbox.portal.tokens import TokenStore
from sandbox.portal.world import World as Bitrix24
from sandbox.serving import Server
from tests.worlds.product import ENVIRONMENT, application, migrated

CLIENT_ID, CLIENT_SECRET = "local.0123456789ab.01234567", "the-application's-own-secret"
NO_WAITING = Timing(first_push_s=0, push_fill_s=0, push_repeat_s=0, portal_call_s=10)


class HintList(Engine):
    """Hints wait in a list, in their order and with their delays, until somebody performs them."""

    def __init__(self) -> None:
        super().__init__()
        self.hints: list[tuple[str, int, float]] = []

    def hint(self, name: str, key: int, *, delay_s: float = 0.0, priority: int = 0) -> bool:
        self.hints.append((name, key, delay_s))
        return True

    def pending(self) -> int | None:
        return len(self.hints)

    def fingerprint(self) -> str:
        return ""  # there is no other process to compare with


class PortalWorld:
    """Sandbox, product, clock. `portal` is the sandbox's control API for its first portal."""

    def __init__(self, bitrix24: Bitrix24, app: Flask, portal: PortalSandbox, folder: Path) -> None:
        self._bitrix24 = bitrix24
        self.app = app
        self.portal = portal
        self.folder = folder
        self.engine = HintList()
        self._wire()

    def _wire(self) -> None:
        wired: Services = self.app.extensions["services"]
        self.engine._app = self.app
        self.services = replace(wired, now=self.now, engine=self.engine)
        self.app.extensions["services"] = self.services
        for name, job in wiring.JOBS.items():
            self.engine.register(name, self._job(job))

    def _job(self, job: Callable[[Services, int], None]) -> Callable[[int], None]:
        return lambda key: job(self.services, key)

    def now(self) -> datetime:
        """The portal's clock and ours are one; `pass_time` moves both."""
        return datetime.now(UTC) + timedelta(seconds=self._bitrix24.clock.offset_s)

    def pass_time(self, **span: float) -> None:
        self._bitrix24.clock.move(timedelta(**span).total_seconds())

    def work(self) -> None:
        """Wait for the portal's queue, then perform every hint that is due, and those they give."""
        self.portal.wait_rest()
        while due := [hint for hint in self.engine.hints if hint[2] <= 0.5]:
            self.engine.hints.clear()
            for name, key, _ in dict.fromkeys(due):
                self.engine.perform(name, key)
            self.portal.wait_rest()

    def sweep(self) -> None:
        """What the clock's own work finds, and all that follows from it."""
        self.pass_time(seconds=self.services.timing.sweep_s)
        with self.app.app_context():
            sweep.sweep(self.services)
        self.work()

    def install(self, user: int = 1) -> Portal:
        """An administrator installs the application and finishes the wizard."""
        opened = self.portal.install(finish=True, user=user)
        assert opened["status"] == 200, opened
        self.work()
        return self.row

    @property
    def row(self) -> Portal:
        """Our row of the first portal."""
        return self.row_of(self.portal)

    def row_of(self, portal: PortalSandbox) -> Portal:
        row = portals.by_member(portal.info()["member_id"])
        assert row is not None
        return row

    def message_that_fails(self, **fields: Any) -> str:
        """A message to an impossible number: its word for the portal is known without a gateway."""
        sent: str = self.portal.send_sms(to="12", **fields)["message_id"]
        return sent

    def told(self, message_id: str) -> list[str]:
        """The words that the portal heard from us, oldest first."""
        history = self.portal.message(message_id)["history"]
        return [entry["status"] for entry in history if entry["by"] == "app"]

    def calls(self, method: str, outcome: str = "") -> int:
        """How often a method was called in the portal."""
        entries = self.portal.ledger("rest", limit=100_000)
        return sum(entry["method"] == method and outcome in ("", entry["outcome"]) for entry in entries)

    def users_with_tokens(self) -> dict[str, str]:
        """Whose tokens we have -> why they do not work, the one who speaks for the portal first."""
        service = tokens.service(self.row.id)
        return {service.user_id: service.broken} if service else {}

    def client(self) -> Any:
        return self.services.portal_client(self.row)


@contextmanager
def portal_world(*, timing: Timing = NO_WAITING, **config: Any) -> Iterator[PortalWorld]:
    """Everything set up; the application is registered with the portal and not installed yet."""
    memory = Path("/dev/shm")  # no disk to wait for
    place = memory if memory.is_dir() else None
    with (
        TemporaryDirectory(prefix="sms-world-", dir=place) as folder,
        _portal_world(Path(folder), timing, **config) as world,
    ):
        yield world


@contextmanager
def _portal_world(folder: Path, timing: Timing, **config: Any) -> Iterator[PortalWorld]:
    template = migrated()  # first: it sets up its own log
    bitrix24 = Bitrix24()
    bitrix24.tokens = TokenStore(bitrix24)
    bitrix24.queue = EventQueue(bitrix24, workers=4)
    site = PortalSite(bitrix24)
    portal_server, auth_server = Server(site), Server(AuthServer(bitrix24))
    bitrix24.place(f"localhost:{portal_server.port}", f"http://127.0.0.1:{auth_server.port}")
    bitrix24.add_portal()
    web = Server(lambda environ, start: app.wsgi_app(environ, start))
    app = application(
        Config(
            public_url=f"http://127.0.0.1:{web.port}",
            database_url=f"sqlite:///{folder / 'product.db'}",
            redis_url="",
            secret_keys=("k" * 40,),
            encryption_keys=(Fernet.generate_key().decode(),),
            client_id=CLIENT_ID,
            client_secret=CLIENT_SECRET,
            oauth_servers=(bitrix24.auth_url,),
            allow_private_network=True,
            metrics_token=ENVIRONMENT["METRICS_TOKEN"],
            timing=timing,
            **config,
        )
    )
    bitrix24.queue.start()
    for server in (portal_server, auth_server, web):
        server.start()
    with app.app_context(), PortalSandbox(f"http://{bitrix24.host}") as portal:
        copyfile(template, folder / "product.db")
        portal.register_app(CLIENT_ID, CLIENT_SECRET, f"http://127.0.0.1:{web.port}")
        portal.configure(races={"enabled": False})
        try:
            yield PortalWorld(bitrix24, app, portal, folder)
        finally:
            bitrix24.queue.stop()
            for server in (web, portal_server, auth_server):
                server.stop(grace_s=0.2)
            site.close()
            bitrix24.ledger.close()
            db.engine.dispose()
