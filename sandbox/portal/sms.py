"""Sending an SMS from inside the portal: the kernel's sequence with its races, and the HANDLER's payload."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field
from typing import Any

from sandbox.portal.event_queue import Item
from sandbox.portal.events import endpoints, token_fields
from sandbox.portal.phones import normalize_phone
from sandbox.portal.tokens import TokenPair
from sandbox.portal.wire import encode_form
from sandbox.portal.world import Message, Portal, World

CARD, ROBOT, MARKETING, NOTICE, SYSTEM = "card", "robot", "marketing", "notice", "system"
ORIGINS = (CARD, ROBOT, MARKETING, NOTICE, SYSTEM)

# full: the author's token; system: no token, but the application_token; bare: only where and who;
# none: no `auth` at all.
AUTH_SHAPES = ("full", "system", "bare", "none")

_DEFAULT_AUTHORS = {CARD: 5, ROBOT: 6, MARKETING: 1, NOTICE: 0, SYSTEM: 0}
_AUTHOR_TOKEN_REUSED_S = 60.0
_EXAMPLE_BINDINGS = [{"OWNER_TYPE_ID": "3", "OWNER_ID": "123"}, {"OWNER_TYPE_ID": "2", "OWNER_ID": "77"}]


class UnknownSender(Exception):
    """There is no such sender in this portal at the moment."""


@dataclass(frozen=True)
class SmsOrder:
    """What somebody in the portal wants to send. None means: as the origin implies."""

    sender: str
    to: str
    text: str
    origin: str = CARD
    author: int | None = None
    auth: str | None = None
    ts_offset_s: float = 0.0
    copies: int = 1
    direct: bool | None = None
    message_id: str | None = None
    campaign: int = 0
    extra: dict[str, Any] = field(default_factory=dict)  # written over the payload, also into `auth`
    omit: tuple[str, ...] = ()  # payload fields left out


def send_sms(world: World, portal: Portal, order: SmsOrder) -> Message:
    """Put a message through the portal. A message that cannot be handed over ends as `error`, like there."""
    with world.lock:
        message = _new_message(world, portal, order)
        problem = _refusal(portal, order.sender)
        if problem:
            message.error = problem
            message.set_status("error", "portal")
            world.ledger.record("sms_refused", portal.number, problem, message_id=message.external_id)
            return message
        item = _item(world, portal, message, order)
        direct = order.origin == MARKETING if order.direct is None else order.direct
        _hand_over(world, portal, message, item, late_id=direct or portal.is_old, copies=order.copies)
        return message


def repeat_sms(world: World, portal: Portal, message: Message, copies: int = 1) -> None:
    """Post a message again under the same id, as a crashed run of the portal's own queue does."""
    with world.lock:
        order = SmsOrder(
            message.sender, message.to, message.text, origin=message.origin, author=message.author
        )
        if _refusal(portal, message.sender):
            return
        item = _item(world, portal, message, order)
    world.queue.post_at_once(item, copies)


def _new_message(world: World, portal: Portal, order: SmsOrder) -> Message:
    author = _DEFAULT_AUTHORS[order.origin] if order.author is None else order.author
    message = Message(
        id=portal.take_row_id(),
        external_id=order.message_id or secrets.token_hex(16),
        sender=order.sender,
        to=normalize_phone(order.to),
        text=order.text,
        author=author,
        origin=order.origin,
        created_at=world.clock.now(),
        campaign=order.campaign,
    )
    message.history.append((message.created_at - world.clock.offset_s, "pending", "portal"))
    portal.messages[message.id] = message
    portal.sent_as[message.external_id] = message
    return message


def _refusal(portal: Portal, sender: str) -> str:
    if sender.lower() not in portal.senders:
        return "Sender is not registered"
    installation = portal.live_installation()
    if installation is None:
        return "Application is not installed"
    if not installation.payment_allow:
        return "Application is not paid"
    return ""


