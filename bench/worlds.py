"""The product between the sandbox's portal and gateway, with databases of its own, in both of its modes."""

from __future__ import annotations

import sqlite3
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import psycopg
from cryptography.fernet import Fernet
from flask import Flask
from flask_migrate import upgrade

from app import create_app
from app.config import load_config
from app.domain.portals import Opener, Portal, TokenPair
from app.store.database import db, utcnow
from app.store.portals import portals, tokens
from sandbox.client import PortalSandbox
from sandbox.databases import Postgres, Redis, ServiceMissing
from sandbox.gateway_client import GatewayClient
from sandbox.stack import Stack

SQLITE, POSTGRES = "SQLite", "PostgreSQL"
MODES = (SQLITE, POSTGRES)

ENVIRONMENT = {
    "PUBLIC_URL": "https://sms.example.com",
    "SECRET_KEY": "a secret for benchmarks that is long enough for anybody",
    "ENCRYPTION_KEYS": Fernet.generate_key().decode(),
    "B24_CLIENT_ID": "app.bench",
    "B24_CLIENT_SECRET": "the application's key",
    "LOG_LEVEL": "ERROR",
}


@dataclass
class World:
    """All processes of one run of the product."""

    stack: Stack
    databases: Mapping[str, int] = field(default_factory=dict)  # pids
    database_url: str = ""  # empty: the stack's own SQLite file

    @property
    def portal(self) -> PortalSandbox:
        return PortalSandbox(self.stack.portal_url)

    @property
    def gateway(self) -> GatewayClient:
        return GatewayClient(self.stack.gateway_url)

    @property
    def parts(self) -> dict[str, int]:
        """The pids by what they are to the product."""
        workers = {f"worker {n}": each.pid for n, each in enumerate(self.stack.workers[1:], 2)}
        return {"web": self.stack.web.pid, "worker": self.stack.worker.pid, **workers, **self.databases}

    @property
    def doubles(self) -> dict[str, int]:
        return {"portal": self.stack.portal.pid, "gateway": self.stack.gateway.pid}

    def query(self, sql: str) -> list[Any]:
        """The rows, read beside the product."""
        if self.database_url:
            with psycopg.connect(self.database_url.replace("+psycopg", ""), autocommit=True) as connection:
                return list(connection.execute(sql))
        with closing(sqlite3.connect(self.stack.dir / "product.db", timeout=20)) as connection:
            return list(connection.execute(sql))

    def connect(self, portal: PortalSandbox, key: str) -> None:
        """Install the application there and give the portal an account of that key at the gateway."""
        portal.install(finish=True)
        self.gateway.make_account(key)
        settings = self.gateway.settings(key)
        pairs = (f"{name}={value}" for name, value in settings.items() if value)
        self.stack.flask("gateways", "set", portal.info()["member_id"], "http", *pairs)

    def several(self, count: int) -> list[PortalSandbox]:
        """So many new portals, each connected with an account of its own."""
        made = [self.portal.on(each["portal"]) for each in self.portal.create_portals(count)]
        for number, portal in enumerate(made):
            self.connect(portal, f"{number}-{portal.portal}")
        return made


@contextmanager
def world_on(
    mode: str,
    *,
    env: Mapping[str, str] | None = None,
    web_workers: int = 2,
    web_threads: int = 8,
    workers: int = 1,
    settings: Mapping[str, str] | None = None,
) -> Iterator[World]:
    """Everything as real processes. The databases wait for the disk, as in operation.

    Where a program is missing, the run ends and says which.
    """
    with ExitStack() as ending:
        urls: dict[str, str] = {}
        databases: dict[str, int] = {}
        if mode == POSTGRES:
            cluster, broker = _servers(ending, settings)
            urls = {"database_url": cluster.create_database(), "redis_url": broker.url()}
            databases = {"PostgreSQL": cluster.process.pid, "Redis": broker.process.pid}
        stack = ending.enter_context(
            Stack(
                **urls,
                web_workers=web_workers,
                web_threads=web_threads,
                worker_processes=workers,
                env={"LOG_LEVEL": "ERROR", **(env or {})},
            )
        )
        yield World(stack, databases, urls.get("database_url", ""))


def _servers(ending: ExitStack, settings: Mapping[str, str] | None) -> tuple[Postgres, Redis]:
    try:
        cluster = ending.enter_context(Postgres(durable=True, settings=dict(settings or {})))
        return cluster, ending.enter_context(Redis())
    except ServiceMissing as missing:
        sys.exit(str(missing))


@contextmanager
def product_on(mode: str) -> Iterator[str]:
    """The product in this process, on a fresh database; yields the database's URL."""
    with tempfile.TemporaryDirectory(prefix="sms-bench-") as folder, ExitStack() as ending:
        url = f"sqlite:///{folder}/app.db"
        if mode == POSTGRES:
            try:
                url = ending.enter_context(Postgres(durable=True)).create_database()
            except ServiceMissing as missing:
                sys.exit(str(missing))
        with _product(url, Path(folder)):
            yield url


@contextmanager
def _product(url: str, folder: Path) -> Iterator[Flask]:
    variables = {**ENVIRONMENT, "DATABASE_URL": url, "SPOOL_DIR": str(folder)}
    app = create_app(load_config(variables))
    with app.app_context():
        upgrade()
        try:
            yield app
        finally:
            db.engine.dispose()


def a_portal(member_id: str = "a" * 32) -> Portal:
    """A portal as the install page leaves it, without asking anybody."""
    now = utcnow()
    opener = Opener(
        member_id=member_id,
        user_id="1",
        is_admin=True,
        domain="portal.example.com",
        client_endpoint="https://portal.example.com/rest/",
        oauth_server="https://oauth.bitrix.info",
        app_status="F",
        app_version="1",
        tokens=TokenPair("access", "refresh", now + timedelta(hours=1)),
    )
    portal = portals.save_opener(opener, now=now)
    tokens.keep(portal, opener, now=now)
    return portal
