"""The environment, read once into a frozen, typed `Config`. Nothing else reads a variable."""

from __future__ import annotations

import base64
import hashlib
import hmac
import ipaddress
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from itertools import pairwise
from pathlib import Path
from typing import Literal
from urllib.parse import SplitResult, parse_qs, urlsplit

from cryptography.fernet import Fernet
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError

from app.domain.hosts import ascii_host, ascii_url
from app.domain.retry import Timing
from app.misspelt import Watched

INSTANCE_DIR = Path(__file__).resolve().parent.parent / "instance"
DEFAULT_OAUTH_SERVERS = (
    "https://oauth.bitrix.info",
    "https://oauth.bitrix24.tech",
    "https://oauth.bitrix24.info",
)
LONG_ENOUGH = 32
DIFFERENT_ENOUGH = 16
PUBLISHED_KEYS = frozenset({"cw_0x689RpI-jtRR7oE8h_eQsKImvJapLeSbXpwF4e4="})  # of the Fernet specification
SENTINEL_SCHEMES = ("redis+sentinel", "rediss+sentinel")
LOG_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR")


class ConfigError(Exception):
    """A variable is missing or malformed; the text names it and says what it wants."""


@dataclass(frozen=True)
class PrivateHost:
    """An entry of PRIVATE_HOSTS: a host, an address or a network, at one port or at all."""

    kind: Literal["gateway", "portal"]
    place: str
    port: int | None


@dataclass(frozen=True)
class Config:
    """What the operator chose. Secrets are not in the repr."""

    public_url: str
    database_url: str
    redis_url: str
    secret_keys: tuple[str, ...] = field(repr=False)
    encryption_keys: tuple[str, ...] = field(repr=False)
    client_id: str
    client_secret: str = field(repr=False)
    oauth_servers: tuple[str, ...] = DEFAULT_OAUTH_SERVERS
    allow_private_network: bool = False
    private_hosts: tuple[PrivateHost, ...] = ()
    gateway_hosts: Mapping[str, str] = field(default_factory=dict)  # slug -> origin of a vendor's double
    demo_gateway: str = "marked"  # off; marked: the portal is told "failed"; full: what the digits say
    gateways_allow: tuple[str, ...] = ()  # adapters of other packages that may be loaded
    presets_dir: Path | None = None  # gateways that the operator describes
    app_name: str = "SMS Provider"
    log_level: str = "INFO"
    sentry_dsn: str = field(default="", repr=False)
    metrics_token: str = field(default="", repr=False)
    support_contact: str = ""  # a mail or web address for administrators who need help
    operator_name: str = ""  # who runs this, in the privacy policy and the licence agreement
    privacy_url: str = ""  # the operator's own pages, in place of /privacy and /license
    license_url: str = ""
    worker_threads: int = 16
    spool_dir: Path | None = None
    web_processes: int = 2
    timing: Timing = field(default_factory=Timing)
    slips: tuple[tuple[str, str], ...] = ()  # variables that are set and not read, and what was likely meant

    @property
    def secrets(self) -> tuple[str, ...]:
        """What nobody may read in a log."""
        passwords = (urlsplit(url).password or "" for url in (self.database_url, self.redis_url))
        single = (self.client_secret, self.sentry_dsn, self.metrics_token)
        return tuple(filter(None, (*self.secret_keys, *self.encryption_keys, *single, *passwords)))

    @property
    def warnings(self) -> tuple[str, ...]:
        """What the operator should know, said at every start and by `doctor`."""
        found = []
        if self.allow_private_network:
            found.append(
                "ALLOW_PRIVATE_NETWORK=1: administrators of every portal can make this server call private"
                " addresses; for development only, in operation list what is needed in PRIVATE_HOSTS"
            )
        if self.gateway_hosts:
            found.append(
                f"GATEWAY_HOSTS: messages of {', '.join(self.gateway_hosts)} go to doubles, not to phones"
            )
        found += [f"{name} is set, and nothing reads it: was {meant} meant?" for name, meant in self.slips]
        return tuple(found)

    def proofs(self, challenge: str) -> tuple[str, ...]:
        """What a process of this installation answers to a challenge. The first is the answer; all of them
        count, while SECRET_KEY is being changed."""
        return tuple(
            hmac.new(f"installation:{key}".encode(), challenge.encode(), hashlib.sha256).hexdigest()
            for key in self.secret_keys
        )

    def fingerprints(self) -> dict[str, str]:
        """What all processes of an installation must have in common, as digests that tell nothing of it."""
        shared = {
            "SECRET_KEY": ",".join(self.secret_keys),
            "ENCRYPTION_KEYS": ",".join(self.encryption_keys),
            "B24_CLIENT_SECRET": f"{self.client_id}:{self.client_secret}",
        }
        return {
            name: hashlib.sha256(f"fingerprint:{name}:{value}".encode()).hexdigest()[:12]
            for name, value in shared.items()
        }

    @property
    def own_services(self) -> tuple[tuple[str, int], ...]:
        """Host and port of our database and Redis, which nobody's settings may lead us to."""
        found = [] if self.is_sqlite else _places(self.database_url, 5432)
        usual_port = 26379 if self.redis_url.startswith(SENTINEL_SCHEMES) else 6379
        return (*found, *(_places(self.redis_url, usual_port) if self.redis_url else ()))

    @property
    def instance_dir(self) -> Path:
        return INSTANCE_DIR

    @property
    def is_sqlite(self) -> bool:
        return self.database_url.startswith("sqlite")

    @property
    def engine_file(self) -> Path:
        """The embedded job engine's own file, beside the database; each database has its own."""
        if self.sqlite_file is not None:
            return self.sqlite_file.with_suffix(".engine")
        return INSTANCE_DIR / f"{hashlib.sha256(self.database_url.encode()).hexdigest()[:12]}.engine"

    @property
    def sqlite_file(self) -> Path | None:
        return Path(self.database_url.removeprefix("sqlite:///")) if self.is_sqlite else None


