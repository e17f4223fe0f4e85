"""The operator's commands: `flask --app app ...`. Data also as `--json`; failures say why on stderr."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import Any, NoReturn

import click
from flask import Flask
from flask.cli import AppGroup

from app.bitrix.errors import PortalError, is_known_code
from app.domain.messages import Message
from app.domain.numbers import mask
from app.domain.portal_texts import meaning_of
from app.domain.portals import Portal, PortalState
from app.domain.status import MessageStatus
from app.gateway_accounts import connect
from app.gateways.base import SettingsInvalid
from app.jobs.sweep import sweep
from app.registration import reconcile
from app.services import services
from app.store import (
    accounts,
    health,
    messages,
    portal_events,
    portals,
    rest_log,
    rotation,
    senders,
    story,
    tokens,
)
from app.store.database import StoreUnavailable
from app.store.rows import attempts_of, timeline
from app.store.secrets import SecretUnreadable
from app.transport import TransportError

portals_group = AppGroup("portals", help="Portals that installed the application.")
gateways_group = AppGroup("gateways", help="SMS gateways and the portals' accounts with them.")
senders_group = AppGroup("senders", help="Our senders in the portals.")
messages_group = AppGroup("messages", help="The message log.")
FOLLOW_S = 0.2
LONG_ENOUGH = 32
keys_group = AppGroup("keys", help="The keys of secrets at rest.")
as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


def register(app: Flask) -> None:
    for command in (portals_group, gateways_group, senders_group, messages_group, keys_group, doctor, worker):
        app.cli.add_command(command)


def _fail(text: str) -> NoReturn:
    click.echo(text, err=True)
    sys.exit(1)


def _show(data: Any, lines: Sequence[str], *, as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps(data, ensure_ascii=False, indent=2, default=_plain))
    else:
        click.echo("\n".join(lines))


def _plain(value: object) -> str:
    return value.isoformat() if isinstance(value, datetime) else str(value)


def _portal(member_id: str) -> Portal:
    portal = portals.by_member(member_id)
    return portal or _fail(f"no portal has the member id {member_id}; see `flask --app app portals list`")


# --- worker ---


@click.command()
def worker() -> None:
    """Run the job engine's consumer and the sweeper until SIGTERM."""
    parts = services()
    parts.engine.run_consumer(tick=lambda: sweep(parts), every_s=parts.timing.sweep_s)


# --- portals ---


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
    _show(facts, lines or ["no portal has installed the application yet"], as_json=as_json)


@portals_group.command("show")
@click.argument("member_id")
@as_json
def portals_show(member_id: str, as_json: bool) -> None:
    """One install."""
    facts = _portal_facts(_portal(member_id))
    _show(facts, [f"{name}: {_plain(value)}" for name, value in facts.items()], as_json=as_json)


@portals_group.command("calls")
@click.argument("member_id")
@click.option("--method", default="", help="Only calls of this method, or of those that begin like it.")
@click.option("--errors", "only_errors", is_flag=True, help="Only calls that failed.")
@click.option("--limit", default=50, type=click.IntRange(1, 100_000))
@as_json
def portals_calls(member_id: str, method: str, only_errors: bool, limit: int, as_json: bool) -> None:
    """The REST calls of the last three days, newest first, without secrets."""
    calls = rest_log.latest(_portal(member_id).id, limit=limit, method=method, only_errors=only_errors)
    lines = [
        f"{call.at:%Y-%m-%d %H:%M:%S}  {call.http_status:>3} {call.took_ms:>6} ms  {call.method}"
        f"  {call.error or 'ok'}\n    {call.params}\n    {call.answer}"
        for call in calls
    ]
    _show([asdict(call) for call in calls], lines or ["no call in the last three days"], as_json=as_json)


@portals_group.command("errors")
@click.argument("member_id", required=False)
@as_json
def portals_errors(member_id: str | None, as_json: bool) -> None:
    """How often each error came in the last three days, from one portal or from all."""
    counts = rest_log.error_counts(_portal(member_id).id if member_id else None)
    found = [
        {"error": error, "count": count, "known": is_known_code(error)}
        for error, count in sorted(counts.items(), key=lambda item: -item[1])
    ]
    lines = [
        f"{f['count']:>8}  {f['error']}{'' if f['known'] else '  (nobody knows this code)'}" for f in found
    ]
    _show(found, lines or ["no error in the last three days"], as_json=as_json)


