"""Messages: accepted once, ended, repeated, found. Their gateway's word is in `outcomes` and `reports`."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from app.domain import life
from app.domain.audit import Action
from app.domain.life import Change, State
from app.domain.messages import HandedMessage, Lane, Message, Reason, Work
from app.domain.numbers import mask
from app.domain.portals import PortalSettings, PortalState
from app.domain.retry import Timing, born
from app.domain.status import MessageStatus
from app.store import audit
from app.store.database import StoreUnavailable, insert_of, is_sqlite, single_write, statement, writing
from app.store.database.secrets import secret_box
from app.store.database.together import Together
from app.store.messages.rows import (
    NO_CONTENT,
    lock_in_order,
    locked,
    locked_where,
    message_columns,
    message_of,
    state_of,
    write,
    write_all,
)
from app.store.portals.portals import HandlerPortal
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
    if incoming.origin == "test":
        return _store_test(values)
    if is_sqlite():
        return _together.write(values)
    try:
        return _store(values)
    except StoreUnavailable as error:
        if not error.is_lost_connection:
            raise
        return _store(values)  # the server was restarted while this connection rested; a new one may do


@cache
def _insert_once(dialect: str) -> sa.Executable:
    """Made once: to put it together for every message cost a third of the HANDLER's time."""
    insert = insert_of(dialect, messages).on_conflict_do_nothing(index_elements=["portal_id", "message_id"])
    statement: sa.Executable = insert.returning(messages.c.id)
    return statement


def _store(values: dict[str, Any]) -> Acceptance:
    with single_write() as connection:
        return _store_by(connection, values)


def _store_by(connection: Connection, values: dict[str, Any]) -> Acceptance:
    row_id = connection.scalar(_insert_once(connection.dialect.name), values)
    if row_id is not None:
        return Acceptance(row_id)
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
_NOTHING_KEPT: Mapping[str, Any] = {**NO_CONTENT, "recipient": ""}


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
        **(_NOTHING_KEPT if is_over else {}),
    }


def release_held(row_id: int, *, now: datetime) -> bool:
    """The call was the portal's after all: the message goes out."""
    return _write(row_id, lambda state: life.verified(state, now), now, held_token="")


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
    more = _NOTHING_KEPT if reason is Reason.UNINSTALLED else {}  # the HANDLER had not heard of it yet
    return _write(
        seen.id,
        lambda state: life.ended(state, status, reason, text, now, timing),
        now,
        seen=seen,
        action=Action.MESSAGE_ENDED if audit.is_a_person() else None,
        **more,
    )


def resolve(seen: Message, status: MessageStatus, *, now: datetime, timing: Timing) -> bool:
    """A person found out what became of an unknown outcome. False when it is not what they saw (any more)."""
    return _write(
        seen.id,
        lambda state: life.resolved(state, status, now, timing),
        now,
        seen=seen,
        action=Action.MESSAGE_RESOLVED,
    )


def close_without_report(row_id: int, *, now: datetime) -> bool:
    """The gateway took it and never said more: closed as sent; a failure would be a guess."""
    return _write(row_id, life.no_report, now)


def next_poll(row_id: int, at: datetime | None, *, now: datetime) -> None:
    """Nothing final yet: ask again at `at`, or only wait for the deadline."""
    _write(row_id, lambda state: life.polled(state, at), now)


def resend(seen: Message, *, now: datetime, timing: Timing) -> bool:
    """A new attempt with a fresh ladder; False when the message is not what the person saw any more, so that
    of two clicks one counts."""
    if life.may_send_again(seen).answer == "no":
        return False
    with statement() as connection:
        settings = connection.scalar(sa.select(portals.c.settings).where(portals.c.id == seen.portal_id))
    lifetime_s = PortalSettings.from_json(settings or {}).time_to_live_s or timing.time_to_live_s
    lifetime = timedelta(seconds=lifetime_s)
    return _write(
        seen.id,
        lambda state: life.resent(state, now, timing, lifetime=lifetime),
        now,
        seen=seen,
        action=Action.MESSAGE_SENT_AGAIN,
    )


def note_exception(row_id: int, why: str, *, now: datetime, timing: Timing) -> bool:
    """A job failed at this message by an error of ours. True when it is a dead letter now."""
    with writing() as connection:
        row = locked(connection, row_id)
        change = life.failed_by_us(state_of(row), why, now, timing) if row is not None else None
        if row is None or change is None:
            return False
        write(connection, row, change, now)
    return bool(change.steps)


def _write(
    row_id: int,
    event: Callable[[State], Change | None],
    now: datetime,
    *,
    seen: Message | None = None,
    action: Action | None = None,
    **more: Any,
) -> bool:
    """Lock, ask `life`, write. With `seen`, only while portal, attempt, work and status are as they were.
    An `action` is somebody's, and goes into the audit log."""
    with writing() as connection:
        row = locked(connection, row_id)
        if row is None or (seen is not None and _version(row) != _version(seen)):
            return False
        change = event(state_of(row))
        if change is None:
            return False
        write(connection, row, change, now, **more)
        if action is not None:
            _write_down(connection, action, row, change, now)
    return True


