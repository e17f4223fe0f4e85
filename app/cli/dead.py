"""`flask --app app dead ...`: messages that our own errors ended."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click
from flask.cli import AppGroup

from app.actions.send_again import send_again
from app.cli.output import as_json, fail, portal_of, show
from app.domain.messages import Message, Reason
from app.domain.numbers import mask
from app.services import services
from app.store.messages import by_hand, messages

dead_group = AppGroup("dead", help="Dead letters: messages that failed again and again by a fault of ours.")

AT_ONCE = 1_000_000
_which = click.argument("member_and_message", nargs=-1, metavar="--all|MEMBER_ID [MESSAGE_ID]")
_all = click.option("--all", "everywhere", is_flag=True, help="In every portal.")


@dead_group.command("list")
@click.argument("member_id", required=False)
@click.option("--limit", default=50, type=click.IntRange(1, AT_ONCE))
@as_json
def dead_list(member_id: str | None, limit: int, as_json: bool) -> None:
    """Those that nobody has seen to yet, of one portal or all, the oldest first."""
    found = by_hand.dead_letters(portal_of(member_id).id if member_id else None, limit=limit)
    data = [
        {
            "member_id": member,
            "message_id": message.message_id,
            "number": message.id,
            "to_number": mask(message.recipient),
            "received_at": message.received_at,
            "status": message.status.value,
            "why": message.reason_text,
        }
        for member, message in found
    ]
    lines = [
        f"{d['received_at']:%Y-%m-%d %H:%M:%S}  {d['member_id']}  {d['message_id']}  {d['why']}" for d in data
    ]
    show(data, lines or ["no dead letters"], as_json=as_json)


@dead_group.command("retry")
@_which
@_all
@click.option("--force", is_flag=True, help="They may arrive twice: the fault may have come after the call.")
@as_json
def dead_retry(member_and_message: tuple[str, ...], everywhere: bool, force: bool, as_json: bool) -> None:
    """Send again what is mended: one message, those of a portal, or all."""

    def retry(message: Message) -> str:
        again = send_again(services(), message, is_sure=force)
        asks = "it may be out already: use --force" if again.answer == "ask" else again.why
        return "" if again.answer == "yes" else asks

    _each(_chosen(member_and_message, everywhere=everywhere), retry, "queued again", as_json=as_json)


@dead_group.command("end")
@_which
@_all
@as_json
def dead_end(member_and_message: tuple[str, ...], everywhere: bool, as_json: bool) -> None:
    """Let them rest: they stay failed, and count as dead letters no more."""

    def end(message: Message) -> str:
        parts = services()
        done = by_hand.end_dead(message, now=parts.now(), timing=parts.timing)
        parts.engine.hint("push", message.portal_id)
        return "" if done else "it changed meanwhile"

    _each(_chosen(member_and_message, everywhere=everywhere), end, "ended", as_json=as_json)


def _chosen(member_and_message: tuple[str, ...], *, everywhere: bool) -> list[tuple[str, Message]]:
    if len(member_and_message) not in ((0,) if everywhere else (1, 2)):
        raise click.UsageError("give --all, or a portal's member id, with a message id for one message")
    if everywhere:
        return by_hand.dead_letters(limit=AT_ONCE)
    portal = portal_of(member_and_message[0])
    if len(member_and_message) == 1:
        return by_hand.dead_letters(portal.id, limit=AT_ONCE)
    message = messages.find(portal.id, member_and_message[1])
    if message is None or message.reason != Reason.DEAD_LETTER:
        fail(f"portal {portal.member_id} has no dead letter {member_and_message[1]}")
    return [(portal.member_id, message)]


def _each(
    chosen: list[tuple[str, Message]], do: Callable[[Message], str], done: str, *, as_json: bool
) -> None:
    data: list[dict[str, Any]] = [
        {"member_id": member, "message_id": message.message_id, "problem": do(message)}
        for member, message in chosen
    ]
    lines = [f"{d['member_id']}  {d['message_id']}  {d['problem'] or done}" for d in data]
    show(data, lines or ["no dead letters"], as_json=as_json)
    if any(item["problem"] for item in data):
        fail("some were left as they are")
