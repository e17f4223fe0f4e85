"""`flask --app app gateways ...`"""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click
from flask.cli import AppGroup

from app.cli.output import as_json, fail, portal_of, show
from app.gateway_accounts import AccountChanged, connect, keep_webhooks, move_webhooks
from app.gateways.base import Gateway, SettingsInvalid
from app.services import services
from app.store.accounts import accounts
from app.store.accounts.accounts import PortalRemoved
from app.store.portals import renewing

gateways_group = AppGroup("gateways", help="SMS gateways and the portals' accounts with them.")


@gateways_group.command("list")
@as_json
def gateways_list(as_json: bool) -> None:
    """The adapters of this build."""
    found = [
        {
            "slug": slug,
            "title": adapter.title,
            "kind": adapter.kind,
            "regions": list(adapter.regions),
            "capabilities": asdict(adapter.capabilities),
            "fields": [asdict(field) for field in adapter.fields],
        }
        for slug, adapter in services().gateways.adapters.items()
    ]
    show(found, [f"{item['slug']:<12} {item['title']}" for item in found], as_json=as_json)


@gateways_group.command("accounts")
@click.argument("member_id", required=False)
@click.option("--number", type=click.IntRange(1), help="The account that the log calls by it.")
@as_json
def gateways_accounts(member_id: str | None, number: int | None, as_json: bool) -> None:
    """The accounts of a portal, or one by its number, also one that was replaced; settings are not shown."""
    if (member_id is None) == (number is None):
        raise click.UsageError("give a portal's member id, or --number")
    one = accounts.by_id(number) if number is not None else None
    if number is not None and one is None:
        fail(f"no account has the number {number}")
    found = accounts.of_portal(portal_of(member_id).id) if member_id is not None else [one] if one else []
    data = [
        {
            "number": each.id,
            "member_id": each.member_id,
            "gateway": each.slug,
            "sends": each.is_default,
            "stopped_since": each.stopped_since,
            "stopped_why": each.stopped_reason,
            "is_silent": each.is_silent,
            "last_report_at": each.last_report_at,
            "replaced_at": each.retired_at,
        }
        for each in found
    ]
    lines = [f"{d['number']:>6}  {d['gateway']:<14} {_standing(d)}" for d in data]
    show(data, lines or ["no account"], as_json=as_json)


def _standing(account: dict[str, Any]) -> str:
    if account["replaced_at"]:
        return "replaced or removed"
    if account["stopped_since"]:
        return f"stopped: {account['stopped_why']}"
    return "does not answer" if account["is_silent"] else "sends" if account["sends"] else "stands by"


def _value(name: str, given: str) -> str:
    if given.startswith("@@") or not given.startswith("@"):
        return given.removeprefix("@") if given.startswith("@@") else given
    if given == "@-":
        return sys.stdin.read().strip()
    try:
        return Path(given[1:]).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not text in UTF-8"
        fail(f"{name}: the file {given[1:]} cannot be read: {reason}")


@gateways_group.command("set")
@click.argument("member_id")
@click.argument("slug")
@click.argument("settings", nargs=-1, metavar="[KEY=VALUE ...]")
@as_json
def gateways_set(member_id: str, slug: str, settings: tuple[str, ...], as_json: bool) -> None:
    """Connect a portal to a gateway; prints the report URL.

    A secret need not be seen in the list of processes: KEY=@FILE takes the value from a file, KEY=@- from the
    standard input. A value that begins with @ is written with two of them.
    """
    portal = portal_of(member_id)
    if any("=" not in item for item in settings):
        wrong = [item for item in settings if "=" not in item]
        fail(f"settings are KEY=VALUE, KEY=@FILE or KEY=@-; not understood: {', '.join(wrong)}")
    pairs = {name: _value(name, given) for name, _, given in (item.partition("=") for item in settings)}
    adapter = services().gateways.get(slug) or fail(
        f"no gateway is called {slug}; there are: {', '.join(services().gateways.adapters)}"
    )
    _warn_of_secrets(adapter, settings)
    try:
        account = connect(
            portal,
            adapter,
            pairs,
            reach=services().vendors.reach,
            now=services().now(),
        )
    except PortalRemoved as removed:
        fail(str(removed))
    except AccountChanged:
        fail("somebody else changed this account at the same time; look at it and run the command again")
    except SettingsInvalid as error:
        fail("\n".join(f"{name}: {text}" for name, text in error.errors.items()))
    gateway = services().gateway(account)
    problem = ""
    if gateway is not None and gateway.active_capabilities.webhooks:
        problem = keep_webhooks(gateway, services().report_url(account))
    if problem:
        click.echo(f"the gateway was not told where to report: {problem}", err=True)
    url = services().report_url(account)
    show({"gateway": slug, "report_url": url}, [f"connected; report URL: {url}"], as_json=as_json)


def _warn_of_secrets(adapter: type[Gateway], settings: tuple[str, ...]) -> None:
    """Said to a person only: who drives us by a program has chosen that way."""
    secret = {field.name for field in adapter.fields if field.secret}
    given = (item.partition("=") for item in settings)
    seen = [name for name, _, value in given if name in secret and not value.startswith("@")]
    if seen and sys.stderr.isatty():
        how = (
            "everybody on this machine can see it in the list of processes; KEY=@FILE or KEY=@- keeps it out"
        )
        click.echo(f"{', '.join(seen)}: {how}", err=True)


@gateways_group.command("renew-address")
@click.argument("member_id")
@click.argument("slug", required=False)
@as_json
def gateways_renew_address(member_id: str, slug: str | None, as_json: bool) -> None:
    """Give the address for reports a new secret; the old one is good for another 24 hours.

    SLUG chooses one of several accounts; without it, the one that sends.
    """
    portal = portal_of(member_id)
    mine = accounts.of_portal(portal.id)
    account = next((a for a in mine if (a.slug == slug if slug else a.is_default)), None)
    if account is None:
        fail(f"the portal has no account with {slug}" if slug else "the portal is not connected to a gateway")
    old_url = services().report_url(account)
    renewing.renew_report(portal, account.id, now=services().now())
    url = services().report_url(accounts.by_id(account.id) or account)
    gateway = services().gateway(account)
    if gateway is not None and (problem := move_webhooks(gateway, old_url, url)):
        click.echo(f"the gateway was not told where to report: {problem}", err=True)
    show({"gateway": account.slug, "report_url": url}, [f"renewed; report URL: {url}"], as_json=as_json)