def load_config(environ: Mapping[str, str]) -> Config:
    """Read and check the whole environment.

    Raises:
        ConfigError: one line that names the variable and says what it wants.
    """
    environ = watched = Watched(environ)
    allow_private = _flag(environ, "ALLOW_PRIVATE_NETWORK")
    private_hosts = _private_hosts(environ.get("PRIVATE_HOSTS", ""))
    config = Config(
        public_url=_origin(
            _required(environ, "PUBLIC_URL", "the base URL under which Bitrix24 reaches us"),
            "PUBLIC_URL",
            http_ok=allow_private,
        ),
        database_url=_database_url(environ.get("DATABASE_URL", "")),
        redis_url=_redis_url(environ.get("REDIS_URL", "")),
        secret_keys=_secret_keys(environ),
        encryption_keys=_encryption_keys(environ),
        client_id=_required(environ, "B24_CLIENT_ID", "the application's id from its Bitrix24 card"),
        client_secret=_required(environ, "B24_CLIENT_SECRET", "the application's key from its Bitrix24 card"),
        oauth_servers=_oauth_servers(
            environ.get("B24_OAUTH_SERVERS", ""),
            http_ok=allow_private or any(item.kind == "portal" for item in private_hosts),
        ),
        allow_private_network=allow_private,
        private_hosts=private_hosts,
        gateway_hosts=_gateway_hosts(environ.get("GATEWAY_HOSTS", ""), is_development=allow_private),
        demo_gateway=_choice(environ, "DEMO_GATEWAY", ("marked", "off", "full")),
        gateways_allow=_names(environ, "GATEWAYS_ALLOW"),
        presets_dir=_presets_dir(environ.get("PRESETS_DIR", "")),
        app_name=environ.get("APP_NAME", "").strip() or "SMS Provider",
        log_level=_log_level(environ.get("LOG_LEVEL", "INFO")),
        sentry_dsn=_dsn(environ.get("SENTRY_DSN", "")),
        metrics_token=environ.get("METRICS_TOKEN", ""),
        support_contact=_contact(environ.get("SUPPORT_CONTACT", "")),
        operator_name=environ.get("OPERATOR_NAME", "").strip(),
        privacy_url=_page_url(environ, "PRIVACY_URL"),
        license_url=_page_url(environ, "LICENSE_URL"),
        worker_threads=_whole_number(environ, "WORKER_THREADS", 16),
        spool_dir=_spool_dir(environ.get("SPOOL_DIR", "")),
        web_processes=_whole_number(environ, "WEB_CONCURRENCY", 2),
        timing=_timing(environ.get("TIMING", "")),
    )
    return replace(config, slips=watched.slips())


