"""Messages: accepted once, ended, repeated, found. Their gateway's word is in `submissions` and `reports`."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from app.config import Timing
from app.domain.messages import IncomingMessage, Message, Reason, Work
from app.domain.portals import PortalSettings, PortalState
from app.domain.status import MessageStatus
from app.store.closing import NO_CONTENT, close_attempt, finish_row, set_message, waiting_for_report
from app.store.database import StoreUnavailable, insert_or_ignore, single_write, statement, writing
from app.store.outbox import push_due
from app.store.portals import HandlerPortal
from app.store.rows import add_event, locked, message_columns, message_of
from app.store.secrets import secret_box
from app.store.tables import messages, portals

# --- stop 1: accept ---


@dataclass(frozen=True)
class Acceptance:
    """What became of a HANDLER call: a new row, or a repeat of one that we have."""

    row_id: int | None
    is_repeat: bool = False
    is_conflict: bool = False  # a repeat whose body differs: the first one counts


def accept(
    portal: HandlerPortal,
    incoming: IncomingMessage,
    *,
    now: datetime,
    timing: Timing,
    hold: bool = False,
) -> Acceptance:
    """Store a message once per (portal, message_id); committed when this returns.

    Raises:
        StoreUnavailable: nothing was stored.
    """
    values = _row_for(portal, incoming, now=now, timing=timing, hold=hold)
    try:
        return _store(values)
    except StoreUnavailable as error:
        if not error.is_lost_connection:
            raise
        return _store(values)  # the server was restarted while this connection rested; a new one may do


def _store(values: dict[str, Any]) -> Acceptance:
    with single_write() as connection:
        row_id = connection.scalar(
            insert_or_ignore(connection, messages, "portal_id", "message_id")
            .values(**values)
            .returning(messages.c.id)
        )
        if row_id is not None:
            return Acceptance(row_id)
        stored = connection.scalar(
            sa.select(messages.c.body_hash).where(
                messages.c.portal_id == values["portal_id"], messages.c.message_id == values["message_id"]
            )
        )
    # The hash goes with the text when that is removed; then nobody can tell.
    return Acceptance(None, is_repeat=True, is_conflict=stored not in ("", values["body_hash"]))


# After an uninstallation the queue may still hand over messages: known, never sent, nothing kept.
_NOTHING_KEPT: Mapping[str, Any] = {**NO_CONTENT, "recipient": ""}


def _row_for(
    portal: HandlerPortal, incoming: IncomingMessage, *, now: datetime, timing: Timing, hold: bool
) -> dict[str, Any]:
    is_over = portal.state is PortalState.UNINSTALLED
    lifetime = timedelta(seconds=portal.time_to_live_s or timing.time_to_live_s)
    # The older of both clocks counts, but a portal's clock that runs ahead must not lengthen a life.
    born = min(now, incoming.sent_at) if incoming.sent_at else now
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
        "expires_at": born + lifetime,
        "status": MessageStatus.FAILED if is_over else MessageStatus.QUEUED,
        "reason": Reason.UNINSTALLED if is_over else Reason.NONE,
        "work": Work.CLOSED if is_over else Work.HELD if hold else Work.QUEUED,
        "due_at": None if is_over else now,
        "hinted_at": now,
        **(_NOTHING_KEPT if is_over else {}),
    }


def release_held(row_id: int, *, now: datetime) -> bool:
    """The call was the portal's after all: the message goes out."""
    with writing() as connection:
        add_event(connection, row_id, now, "verified")
        return bool(
            connection.execute(
                sa.update(messages)
                .where(messages.c.id == row_id, messages.c.work == Work.HELD)
                .values(work=Work.QUEUED, due_at=now, held_token="")
            ).rowcount
        )


def held_call(row_id: int) -> tuple[Message, str, str] | None:
    """A held message, and the application_token and access token of its call; None when held no more."""
    query = (
        sa.select(*message_columns(), messages.c.author_token, messages.c.held_token, portals.c.member_id)
        .join(portals, portals.c.id == messages.c.portal_id)
        .where(messages.c.id == row_id, messages.c.work == Work.HELD)
    )
    with statement() as connection:
        row = connection.execute(query).first()
    if row is None:
        return None
    box = secret_box()
    return message_of(row), box.open(row.member_id, row.held_token), box.open(row.member_id, row.author_token)


