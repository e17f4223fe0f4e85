"""The spool: what was answered 200 while the database was down is stored once it is back."""

from __future__ import annotations

import fcntl
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
from cryptography.fernet import Fernet
from flask import Flask

from app.store.database import StoreRefused, StoreUnavailable, utcnow, writing
from app.store.database import spool as spool_room
from app.store.database.secrets import SecretBox
from app.store.database.spool import Spool, SpooledCall, count_kept
from app.store.messages import log as message_log
from app.store.messages import messages
from app.store.portals import portals
from app.web.calls import handler, spooling
from sandbox.stack import PROJECT
from tests.worlds.faults import locked_sqlite
from tests.worlds.product import ENVIRONMENT, a_portal, product

Spooling = tuple[Flask, Path]


@pytest.fixture
def with_spool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Spooling]:
    """The product with a spool that is worked off when the test says so."""
    folder = tmp_path / "spool"
    folder.mkdir()
    monkeypatch.setattr(spooling, "_keep_working_off", lambda app, take: None)
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


def _work_off() -> int:
    return spooling.work_off(handler.take_spooled)


def _post(app: Flask, secret: str, message_id: str) -> int:
    form = "application/x-www-form-urlencoded"
    answer = app.test_client().post(f"/sms/{secret}", data=_body(message_id), content_type=form)
    return answer.status_code


def test_fault_03_a_spooled_message_is_stored_once_with_the_time_of_its_call(
    with_spool: Spooling, tmp_path: Path
) -> None:
    app, folder = with_spool
    portal = a_portal()
    secret = portals.handler_secret(portal.id)
    with locked_sqlite(tmp_path / "app.db"):
        answers = [_post(app, secret, "spooled"), _post(app, secret, "spooled")]
    on_disk = b"".join(path.read_bytes() for path in folder.iterdir())
    spooled_until = utcnow()
    time.sleep(0.2)

    assert _work_off() == 2
    assert _work_off() == 0

    stored = message_log.page(portal.id, limit=10)
    assert answers == [200, 200]
    assert [message.message_id for message in stored] == ["spooled"]
    assert stored[0].received_at <= spooled_until
    assert on_disk
    assert b"15112345678" not in on_disk


def test_fault_03_the_spool_keeps_what_the_database_still_does_not_take(
    with_spool: Spooling, tmp_path: Path
) -> None:
    app, _ = with_spool
    portal = a_portal()
    secret = portals.handler_secret(portal.id)
    with locked_sqlite(tmp_path / "app.db"):
        assert _post(app, secret, "patient") == 200

    def refuse(call: SpooledCall) -> None:
        raise StoreUnavailable("still down")

    assert spooling.work_off(refuse) == 0
    assert _work_off() == 1
    assert messages.find(portal.id, "patient") is not None


_WRITER = """
import resource, sys
from pathlib import Path
from app import create_app
from app.store.database import StoreUnavailable, utcnow
from app.store.database.spool import Spool, SpooledCall

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
    with_spool: Spooling, tmp_path: Path
) -> None:
    _, folder = with_spool
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
def test_fault_05_a_full_disk_is_an_error_and_leaves_no_half_line(
    with_spool: Spooling, tmp_path: Path
) -> None:
    _, folder = with_spool
    with _writer(folder, tmp_path, limit=20_001) as writer:
        assert writer.stdout is not None
        said = writer.stdout.read().split()

    kept: list[bytes] = []
    Spool(folder).work_off(lambda call: kept.append(call.body))

    assert said[-2:] == ["full", "after"]
    assert kept == [f"call {what}".encode() for what in said if what != "full"]
    assert len(kept) > 10
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] == resource.RLIM_INFINITY


def test_a_file_whose_process_lives_is_left_to_it(with_spool: Spooling) -> None:
    _, folder = with_spool
    alive, other = Spool(folder), Spool(folder)
    kept: list[bytes] = []

    alive.add(SpooledCall("secret", b"one", utcnow()))
    assert other.work_off(lambda call: kept.append(call.body)) == 0
    alive.add(SpooledCall("secret", b"two", utcnow()))
    alive.work_off(lambda call: kept.append(call.body))

    assert kept == [b"one", b"two"]


def test_a_file_is_never_seen_without_its_lock(with_spool: Spooling, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between its making and its lock another process could take it for nobody's, and unlink it."""
    _, folder = with_spool
    spool, other = Spool(folder), Spool(folder)
    kept: list[bytes] = []
    lock = fcntl.flock

    def somebody_is_faster(file: Any, how: int) -> None:
        if how == fcntl.LOCK_EX:
            other.work_off(lambda call: kept.append(call.body))
        lock(file, how)

    monkeypatch.setattr(fcntl, "flock", somebody_is_faster)
    spool.add(SpooledCall("secret", b"one", utcnow()))
    monkeypatch.setattr(fcntl, "flock", lock)
    spool.work_off(lambda call: kept.append(call.body))

    assert kept == [b"one"]


