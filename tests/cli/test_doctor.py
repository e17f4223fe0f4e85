"""`doctor`: every mistake of the set-up has its line, and its cure."""

from __future__ import annotations

import errno
import json
import re
import tempfile
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from cryptography.fernet import Fernet
from flask import Flask

from app.domain.messages import HandedMessage
from app.gateways.kit.peer import Peer, answer
from app.jobs import sweep
from app.services import services
from app.store import job_runs
from app.store.database import writing
from app.store.messages import acceptance
from app.store.portals import portals as portal_store
from app.store.tables import portals
from sandbox.serving import Server
from tests.worlds.certificates import self_signed, server_tls
from tests.worlds.product import a_portal, product


def examined(app: Flask) -> dict[str, str]:
    """Check -> what is wrong with it."""
    result = app.test_cli_runner().invoke(args=["doctor", "--json"])
    found: list[dict[str, Any]] = json.loads(result.stdout)
    assert result.exit_code == int(any(not item["ok"] for item in found))
    return {item["check"]: item["problem"] for item in found}


# --- the address under which strangers reach us


def test_our_own_address_is_proved_to_be_ours(tmp_path: Path) -> None:
    web = Server(lambda environ, start: app.wsgi_app(environ, start))
    with product(tmp_path, ALLOW_PRIVATE_NETWORK="1", PUBLIC_URL=f"http://127.0.0.1:{web.port}") as app:
        web.start()
        found = examined(app)
        web.stop(grace_s=0.1)

    assert found["public address"] == ""


def test_another_installation_is_told_apart(tmp_path: Path) -> None:
    web = Server(lambda environ, start: other.wsgi_app(environ, start))
    address = {"ALLOW_PRIVATE_NETWORK": "1", "PUBLIC_URL": f"http://127.0.0.1:{web.port}"}
    with (
        product(tmp_path / "one", SECRET_KEY=Fernet.generate_key().decode(), **address) as other,
        product(tmp_path / "two", **address) as app,
    ):
        web.start()
        found = examined(app)
        web.stop(grace_s=0.1)

    assert found["public address"].startswith("another installation answers there")


@pytest.mark.parametrize(
    ("handler", "said"),
    [
        (answer("hello"), "something else answers there"),
        (
            answer("<h1>Bad gateway</h1>", "502 Bad Gateway"),
            "it answers HTTP 502 at /healthz; does the proxy",
        ),
        (answer("", "301 Moved", Location="https://127.0.0.1/"), "it answers HTTP 301 at /healthz"),
    ],
)
def test_something_else_at_our_address_is_said(
    tmp_path: Path, handler: Callable[..., Any], said: str
) -> None:
    with Peer(handler) as peer, product(tmp_path, ALLOW_PRIVATE_NETWORK="1", PUBLIC_URL=peer.url) as app:
        found = examined(app)

    assert found["public address"].startswith(said)


def test_a_certificate_that_strangers_do_not_trust_is_said(tmp_path: Path) -> None:
    certificate = self_signed(tmp_path, "localhost")
    with (
        Peer(answer("ok"), tls=server_tls(certificate)) as peer,
        product(tmp_path, PUBLIC_URL=f"https://localhost:{peer.port}") as app,
    ):
        found = examined(app)

    assert found["public address"] == (
        "not reached from here: the server's certificate is not valid for this host"
    )


# --- what all processes must have in common


@pytest.mark.parametrize("name", ["SECRET_KEY", "ENCRYPTION_KEYS", "B24_CLIENT_SECRET"])
def test_a_worker_with_other_keys_is_found(tmp_path: Path, name: str) -> None:
    with product(tmp_path):
        sweep.sweep(services())

    with product(tmp_path, **{name: Fernet.generate_key().decode()}) as app:
        assert examined(app)["worker"] == f"a worker runs with another {name} than this process"


def test_a_worker_with_another_redis_is_found(tmp_path: Path, redis_url: str) -> None:
    with product(tmp_path):
        sweep.sweep(services())

    with product(tmp_path, REDIS_URL=redis_url) as app:
        assert examined(app)["worker"] == "a worker runs with another REDIS_URL than this process"


def test_a_worker_like_this_one_is_fine_and_one_that_is_gone_is_forgotten(tmp_path: Path) -> None:
    with product(tmp_path) as app:
        sweep.sweep(services())
        old = services().now() - job_runs.SETUP_KEPT
        job_runs.note_setup({"SECRET_KEY": "of an age ago"}, now=old)

        assert examined(app)["worker"] == ""


# --- Bitrix24's side


UNKNOWN = "Bitrix24 does not know this B24_CLIENT_ID with this B24_CLIENT_SECRET; see its card"