def _hand_over(
    world: World, portal: Portal, message: Message, item: Item, *, late_id: bool, copies: int
) -> None:
    def store_id() -> None:
        with world.lock:
            message.stored = True
            portal.by_external[message.external_id] = message

    def write_sent() -> None:
        # Whatever was reported in the meantime is overwritten: this is the race of the kernel.
        with world.lock:
            message.set_status("sent", "portal")

    races = portal.races
    if not races.enabled:
        store_id()
        write_sent()
    elif not late_id:
        store_id()
    if copies > 1:
        world.queue.post_at_once(item, copies)
    else:
        world.queue.post(item)
    if races.enabled:
        if late_id:
            world.queue.later(races.id_delay_s, store_id)
        world.queue.later(races.sent_delay_s, write_sent)


def _item(world: World, portal: Portal, message: Message, order: SmsOrder) -> Item:
    payload = _payload(world, portal, message, order)
    sender = portal.senders[order.sender.lower()]

    def done(at: float, status: int, seconds: float) -> None:
        message.posts.append((at, status, seconds))

    note: dict[str, object] = {
        "url": sender.handler,
        "message_id": message.external_id,
        "auth": _shape(payload),
    }
    if message.campaign:
        note["campaign"] = message.campaign
    return Item(portal, "sms", sender.handler, encode_form(payload), note, done)


def _payload(world: World, portal: Portal, message: Message, order: SmsOrder) -> dict[str, Any]:
    payload: dict[str, Any] = _headers(message)
    payload |= {
        "properties": {"phone_number": message.to, "message_text": message.text},
        "type": "SMS",
        "code": message.sender,
        "message_id": message.external_id,
        "message_to": message.to,
        "message_body": message.text,
        "ts": str(int(world.clock.now() + order.ts_offset_s)),
    }
    auth = _auth(world, portal, message.author, order.auth)
    if auth:
        payload["auth"] = auth
    for name, value in order.extra.items():
        if isinstance(value, dict) and isinstance(payload.get(name), dict):
            payload[name] = {**payload[name], **value}
        else:
            payload[name] = value
    for name in order.omit:
        payload.pop(name, None)
    return payload


def _headers(message: Message) -> dict[str, Any]:
    """What the calling module puts in first; the fixed fields are written over it."""
    if message.origin in (CARD, NOTICE):
        message.bindings = _EXAMPLE_BINDINGS
        return {"module_id": "crm", "bindings": message.bindings}
    if message.origin == ROBOT:
        return {
            "module_id": "bizproc",
            "workflow_id": secrets.token_hex(11),
            "document_id": ["crm", "CCrmDocumentDeal", "DEAL_77"],
            "document_type": ["crm", "CCrmDocumentDeal", "DEAL"],
        }
    if message.origin == MARKETING:
        return {"module_id": "sender"}
    return {}


def _auth(world: World, portal: Portal, author: int, wanted: str | None) -> dict[str, str]:
    """The `auth` block: by the author's state, unless one shape is asked for."""
    user = portal.users.get(author)
    if wanted is None:
        able = user is not None and portal.may_open(user) and portal.rest_allowed
        wanted = "none" if author <= 0 else ("full" if able else "system")
    if wanted == "none":
        return {}
    if wanted == "full" and author > 0:
        return token_fields(world, portal, _author_token(world, portal, author))
    assert portal.installation is not None
    auth = endpoints(world, portal)
    if wanted != "bare":
        auth["application_token"] = portal.installation.application_token
    return auth


def _author_token(world: World, portal: Portal, author: int) -> TokenPair:
    """A campaign would mint thousands of equal tokens; one per author and minute is as good."""
    now = world.clock.now()
    minted_at, pair = portal.author_tokens.get(author, (0.0, None))
    if pair is None or not 0 <= now - minted_at < _AUTHOR_TOKEN_REUSED_S:
        pair = world.tokens.mint(portal, author, renewable=False)
        portal.author_tokens[author] = (now, pair)
    assert isinstance(pair, TokenPair)
    return pair


def _shape(payload: dict[str, Any]) -> str:
    auth = payload.get("auth", {})
    if "access_token" in auth:
        return "full"
    if "application_token" in auth:
        return "system"
    return "bare" if auth else "none"