@portals_group.command("events")
@click.argument("member_id")
@click.option("--limit", default=50, type=click.IntRange(1, 100_000))
@as_json
def portals_events(member_id: str, limit: int, as_json: bool) -> None:
    """What the portal told us of its life, newest first, and what became of it."""
    found = portal_events.latest(_portal(member_id).member_id, limit=limit)
    data = [{"at": at, "event": event, "result": result} for at, event, result in found]
    lines = [f"{at:%Y-%m-%d %H:%M:%S}  {event:<18} {result or 'waits'}" for at, event, result in found]
    _show(data, lines or ["no event"], as_json=as_json)


# --- gateways ---


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
    _show(found, [f"{item['slug']:<12} {item['title']}" for item in found], as_json=as_json)


@gateways_group.command("set")
@click.argument("member_id")
@click.argument("slug")
@click.argument("settings", nargs=-1, metavar="[KEY=VALUE ...]")
@as_json
def gateways_set(member_id: str, slug: str, settings: tuple[str, ...], as_json: bool) -> None:
    """Connect a portal to a gateway; prints the report URL."""
    portal = _portal(member_id)
    pairs = dict(item.partition("=")[::2] for item in settings)
    if wrong := [item for item in settings if "=" not in item]:
        _fail(f"settings are KEY=VALUE; not understood: {', '.join(wrong)}")
    adapter = services().gateways.get(slug) or _fail(
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
        _fail("\n".join(f"{name}: {text}" for name, text in error.errors.items()))
    url = services().report_url(account)
    _show({"gateway": slug, "report_url": url}, [f"connected; report URL: {url}"], as_json=as_json)


# --- senders ---


@senders_group.command("list")
@click.argument("member_id")
@as_json
def senders_list(member_id: str, as_json: bool) -> None:
    """The senders that a portal should have."""
    found = [sender for sender in senders.of_portal(_portal(member_id).id) if not sender.is_removed]
    data = [{name: getattr(sender, name) for name in _SENDER_FACTS} for sender in found]
    lines = [
        f"{s.code:<8} {s.originator or '(default)':<18} {s.error or s.registered_at or 'not registered'}"
        for s in found
    ]
    _show(data, lines or ["no sender yet"], as_json=as_json)


_SENDER_FACTS = ("code", "originator", "name", "description", "registered_at", "checked_at", "error")


def _texts(pairs: tuple[str, ...]) -> str | dict[str, str] | None:
    """`Text` or several `de=Text`; None when nothing was given."""
    if not pairs:
        return None
    if len(pairs) == 1 and pairs[0][2:3] != "=":
        return pairs[0]
    if wrong := [pair for pair in pairs if pair[2:3] != "="]:
        _fail(f"texts are one plain text, or LANGUAGE=TEXT with two letters each; not: {', '.join(wrong)}")
    return {pair[:2].lower(): pair[3:] for pair in pairs}


_name = click.option("--name", multiple=True, metavar="TEXT", help="Plain, or LANGUAGE=TEXT, repeated.")
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
    portal = _portal(member_id)
    try:
        code = senders.add(
            portal.id, originator=originator, name=_texts(name) or {}, description=_texts(description) or {}
        )
    except senders.SenderRefused as refused:
        _fail(str(refused))
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
    portal = _portal(member_id)
    texts = {"name": _texts(name), "description": _texts(description)}
    if not senders.change(portal.id, code, originator=originator, **texts):
        _fail(f"nothing to change, or no sender {code}")
    _tell_senders(portal, code, as_json=as_json)


@senders_group.command("remove")
@click.argument("member_id")
@click.argument("code")
@as_json
def senders_remove(member_id: str, code: str, as_json: bool) -> None:
    """Take a sender out of the portal; robots that use it fail from then on."""
    portal = _portal(member_id)
    try:
        if not senders.remove(portal.id, code, now=services().now()):
            _fail(f"there is no sender {code}")
    except senders.SenderRefused as refused:
        _fail(str(refused))
    _tell_senders(portal, code, as_json=as_json)


def _tell_senders(portal: Portal, code: str, *, as_json: bool) -> None:
    try:
        done = asdict(reconcile(services(), portal))
    except (PortalError, TransportError, ValueError) as error:
        _fail(f"kept here, and the portal is told later: {error}")
    item = {"member_id": portal.member_id, "code": code, **done}
    _show(item, [f"{code}: {_reconciled_line(item)}"], as_json=as_json)


@senders_group.command("reconcile")
@click.argument("member_id", required=False)
@as_json
def senders_reconcile(member_id: str | None, as_json: bool) -> None:
    """Bring a portal's senders, or all portals', in step."""
    chosen = [_portal(member_id)] if member_id else portals.all_portals()
    results, failed = [], False
    for portal in chosen:
        if portal.state is PortalState.UNINSTALLED:
            continue
        try:
            done = asdict(reconcile(services(), portal))
            results.append({"member_id": portal.member_id, **done})
        except (PortalError, TransportError) as error:
            failed = True
            results.append({"member_id": portal.member_id, "error": str(error)})
            click.echo(f"{portal.member_id}: {error}", err=True)
    _show(results, [_reconciled_line(item) for item in results], as_json=as_json)
    if failed:
        sys.exit(1)


def _reconciled_line(item: dict[str, Any]) -> str:
    if "error" in item:
        return f"{item['member_id']}  failed: {item['error']}"
    changes = [
        f"{name}: {', '.join(item[name])}" for name in ("added", "updated", "deleted", "bound") if item[name]
    ]
    return f"{item['member_id']}  {'; '.join(changes) or 'in step'}"


# --- messages ---


def _summary(message: Message) -> dict[str, Any]:
    return {
        "message_id": message.message_id,
        "status": message.status.value,
        "recipient": message.recipient,
        "received_at": message.received_at,
        "reason": message.reason,
        "work": message.work.value,
        "pushed_status": message.told.value if message.told else None,
    }


@messages_group.command("list")
@click.argument("member_id")
@click.option("--status", type=click.Choice([status.value for status in MessageStatus]))
@click.option("--limit", default=50, type=click.IntRange(1, 1_000_000))
@as_json
def messages_list(member_id: str, status: str | None, limit: int, as_json: bool) -> None:
    """The newest messages of a portal."""
    found = messages.page(
        _portal(member_id).id, limit=limit, status=MessageStatus(status) if status else None
    )
    data = [_summary(message) for message in found]
    lines = [
        f"{m.received_at:%Y-%m-%d %H:%M:%S}  {m.status:<12} {m.recipient:<17} {m.message_id}" for m in found
    ]
    _show(data, lines or ["no messages"], as_json=as_json)


@messages_group.command("show")
@click.argument("member_id")
@click.argument("message_id")
@as_json
def messages_show(member_id: str, message_id: str, as_json: bool) -> None:
    """One message with its timeline."""
    message = _message(member_id, message_id)
    tries = attempts_of(message)
    ids = [gateway_id for attempt in tries for gateway_id in attempt["gateway_message_ids"]]
    data = {
        **_summary(message),
        "portal": member_id,
        "text": message.text,
        "gateway": tries[-1]["gateway"] if tries else None,
        "gateway_message_id": ids[-1] if ids else None,
        "segments": message.segments,
        "encoding": message.encoding,
        "attempts": tries,
        "reason_text": message.reason_text,
        "origin": message.origin,
        "module_id": message.module_id,
        "expires_at": message.expires_at,
        "events": [asdict(entry) for entry in timeline(message)],
    }
    lines = [f"{name}: {_plain(value)}" for name, value in data.items() if name not in ("events", "attempts")]
    lines += [f"  {entry.at:%H:%M:%S.%f}  {entry.event}  {entry.detail}" for entry in timeline(message)]
    _show(data, lines, as_json=as_json)


@messages_group.command("resend")
@click.argument("member_id")
@click.argument("message_id")
@click.option("--force", is_flag=True, help="Also when the outcome is unknown: it may arrive twice.")
@as_json
def messages_resend(member_id: str, message_id: str, force: bool, as_json: bool) -> None:
    """Send a message again, as a new attempt."""
    message = _message(member_id, message_id)
    if message.status is MessageStatus.UNKNOWN and not force:
        _fail("the outcome of this message is unknown: a resend may reach the recipient twice; use --force")
    if not messages.resend(message.id, now=services().now(), timing=services().timing):
        _fail("the message is on its way; wait for its outcome")
    services().engine.hint("submit", message.id)
    _show({"message_id": message_id, "resent": True}, ["queued again"], as_json=as_json)


def _message(member_id: str, message_id: str) -> Message:
    message = messages.find(_portal(member_id).id, message_id)
    return message or _fail(f"portal {member_id} has no message {message_id}")


@messages_group.command("follow")
@click.argument("member_id")
@click.option("--all", "from_start", is_flag=True, help="Begin with the oldest message, not with the next.")
@as_json
def messages_follow(member_id: str, from_start: bool, as_json: bool) -> None:
    """Print each step of a portal's messages as it happens, until Ctrl-C."""
    portal = _portal(member_id)
    row_id, event_id = (0, 0) if from_start else story.newest()
    while True:
        received = story.receipts_after(portal.id, row_id)
        steps = story.steps_after(portal.id, event_id)
        row_id = received[-1].position if received else row_id
        event_id = steps[-1].position if steps else event_id
        for step in sorted(received + steps, key=lambda step: step.at):
            click.echo(json.dumps(asdict(step), default=_plain) if as_json else _step_line(step))
        time.sleep(FOLLOW_S)


def _step_line(step: story.Step) -> str:
    return f"{step.at:%H:%M:%S.%f}  {step.message_id}  {mask(step.recipient)}  {step.event}  {step.detail}"


# --- keys ---


@keys_group.command("rotate")
@as_json
def keys_rotate(as_json: bool) -> None:
    """Seal every secret with the first of ENCRYPTION_KEYS; afterwards the others may go."""
    try:
        changed = rotation.rotate_keys()
    except SecretUnreadable as error:
        _fail(f"{error}; put the key that sealed it back into ENCRYPTION_KEYS and repeat")
    _show(changed, [f"{table}: {count}" for table, count in changed.items()], as_json=as_json)


# --- doctor ---


@click.command()
@as_json
def doctor(as_json: bool) -> None:
    """Check clock, database, engine, worker, keys and the authorization servers."""
    checks = [
        ("clock", _check_clock()),
        ("database", _check_database()),
        ("engine", _check_engine()),
        ("worker", _check_worker()),
        ("keys", _check_keys()),
        *(
            (f"authorization server {server}", _check_server(server))
            for server in services().config.oauth_servers
        ),
    ]
    data = [{"check": name, "ok": not problem, "problem": problem} for name, problem in checks]
    _show(
        data,
        [f"{'ok  ' if not p else 'FAIL'} {name}{': ' + p if p else ''}" for name, p in checks],
        as_json=as_json,
    )
    if any(problem for _, problem in checks):
        sys.exit(1)


def _check_clock() -> str:
    try:
        apart = abs((health.database_time() - datetime.now(UTC)).total_seconds())
    except StoreUnavailable:
        return "the database does not answer, so its clock cannot be compared"
    return (
        ""
        if apart < 5
        else f"this machine and the database are {apart:.0f} s apart; set up time synchronisation"
    )


def _check_database() -> str:
    try:
        return health.problem()
    except StoreUnavailable as error:
        return f"does not answer ({error}); check DATABASE_URL and the server"


def _check_engine() -> str:
    return (
        "" if services().engine.pending() is not None else "does not answer; check REDIS_URL and the server"
    )


def _check_worker() -> str:
    within = timedelta(seconds=services().timing.sweep_s * 4 + 10)
    try:
        alive = health.sweeper_is_alive(services().now(), within=within)
    except StoreUnavailable:
        return "the database does not answer"
    return "" if alive else "no worker has swept lately; start `flask --app app worker`"


def _check_keys() -> str:
    if min(map(len, services().config.secret_keys)) < LONG_ENOUGH:
        return f"a SECRET_KEY is shorter than {LONG_ENOUGH} characters and could be guessed; use a longer one"
    try:
        for portal in portals.all_portals()[:50]:
            tokens.service(portal.id)
            accounts.of_portal(portal.id)
    except SecretUnreadable as error:
        return f"{error}; put the key that sealed it back into ENCRYPTION_KEYS"
    except StoreUnavailable:
        return "the database does not answer"
    return ""


def _check_server(server: str) -> str:
    try:
        services().http.request("GET", f"{server}/rest/app.info", timeout_s=5)
    except TransportError as error:
        return f"not reached: {error}"
    return ""
