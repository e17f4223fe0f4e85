"""`flask --app app workers ...`: the processes that take work, on all machines."""

from __future__ import annotations

from dataclasses import asdict
from datetime import timedelta

import click
from flask.cli import AppGroup

from app.cli.output import as_json, fail, show
from app.services import services
from app.store import instances
from app.store.instances import Instance

workers_group = AppGroup("workers", help="The processes that take work, on all machines.")

SILENT = timedelta(seconds=30)


@workers_group.command("list")
@as_json
def workers_list(as_json: bool) -> None:
    """Workers and keepers of lines, with what they do."""
    drained = set(instances.drained())
    found = instances.all_instances()
    data = [
        {**asdict(each), "is_alive": _is_alive(each), "host_is_drained": each.host in drained}
        for each in found
    ]
    lines = [
        f"{each.name:<40} {each.version:<8} {each.state if _is_alive(each) else 'silent':<9}"
        f" since {each.started_at:%Y-%m-%d %H:%M}"
        for each in found
    ]
    lines += [f"{host}: takes no work" for host in sorted(drained)]
    show(data, lines or ["no worker runs"], as_json=as_json)


def _is_alive(each: Instance) -> bool:
    return services().now() - each.seen_at < SILENT


@workers_group.command("drain")
@click.argument("host")
@as_json
def workers_drain(host: str, as_json: bool) -> None:
    """Let a machine take no more work: its processes finish what is open and rest. /readyz says 503."""
    hosts = {each.host for each in instances.all_instances()}
    if host not in hosts:
        fail(f"no worker runs on {host}; they run on: {', '.join(sorted(hosts)) or 'no machine'}")
    if not instances.drain(host, now=services().now()):
        fail(f"{host} is drained already")
    show({"host": host, "drained": True}, ["`workers list` shows when it has come to rest"], as_json=as_json)


@workers_group.command("continue")
@click.argument("host")
@as_json
def workers_continue(host: str, as_json: bool) -> None:
    """Let a machine take work again."""
    if not instances.end_drain(host):
        fail(f"{host} is not drained")
    show({"host": host, "drained": False}, ["its processes take work again"], as_json=as_json)