def test_a_file_that_somebody_removed_is_made_anew(with_spool: Spooling) -> None:
    _, folder = with_spool
    spool = Spool(folder)
    spool.add(SpooledCall("secret", b"removed", utcnow()))
    for path in folder.iterdir():
        path.unlink()

    spool.add(SpooledCall("secret", b"kept", utcnow()))

    kept: list[bytes] = []
    spool.work_off(lambda call: kept.append(call.body))
    assert kept == [b"kept"]


def test_what_cannot_be_taken_is_kept_and_lets_the_others_pass(
    with_spool: Spooling, monkeypatch: pytest.MonkeyPatch
) -> None:
    app, folder = with_spool
    other_keys = SecretBox((Fernet.generate_key().decode(),))
    spool = Spool(folder)
    with monkeypatch.context() as patch:
        patch.setitem(app.extensions, "secret_box", other_keys)
        spool.add(SpooledCall("secret", b"sealed by another key", utcnow()))
    for body in (b"refused", b"good"):
        spool.add(SpooledCall("secret", body, utcnow()))
    taken: list[bytes] = []

    def take(call: SpooledCall) -> None:
        if call.body == b"refused":
            raise StoreRefused("no such column")
        taken.append(call.body)

    monkeypatch.setattr(spool_room, "REFUSED_PAUSE_S", 0.0)
    assert spool.work_off(take) == 1
    assert spool.work_off(take) == 0
    assert count_kept(folder) == 2
    spool.work_off(lambda call: taken.append(call.body))
    with monkeypatch.context() as patch:
        patch.setitem(app.extensions, "secret_box", other_keys)
        spool.work_off(lambda call: taken.append(call.body))

    assert taken == [b"good", b"refused", b"sealed by another key"]
    assert count_kept(folder) == 0


@pytest.mark.parametrize("database", ["sqlite", "postgresql"])
def test_f04_a_schema_that_does_not_fit_costs_no_message(
    tmp_path: Path,
    database: str,
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """As during a release that begins with its processes, or after a grant went missing."""
    monkeypatch.setattr(spooling, "_keep_working_off", lambda app, take: None)
    url = {"DATABASE_URL": request.getfixturevalue("postgres_url")} if database == "postgresql" else {}
    with product(tmp_path, SPOOL_DIR=str(tmp_path / "made by the first call"), **url) as app:
        portal = a_portal()
        secret = portals.handler_secret(portal.id)
        with writing() as connection:
            connection.exec_driver_sql("ALTER TABLE messages RENAME COLUMN extra TO extra_old")

        answer = _post(app, secret, "f04")
        was_stored = _work_off()
        with writing() as connection:
            connection.exec_driver_sql("ALTER TABLE messages RENAME COLUMN extra_old TO extra")
        app.extensions["spool"]._not_before = 0.0

        assert (answer, was_stored) == (200, 0)
        assert _work_off() == 1
        assert messages.find(portal.id, "f04") is not None
        assert secret not in caplog.text
        assert "15112345678" not in caplog.text


def test_without_a_spool_a_refusal_of_the_database_is_503(tmp_path: Path) -> None:
    with product(tmp_path) as app:
        secret = portals.handler_secret(a_portal().id)
        with writing() as connection:
            connection.exec_driver_sql("ALTER TABLE messages RENAME COLUMN extra TO extra_old")

        assert _post(app, secret, "refused") == 503


def test_without_a_spool_nothing_is_kept(tmp_path: Path) -> None:
    with product(tmp_path) as app:
        portal = a_portal()
        secret = portals.handler_secret(portal.id)
        with locked_sqlite(tmp_path / "app.db"):
            assert _post(app, secret, "refused") == 503
        assert _work_off() == 0
        assert messages.find(portal.id, "refused") is None


def test_fault_03_a_call_is_synced_before_it_is_answered(
    with_spool: Spooling, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the disk only promises to write is lost when the machine stops."""
    _, folder = with_spool
    synced: list[int] = []
    monkeypatch.setattr(
        "app.store.database.spool.os.fsync", lambda file: synced.append(os.fstat(file).st_size)
    )

    Spool(folder).add(SpooledCall("secret", b"call", utcnow()))

    (file,) = folder.glob("*.spool")
    assert file.stat().st_size > 0
    assert synced[-1] == file.stat().st_size
