"""`flask --app app senders ...`"""

from __future__ import annotations

import re
import sys
from dataclasses import asdict
from typing import Any

import click
from flask.cli import AppGroup

from app.bitrix.errors import PortalError
from app.cli.output import as_json, fail, portal_of, show
from app.domain.audit import Action
from app.domain.portals import Portal, PortalState
from app.domain.senders import InLanguages, SenderInvalid, changed, is_language
from app.registration import reconcile
from app.services import services
from app.store import audit
from app.store.portals import portals, renewing, senders
from app.transport import TransportError

senders_group = AppGroup("senders", help="Our senders in the portals.")


@senders_group.command("list")
@click.argument("member_id")
@as_json
def senders_list(member_id: str, as_json: bool) -> None:
    """The senders that a portal should have."""
    found = [sender for sender in senders.of_portal(portal_of(member_id).id) if not sender.is_removed]
    data = [{name: getattr(sender, name) for name in _SENDER_FACTS} for sender in found]
    lines = [
        f"{s.code:<8} {s.originator or '(default)':<18} {s.error or s.registered_at or 'not registered'}"
        for s in found
    ]
    show(data, lines or ["no sender yet"], as_json=as_json)


_SENDER_FACTS = ("code", "originator", "name", "description", "told", "registered_at", "checked_at", "error")


_LANGUAGE = re.compile(r"([A-Za-z0-9]{1,3}(?:[-_][A-Za-z0-9]+)*)=(.*)", re.DOTALL)
_TWO_LETTERS = (
    "Bitrix24 knows languages by two letters, such as en, de, ua (Ukrainian), la (Spanish of Latin America)"
    " and br (Portuguese of Brazil)"
)


def _texts(pairs: tuple[str, ...]) -> str | InLanguages | None:
    """`Text` for everybody, or several `de=Text` for these languages alone; None when nothing was given."""
    if not pairs:
        return None
    found = [_LANGUAGE.fullmatch(pair) for pair in pairs]
    if len(pairs) == 1 and found[0] is None:
        return pairs[0]
    if unlike := [pair for pair, match in zip(pairs, found, strict=True) if match is None]:
        fail(f"texts are one plain text, or LANGUAGE=TEXT each; not: {', '.join(unlike)}")
    texts = {match[1].lower(): match[2] for match in found if match is not None}
    if wrong := [language for language in texts if not is_language(language)]:
        fail(f"{', '.join(wrong)}: {_TWO_LETTERS}")
    return InLanguages(texts)


_name = click.option(
    "--name",
    multiple=True,
    metavar="TEXT",
    help="Plain for everybody, or LANGUAGE=TEXT, repeated: others stay, and an empty TEXT takes one away.",
)
_description = click.option("--description", multiple=True, metavar="TEXT", help="The same way.")


@senders_group.command("add")
@click.argument("member_id")
@click.argument("originator")
@_name
@_description
@as_json
def senders_add(
    member_id: str, originator: str, name: tuple[str, ...], description: tuple[str, ...], as_json: bool
) -> None:
    """One more sender with an originator of its own; the portal is told at once."""
    portal = portal_of(member_id)
    try:
        code = senders.add(
            portal.id,
            originator=originator,
            name=changed({}, _texts(name) or {}),
            description=changed({}, _texts(description) or {}),
            now=services().now(),
        )
    except (SenderInvalid, senders.SenderRefused) as refused:
        fail(str(refused))
    _tell_senders(portal, code, as_json=as_json)


@senders_group.command("change")
@click.argument("member_id")
@click.argument("code")
@click.option("--originator")
@_name
@_description
@as_json
def senders_change(
    member_id: str,
    code: str,
    originator: str | None,
    name: tuple[str, ...],
    description: tuple[str, ...],
    as_json: bool,
) -> None:
    """Change a sender's texts or originator; its CODE stays, so robots go on working."""
    portal = portal_of(member_id)
    texts = {"name": _texts(name), "description": _texts(description)}
    try:
        if originator is None and not any(text is not None for text in texts.values()):
            fail("nothing to change: give --originator, --name or --description")
        if not senders.change(portal.id, code, originator=originator, **texts, now=services().now()):
            fail(f"there is no sender {code}")
    except SenderInvalid as invalid:
        fail(str(invalid))
    _tell_senders(portal, code, as_json=as_json)


@senders_group.command("remove")
@click.argument("member_id")
@click.argument("code")
@as_json
def senders_remove(member_id: str, code: str, as_json: bool) -> None:
    """Take a sender out of the portal; robots that use it fail from then on."""
    portal = portal_of(member_id)
    try:
        if not senders.remove(portal.id, code, now=services().now()):
            fail(f"there is no sender {code}")
    except senders.SenderRefused as refused:
        fail(str(refused))
    _tell_senders(portal, code, as_json=as_json)


@senders_group.command("renew-address")
@click.argument("member_id")
@as_json
def senders_renew_address(member_id: str, as_json: bool) -> None:
    """Give the HANDLER's address a new secret. The old one is good for 24 hours after the portal has that."""
    portal = portal_of(member_id)
    try:
        renewing.renew_handler(portal, now=services().now())
    except renewing.NothingToRenew:
        fail("the app is not installed there: the address is renewed when it comes back")
    _tell_senders(portal, "address", as_json=as_json)


def _tell_senders(portal: Portal, code: str, *, as_json: bool) -> None:
    try:
        done = asdict(reconcile(services(), portal))
    except (PortalError, TransportError) as error:
        fail(f"kept here, and the portal is told later: {error}")
    item = {"member_id": portal.member_id, "code": code, **done}
    show(item, [f"{code}: {_reconciled_line(item)}"], as_json=as_json)


@senders_group.command("reconcile")
@click.argument("member_id", required=False)
@as_json
def senders_reconcile(member_id: str | None, as_json: bool) -> None:
    """Bring a portal's senders, or all portals', in step."""
    chosen = [portal_of(member_id)] if member_id else portals.all_portals()
    results, failed = [], False
    for portal in chosen:
        if portal.state is PortalState.UNINSTALLED:
            continue
        audit.note(Action.SENDERS_REGISTERED, portal.id)
        try:
            done = asdict(reconcile(services(), portal))
            results.append({"member_id": portal.member_id, **done})
        except (PortalError, TransportError) as error:
            failed = True
            results.append({"member_id": portal.member_id, "error": str(error)})
            click.echo(f"{portal.member_id}: {error}", err=True)
    show(results, [_reconciled_line(item) for item in results], as_json=as_json)
    if failed:
        sys.exit(1)


def _reconciled_line(item: dict[str, Any]) -> str:
    if "error" in item:
        return f"{item['member_id']}  failed: {item['error']}"
    changes = [
        f"{name}: {', '.join(item[name])}" for name in ("added", "updated", "deleted", "bound") if item[name]
    ]
    return f"{item['member_id']}  {'; '.join(changes) or 'in step'}"
