"""`flask --app app purge`"""

from __future__ import annotations

import time
from typing import Any

import click

from app.cli.output import as_json, show
from app.domain.audit import Action
from app.domain.portals import Portal
from app.services import services
from app.store import audit
from app.store.database import overwrite_deleted
from app.store.portals import portals
from app.store.upkeep import retention
from app.store.upkeep.retention import Removed


@click.command()
@click.option("--dry-run", is_flag=True, help="Only count what would be removed.")
@as_json
def purge(dry_run: bool, as_json: bool) -> None:
    """Remove the texts and messages whose time is over by their portals' settings, without pauses.

    The sweeper does the same every hour, in small pieces.
    """
    if not dry_run:
        audit.note(Action.MESSAGES_PURGED, None)
    began = time.monotonic()
    found = [(portal, _count(portal) if dry_run else _remove(portal)) for portal in portals.all_portals()]
    if not dry_run:
        overwrite_deleted()
    total = sum((removed for _, removed in found), start=Removed())
    data: dict[str, Any] = {
        "dry_run": dry_run,
        "texts": total.texts,
        "messages": total.rows,
        "took_s": round(time.monotonic() - began, 3),
        "portals": [
            {"member_id": portal.member_id, "texts": removed.texts, "messages": removed.rows}
            for portal, removed in found
            if removed != Removed()
        ],
    }
    lines = [f"{p['member_id']}  texts: {p['texts']}  messages: {p['messages']}" for p in data["portals"]]
    word = "would be removed" if dry_run else "removed"
    show(data, [*lines, f"{word}: {total.texts} texts, {total.rows} messages"], as_json=as_json)


def _count(portal: Portal) -> Removed:
    return retention.count_due(portal, now=services().now())


def _remove(portal: Portal) -> Removed:
    return sum(retention.purge(portal, now=services().now()), start=Removed())