def _required(environ: Mapping[str, str], name: str, meaning: str) -> str:
    value = environ.get(name, "").strip()
    if not value:
        raise ConfigError(f"{name} is not set: it wants {meaning}")
    return value


def _flag(environ: Mapping[str, str], name: str) -> bool:
    value = environ.get(name, "0").strip() or "0"
    if value not in ("0", "1"):
        raise ConfigError(f"{name} wants 0 or 1")
    return value == "1"


def _choice(environ: Mapping[str, str], name: str, words: tuple[str, ...]) -> str:
    """One of these words, the first where nothing is said."""
    value = environ.get(name, "").strip().lower() or words[0]
    if value not in words:
        raise ConfigError(f"{name} wants one of {', '.join(words)}")
    return value


def _names(environ: Mapping[str, str], name: str) -> tuple[str, ...]:
    names = tuple(part.strip() for part in environ.get(name, "").split(",") if part.strip())
    if not all(re.fullmatch(r"[a-z][a-z0-9_]{0,31}", word) for word in names):
        raise ConfigError(f"{name} wants slugs of gateways, separated by commas")
    return names


def _spool_dir(value: str) -> Path | None:
    """Where calls are kept while the database takes none; the folder is made with the first of them."""
    value = value.strip()
    if value == "off":
        return None
    folder = Path(value) if value else INSTANCE_DIR / "spool"
    try:
        there = next(place for place in (folder, *folder.parents) if place.exists())
        is_ours = there.is_dir() and os.access(there, os.W_OK | os.X_OK)
    except (OSError, ValueError):  # a name that no file can have
        is_ours = False
    if not folder.is_absolute() or not is_ours:
        wanted = "the absolute path of a folder that we may write, or `off`"
        raise ConfigError(f"SPOOL_DIR wants {wanted}; {str(folder)[:200]!r} is none")
    return folder


def _presets_dir(value: str) -> Path | None:
    if not value.strip():
        return None
    folder = Path(value.strip())
    try:
        is_one = folder.is_absolute() and folder.is_dir() and os.access(folder, os.R_OK | os.X_OK)
    except (OSError, ValueError):
        is_one = False
    if not is_one:
        raise ConfigError(
            f"PRESETS_DIR wants the absolute path of a folder that we may read; {str(folder)[:200]!r} is none"
        )
    return folder


def _whole_number(environ: Mapping[str, str], name: str, default: int) -> int:
    value = environ.get(name, "").strip() or str(default)
    if not (value.isascii() and value.isdigit() and int(value)):
        raise ConfigError(f"{name} wants a whole number of 1 or more")
    return int(value)


def _split(value: str, name: str, wanted: str) -> SplitResult:
    try:
        parts = urlsplit(value)
        _ = parts.port  # raises, too
    except ValueError as error:
        raise ConfigError(f"{name} wants {wanted}: {str(error)[:80]}") from None
    return parts


def _origin(value: str, name: str, *, http_ok: bool) -> str:
    parts = _split(value, name, "an address such as https://sms.example.com")
    if parts.scheme not in (("https", "http") if http_ok else ("https",)):
        wanted = "http:// or https://" if http_ok else "https:// (http is for private networks)"
        raise ConfigError(f"{name} wants an address that begins with {wanted}")
    bare = not (parts.query or parts.fragment or parts.username) and parts.path in ("", "/")
    if not parts.hostname or not bare:
        # With a path our pages' own links and the proxy would have to agree about it: a host name is free.
        raise ConfigError(f"{name} wants scheme and host only, such as https://sms.example.com; no path")
    return ascii_url(value).rstrip("/")


def _oauth_servers(value: str, *, http_ok: bool) -> tuple[str, ...]:
    servers = [part.strip() for part in value.split(",") if part.strip()]
    if not servers:
        return DEFAULT_OAUTH_SERVERS
    return tuple(_origin(server, "B24_OAUTH_SERVERS", http_ok=http_ok) for server in servers)


