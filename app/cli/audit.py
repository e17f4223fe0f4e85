"""`flask --app app audit ...`"""

from __future__ import annotations

import json
from dataclasses import asdict
from datetime import UTC, datetime

import click
from flask.cli import AppGroup

from app.cli.output import as_json, show
from app.domain.audit import KINDS, Action, Who
from app.store import audit
from app.store.audit import Entry, Filters

audit_group = AppGroup("audit", help="Who changed, exported, erased or looked at what.")

_ACTIONS = [action.value for action in Action]
_day = click.DateTime(["%Y-%m-%d", "%Y-%m-%dT%H:%M:%S"])


@audit_group.command("list")
@click.argument("member_id", required=False, default="")
@click.option("--action", type=click.Choice([*KINDS, *_ACTIONS]), help="One of them, or a kind.")
@click.option("--who", type=click.Choice([who.value for who in Who]), help="Whose doing.")
@click.option("--name", default="", help="A user's number in the portal, or an operator's account@machine.")
@click.option("--since", type=_day, help="From this day or moment on, UTC.")
@click.option("--until", type=_day, help="Before this day or moment, UTC.")
@click.option("--limit", default=50, type=click.IntRange(1, 1_000_000))
@click.option("--before", type=click.IntRange(1), help="Only rows older than this number: the next page.")
@as_json
def audit_list(
    member_id: str,
    action: str | None,
    who: str | None,
    name: str,
    since: datetime | None,
    until: datetime | None,
    limit: int,
    before: int | None,
    as_json: bool,
) -> None:
    """The newest rows of one portal or of everything, newest first. They are kept for a year.

    A portal that was erased is found by its member id, too: by the row that says so.
    """
    filters = Filters(action=action or "", who=who or "", name=name, since=_utc(since), until=_utc(until))
    found = audit.everywhere(filters, member_id=member_id, limit=limit, before=before)
    lines = [_line(entry) for entry in found]
    show([asdict(entry) for entry in found], lines or ["no rows"], as_json=as_json)


def _utc(moment: datetime | None) -> datetime | None:
    return moment.replace(tzinfo=UTC) if moment else None


def _line(entry: Entry) -> str:
    actor = " ".join(filter(None, (entry.who, entry.name, entry.address)))
    change = " -> ".join(json.dumps(each, ensure_ascii=False) for each in (entry.before, entry.after) if each)
    line = f"{entry.at:%Y-%m-%d %H:%M:%S}  {entry.member_id or '-':<32}  {entry.action:<22} {entry.about}"
    return f"{line}  by {actor}  {change}".rstrip()
