"""`flask --app app gateways ...`"""

from __future__ import annotations

from dataclasses import asdict

import click
from flask.cli import AppGroup

from app.cli.output import as_json, fail, portal_of, show
from app.gateway_accounts import connect
from app.gateways.base import SettingsInvalid
from app.services import services

gateways_group = AppGroup("gateways", help="SMS gateways and the portals' accounts with them.")


@gateways_group.command("list")
@as_json
def gateways_list(as_json: bool) -> None:
    """The adapters of this build."""
    found = [
        {
            "slug": slug,
            "title": adapter.title,
            "capabilities": asdict(adapter.capabilities),
            "fields": [asdict(field) for field in adapter.fields],
        }
        for slug, adapter in services().gateways.adapters.items()
    ]
    show(found, [f"{item['slug']:<12} {item['title']}" for item in found], as_json=as_json)


@gateways_group.command("set")
@click.argument("member_id")
@click.argument("slug")
@click.argument("settings", nargs=-1, metavar="[KEY=VALUE ...]")
@as_json
def gateways_set(member_id: str, slug: str, settings: tuple[str, ...], as_json: bool) -> None:
    """Connect a portal to a gateway; prints the report URL."""
    portal = portal_of(member_id)
    pairs = dict(item.partition("=")[::2] for item in settings)
    if wrong := [item for item in settings if "=" not in item]:
        fail(f"settings are KEY=VALUE; not understood: {', '.join(wrong)}")
    adapter = services().gateways.get(slug) or fail(
        f"no gateway is called {slug}; there are: {', '.join(services().gateways.adapters)}"
    )
    try:
        account = connect(
            portal,
            adapter,
            pairs,
            allow_private=services().config.allow_private_network,
            now=services().now(),
        )
    except SettingsInvalid as error:
        fail("\n".join(f"{name}: {text}" for name, text in error.errors.items()))
    url = services().report_url(account)
    show({"gateway": slug, "report_url": url}, [f"connected; report URL: {url}"], as_json=as_json)
