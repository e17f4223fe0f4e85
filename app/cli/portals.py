"""`flask --app app portals ...`"""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import click
from flask.cli import AppGroup

from app.bitrix.errors import is_known_code
from app.cli.output import as_json, plain, portal_of, show
from app.domain.portals import Portal
from app.services import services
from app.store.accounts import accounts
from app.store.messages import messages
from app.store.portals import events, portals, rest_log, senders, tokens
from app.words.portal_states import meaning_of

portals_group = AppGroup("portals", help="Portals that installed the application.")


def _portal_facts(portal: Portal) -> dict[str, Any]:
    credential = tokens.service(portal.id)
    account = accounts.default_of(portal.id)
    return {
        "member_id": portal.member_id,
        "state": portal.state,
        "state_reason": portal.state_reason,
        "meaning": meaning_of(portal.state, portal.state_reason),
        "domain": portal.domain,
        "version": portal.app_version,
        "installed_at": portal.installed_at,
        "finished_at": portal.finished_at,
        "senders": [
            {"code": s.code, "registered_at": s.registered_at, "error": s.error}
            for s in senders.of_portal(portal.id)
        ],
        "gateway": account.slug if account else None,
        "token_age_s": (
            int((services().now() - credential.refreshed_at).total_seconds()) if credential else None
        ),
        "token_problem": credential.broken if credential else "no administrator's token",
        "backlog": messages.backlog(portal.id),
        "last_pushed_at": portal.last_pushed_at,
    }


@portals_group.command("list")
@as_json
def portals_list(as_json: bool) -> None:
    """All installs."""
    facts = [_portal_facts(portal) for portal in portals.all_portals()]
    lines = [
        f"{f['member_id']}  {f['state']:<12} {f['domain']:<40} {f['gateway'] or 'no gateway'}" for f in facts
    ]
    show(facts, lines or ["no portal has installed the application yet"], as_json=as_json)


@portals_group.command("show")
@click.argument("member_id")
@as_json
def portals_show(member_id: str, as_json: bool) -> None:
    """One install."""
    facts = _portal_facts(portal_of(member_id))
    show(facts, [f"{name}: {plain(value)}" for name, value in facts.items()], as_json=as_json)


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