@pytest.mark.parametrize(("word", "said"), [("invalid_client", UNKNOWN), ("invalid_grant", "")])
def test_a_wrong_client_secret_is_found(tmp_path: Path, word: str, said: str) -> None:
    refusal = answer(json.dumps({"error": word, "error_description": "x"}), "401 Unauthorized")
    with (
        Peer(refusal) as bitrix24,
        product(tmp_path, ALLOW_PRIVATE_NETWORK="1", B24_OAUTH_SERVERS=bitrix24.url) as app,
    ):
        assert examined(app)["application"] == said


def test_a_clock_that_is_off_is_seen_beside_bitrix24s(tmp_path: Path) -> None:
    dated = answer('{"error": "x"}', "401 Unauthorized", Date="Mon, 23 Nov 2020 10:00:00 GMT")
    with (
        Peer(dated) as bitrix24,
        product(tmp_path, ALLOW_PRIVATE_NETWORK="1", B24_OAUTH_SERVERS=bitrix24.url) as app,
    ):
        said = examined(app)[f"authorization server {bitrix24.url}"]

    assert said.startswith("this machine's clock is ")
    assert said.endswith(" s off; set up time synchronisation")


# --- this machine


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def read_only(**_: Any) -> None:
        raise OSError(errno.EROFS, "Read-only file system")

    with product(tmp_path, SPOOL_DIR=str(tmp_path / "spool")) as app:
        assert examined(app)["folders"] == ""
        monkeypatch.setattr(tempfile, "TemporaryFile", read_only)

        assert examined(app)["folders"].endswith(" cannot be written: Read-only file system")


def test_more_connections_than_the_server_lets_in_are_counted(tmp_path: Path, postgres_url: str) -> None:
    with product(tmp_path, DATABASE_URL=postgres_url) as app:
        assert examined(app)["database"] == ""
    with product(tmp_path, DATABASE_URL=postgres_url, WORKER_THREADS="400", WEB_CONCURRENCY="4") as app:
        said = examined(app)["database"]

    assert re.match(
        r"4 web processes and a worker may open 2\d{3} connections, and the server lets \d+ in;", said
    )


@pytest.mark.parametrize(
    ("slip", "meant"),
    [("APPNAME", "APP_NAME"), ("SENTRY_DNS", "SENTRY_DSN"), ("Redis_URL", "REDIS_URL")],
)
def test_a_misspelt_variable_is_named(tmp_path: Path, slip: str, meant: str) -> None:
    with product(tmp_path, **{slip: "x", "HOME": "/", "DATABASE_URL_OF_OTHERS": "x"}) as app:
        said = examined(app).get("configuration")

    assert said == f"{slip} is set, and nothing reads it: was {meant} meant?"


# --- the job engine


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda url: "redis://127.0.0.1:1/0", "start the server, or check host and port in REDIS_URL"),
        (lambda url: url.replace("://", "://nobody:wrong@"), "check user and password in REDIS_URL"),
        (lambda url: url.replace("redis://", "rediss://"), "rediss:// speaks TLS, redis:// does not"),
        (lambda url: url.rpartition("/")[0] + "/999", "check the number at the end of REDIS_URL"),
    ],
    ids=["port", "password", "tls", "number"],
)
def test_an_engine_that_does_not_answer_says_why(
    tmp_path: Path, redis_url: str, change: Callable[[str], str], said: str
) -> None:
    with product(tmp_path, REDIS_URL=redis_url) as app:
        assert examined(app)["engine"] == ""
    with product(tmp_path, REDIS_URL=change(redis_url)) as app:
        assert said in examined(app)["engine"]


# --- whether anything comes in


def test_silence_is_said_where_somebody_should_have_written(tmp_path: Path) -> None:
    with product(tmp_path) as app:
        portal = a_portal()
        assert examined(app)["last HANDLER call"] == ""  # it was installed just now
        week_ago = services().now() - timedelta(days=7)
        with writing() as connection:
            connection.execute(sa.update(portals).values(state="active", installed_at=week_ago))
        assert examined(app)["last HANDLER call"].startswith("no portal has handed over a message yet")

        handler = portal_store.for_test_message(portal.id)
        assert handler is not None
        accept = partial(acceptance.accept, handler, now=services().now(), timing=services().timing)
        accept(HandedMessage("ours", "+4915112345678", "A test of ours", "sms", origin="test"))
        assert examined(app)["last HANDLER call"] != ""
        accept(HandedMessage("theirs", "+4915112345678", "Hello", "sms"))
        found = app.test_cli_runner().invoke(args=["doctor"]).stdout

    assert re.search(r"^ok   last HANDLER call: 20", found, flags=re.MULTILINE)
