"""`flask --app app messages ...`"""

from __future__ import annotations

import json
import time
from dataclasses import asdict
from typing import Any

import click
from flask.cli import AppGroup

from app.actions.cancel import cancel
from app.actions.resolve import resolve
from app.actions.send_again import send_again
from app.cli.output import as_json, fail, number_in, plain, portal_of, show
from app.domain.audit import Action
from app.domain.messages import Message
from app.domain.numbers import mask
from app.domain.status import MessageStatus
from app.services import services
from app.store import audit
from app.store.messages import by_hand, messages
from app.store.messages import log as message_log
from app.store.messages import timeline as message_timeline
from app.store.messages.log import Filters
from app.store.messages.timeline import attempts_of, timeline
from app.store.portals import portals

messages_group = AppGroup("messages", help="The message log.")
FOLLOW_S = 0.2
_which = click.argument("which", nargs=-1, required=True, metavar="NUMBER|MEMBER_ID MESSAGE_ID")


def _summary(message: Message) -> dict[str, Any]:
    return {
        "message_id": message.message_id,
        "number": message.id,
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
    filters, portal = Filters(status=MessageStatus(status) if status else None), portal_of(member_id)
    audit.note_once(Action.NUMBER_SHOWN, portal.id)
    found = message_log.page(portal.id, filters, limit=limit)
    data = [_summary(message) for message in found]
    lines = [
        f"{m.received_at:%Y-%m-%d %H:%M:%S}  {m.status:<12} {m.recipient:<17} {m.message_id}" for m in found
    ]
    show(data, lines or ["no messages"], as_json=as_json)


@messages_group.command("show")
@_which
@as_json
def messages_show(which: tuple[str, ...], as_json: bool) -> None:
    """One message with its timeline."""
    message = _message(which)
    number = {"number": message.id, "to_number": mask(message.recipient)}
    audit.note_once(Action.NUMBER_SHOWN, message.portal_id, about=message.message_id, after=number)
    tries = attempts_of(message)
    ids = [gateway_id for attempt in tries for gateway_id in attempt["gateway_message_ids"]]
    data = {
        **_summary(message),
        "portal": portals.by_id(message.portal_id).member_id,
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
    lines = [f"{name}: {plain(value)}" for name, value in data.items() if name not in ("events", "attempts")]
    lines += [f"  {entry.at:%H:%M:%S.%f}  {entry.event}  {entry.detail}" for entry in timeline(message)]
    show(data, lines, as_json=as_json)


_WHY_NOT = {
    "unknown": "the outcome of this message is unknown",
    "no_report": "the gateway took this message and never said what became of it",
    "waiting": "the gateway took this message, and its report may still come",
    "delivered": "this message was delivered",
    "on_its_way": "the message is on its way; wait for its outcome",
    "text_removed": "the text of this message was removed; write it anew in Bitrix24",
    "not_ours": "this message was never proved to be the portal's, so it is not sent",
    "uninstalled": "the app was removed from the portal; write the message anew in Bitrix24",
    "bad_number": "its number cannot get an SMS; correct it in the CRM card and write the message anew",
}


@messages_group.command("resend")
@_which
@click.option("--force", is_flag=True, help="Also when it may arrive twice.")
@as_json
def messages_resend(which: tuple[str, ...], force: bool, as_json: bool) -> None:
    """Send a message again, as a new attempt."""
    message = _message(which)
    again = send_again(services(), message, is_sure=force)
    if again.answer == "ask":
        fail(f"{_WHY_NOT[again.why]}: a resend may reach the recipient twice; use --force")
    if again.answer == "no":
        fail(_WHY_NOT[again.why])
    show({"message_id": message.message_id, "resent": True}, ["queued again"], as_json=as_json)


@messages_group.command("resolve")
@_which
@click.argument("status", type=click.Choice(["sent", "delivered", "undelivered", "failed"]))
@as_json
def messages_resolve(which: tuple[str, ...], status: str, as_json: bool) -> None:
    """Write down what became of a message whose outcome is unknown, as its gateway's own log says."""
    message = _message(which)
    parts = services()
    if not resolve(parts, message, MessageStatus(status)):
        fail(f"the outcome of this message is not unknown: it is {message.status.value}")
    show({"message_id": message.message_id, "status": status}, [f"resolved: {status}"], as_json=as_json)


@messages_group.command("cancel")
@_which
@as_json
def messages_cancel(which: tuple[str, ...], as_json: bool) -> None:
    """Do not send a message that still waits."""
    message = _message(which)
    if not cancel(services(), message):
        fail(f"it does not wait to be sent: it is {message.status.value}")
    show({"message_id": message.message_id, "cancelled": True}, ["cancelled"], as_json=as_json)


@messages_group.command("restored")
@as_json
def messages_restored(as_json: bool) -> None:
    """After a restore from a backup, before the workers start: send nothing that may be out already."""
    parts = services()
    count = by_hand.mark_unsent_unknown(now=parts.now(), timing=parts.timing)
    show({"unknown": count}, [f"{count} messages count as unknown now"], as_json=as_json)


def _message(which: tuple[str, ...]) -> Message:
    """By our number alone, as the log shows it, or by its portal and the portal's own id."""
    match which:
        case (word,):
            number = number_in(word)
            found = messages.by_number(number) if number is not None else None
            return found or fail(f"no message has the number {word}")
        case (member, message_id):
            found = messages.find(portal_of(member).id, message_id)
            return found or fail(f"portal {member} has no message {message_id}")
    raise click.UsageError("give a message's number, or a portal's member id and the message's id")


@messages_group.command("follow")
@click.argument("member_id")
@click.option("--all", "from_start", is_flag=True, help="Begin with the oldest message, not with the next.")
@as_json
def messages_follow(member_id: str, from_start: bool, as_json: bool) -> None:
    """Print each step of a portal's messages as it happens, until Ctrl-C."""
    portal = portal_of(member_id)
    row_id, event_id = (0, 0) if from_start else message_timeline.newest()
    while True:
        received = message_timeline.receipts_after(portal.id, row_id)
        steps = message_timeline.steps_after(portal.id, event_id)
        row_id = received[-1].position if received else row_id
        event_id = steps[-1].position if steps else event_id
        for step in sorted(received + steps, key=lambda step: step.at):
            click.echo(json.dumps(asdict(step), default=plain) if as_json else _step_line(step))
        time.sleep(FOLLOW_S)


def _step_line(step: message_timeline.Step) -> str:
    return f"{step.at:%H:%M:%S.%f}  {step.message_id}  {mask(step.recipient)}  {step.event}  {step.detail}"
