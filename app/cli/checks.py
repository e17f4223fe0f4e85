"""What `doctor` looks at: each check gives one line that says what is wrong and what to do, or nothing."""

from __future__ import annotations

import secrets
import tempfile
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from pathlib import Path

from app.bitrix.errors import ClientRefused, PortalError
from app.services import services
from app.store import job_runs
from app.store.accounts import accounts
from app.store.database import StoreUnavailable
from app.store.database.secrets import SecretUnreadable
from app.store.database.trouble import explain
from app.store.figures import operations
from app.store.portals import portals, tokens
from app.transport import HttpAnswer, HttpClient, NotSent, Reach, TransportError

WITHIN_S = 5.0
APART_S = 5.0
SILENT = timedelta(days=1)
NOTED_EVERY = timedelta(minutes=10)  # several workers take turns in saying what they run with
WRONG_CLIENT = ("INVALID_CLIENT", "WRONG_CLIENT")
ASK_THE_DATABASE = "the database does not answer"


def clock() -> str:
    try:
        apart = abs((operations.database_time() - datetime.now(UTC)).total_seconds())
    except StoreUnavailable:
        return f"{ASK_THE_DATABASE}, so its clock cannot be compared"
    wrong = f"this machine and the database are {apart:.0f} s apart; set up time synchronisation"
    return wrong if apart >= APART_S else ""


def database() -> str:
    try:
        return operations.problem() or _too_few_connections()
    except StoreUnavailable as error:
        return explain(error)


def _too_few_connections() -> str:
    """Of this machine: its web processes and one worker. Other machines come on top."""
    allowed = operations.connections_allowed()
    config = services().config
    needed = (config.web_processes + 1) * operations.connections_of_a_process()
    if allowed is None or needed <= allowed:
        return ""
    return (
        f"{config.web_processes} web processes and a worker may open {needed} connections, and the server"
        f" lets {allowed} in; raise its max_connections, or lower WORKER_THREADS or WEB_CONCURRENCY"
    )


def engine() -> str:
    return services().engine.problem()


def worker() -> str:
    try:
        alive = operations.sweeper_is_alive(services().now(), within=services().timing.worker_patience)
        others = _other_workers()
    except StoreUnavailable:
        return ASK_THE_DATABASE
    if not alive:
        return "no worker has swept lately; start `flask --app app worker`"
    return f"a worker runs with another {', another '.join(others)} than this process" if others else ""


def _other_workers() -> list[str]:
    since = services().now() - 2 * services().timing.worker_patience - NOTED_EVERY
    return job_runs.other_setups(services().fingerprints(), since=since)


def last_call() -> tuple[str, str]:
    """When a portal last handed over a message, and what that is worth saying of: silence is a fault."""
    now = services().now()
    try:
        last = operations.last_handler_call_at()
        is_used = operations.has_portal_since(now - SILENT)
    except StoreUnavailable:
        return "", ""
    if last is not None and last > now - SILENT:
        return f"{last:%Y-%m-%d %H:%M:%S} UTC", ""
    since = f"since {last:%Y-%m-%d %H:%M:%S} UTC" if last else "yet"
    silence = f"no portal has handed over a message {since}: send one, and see whether it comes"
    return "", silence if is_used else ""


def keys() -> str:
    try:
        for portal in portals.all_portals()[:50]:
            tokens.service(portal.id)
            accounts.of_portal(portal.id)
    except SecretUnreadable as error:
        return f"{error}; put the key that sealed it back into ENCRYPTION_KEYS"
    except StoreUnavailable:
        return ASK_THE_DATABASE
    return ""


def folders() -> str:
    config = services().config
    wanted = {config.instance_dir, config.spool_dir, config.sqlite_file and config.sqlite_file.parent}
    for folder in sorted(filter(None, wanted)):
        there = next(place for place in (folder, *folder.parents) if place.exists())
        if problem := _problem_of(there):
            return f"{there} cannot be written: {problem}"
    return ""


def _problem_of(folder: Path) -> str:
    try:
        with tempfile.TemporaryFile(dir=folder):
            return ""
    except OSError as error:
        return error.strerror or type(error).__name__


def public_url() -> str:
    """Asked as a stranger would, over TLS that everybody trusts, and proved to be this installation."""
    config, challenge = services().config, secrets.token_hex(16)
    stranger = HttpClient(reach=Reach(everywhere=True), timeout_s=WITHIN_S)
    try:
        answer = stranger.request("GET", f"{config.public_url}/healthz", params={"challenge": challenge})
    except NotSent as error:
        return f"not reached from here: {error}"
    except TransportError as error:
        return f"no answer: {error}"
    if not answer.ok:
        return f"it answers HTTP {answer.status} at /healthz; does the proxy pass everything on to us?"
    proof = answer.header("installation")
    if not proof:
        return "something else answers there, or an earlier release of this product"
    if proof not in config.proofs(challenge):
        return "another installation answers there, or its processes have another SECRET_KEY"
    return ""


def server(origin: str) -> str:
    try:
        answer = services().http.request("GET", f"{origin}/rest/app.info", timeout_s=WITHIN_S)
    except TransportError as error:
        return f"not reached: {error}"
    return _clock_beside(answer)


def _clock_beside(answer: HttpAnswer) -> str:
    try:
        there = parsedate_to_datetime(answer.header("date"))
    except (TypeError, ValueError):
        return ""
    apart = abs((there - datetime.now(UTC)).total_seconds()) if there.tzinfo else 0.0
    return f"this machine's clock is {apart:.0f} s off; set up time synchronisation" if apart > 60 else ""


def application() -> str:
    """Whether the authorization server knows id and secret: asked with a refresh token that nobody has."""
    oauth = services().oauth
    try:
        oauth.refresh(oauth.servers[0], "0" * 32, now=services().now())
    except ClientRefused as error:
        if error.code in WRONG_CLIENT:
            return "Bitrix24 does not know this B24_CLIENT_ID with this B24_CLIENT_SECRET; see its card"
    except (PortalError, TransportError):
        pass  # what it should say of such a token; and who is not reached has a line of its own
    return ""


ALL: tuple[tuple[str, Callable[[], str]], ...] = (
    ("clock", clock),
    ("database", database),
    ("engine", engine),
    ("worker", worker),
    ("keys", keys),
    ("folders", folders),
    ("public address", public_url),
)
