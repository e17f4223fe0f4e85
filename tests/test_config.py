"""The environment: what is missing or malformed is named in one line that says what it wants."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from base64 import urlsafe_b64encode
from pathlib import Path

import pytest
from cryptography.fernet import Fernet

from app import config
from app.config import DEFAULT_OAUTH_SERVERS, INSTANCE_DIR, ConfigError, load_config

GOOD = {
    "PUBLIC_URL": "https://sms.example.com/",
    "SECRET_KEY": "0123456789abcdef" * 2,
    # The same in every process: test runs on several cores compare the names of their tests.
    "ENCRYPTION_KEYS": "jyrVr6Wkg6urOKVY64mOEfaRUUoZayqV9_Sli3wOhh0=",
    "B24_CLIENT_ID": "app.1",
    "B24_CLIENT_SECRET": "secret",
}


def test_the_required_variables_are_enough() -> None:
    config = load_config(GOOD)

    assert config.public_url == "https://sms.example.com"
    assert config.is_sqlite
    assert config.oauth_servers == DEFAULT_OAUTH_SERVERS
    assert not config.allow_private_network
    assert config.timing.lease_s == 30
    assert config.spool_dir == INSTANCE_DIR / "spool"


def test_the_spool_is_turned_off_by_that_word_alone() -> None:
    assert load_config(GOOD | {"SPOOL_DIR": "off"}).spool_dir is None


@pytest.mark.parametrize("name", sorted(GOOD))
def test_a_missing_variable_is_named(name: str) -> None:
    with pytest.raises(ConfigError, match=name):
        load_config({key: value for key, value in GOOD.items() if key != name})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PUBLIC_URL", "sms.example.com"),
        ("PUBLIC_URL", "http://sms.example.com"),
        ("PUBLIC_URL", "https://user@sms.example.com"),
        ("PUBLIC_URL", "https://example.com/sms"),
        ("SECRET_KEY", "0123456789abcdef" * 2 + ","),
        ("SECRET_KEY", "a"),
        ("SECRET_KEY", "0123456789abcdef" * 2 + ",short"),
        ("SECRET_KEY", "0123456789abcdefghijklmnopqrstu"),  # 31 characters
        ("SECRET_KEY", "0123456789abcde" * 3),  # 15 different ones
        ("ENCRYPTION_KEYS", "not a key"),
        ("ENCRYPTION_KEYS", "cw_0x689RpI-jtRR7oE8h_eQsKImvJapLeSbXpwF4e4="),  # of the specification
        ("ENCRYPTION_KEYS", "A" * 43 + "="),
        ("ENCRYPTION_KEYS", GOOD["ENCRYPTION_KEYS"] + "," + "A" * 43 + "="),
        ("ENCRYPTION_KEYS", urlsafe_b64encode(bytes(range(32))).decode()),
        ("ENCRYPTION_KEYS", urlsafe_b64encode(b"correct horse battery staple 12!").decode()),
        ("ENCRYPTION_KEYS", urlsafe_b64encode(bytes(range(100, 200, 7)) * 2 + b"xy").decode()[:43] + "="),
        ("DATABASE_URL", "mysql://host/name"),
        ("DATABASE_URL", "sqlite:///:memory:"),
        ("REDIS_URL", "localhost:6379"),
        ("B24_OAUTH_SERVERS", "oauth.bitrix.info"),
        ("B24_OAUTH_SERVERS", "http://oauth.bitrix.info"),
        ("B24_OAUTH_SERVERS", "https://oauth.bitrix.info/rest/"),
        ("ALLOW_PRIVATE_NETWORK", "yes"),
        ("GATEWAY_HOSTS", "twilio=https://127.0.0.1:9001"),  # not without ALLOW_PRIVATE_NETWORK=1
        ("LOG_LEVEL", "LOUD"),
        ("SPOOL_DIR", "spool"),
        ("PRESETS_DIR", "presets"),
        ("PRESETS_DIR", "/nowhere/at/all"),
        ("SPOOL_DIR", "/etc/hostname"),
        ("SUPPORT_CONTACT", "call us"),
        ("SUPPORT_CONTACT", "javascript:alert(1)"),
        ("WORKER_THREADS", "0"),
        ("WORKER_THREADS", "many"),
        ("TIMING", "lease_s"),
        ("TIMING", "no_such_delay=1"),
        ("TIMING", "lease_s=10"),
    ],
)
def test_a_malformed_variable_is_named(name: str, value: str) -> None:
    with pytest.raises(ConfigError, match=name):
        load_config({**GOOD, name: value})


def test_every_fresh_key_is_good_for_both() -> None:
    for _ in range(200):
        load_config(
            {
                **GOOD,
                "ENCRYPTION_KEYS": Fernet.generate_key().decode(),
                "SECRET_KEY": Fernet.generate_key().decode(),
            }
        )


def test_platforms_write_postgres_urls_in_their_own_ways() -> None:
    for url in ("postgres://u:p@h/n", "postgresql://u:p@h/n", "postgresql+psycopg://u:p@h/n"):
        assert load_config({**GOOD, "DATABASE_URL": url}).database_url == "postgresql+psycopg://u:p@h/n"


def test_a_private_network_may_be_plain_http() -> None:
    config = load_config(
        {
            **GOOD,
            "ALLOW_PRIVATE_NETWORK": "1",
            "PUBLIC_URL": "http://10.0.0.5:8000",
            "B24_OAUTH_SERVERS": "http://127.0.0.1:9000, https://oauth.bitrix.info",
        }
    )

    assert config.oauth_servers == ("http://127.0.0.1:9000", "https://oauth.bitrix.info")


def test_doubles_of_vendors_are_pairs_of_slug_and_origin() -> None:
    config = load_config(
        {
            **GOOD,
            "ALLOW_PRIVATE_NETWORK": "1",
            "GATEWAY_HOSTS": "infobip=http://127.0.0.1:9001, smsc=https://[::1]:9002/,",
        }
    )

    assert config.gateway_hosts == {"infobip": "http://127.0.0.1:9001", "smsc": "https://[::1]:9002"}


@pytest.mark.parametrize(
    "value",
    ["infobip", "infobip=", "=http://a", "Infobip=http://a", "a=b", "a=http://b/c", "a=http://b,a=http://c"],
)
def test_a_double_that_cannot_be_read_is_named(value: str) -> None:
    with pytest.raises(ConfigError, match="GATEWAY_HOSTS"):
        load_config({**GOOD, "ALLOW_PRIVATE_NETWORK": "1", "GATEWAY_HOSTS": value})


def test_no_secret_is_in_the_printed_configuration() -> None:
    printed = repr(load_config(GOOD))

    assert not [
        name for name, value in GOOD.items() if ("KEY" in name or "SECRET" in name) and value in printed
    ]


def test_the_embedded_engine_lives_beside_the_database(tmp_path: Path) -> None:
    beside = load_config({**GOOD, "DATABASE_URL": f"sqlite:///{tmp_path}/data/sms.db"})
    default = load_config(GOOD)
    without_redis, another = (
        load_config({**GOOD, "DATABASE_URL": f"postgresql://u:p@h/{name}"}) for name in ("n", "another")
    )

    assert beside.engine_file == tmp_path / "data" / "sms.engine"
    assert default.engine_file == INSTANCE_DIR / "app.engine"
    assert without_redis.engine_file.parent == INSTANCE_DIR
    assert len({config.engine_file for config in (default, without_redis, another)}) == 3


def test_a_process_stops_with_one_line() -> None:
    environment = {name: value for name, value in os.environ.items() if name not in GOOD}

    ended = subprocess.run(
        [sys.executable, "-c", "from app import create_app; create_app()"],
        env={**environment, **GOOD, "B24_CLIENT_ID": ""},
        capture_output=True,
        text=True,
        check=False,
    )

    assert ended.returncode == 1
    assert ended.stderr.strip() == (
        "configuration: B24_CLIENT_ID is not set: it wants the application's id from its Bitrix24 card"
    )


_ODD = (
    "https://[::1", "https://host:abc", "https://host:99999", "https://\u202e", "https://-", "https://a b",
    "redis://host:abc", "redis://[", "unix://", "redis+sentinel://[/x", "redis+sentinel://a:1,b:2",
    "postgresql://u:p@h:abc/n", "postgresql://u:p%zz@h:/n", "postgresql://[::1/n", "postgresql:///",
    "sqlite:///", "²", "-1", "1e9", "9" * 20, "٣", "=", "x=https://[", "gateway:[::1", "gateway:",
    "portal:a:²", "lease_s=²", "lease_s=" + "9" * 400, "\x00", "ſ",
    "/", "~", "/dev/null", "/proc/1/x", "A" * 5000, "https://key@sentry.example.com/x", "sentry",
)  # fmt: skip
_VARIABLES = sorted(
    set(re.findall(r'environ(?:\.get\(|, )"([A-Z][A-Z0-9_]+)"', Path(config.__file__).read_text()))
)


@pytest.mark.parametrize("development", ["0", "1"])
@pytest.mark.parametrize("name", _VARIABLES)
def test_whatever_is_typed_is_understood_or_refused_in_one_line(name: str, development: str) -> None:
    for value in _ODD:
        try:
            load_config({**GOOD, "ALLOW_PRIVATE_NETWORK": development, name: value})
        except ConfigError as refused:
            assert name in str(refused) or name == "ALLOW_PRIVATE_NETWORK", (value, str(refused))
            assert "\n" not in str(refused)
            assert len(str(refused)) < 600
