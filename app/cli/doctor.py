"""`flask --app app doctor`"""

from __future__ import annotations

import sys
from datetime import UTC, datetime

import click

from app.cli.output import as_json, show
from app.services import services
from app.store import accounts, health, portals, tokens
from app.store.database import StoreUnavailable
from app.store.secrets import SecretUnreadable
from app.store.trouble import explain
from app.transport import TransportError


@click.command()
@as_json
def doctor(as_json: bool) -> None:
    """Check clock, database, engine, worker, keys and the authorization servers."""
    checks = [
        ("clock", _check_clock()),
        ("database", _check_database()),
        ("engine", _check_engine()),
        ("worker", _check_worker()),
        ("keys", _check_keys()),
        *(
            (f"authorization server {server}", _check_server(server))
            for server in services().config.oauth_servers
        ),
    ]
    warnings = services().config.warnings
    data = [{"check": name, "ok": not problem, "problem": problem} for name, problem in checks]
    data += [{"check": "development", "ok": True, "problem": warning} for warning in warnings]
    lines = [f"{'ok  ' if not p else 'FAIL'} {name}{': ' + p if p else ''}" for name, p in checks]
    lines += [f"WARN development: {warning}" for warning in warnings]
    show(data, lines, as_json=as_json)
    if any(problem for _, problem in checks):
        sys.exit(1)


def _check_clock() -> str:
    try:
        apart = abs((health.database_time() - datetime.now(UTC)).total_seconds())
    except StoreUnavailable:
        return "the database does not answer, so its clock cannot be compared"
    return (
        ""
        if apart < 5
        else f"this machine and the database are {apart:.0f} s apart; set up time synchronisation"
    )


def _check_database() -> str:
    try:
        return health.problem()
    except StoreUnavailable as error:
        return explain(error)


def _check_engine() -> str:
    return (
        "" if services().engine.pending() is not None else "does not answer; check REDIS_URL and the server"
    )


def _check_worker() -> str:
    try:
        alive = health.sweeper_is_alive(services().now(), within=services().timing.worker_patience)
    except StoreUnavailable:
        return "the database does not answer"
    return "" if alive else "no worker has swept lately; start `flask --app app worker`"


def _check_keys() -> str:
    try:
        for portal in portals.all_portals()[:50]:
            tokens.service(portal.id)
            accounts.of_portal(portal.id)
    except SecretUnreadable as error:
        return f"{error}; put the key that sealed it back into ENCRYPTION_KEYS"
    except StoreUnavailable:
        return "the database does not answer"
    return ""


def _check_server(server: str) -> str:
    try:
        services().http.request("GET", f"{server}/rest/app.info", timeout_s=5)
    except TransportError as error:
        return f"not reached: {error}"
    return ""