def _places(url: str, usual_port: int) -> tuple[tuple[str, int], ...]:
    """Where a service listens; behind a socket in the file system, at its usual port on this machine, too."""
    parts = urlsplit(url)
    query = parse_qs(parts.query)
    named = ",".join(query.get("host", [])) or parts.netloc.rpartition("@")[2]
    ports = ",".join(query.get("port", [])).split(",")
    found = []
    for position, place in enumerate(named.split(",")):
        host, port = _host_and_port(place)
        port = port or (ports[min(position, len(ports) - 1)] or str(usual_port))
        found.append(
            (
                "localhost" if not host or host.startswith("/") else host,
                int(port) if port.isdigit() else usual_port,
            )
        )
    return tuple(found)


def _host_and_port(place: str) -> tuple[str, str]:
    """`host`, `host:port`, `[::1]:port`; an IPv6 address or network may stand alone."""
    if place.startswith("["):
        host, _, port = place[1:].partition("]")
        return host, port.removeprefix(":")
    if place.count(":") > 1:
        return place, ""
    host, _, port = place.partition(":")
    return host, port


def _private_hosts(value: str) -> tuple[PrivateHost, ...]:
    found = []
    for item in filter(None, (part.strip() for part in value.split(","))):
        kind, _, place = item.partition(":")
        host, port = _host_and_port(place)
        if not _is_place(host) or not _is_port(port):
            kind = ""
        if kind not in ("gateway", "portal"):
            raise ConfigError(
                "PRIVATE_HOSTS wants gateway: or portal: entries, such as gateway:kannel.internal:13013 or"
                f" portal:10.1.2.0/24; not understood: {item[:60]!r}"
            )
        found.append(
            PrivateHost(
                "portal" if kind == "portal" else "gateway", ascii_host(host), int(port) if port else None
            )
        )
    return tuple(found)


def _is_port(text: str) -> bool:
    return not text or (text.isascii() and text.isdigit() and 0 < int(text) < 65_536)


def _is_place(text: str) -> bool:
    try:
        ipaddress.ip_network(text)
    except ValueError:
        try:
            return bool(re.fullmatch(r"[a-z0-9_]([a-z0-9._-]{0,251}[a-z0-9])?", ascii_host(text)))
        except ValueError:
            return False
    return True


def _gateway_hosts(value: str, *, is_development: bool) -> dict[str, str]:
    """Where a vendor's double listens. Credentials go there, so an operation must not have it by mistake."""
    found: dict[str, str] = {}
    for item in filter(None, (part.strip() for part in value.split(","))):
        slug, _, origin = item.partition("=")
        if not re.fullmatch(r"[a-z][a-z0-9_]{0,31}", slug) or not origin or slug in found:
            raise ConfigError(
                "GATEWAY_HOSTS wants slug=origin pairs, each slug once, such as"
                " infobip=http://127.0.0.1:9001,smsc=http://127.0.0.1:9002"
            )
        found[slug] = _origin(origin, "GATEWAY_HOSTS", http_ok=True)
    if found and not is_development:
        raise ConfigError("GATEWAY_HOSTS is for development: it needs ALLOW_PRIVATE_NETWORK=1")
    return found


def _database_url(value: str) -> str:
    value = value.strip() or "sqlite:///app.db"
    if value.startswith(("postgres://", "postgresql://")):  # platforms write these; we speak psycopg 3
        value = "postgresql+psycopg://" + value.split("://", 1)[1]
    if not value.startswith(("sqlite:///", "postgresql+psycopg://")) or value == "sqlite:///:memory:":
        raise ConfigError("DATABASE_URL wants sqlite:///path/to/file.db or postgresql://user@host/name")
    if value.startswith("sqlite"):
        return f"sqlite:///{INSTANCE_DIR / value.removeprefix('sqlite:///')}"
    try:
        make_url(value)
    except (ValueError, ArgumentError) as error:
        # What it says may quote the address, password and all.
        wanted = "postgresql://user:password@host:port/name, with special characters of a password as %XX"
        raise ConfigError(f"DATABASE_URL wants {wanted} ({type(error).__name__})") from None
    return value


def _redis_url(value: str) -> str:
    value = value.strip()
    schemes = ("redis://", "rediss://", "unix://", *(f"{scheme}://" for scheme in SENTINEL_SCHEMES))
    if value and not value.startswith(schemes):
        raise ConfigError(
            "REDIS_URL wants redis://host:port/number, redis+sentinel://host:port,host:port/service,"
            " or nothing for the embedded engine"
        )
    # Sentinels may be many, each with its port.
    parts = _split(value.partition(",")[0], "REDIS_URL", "redis://host:port/number")
    if value.startswith(schemes[3:]) and not value.removeprefix(f"{parts.scheme}://").partition("/")[2].strip(
        "/"
    ):
        raise ConfigError("REDIS_URL wants the name of the service behind its sentinels: .../service")
    return value