def postpone_held(row_id: int, *, until: datetime) -> None:
    with writing() as connection:
        connection.execute(
            sa.update(messages)
            .where(messages.c.id == row_id, messages.c.work == Work.HELD)
            .values(due_at=until, hinted_at=None)
        )


# --- ended, repeated and woken by our own decision ---


def finish(
    seen: Message,
    status: MessageStatus,
    reason: Reason,
    text: str,
    *,
    now: datetime,
    timing: Timing,
) -> bool:
    """End a message by our own decision, if it is still where the caller saw it: a report may have come."""
    with writing() as connection:
        row = locked(connection, seen.id)
        if row is None or (row.work, row.status) != (seen.work, seen.status):
            return False
        add_event(connection, row.id, now, "ended", reason)
        finish_row(connection, row, status, reason, text, now, timing)
        if reason is Reason.UNINSTALLED:  # the HANDLER had not heard of it yet
            set_message(connection, row.id, **_NOTHING_KEPT)
    return True


def resolve(row_id: int, status: MessageStatus, *, now: datetime, timing: Timing) -> bool:
    """A person found out what became of an unknown outcome. False when it is not unknown (any more)."""
    with writing() as connection:
        row = locked(connection, row_id)
        if row is None or row.status != MessageStatus.UNKNOWN or row.work == Work.SUBMITTING:
            return False
        add_event(connection, row.id, now, "resolved", status)
        if status.is_final:
            finish_row(connection, row, status, Reason.NONE, "resolved by hand", now, timing)
            return True
        values = {**waiting_for_report(now, timing), **push_due(row, status, now, timing)}
        set_message(connection, row.id, status=status, **values)
    return True


def close_without_report(row_id: int, *, now: datetime) -> bool:
    """The gateway took it and never said more: closed as sent; a failure would be a guess."""
    with writing() as connection:
        row = locked(connection, row_id)
        if row is None or row.work != Work.WAITING:
            return False
        add_event(connection, row.id, now, "no_report")
        set_message(
            connection,
            row.id,
            work=Work.CLOSED,
            due_at=None,
            poll_at=None,
            deadline_at=None,
            reason=Reason.NO_REPORT,
        )
    return True


def next_poll(row_id: int, at: datetime | None) -> None:
    """Nothing final yet: ask again at `at`, or only wait for the deadline."""
    with writing() as connection:
        row = locked(connection, row_id)
        if row is not None and row.work == Work.WAITING:
            due_at = min(filter(None, (at, row.deadline_at)), default=None)
            set_message(connection, row_id, poll_at=at, polls=row.polls + 1, due_at=due_at, hinted_at=None)


def resend(row_id: int, *, now: datetime, timing: Timing) -> bool:
    """A person wants it sent again: a new attempt with a fresh ladder.

    False while it is on its way, and when its text was removed.
    """
    with writing() as connection:
        row = locked(connection, row_id)
        if row is None or not row.text or row.work in (Work.SUBMITTING, Work.QUEUED, Work.HELD):
            return False
        settings = connection.scalar(sa.select(portals.c.settings).where(portals.c.id == row.portal_id))
        lifetime_s = PortalSettings.from_json(settings or {}).time_to_live_s or timing.time_to_live_s
        add_event(connection, row.id, now, "resend")
        close_attempt(connection, row.attempt_id, "replaced", now)
        set_message(
            connection,
            row.id,
            status=MessageStatus.QUEUED,
            reason=Reason.NONE,
            reason_text="",
            work=Work.QUEUED,
            due_at=now,
            hinted_at=now,
            tries=0,
            polls=0,
            poll_at=None,
            deadline_at=None,
            attempt_id=None,
            faults=0,
            slot_at=None,
            is_resend=True,
            expires_at=now + timedelta(seconds=lifetime_s),
            **({} if row.told is None else push_due(row, MessageStatus.QUEUED, now, timing, is_resend=True)),
        )
    return True


def wake_account(account_id: int | None, portal_id: int, *, now: datetime) -> None:
    """Messages that wait for a gateway are due again: it was connected, repaired or probed well."""
    waits_for = [Reason.NO_GATEWAY, Reason.ACCOUNT_STOPPED]
    with writing() as connection:
        connection.execute(
            sa.update(messages)
            .where(
                messages.c.portal_id == portal_id,
                messages.c.work == Work.QUEUED,
                messages.c.reason.in_(waits_for),
                *(
                    []
                    if account_id is None
                    else [sa.or_(messages.c.account_id == account_id, messages.c.account_id.is_(None))]
                ),
            )
            .values(due_at=now, hinted_at=None, tries=0)
        )


