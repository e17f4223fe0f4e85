"""Stop 1 of a message's walk: what the portal hands over is stored, once."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from app.domain.audit import Action
from app.domain.messages import HandedMessage, Lane, Reason, Work
from app.domain.numbers import mask
from app.domain.portals import PortalState
from app.domain.retry import Timing, born
from app.domain.status import MessageStatus
from app.store import audit
from app.store.database import StoreUnavailable, is_sqlite, single_write, writing
from app.store.database.many import insert_many
from app.store.database.secrets import secret_box
from app.store.database.together import Together
from app.store.messages import story
from app.store.messages.rows import (
    NO_CONTENT,
)
from app.store.portals.portals import HandlerPortal
from app.store.tables import messages

# --- stop 1: accept ---


@dataclass(frozen=True)
class Acceptance:
    """What became of a HANDLER call: a new row, or a repeat of one that we have."""

    row_id: int | None
    is_repeat: bool = False
    is_conflict: bool = False  # a repeat whose body differs: the first one counts


def accept(
    portal: HandlerPortal,
    incoming: HandedMessage,
    *,
    now: datetime,
    timing: Timing,
    hold: bool = False,
    lane: Lane = Lane.SINGLE,
) -> Acceptance:
    """Store a message once per (portal, message_id); committed when this returns.

    Raises:
        StoreUnavailable: nothing was stored.
    """
    values = _row_for(portal, incoming, now=now, timing=timing, hold=hold, lane=lane)
    done = _accept(values)
    if done.row_id is not None:
        story.received(values, done.row_id, portal.member_id)
    return done


def _accept(values: dict[str, Any]) -> Acceptance:
    if values["origin"] == "test":
        return _store_test(values)
    if is_sqlite():
        return _together.write(values)
    try:
        return _store(values)
    except StoreUnavailable as error:
        if not error.is_lost_connection:
            raise
        return _store(values)  # the server was restarted while this connection rested; a new one may do


def _store(values: dict[str, Any]) -> Acceptance:
    with single_write() as connection:
        return _store_by(connection, values)


def _store_by(connection: Connection, values: dict[str, Any]) -> Acceptance:
    once = ("portal_id", "message_id")
    if made := insert_many(connection, messages, [values], ignore_on=once, returning=("id",)):
        return Acceptance(made[0].id)
    stored = connection.scalar(
        sa.select(messages.c.body_hash).where(
            messages.c.portal_id == values["portal_id"], messages.c.message_id == values["message_id"]
        )
    )
    # The hash goes with the text when that is removed; then nobody can tell.
    return Acceptance(None, is_repeat=True, is_conflict=stored not in ("", values["body_hash"]))


def _store_test(values: dict[str, Any]) -> Acceptance:
    """A person of the portal wrote it on our page."""
    with writing() as connection:
        done = _store_by(connection, values)
        after = {"number": done.row_id, "to_number": mask(values["recipient"])}
        about, at = values["message_id"], values["received_at"]
        audit.record(connection, Action.MESSAGE_TESTED, values["portal_id"], about=about, after=after, at=at)
    return done


_together = Together(_store_by)

# After an uninstallation the queue may still hand over messages: known, never sent, nothing kept.
NOTHING_KEPT: Mapping[str, Any] = {**NO_CONTENT, "recipient": ""}


def _row_for(
    portal: HandlerPortal, incoming: HandedMessage, *, now: datetime, timing: Timing, hold: bool, lane: Lane
) -> dict[str, Any]:
    is_over = portal.state is PortalState.UNINSTALLED
    lifetime = timedelta(seconds=portal.time_to_live_s or timing.time_to_live_s)
    auth = incoming.auth
    return {
        "portal_id": portal.id,
        "message_id": incoming.message_id,
        "origin": incoming.origin,
        "sender_code": incoming.sender_code,
        "recipient": incoming.recipient,
        "text": incoming.text,
        "text_flags": incoming.text_flags,
        "body_hash": hashlib.sha256(f"{incoming.recipient}\0{incoming.text}".encode()).hexdigest(),
        "module_id": incoming.module_id[:40],
        "bindings": [dict(binding) for binding in incoming.bindings],
        "extra": dict(incoming.extra),
        "author_id": auth.user_id[:20],
        "author_token": secret_box().seal(portal.member_id, auth.access_token),
        "author_token_until": now + timedelta(seconds=auth.expires_in_s) if auth.access_token else None,
        "held_token": secret_box().seal(portal.member_id, auth.application_token) if hold else "",
        "sent_at": incoming.sent_at,
        "received_at": now,
        "expires_at": born(now, incoming.sent_at) + lifetime,
        "status": MessageStatus.FAILED if is_over else MessageStatus.QUEUED,
        "reason": Reason.UNINSTALLED if is_over else Reason.NONE,
        "work": Work.CLOSED if is_over else Work.HELD if hold else Work.QUEUED,
        "due_at": None if is_over else now,
        "push_due_at": now if is_over else None,  # should the app come back
        "hinted_at": now,
        "lane": lane,
        **(NOTHING_KEPT if is_over else {}),
    }