def _write_down(connection: Connection, action: Action, row: Any, change: Change, now: datetime) -> None:
    facts = {"number": row.id, "to_number": mask(row.recipient)}
    audit.record(
        connection,
        action,
        row.portal_id,
        about=row.message_id,
        before={"status": row.status},
        after={**facts, "status": change.state.status, "reason": change.state.reason},
        at=now,
    )


def _version(seen: Any) -> tuple[object, ...]:
    return (seen.portal_id, seen.attempts, seen.work, seen.status, bool(seen.text))


TOGETHER = 500  # more of them in one commit would keep others waiting


def wake_account(account_id: int | None, portal_id: int, *, now: datetime) -> None:
    """Messages that wait for a gateway are due again: it was connected, repaired or probed well."""
    column = messages.c
    mine = [
        column.portal_id == portal_id,
        column.work == Work.QUEUED,
        column.reason.in_([Reason.NO_GATEWAY, Reason.ACCOUNT_STOPPED]),
    ]
    if account_id is not None:
        mine.append(sa.or_(column.account_id == account_id, column.account_id.is_(None)))
    while True:
        with writing() as connection:
            rows = locked_where(connection, *mine, limit=TOGETHER)
            write_all(connection, [(row, life.woken(state_of(row), now)) for row in rows], now)
        if len(rows) < TOGETHER:
            return


def end_unsent(portal_id: int, *, up_to: int, now: datetime, timing: Timing) -> None:
    """The app was removed: what was not submitted is over. `up_to` is the last row of that installation."""
    of_then = sa.and_(messages.c.portal_id == portal_id, messages.c.id <= up_to)
    unsent = messages.c.work.in_([Work.QUEUED, Work.HELD])
    while True:
        with writing() as connection:
            rows = locked_where(connection, of_then, unsent, limit=TOGETHER)
            changes = [(row, life.uninstalled(state_of(row), now, timing)) for row in rows]
            write_all(connection, changes, now)
        if len(rows) < TOGETHER:
            break
    with_token = sa.and_(of_then, messages.c.author_token != "")
    with writing() as connection:
        lock_in_order(connection, with_token)
        connection.execute(
            sa.update(messages).where(with_token).values(author_token="", author_token_until=None)
        )


RESTORED = "restored from a backup"


def mark_unsent_unknown(*, now: datetime, timing: Timing) -> int:
    """After a restore from a backup the rows know nothing of what went out since: count every message that
    was still to be submitted as an unknown outcome; returns how many."""
    unsent = messages.c.work.in_([Work.QUEUED, Work.HELD, Work.SUBMITTING])
    with writing() as connection:
        rows = locked_where(connection, unsent)  # nobody else is at work then
        changes = [(row, life.restored(state_of(row), RESTORED, now, timing)) for row in rows]
        write_all(connection, changes, now)
        audit.record(connection, Action.MESSAGES_DOUBTED, None, after={"messages": len(rows)}, at=now)
    return len(rows)


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
    """Due rows that are looked after one by one, whose hint is missing or old, each portal in turn; they are
    marked as hinted."""
    turn = sa.func.row_number().over(partition_by=messages.c.portal_id, order_by=messages.c.due_at)
    waiting = (
        sa.select(messages.c.id, messages.c.work, turn.label("turn"))
        .where(
            messages.c.due_at <= now,
            messages.c.work.in_([Work.HELD, Work.WAITING]),
            sa.or_(messages.c.hinted_at.is_(None), messages.c.hinted_at <= now - timing.span("rehint_s")),
        )
        .subquery()
    )
    with writing() as connection:
        rows = connection.execute(
            sa.select(waiting.c.id, waiting.c.work).order_by(waiting.c.turn, waiting.c.id).limit(limit)
        ).all()
        if rows:
            mine = messages.c.id.in_([row.id for row in rows])
            lock_in_order(connection, mine)
            connection.execute(sa.update(messages).where(mine).values(hinted_at=now))
    return [(row.id, Work(row.work)) for row in rows]


def find(portal_id: int, message_id: str) -> Message | None:
    return _first(messages.c.portal_id == portal_id, messages.c.message_id == message_id)


def by_row(portal_id: int, row_id: int) -> Message | None:
    return _first(messages.c.portal_id == portal_id, messages.c.id == row_id)


def _first(*conditions: sa.ColumnElement[bool]) -> Message | None:
    with statement() as connection:
        row = connection.execute(sa.select(*message_columns()).where(*conditions)).first()
    return message_of(row) if row else None


def count_tests(portal_id: int, author_id: str, *, since: datetime) -> int:
    """Test messages of one administrator since then."""
    query = sa.select(sa.func.count()).where(
        messages.c.portal_id == portal_id,
        messages.c.received_at > since,
        messages.c.origin == "test",
        messages.c.author_id == author_id,
    )
    with statement() as connection:
        return int(connection.scalar(query) or 0)


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