def end_unsent(portal_id: int, *, up_to: int, now: datetime) -> None:
    """The app was removed: what was not submitted is over, and nobody is left to be told. `up_to` is the
    last row of the removed installation."""
    of_then = sa.and_(messages.c.portal_id == portal_id, messages.c.id <= up_to)
    with writing() as connection:
        connection.execute(
            sa.update(messages)
            .where(of_then, messages.c.work.in_([Work.QUEUED, Work.HELD]))
            .values(
                work=Work.CLOSED,
                status=MessageStatus.FAILED,
                reason=Reason.UNINSTALLED,
                due_at=None,
            )
        )
        connection.execute(
            sa.update(messages)
            .where(of_then)
            .values(push_due_at=None, author_token="", author_token_until=None)
        )


# --- the sweeper's and the readers' view ---


def lost_leases(now: datetime, *, limit: int) -> list[int]:
    """Claims that have run out: their workers died or sleep."""
    query = (
        sa.select(messages.c.id)
        .where(messages.c.due_at <= now, messages.c.work == Work.SUBMITTING)
        .order_by(messages.c.due_at)
        .limit(limit)
    )
    with statement() as connection:
        return list(connection.scalars(query))


def neglected(now: datetime, *, timing: Timing, limit: int) -> list[tuple[int, Work]]:
    """Due rows whose hint is missing or old, each portal in turn; they are marked as hinted."""
    turn = sa.func.row_number().over(partition_by=messages.c.portal_id, order_by=messages.c.due_at)
    waiting = (
        sa.select(messages.c.id, messages.c.work, turn.label("turn"))
        .where(
            messages.c.due_at <= now,
            messages.c.work != Work.SUBMITTING,
            sa.or_(messages.c.hinted_at.is_(None), messages.c.hinted_at <= now - timing.span("rehint_s")),
        )
        .subquery()
    )
    with writing() as connection:
        rows = connection.execute(
            sa.select(waiting.c.id, waiting.c.work).order_by(waiting.c.turn, waiting.c.id).limit(limit)
        ).all()
        if rows:
            connection.execute(
                sa.update(messages).where(messages.c.id.in_([row.id for row in rows])).values(hinted_at=now)
            )
    return [(row.id, Work(row.work)) for row in rows]


def find(portal_id: int, message_id: str) -> Message | None:
    return _first(messages.c.portal_id == portal_id, messages.c.message_id == message_id)


def by_row(portal_id: int, row_id: int) -> Message | None:
    return _first(messages.c.portal_id == portal_id, messages.c.id == row_id)


def _first(*conditions: sa.ColumnElement[bool]) -> Message | None:
    with statement() as connection:
        row = connection.execute(sa.select(*message_columns()).where(*conditions)).first()
    return message_of(row) if row else None


def counts_since(portal_id: int, since: datetime) -> dict[MessageStatus, int]:
    query = (
        sa.select(messages.c.status, sa.func.count())
        .where(
            messages.c.portal_id == portal_id,
            # All there are: with them SQLite begins at `since` in the index, else it reads every message.
            messages.c.status.in_(list(MessageStatus)),
            messages.c.received_at >= since,
        )
        .group_by(messages.c.status)
    )
    with statement() as connection:
        return {MessageStatus(status): count for status, count in connection.execute(query)}


def backlog(portal_id: int | None = None) -> dict[str, int]:
    """How many messages are at each kind of work, and how many statuses wait to be told."""
    mine = [messages.c.portal_id == portal_id] if portal_id is not None else []
    with statement() as connection:
        by_work = connection.execute(
            sa.select(messages.c.work, sa.func.count())
            .where(messages.c.due_at.is_not(None), *mine)
            .group_by(messages.c.work)
        )
        result = {str(work): int(count) for work, count in by_work}
        result["to_tell"] = (
            connection.scalar(sa.select(sa.func.count()).where(messages.c.push_due_at.is_not(None), *mine))
            or 0
        )
    return result


def author_token(row_id: int, member_id: str, *, now: datetime) -> str:
    """The author's own access token while it lives, else empty: he may tell of his own message."""
    query = sa.select(messages.c.author_token).where(
        messages.c.id == row_id, messages.c.author_token_until > now
    )
    with statement() as connection:
        sealed = connection.scalar(query)
    return secret_box().open(member_id, sealed or "")
