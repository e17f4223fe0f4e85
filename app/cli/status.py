"""`flask --app app status`: everything over all portals at one glance."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import click

from app.cli.output import as_json, plain, show
from app.services import services
from app.store import instances
from app.store.figures import fleet, incidents, operations
from app.store.messages import messages


@click.command()
@as_json
def status(as_json: bool) -> None:
    """Backlog, oldest due message, failures of a day, portals by state, what needs a look, who works."""
    facts = _facts()
    show(facts, [f"{name}: {_words(value)}" for name, value in facts.items()], as_json=as_json)


def _facts() -> dict[str, Any]:
    now = services().now()
    recent, failed = fleet.last_day(now)
    return {
        "portals": operations.portals_by_state(),
        "paused": fleet.count_paused(),
        "backlog": messages.backlog(),
        "oldest_due_s": round(operations.oldest_due_s(now)),
        "last_day": {
            "messages": recent,
            "failed": failed,
            "failed_share": round(failed / recent, 4) if recent else None,
        },
        "attention": operations.attention(),
        "accounts": operations.accounts_by_trouble(),
        "incidents": incidents.open_by_kind(),
        "oldest_token_age_s": fleet.oldest_token_age_s(now),
        "last_handler_call_at": operations.last_handler_call_at(),
        "workers": _workers(),
    }


def _workers() -> dict[str, int]:
    """By what they do; those that have said nothing for half a minute are silent."""
    now, found = services().now(), dict[str, int]()
    for each in instances.all_instances():
        state = each.state if now - each.seen_at < timedelta(seconds=30) else "silent"
        found[state] = found.get(state, 0) + 1
    return found


def _words(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{plain(each)} {name}" for name, each in value.items()) or "none"
    return plain(value)
