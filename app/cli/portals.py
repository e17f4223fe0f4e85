"""`flask --app app portals ...`"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Any

import click
from flask.cli import AppGroup

from app.actions.pause import continue_portal, pause_portal
from app.bitrix.errors import is_known_code
from app.cli.output import as_json, fail, plain, portal_of, show
from app.domain.portals import PortalState
from app.services import services
from app.store.figures import fleet
from app.store.figures.fleet import Row, Wanted
from app.store.portals import events, portals, rest_log
from app.words.portal_states import meaning_of

portals_group = AppGroup("portals", help="Portals that installed the application.")


def _facts(rows: Sequence[Row]) -> list[dict[str, Any]]:
    mine = fleet.senders_of([row.id for row in rows])
    return [_portal_facts(row, mine[row.id]) for row in rows]


def _portal_facts(row: Row, its_senders: list[dict[str, Any]]) -> dict[str, Any]:
    now = services().now()
    return {
        "member_id": row.member_id,
        "install": row.id,
        "state": row.state,
        "state_reason": row.state_reason,
        "meaning": meaning_of(row.state, row.state_reason),
        "domain": row.domain,
        "version": row.app_version,
        "installed_at": row.installed_at,
        "finished_at": row.finished_at,
        "paused_at": row.paused_at,
        "paused_why": row.paused_why,
        "senders": its_senders,
        "gateway": row.gateway,
        "token_age_s": int((now - row.refreshed_at).total_seconds()) if row.refreshed_at else None,
        "token_problem": "no administrator's token" if row.token_problem is None else row.token_problem,
        "backlog": row.backlog,
        "oldest_due_s": _overdue_s(row.oldest_due_at, now),
        "last_handler_call_at": row.last_handler_call_at,
        "last_day": {
            "messages": row.recent,
            "failed": row.failed,
            "failed_share": round(row.failed / row.recent, 4) if row.recent else None,
        },
        "last_pushed_at": row.last_pushed_at,
    }


def _overdue_s(due_at: datetime | None, now: datetime) -> int:
    return max(0, int((now - due_at).total_seconds())) if due_at else 0


@portals_group.command("list")
@click.option("--state", "states", multiple=True, type=click.Choice([s.value for s in PortalState]))
@click.option("--gateway", default="", metavar="SLUG", help="Only portals that send with this one.")
@click.option("--search", default="", metavar="TEXT", help="A part of the domain or of the member id.")
@click.option("--paused", "only_paused", is_flag=True, help="Only portals that are paused.")
@click.option("--sort", default="installed", type=click.Choice(fleet.SORTS), help="The worst first.")
@click.option("--limit", type=click.IntRange(1), help="As many as these; else all.")
@click.option("--offset", default=0, type=click.IntRange(0), help="Leave out so many: the next page.")
@as_json
def portals_list(
    states: tuple[str, ...],
    gateway: str,
    search: str,
    only_paused: bool,
    sort: str,
    limit: int | None,
    offset: int,
    as_json: bool,
) -> None:
    """All installs, or those that are asked for."""
    wanted = Wanted("", tuple(map(PortalState, states)), gateway, search, only_paused)
    rows = fleet.page(wanted, now=services().now(), sort=sort, limit=limit, offset=offset)
    facts = _facts(rows)
    show(facts, [_line(each) for each in facts] or [_nothing(wanted)], as_json=as_json)


def _line(facts: dict[str, Any]) -> str:
    last = facts["last_handler_call_at"]
    return (
        f"{facts['member_id']}  {'paused' if facts['paused_at'] else facts['state']:<12}"
        f" {facts['domain']:<40} {facts['gateway'] or 'no gateway':<14}"
        f" {sum(facts['backlog'].values()):>7} waiting"
        f" {facts['oldest_due_s']:>6} s  {f'last call {last:%Y-%m-%d %H:%M}' if last else 'no call yet'}"
    )


def _nothing(wanted: Wanted) -> str:
    return "no portal has installed the application yet" if wanted == Wanted() else "no portal is like that"


@portals_group.command("show")
@click.argument("member_id")
@as_json
def portals_show(member_id: str, as_json: bool) -> None:
    """One install."""
    wanted = Wanted(portal_of(member_id).member_id)
    (facts,) = _facts(fleet.page(wanted, now=services().now()))
    show(facts, [f"{name}: {plain(value)}" for name, value in facts.items()], as_json=as_json)


@portals_group.command("pause")
@click.argument("member_id")
@click.option("--why", default="", metavar="TEXT", help="What the portal's administrators read about it.")
@as_json
def portals_pause(member_id: str, why: str, as_json: bool) -> None:
    """Let nothing of this portal go out. Its messages are taken in and wait; too old ones end as failed."""
    if not pause_portal(services(), portal_of(member_id), why):
        fail("this portal is paused already")
    show({"paused": True}, ["paused; `portals continue` ends it"], as_json=as_json)


@portals_group.command("continue")
@click.argument("member_id")
@as_json
def portals_continue(member_id: str, as_json: bool) -> None:
    """End the pause of a portal; what waited goes out."""
    if not continue_portal(services(), portal_of(member_id)):
        fail("this portal is not paused")
    show({"paused": False}, ["what waited goes out"], as_json=as_json)


@portals_group.command("end-sessions")
@click.argument("member_id")
@as_json
def portals_end_sessions(member_id: str, as_json: bool) -> None:
    """Let everybody who has the app open in this portal open it again; sending goes on."""
    portals.end_sessions(portal_of(member_id).id)
    show({"ended": True}, ["all sessions were ended"], as_json=as_json)


@portals_group.command("calls")
@click.argument("member_id")
@click.option("--method", default="", help="Only calls of this method, or of those that begin like it.")
@click.option("--errors", "only_errors", is_flag=True, help="Only calls that failed.")
@click.option("--limit", default=50, type=click.IntRange(1, 100_000))
@as_json
def portals_calls(member_id: str, method: str, only_errors: bool, limit: int, as_json: bool) -> None:
    """The REST calls of the last four days, newest first, without secrets."""
    calls = rest_log.latest(portal_of(member_id).id, limit=limit, method=method, only_errors=only_errors)
    lines = [
        f"{call.at:%Y-%m-%d %H:%M:%S}  {call.http_status:>3} {call.took_ms:>6} ms  {call.method}"
        f"  {call.error or 'ok'}\n    {call.params}\n    {call.answer}"
        for call in calls
    ]
    show([asdict(call) for call in calls], lines or ["no call in the last four days"], as_json=as_json)


@portals_group.command("errors")
@click.argument("member_id", required=False)
@as_json
def portals_errors(member_id: str | None, as_json: bool) -> None:
    """How often each error came in the last four days, from one portal or from all."""
    counts = rest_log.error_counts(portal_of(member_id).id if member_id else None)
    found = [
        {"error": error, "count": count, "known": is_known_code(error)}
        for error, count in sorted(counts.items(), key=lambda item: -item[1])
    ]
    lines = [
        f"{f['count']:>8}  {f['error']}{'' if f['known'] else '  (nobody knows this code)'}" for f in found
    ]
    show(found, lines or ["no error in the last four days"], as_json=as_json)


@portals_group.command("events")
@click.argument("member_id")
@click.option("--limit", default=50, type=click.IntRange(1, 100_000))
@as_json
def portals_events(member_id: str, limit: int, as_json: bool) -> None:
    """What the portal told us of its life, newest first, and what became of it."""
    found = events.latest(portal_of(member_id).member_id, limit=limit)
    data = [{"at": at, "event": event, "result": result} for at, event, result in found]
    lines = [f"{at:%Y-%m-%d %H:%M:%S}  {event:<18} {result or 'waits'}" for at, event, result in found]
    show(data, lines or ["no event"], as_json=as_json)
