"""`flask --app app erase ...`: forgetting on request, with a proof."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import click
from flask.cli import AppGroup

from app.cli.output import as_json, fail, portal_of, show
from app.domain.numbers import NumberRefused, parse_recipient
from app.domain.portals import Portal, PortalState
from app.services import services
from app.store.database import spool
from app.store.upkeep import erasure, installations
from app.store.upkeep.erasure import NumberEraser, Scope

erase_group = AppGroup("erase", help="Forget one phone number or one portal, and prove it.")

yes = click.option("--yes", "is_sure", is_flag=True, help="Do not ask.")
REMOVED = (PortalState.UNINSTALLED, PortalState.GONE)
# For so long a web process may still take messages of a portal that it has just seen.
STILL_KNOWN_S = 4.0
NEVER_SEARCHED = (
    "sealed secrets: tokens and gateway credentials",
    "backups and log files of this server (logs have masked numbers only)",
    "what Bitrix24, the gateway and the mobile operators keep",
)


@erase_group.command("number")
@click.argument("member_and_number", nargs=-1, metavar="MEMBER_ID|--all NUMBER")
@click.option("--all", "everywhere", is_flag=True, help="In every portal.")
@yes
@as_json
def erase_number(member_and_number: tuple[str, ...], everywhere: bool, is_sure: bool, as_json: bool) -> None:
    """Remove one phone number, and the texts that went to it. Messages to it are not sent any more."""
    if len(member_and_number) != (1 if everywhere else 2):
        raise click.UsageError("give the portal's member id and the number, or --all and the number")
    portal = None if everywhere else portal_of(member_and_number[0])
    number = _number(member_and_number[-1], portal)
    where = f"portal {portal.member_id}" if portal else "all portals"
    _ask(f"Remove {number} from {where}?", is_sure)
    began = time.monotonic()
    scope = Scope(portal.id, portal.member_id) if portal else Scope()
    eraser = NumberEraser(number, scope, timing=services().timing)
    changed = _erase_until_nothing_is_submitted(eraser)
    left = eraser.search()
    proof = _proof("number", number, changed, left, began)
    _show_proof({**proof, "portal": portal.member_id if portal else None}, as_json=as_json)


def _erase_until_nothing_is_submitted(eraser: NumberEraser) -> dict[str, int]:
    """A worker that is handing a message over writes its outcome first; its claim ends by itself."""
    parts, changed = services(), dict[str, int]()
    ends = time.monotonic() + parts.timing.lease_s + parts.timing.sweep_s
    while True:
        for table, count in eraser.erase(now=parts.now()).items():
            changed[table] = changed.get(table, 0) + count
        if not eraser.count_submitting() or time.monotonic() > ends:
            return changed
        time.sleep(1.0)


def _number(raw: str, portal: Portal | None) -> str:
    read = parse_recipient(raw, default_country=portal.settings.default_country or None if portal else None)
    if isinstance(read, NumberRefused):
        fail(f"{raw}: {read.text}")
    return read.number


@erase_group.command("portal")
@click.argument("member_id")
@click.option("--force", is_flag=True, help="Also when the app is still installed there.")
@yes
@as_json
def erase_portal(member_id: str, force: bool, is_sure: bool, as_json: bool) -> None:
    """Remove a portal with its messages, tokens, settings and gateway accounts."""
    portal = portal_of(member_id)
    if portal.state not in REMOVED and not force:
        fail(
            f"the app is still installed in {portal.domain} (state {portal.state}): remove it there first."
            " --force erases it all the same: Bitrix24 goes on to show what it hands over as sent, and we"
            " refuse it"
        )
    _ask(f"Remove everything of the portal {portal.domain} ({member_id})?", is_sure)
    began = time.monotonic()
    removed = erasure.count_rows(portal.id, member_id)
    _forget(portal, force=force)
    left = erasure.count_rows(portal.id, member_id)
    _show_proof(_proof("portal", member_id, removed, left, began), as_json=as_json)


def _forget(portal: Portal, *, force: bool) -> None:
    """In steps that each look again: somebody may install the app while we ask."""
    parts = services()
    if portal.state is PortalState.UNINSTALLED:
        done = installations.erase_what_was_kept(portal, now=parts.now(), kept_for=timedelta(0))
    else:
        expected = None if force else portal.state
        done = installations.uninstall(
            portal, clean=True, now=parts.now(), timing=parts.timing, expected=expected
        )
        time.sleep(STILL_KNOWN_S)
    if not (done and installations.forget(portal)):
        fail("the app was installed again meanwhile: what was there before may be erased, the new one stays")


# --- the question before, and the proof after


def _ask(question: str, is_sure: bool) -> None:
    if not is_sure:
        click.confirm(f"{question} It cannot be undone.", abort=True, err=True)


def _proof(
    kind: str, what: str, removed: Mapping[str, int], left: Mapping[str, int], began: float
) -> dict[str, Any]:
    return {
        kind: what,
        "at": services().now(),
        "removed": dict(removed),
        "found_afterwards": dict(left),
        "not_searched": [*_spooled(), *NEVER_SEARCHED],
        "took_s": round(time.monotonic() - began, 3),
    }


def _spooled() -> list[str]:
    folder = services().config.spool_dir
    waiting = spool.count_kept(folder) if folder else 0
    if not waiting:
        return []
    return [f"{waiting} calls in the spool, which are sealed: repeat this when the spool is worked off"]


def _show_proof(proof: Mapping[str, Any], *, as_json: bool) -> None:
    removed = [f"  {table}: {count}" for table, count in proof["removed"].items()]
    left = [f"  {table}: {count}" for table, count in proof["found_afterwards"].items()]
    lines = [
        f"removed at {proof['at']:%Y-%m-%d %H:%M:%S} UTC in {proof['took_s']} s, rows by table:",
        *(removed or ["  nothing was there"]),
        "a search afterwards finds:",
        *(left or ["  nothing"]),
        "not searched:",
        *(f"  {what}" for what in proof["not_searched"]),
    ]
    show(proof, lines, as_json=as_json)
    if left:
        click.echo(
            "Not everything is gone: messages that are under way have it still. Repeat this in a minute.",
            err=True,
        )
        sys.exit(1)