def _page_url(environ: Mapping[str, str], name: str) -> str:
    value = environ.get(name, "").strip()
    if value and not re.fullmatch(r"https://[^\s/]+\S*", value):
        raise ConfigError(f"{name} wants the https:// address of a page, or nothing for our own")
    return value


def _dsn(value: str) -> str:
    value = value.strip()
    wanted = "the address that Sentry shows for a project, such as https://key@sentry.example.com/1"
    parts = _split(value, "SENTRY_DSN", wanted)
    is_one = parts.scheme in ("http", "https") and parts.username and parts.hostname
    if value and not (is_one and parts.path.rpartition("/")[2].isdecimal()):
        raise ConfigError(f"SENTRY_DSN wants {wanted}, or nothing")
    return value


def _contact(value: str) -> str:
    value = value.strip()
    if value and not re.fullmatch(r"https://[^\s/]+\S*|[^\s@:/]+@[^\s@:/]+\.[^\s@:/]+", value):
        raise ConfigError("SUPPORT_CONTACT wants a mail address or an https:// address, or nothing")
    return value


def _secret_keys(environ: Mapping[str, str]) -> tuple[str, ...]:
    wanted = f"random texts of {LONG_ENOUGH} characters or more, at least {DIFFERENT_ENOUGH} different ones"
    wanted = f"{wanted}; `python -m app.newkey` prints one"
    text = _required(environ, "SECRET_KEY", wanted)
    keys = tuple(key.strip() for key in text.split(","))
    if not all(keys):
        raise ConfigError(f"SECRET_KEY wants {wanted}, separated by commas; one of them is empty")
    if any(len(key) < LONG_ENOUGH or len(set(key)) < DIFFERENT_ENOUGH for key in keys):
        raise ConfigError(f"SECRET_KEY wants {wanted}; one of them could be guessed")
    return keys


def _encryption_keys(environ: Mapping[str, str]) -> tuple[str, ...]:
    text = _required(environ, "ENCRYPTION_KEYS", "a Fernet key; `python -m app.newkey` prints one")
    keys = tuple(key.strip() for key in text.split(","))
    for key in keys:
        try:
            Fernet(key)
        except ValueError:
            raise ConfigError(
                "ENCRYPTION_KEYS wants Fernet keys (44 characters), separated by commas;"
                " `python -m app.newkey` prints one"
            ) from None
        if _can_be_guessed(key):
            raise ConfigError(
                "ENCRYPTION_KEYS wants random Fernet keys, and one of them could be guessed;"
                " `python -m app.newkey` prints one"
            )
    return keys


def _can_be_guessed(key: str) -> bool:
    """A published key, one made of a text or with a pattern: what 32 random bytes never are."""
    plain = base64.urlsafe_b64decode(key)
    steps = {(after - before) % 256 for before, after in pairwise(plain)}
    return (
        key in PUBLISHED_KEYS
        or len(set(plain)) < DIFFERENT_ENOUGH
        or len(steps) < DIFFERENT_ENOUGH // 2
        or plain[:16] == plain[16:]
        or all(32 <= byte < 127 for byte in plain)
    )


def _log_level(value: str) -> str:
    level = value.strip().upper() or "INFO"
    if level not in LOG_LEVELS:
        raise ConfigError(f"LOG_LEVEL wants one of {', '.join(LOG_LEVELS)}")
    return level


def _timing(value: str) -> Timing:
    known = {f.name for f in fields(Timing)}
    changes: dict[str, float] = {}
    for item in filter(None, (part.strip() for part in value.split(","))):
        name, _, number = item.partition("=")
        if name not in known or not re.fullmatch(r"\d+(\.\d+)?", number):
            raise ConfigError(f"TIMING wants name=seconds pairs; not understood: {item[:60]!r}")
        changes[name] = int(float(number)) if name == "retry_limit" else float(number)
    timing = replace(Timing(), **changes)  # type: ignore[arg-type]
    if timing.gateway_deadline_s >= timing.lease_s:
        raise ConfigError("TIMING wants gateway_deadline_s well below lease_s")
    return timing
