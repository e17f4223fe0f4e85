"""Addresses of databases as platforms hand them out: used as they are, or refused with a sentence."""

from __future__ import annotations

import os
import ssl
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from app.config import ConfigError, load_config
from app.engine import _pool
from app.services import services
from app.store.database import db, statement
from sandbox.databases import Postgres, Redis, RedisSentinel, _give_to_postgres
from tests.worlds.certificates import self_signed
from tests.worlds.product import ENVIRONMENT, product


def _options(url: str) -> dict[str, Any]:
    pool = _pool(url, 1.0)
    return {"class": pool.connection_class.__name__, **pool.connection_kwargs}


def test_rediss_speaks_tls_with_user_and_password() -> None:
    options = _options("rediss://default:p%40ss%2Fword@cache.example.com:6380/2?ssl_cert_reqs=none")

    assert options["class"] == "SSLConnection"
    assert (options["username"], options["password"], options["db"]) == ("default", "p@ss/word", 2)
    assert ssl.VerifyMode.CERT_NONE in (options["ssl_cert_reqs"], ssl.CERT_NONE)


@pytest.mark.slow
def test_hints_travel_through_whoever_the_sentinels_call_the_primary(tmp_path: Path) -> None:
    with Redis() as server, RedisSentinel(server) as sentinel, product(tmp_path, REDIS_URL=sentinel.url(3)):
        assert services().engine.hint("purge", 1)
        assert services().engine.pending() == 1
        with server.connect(3) as direct:
            assert direct.dbsize() > 0


@pytest.mark.parametrize(
    "url",
    ["redis+sentinel://127.0.0.1:26379", "redis+sentinel://127.0.0.1:26379/", "sentinel://127.0.0.1/sms"],
)
def test_sentinels_without_a_service_are_refused(url: str) -> None:
    with pytest.raises(ConfigError, match="REDIS_URL"):
        load_config({**ENVIRONMENT, "REDIS_URL": url})


def test_the_sentinels_themselves_are_out_of_reach_for_settings() -> None:
    config = load_config({**ENVIRONMENT, "REDIS_URL": "redis+sentinel://one:26379,two/sms"})

    assert {("one", 26379), ("two", 26379)} <= set(config.own_services)


@pytest.fixture
def tls_cluster(tmp_path: Path) -> Any:
    """A PostgreSQL that takes TLS connections, and its certificate."""
    folder = Path(f"/tmp/sms-tls-{os.getpid()}")
    folder.mkdir(mode=0o755)
    both = self_signed(folder, "localhost")
    both.chmod(0o600)
    _give_to_postgres(folder, both)
    settings = {"ssl": "on", "ssl_cert_file": str(both), "ssl_key_file": str(both)}
    with Postgres(settings=settings) as cluster:
        yield cluster, both
    both.unlink()
    folder.rmdir()


@pytest.mark.slow
def test_postgres_with_sslmode_is_spoken_to_over_tls(tls_cluster: Any, tmp_path: Path) -> None:
    cluster, certificate = tls_cluster
    bare = cluster.create_database().replace("postgresql+psycopg://", "postgres://")
    with product(tmp_path, DATABASE_URL=f"{bare}?sslmode=verify-ca&sslrootcert={certificate}"):
        with statement() as connection:
            is_tls = connection.execute(
                sa.text("SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()")
            ).scalar()
        assert is_tls is True
        assert db.engine.url.drivername == "postgresql+psycopg"
