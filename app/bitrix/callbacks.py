"""What Bitrix24 posts to us: outgoing messages, events of the portal's life, and the opened frame.

Everything here is input that nobody has verified yet.
Sources: https://apidocs.bitrix24.com/api-reference/messageservice/messageservice-sender-add.html
         https://apidocs.bitrix24.com/api-reference/common/events/index.html
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from app.bitrix.cards import binding_of_document
from app.bitrix.forms import BadBody, node_of, parse_form, text_of
from app.domain.hosts import ascii_host
from app.domain.messages import CallAuth, HandedMessage
from app.domain.texts import clean

MAX_MESSAGE_ID = 128
MAX_RECIPIENT = 50
MAX_TOKEN = 2000
MAX_DOMAIN = 255
_HOST = re.compile(r"[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?(:[0-9]{1,5})?")
_MEMBER = re.compile(r"[A-Za-z0-9]{8,64}")

# Fields that have a column of their own; the rest of a message's body is kept as it came.
_OWN_FIELDS = frozenset(
    (
        "message_id",
        "message_to",
        "message_body",
        "properties",
        "type",
        "code",
        "ts",
        "module_id",
        "bindings",
        "auth",
    )
)


def parse_message(body: bytes) -> HandedMessage:
    """A HANDLER call. Without a text or a number it is a message all the same: one that fails, and the portal
    hears of it.

    Raises:
        BadBody: nothing to tell the portal of.
    """
    form = parse_form(body)
    legacy = node_of(form, "properties")
    message_id = text_of(form, "message_id", MAX_MESSAGE_ID + 1)
    raw_recipient = text_of(form, "message_to") or text_of(legacy, "phone_number")
    raw_text = text_of(form, "message_body", 10**6) or text_of(legacy, "message_text", 10**6)
    if not message_id or len(message_id) > MAX_MESSAGE_ID:
        raise BadBody(f"message_id is missing or longer than {MAX_MESSAGE_ID} characters")
    text, flags = clean(raw_text)
    recipient, _ = clean(raw_recipient.strip()[:MAX_RECIPIENT])
    message_id, _ = clean(message_id)
    return HandedMessage(
        message_id=message_id,
        recipient=recipient,
        text=text,
        text_flags=" ".join(sorted(flags)),
        sender_code=_plain(text_of(form, "code", 128)),
        sent_at=moment(text_of(form, "ts")),
        module_id=_plain(text_of(form, "module_id", 40)),
        bindings=_bindings(form),
        extra={_plain(name): _bounded(value) for name, value in form.items() if name not in _OWN_FIELDS},
        auth=call_auth(node_of(form, "auth")),
    )


def _bindings(form: Mapping[str, Any]) -> tuple[Mapping[str, str], ...]:
    named = tuple(
        {_plain(key): _plain(value[:40]) for key, value in binding.items() if isinstance(value, str)}
        for binding in node_of(form, "bindings").values()
        if isinstance(binding, Mapping)
    )
    document = None if named else binding_of_document(node_of(form, "document_id"))
    return named if document is None else (document,)


def _plain(text: str) -> str:
    return clean(text)[0]


def _bounded(value: Any) -> Any:
    if isinstance(value, dict):
        return {_plain(key): _bounded(below) for key, below in value.items()}
    return _plain(value[:500])


def call_auth(node: Mapping[str, Any]) -> CallAuth:
    """The `auth` block; each of its fields may be missing."""
    return CallAuth(
        access_token=text_of(node, "access_token", MAX_TOKEN),
        refresh_token=text_of(node, "refresh_token", MAX_TOKEN),
        expires_in_s=_number(text_of(node, "expires_in")) or 3600,
        application_token=text_of(node, "application_token"),
        member_id=text_of(node, "member_id", 64),
        user_id=text_of(node, "user_id", 20),
        client_endpoint=text_of(node, "client_endpoint"),
        domain=text_of(node, "domain", MAX_DOMAIN),
        status=text_of(node, "status", 4),
    )


def _number(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 12 else None


def moment(text: str) -> datetime | None:
    """A unix time as text; None when it is none."""
    seconds = _number(text)
    return datetime.fromtimestamp(seconds, UTC) if seconds is not None else None


@dataclass(frozen=True)
class PortalEvent:
    """An event of the portal's life. `sent_at` tells a late one from one of the present installation."""

    event: str
    auth: CallAuth
    data: Mapping[str, Any]
    sent_at: datetime | None
    server_endpoint: str

    @property
    def is_clean(self) -> bool:
        """Whether the admin asked for everything to be deleted with the app."""
        return text_of(self.data, "CLEAN").lower() in ("1", "y", "true")


def parse_event(body: bytes) -> PortalEvent:
    """An event call.

    Raises:
        BadBody: no event or no portal named in it.
    """
    form = parse_form(body)
    auth = node_of(form, "auth")
    event = text_of(form, "event", 40).upper()
    if not re.fullmatch(r"[A-Z0-9_]{3,40}", event):
        raise BadBody("event is missing")
    if not _MEMBER.fullmatch(text_of(auth, "member_id", 65)):
        raise BadBody("auth[member_id] is missing")
    return PortalEvent(
        event=event,
        auth=call_auth(auth),
        data=node_of(form, "data"),
        sent_at=moment(text_of(form, "ts")),
        server_endpoint=text_of(auth, "server_endpoint"),
    )


@dataclass(frozen=True)
class Entry:
    """The frame's first request: who says they open the app, and where."""

    member_id: str
    access_token: str = field(repr=False)
    refresh_token: str = field(repr=False)
    expires_in_s: int
    domain: str
    is_https: bool
    language: str
    app_sid: str
    status: str
    placement: str
    server_endpoint: str
    application_token: str = field(repr=False)


def _host_of(domain: str) -> str:
    """A host with or without a port, in ASCII; empty for anything else."""
    host, colon, port = domain.partition(":")
    try:
        found = f"{ascii_host(host)}{colon}{port}"
    except ValueError:
        return ""
    return found if _HOST.fullmatch(found) else ""


def parse_entry(query: Mapping[str, str], form: Mapping[str, str]) -> Entry:
    """The browser's POST to `/install` or `/app`.

    Raises:
        BadBody: it did not come from a portal's frame; says what is missing.
    """
    member_id = form.get("member_id", "")
    access_token = form.get("AUTH_ID", "")
    domain = query.get("DOMAIN", form.get("DOMAIN", ""))
    if not _MEMBER.fullmatch(member_id):
        raise BadBody("member_id is missing")
    if not access_token or len(access_token) > MAX_TOKEN or len(form.get("REFRESH_ID", "")) > MAX_TOKEN:
        raise BadBody("AUTH_ID is missing")
    return Entry(
        member_id=member_id,
        access_token=access_token,
        refresh_token=form.get("REFRESH_ID", ""),
        expires_in_s=_number(form.get("AUTH_EXPIRES", "")) or 3600,
        domain=_host_of(domain),
        is_https=query.get("PROTOCOL", "1") != "0",
        language=query.get("LANG", "en")[:8],
        app_sid=query.get("APP_SID", "")[:64],
        status=form.get("status", "")[:4],
        placement=form.get("PLACEMENT", "DEFAULT")[:60],
        server_endpoint=form.get("SERVER_ENDPOINT", "")[:500],
        application_token=form.get("APPLICATION_TOKEN", "")[:500],
    )
