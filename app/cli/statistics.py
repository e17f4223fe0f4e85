"""`flask --app app statistics ...`"""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime, timedelta

import click
from flask.cli import AppGroup

from app.cli.output import as_json, fail, portal_of, show
from app.services import services
from app.store.figures import counts
from app.store.portals import portals

statistics_group = AppGroup("statistics", help="The counts behind the statistics.")


@statistics_group.command("check")
@click.argument("member_id", required=False)
@click.option("--day", type=click.DateTime(["%Y-%m-%d"]), help="In UTC; default: yesterday.")
@as_json
def statistics_check(member_id: str | None, day: datetime | None, as_json: bool) -> None:
    """Count a day's messages anew and compare, for one portal or all; fails when something differs.

    Portals that have removed messages of that day already are left out: their counts are all that is left.
    """
    now = services().now()
    since = day.replace(tzinfo=UTC) if day else _midnight(now) - timedelta(days=1)
    asked = [portal_of(member_id)] if member_id else portals.all_portals()
    whole = [each for each in asked if since > now - timedelta(days=each.settings.row_days)]
    compared = ([portal.id for portal in whole], since, since + timedelta(days=1))
    found: list[counts.Difference | counts.SplitDifference] = [
        *counts.differences(*compared),
        *counts.split_differences(*compared),
    ]
    lines = [
        f"portal {each.portal_id}  {each.quarter:%H:%M}  {_what(each)}  counted {each.counted},"
        f" there are {each.rows}"
        for each in found
    ]
    told = f"{since:%Y-%m-%d}: {len(whole)} of {len(asked)} portals compared, all counts are right"
    show([asdict(each) for each in found], lines or [told], as_json=as_json)
    if found:
        fail(f"{len(found)} counts differ from the messages; please report it with these lines")


def _what(found: counts.Difference | counts.SplitDifference) -> str:
    if isinstance(found, counts.Difference):
        return f"{found.status} {found.reason}"
    return f"{found.split} {found.value}"


def _midnight(at: datetime) -> datetime:
    return at.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
