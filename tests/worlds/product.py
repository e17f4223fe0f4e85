"""The product inside the test's own process, on a SQLite file: for what needs no other process."""

from __future__ import annotations

import atexit
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from functools import cache
from pathlib import Path
from shutil import copyfile, rmtree
from tempfile import mkdtemp
from typing import ClassVar

from cryptography.fernet import Fernet
from flask import Flask
from flask_migrate import upgrade
from jinja2.bccache import Bucket, BytecodeCache

from app import create_app
from app.config import Config, load_config
from app.domain.portals import Opener, Portal, TokenPair
from app.store.database import db, utcnow
from app.store.portals import portals, tokens

ENVIRONMENT = {
    "PUBLIC_URL": "https://sms.example.com",
    "SECRET_KEY": "a secret for tests that is long enough for anybody",
    "ENCRYPTION_KEYS": Fernet.generate_key().decode(),
    "B24_CLIENT_ID": "app.test",
    "B24_CLIENT_SECRET": "the application's key",
    "LOG_LEVEL": "WARNING",
    "SPOOL_DIR": "off",
    "METRICS_TOKEN": "a token for tests",
}

MAY_SEE_METRICS = {"Authorization": f"Bearer {ENVIRONMENT['METRICS_TOKEN']}"}


class _Compiled(BytecodeCache):
    """Templates are compiled once in each process, not once for each application."""

    _kept: ClassVar[dict[str, bytes]] = {}

    def load_bytecode(self, bucket: Bucket) -> None:
        if kept := self._kept.get(f"{bucket.key} {bucket.checksum}"):
            bucket.bytecode_from_string(kept)

    def dump_bytecode(self, bucket: Bucket) -> None:
        self._kept[f"{bucket.key} {bucket.checksum}"] = bucket.bytecode_to_string()


def application(config: Config) -> Flask:
    """An application as `create_app` builds it, with what all of this process may share."""
    app = create_app(config)
    app.jinja_env.bytecode_cache = _Compiled()
    return app


@cache
def migrated() -> Path:
    """An empty database of this release, made once in each process: the migrations outlast most tests."""
    folder = Path(mkdtemp(prefix="sms-template-"))
    atexit.register(rmtree, folder, ignore_errors=True)
    variables = {**ENVIRONMENT, "DATABASE_URL": f"sqlite:///{folder}/template.db"}
    app = create_app(load_config(variables))
    with app.app_context():
        upgrade()
        db.engine.dispose()  # with the last connection the log of changes is folded into the file
    return folder / "template.db"


@contextmanager
def product(folder: Path, **environment: str) -> Iterator[Flask]:
    """A fresh application with its schema; its context is pushed."""
    variables = {**ENVIRONMENT, "DATABASE_URL": f"sqlite:///{folder}/app.db", **environment}
    template = migrated() if "DATABASE_URL" not in environment else None  # first: it sets up its own log
    app = application(load_config(variables))
    file = folder / "app.db"
    if template is not None and file.stat().st_size == 0:
        copyfile(template, file)
    with app.app_context():
        if "DATABASE_URL" in environment:
            upgrade()
        try:
            yield app
        finally:
            db.engine.dispose()


def a_portal(member_id: str = "a" * 32, *, user_id: str = "1", is_admin: bool = True) -> Portal:
    """A portal as the install page leaves it, without asking anybody."""
    now = utcnow()
    opener = Opener(
        member_id=member_id,
        user_id=user_id,
        is_admin=is_admin,
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
