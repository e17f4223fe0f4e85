"""The spool: what was answered 200 while the database was down is stored once it is back."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlencode

import pytest
from flask import Flask

from app.store import message_log, messages, portals
from app.store.database import StoreUnavailable, utcnow
from app.store.spool import Spool, SpooledCall
from app.web.calls import handler
from sandbox.stack import PROJECT
from tests.fault_world import locked_sqlite
from tests.product import ENVIRONMENT, a_portal, product

Spooling = tuple[Flask, Path]


@pytest.fixture
def spooling(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Spooling]:
    """The product with a spool that is worked off when the test says so."""
    folder = tmp_path / "spool"
    folder.mkdir()
    monkeypatch.setattr(handler, "_keep_working_off", lambda app: None)
    with product(tmp_path, SPOOL_DIR=str(folder)) as app:
        yield app, folder


def _body(message_id: str) -> bytes:
    fields = {
        "message_id": message_id,
        "message_to": "+4915112345678",
        "message_body": "hello",
        "code": "sms",
    }
    return urlencode(fields).encode()


def _post(app: Flask, secret: str, message_id: str) -> int:
    form = "application/x-www-form-urlencoded"
    answer = app.test_client().post(f"/sms/{secret}", data=_body(message_id), content_type=form)
    return answer.status_code


def test_fault_03_a_spooled_message_is_stored_once_with_the_time_of_its_call(
    spooling: Spooling, tmp_path: Path
) -> None:
    app, folder = spooling
    portal = a_portal()
    secret = portals.handler_secret(portal.id)
    with locked_sqlite(tmp_path / "app.db"):
        answers = [_post(app, secret, "spooled"), _post(app, secret, "spooled")]
    on_disk = b"".join(path.read_bytes() for path in folder.iterdir())
    spooled_until = utcnow()
    time.sleep(0.2)

    assert handler.work_off_spool() == 2
    assert handler.work_off_spool() == 0

    stored = message_log.page(portal.id, limit=10)
    assert answers == [200, 200]
    assert [message.message_id for message in stored] == ["spooled"]
    assert stored[0].received_at <= spooled_until
    assert on_disk
    assert b"15112345678" not in on_disk


def test_fault_03_the_spool_keeps_what_the_database_still_does_not_take(
    spooling: Spooling, tmp_path: Path
) -> None:
    app, _ = spooling
    portal = a_portal()
    secret = portals.handler_secret(portal.id)
    with locked_sqlite(tmp_path / "app.db"):
        assert _post(app, secret, "patient") == 200

    def refuse(call: SpooledCall) -> None:
        raise StoreUnavailable("still down")

    spool = handler._spool()
    assert spool is not None
    with pytest.raises(StoreUnavailable):
        spool.work_off(refuse)

    assert handler.work_off_spool() == 1
    assert messages.find(portal.id, "patient") is not None


_WRITER = """
import resource, sys
from pathlib import Path
from app import create_app
from app.store.database import StoreUnavailable, utcnow
from app.store.spool import Spool, SpooledCall

limit = int(sys.argv[2])
app = create_app()
with app.app_context():
    spool = Spool(Path(sys.argv[1]))
    if limit:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
    for number in range(100_000):
        try:
            spool.add(SpooledCall("secret", b"call %d" % number, utcnow()))
        except StoreUnavailable:
            print("full", flush=True)
            resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
            spool.add(SpooledCall("secret", b"call after", utcnow()))
            print("after", flush=True)
            break
        print(number, flush=True)
"""


def _writer(folder: Path, tmp_path: Path, *, limit: int = 0) -> subprocess.Popen[str]:
    environment = {**os.environ, **ENVIRONMENT, "DATABASE_URL": f"sqlite:///{tmp_path}/app.db"}
    return subprocess.Popen(
        [sys.executable, "-c", _WRITER, str(folder), str(limit)],
        cwd=PROJECT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )


@pytest.mark.slow
def test_fault_03_a_killed_process_leaves_everything_that_it_answered(
    spooling: Spooling, tmp_path: Path
) -> None:
    _, folder = spooling
    with _writer(folder, tmp_path) as writer:
        assert writer.stdout is not None
        answered = [int(writer.stdout.readline()) for _ in range(200)]
        writer.send_signal(signal.SIGKILL)
        answered += [int(line) for line in writer.stdout if line.strip().isdigit()]

    kept: list[bytes] = []
    Spool(folder).work_off(lambda call: kept.append(call.body))

    assert [f"call {number}".encode() for number in answered] == kept[: len(answered)]
    assert len(kept) <= len(answered) + 1  # the last one was on the disk and not answered yet
    assert list(folder.iterdir()) == []


@pytest.mark.slow
def test_fault_05_a_full_disk_is_an_error_and_leaves_no_half_line(spooling: Spooling, tmp_path: Path) -> None:
    _, folder = spooling
    with _writer(folder, tmp_path, limit=20_001) as writer:
        assert writer.stdout is not None
        said = writer.stdout.read().split()

    kept: list[bytes] = []
    Spool(folder).work_off(lambda call: kept.append(call.body))

    assert said[-2:] == ["full", "after"]
    assert kept == [f"call {what}".encode() for what in said if what != "full"]
    assert len(kept) > 10
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] == resource.RLIM_INFINITY


def test_a_file_whose_process_lives_is_left_to_it(spooling: Spooling) -> None:
    _, folder = spooling
    alive, other = Spool(folder), Spool(folder)
    kept: list[bytes] = []

    alive.add(SpooledCall("secret", b"one", utcnow()))
    assert other.work_off(lambda call: kept.append(call.body)) == 0
    alive.add(SpooledCall("secret", b"two", utcnow()))
    alive.work_off(lambda call: kept.append(call.body))

    assert kept == [b"one", b"two"]


def test_without_a_spool_nothing_is_kept(tmp_path: Path) -> None:
    with product(tmp_path) as app:
        portal = a_portal()
        secret = portals.handler_secret(portal.id)
        with locked_sqlite(tmp_path / "app.db"):
            assert _post(app, secret, "refused") == 503
        assert handler.work_off_spool() == 0
        assert messages.find(portal.id, "refused") is None
