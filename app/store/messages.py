"""Messages from acceptance to the outcome of their submission. Every write names what it expects."""

from __future__ import annotations

import hashlib
import secrets as random_source
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from app.config import Timing
from app.domain.messages import Claim, IncomingMessage, Message, Reason, Work
from app.domain.outcomes import Accepted, Refused
from app.domain.portals import PortalState
from app.domain.retry import pause_before
from app.domain.status import MessageStatus, advance
from app.store.database import AnyRow, StoreUnavailable, insert_or_ignore, statement, writing
from app.store.outbox import push_due
from app.store.portals import HandlerPortal
from app.store.reports import apply_parked
from app.store.rows import add_event, locked, message_columns, message_of
from app.store.secrets import secret_box
from app.store.tables import attempts, gateway_accounts, messages, parts, portals

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
    with statement() as connection:
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
    return Acceptance(None, is_repeat=True, is_conflict=stored != values["body_hash"])


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
        # After an uninstallation the queue may still hand over messages: known, never sent, nothing kept.
        "recipient": "" if is_over else incoming.recipient,
        "text": "" if is_over else incoming.text,
        "text_flags": incoming.text_flags,
        "body_hash": hashlib.sha256(f"{incoming.recipient}\0{incoming.text}".encode()).hexdigest(),
        "module_id": incoming.module_id[:40],
        "bindings": [] if is_over else [dict(binding) for binding in incoming.bindings],
        "extra": {} if is_over else dict(incoming.extra),
        "author_id": auth.user_id[:20],
        "author_token": "" if is_over else secret_box().seal(portal.member_id, auth.access_token),
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


# --- stop 2: submit ---


def due(row_id: int, work: Work, *, now: datetime) -> Message | None:
    """The message when it really waits for this work now; a hint alone proves nothing."""
    query = sa.select(*message_columns()).where(
        messages.c.id == row_id, messages.c.work == work, messages.c.due_at <= now
    )
    with statement() as connection:
        row = connection.execute(query).first()
    return message_of(row) if row else None


def claim(
    message: Message,
    *,
    account_id: int,
    gateway: str,
    recipient: str,
    encoding: str,
    segments: int,
    now: datetime,
    timing: Timing,
) -> Claim | None:
    """Take a due message for submission; None when another worker was faster.

    After an unknown outcome the same attempt is called again under its reference; else a new one begins.
    """
    lease = random_source.token_hex(16)
    with writing() as connection:
        row = connection.execute(
            sa.update(messages)
            .where(messages.c.id == message.id, messages.c.work == Work.QUEUED, messages.c.due_at <= now)
            .values(
                work=Work.SUBMITTING,
                lease=lease,
                due_at=now + timing.span("lease_s"),
                hinted_at=None,
                tries=messages.c.tries + 1,
                account_id=account_id,
                recipient=recipient,
                encoding=encoding,
                segments=segments,
                reason=Reason.NONE,
                reason_text="",
            )
            .returning(*message_columns(), messages.c.tries, messages.c.attempt_id)
        ).first()
        if row is None:
            return None
        attempt = _attempt_for_call(connection, row, account_id, gateway, now)
    return Claim(
        message=message_of(row),
        lease=lease,
        attempt_id=attempt.id,
        reference=attempt.reference,
        calls=attempt.calls,
        tries=row.tries,
        portal_id=row.portal_id,
        account_id=account_id,
    )


def _attempt_for_call(
    connection: Connection, row: AnyRow, account_id: int, gateway: str, now: datetime
) -> AnyRow:
    found = (attempts.c.id, attempts.c.reference, attempts.c.calls)
    again = connection.execute(
        sa.update(attempts)
        .where(
            attempts.c.id == row.attempt_id,
            attempts.c.outcome == "unknown",
            attempts.c.account_id == account_id,
        )
        .values(calls=attempts.c.calls + 1, finished_at=None)
        .returning(*found)
    ).first()
    if again is not None:
        add_event(connection, row.id, now, "submitting", f"again as {again.reference}")
        return again
    attempt = connection.execute(
        sa.insert(attempts)
        .values(
            message_row_id=row.id,
            number=row.attempts + 1,
            account_id=account_id,
            gateway=gateway,
            reference=random_source.token_urlsafe(12),
            calls=1,
            started_at=now,
        )
        .returning(*found)
    ).one()
    connection.execute(
        sa.update(messages)
        .where(messages.c.id == row.id)
        .values(attempt_id=attempt.id, attempts=row.attempts + 1)
    )
    add_event(connection, row.id, now, "submitting", attempt.reference)
    return attempt


def record_accepted(
    claim: Claim, accepted: Accepted, *, now: datetime, timing: Timing, poll_s: float | None
) -> bool:
    """The gateway took it. False when the lease was lost: the answer is kept as evidence all the same."""
    with writing() as connection:
        row = locked(connection, claim.message.id)
        if row is None:
            return False
        _close_attempt(connection, claim.attempt_id, "accepted", now, cost=accepted.cost or "")
        _add_parts(connection, claim, accepted)
        is_ours = row.lease == claim.lease
        add_event(connection, row.id, now, "accepted", " ".join(accepted.ids) if is_ours else "late answer")
        # A worker that was paused past its lease still proves that the gateway has the message:
        # whoever holds the row now must not submit it again.
        is_current = row.attempt_id == claim.attempt_id
        if is_ours or (is_current and row.work in (Work.WAITING, Work.QUEUED)):
            poll_at = now + timedelta(seconds=poll_s) if poll_s is not None and accepted.ids else None
            deadline = now + timing.span("report_deadline_s")
            status = advance(MessageStatus(row.status), accepted.status)
            values = {
                "status": status,
                "work": Work.WAITING,
                "lease": None,
                "tries": 0,
                "poll_at": poll_at,
                "polls": 0,
                "deadline_at": deadline,
                "due_at": min(filter(None, (poll_at, deadline))),
                "hinted_at": None,
                **push_due(row, status, now, timing),
            }
            if accepted.segments:
                values["segments"] = accepted.segments
            if status.is_final:  # an early report came first
                values |= {"work": Work.CLOSED, "due_at": None, "poll_at": None, "deadline_at": None}
            else:
                values |= {"reason": Reason.NONE, "reason_text": ""}
            _set(connection, row.id, **values)
        apply_parked(connection, claim, accepted.ids, now=now, timing=timing)
        connection.execute(
            sa.update(gateway_accounts)
            .where(gateway_accounts.c.id == claim.account_id, gateway_accounts.c.failures > 0)
            .values(failures=0)
        )
    return bool(is_ours)


def _add_parts(connection: Connection, claim: Claim, accepted: Accepted) -> None:
    if accepted.ids:
        connection.execute(
            sa.insert(parts),
            [
                {
                    "attempt_id": claim.attempt_id,
                    "account_id": claim.account_id,
                    "gateway_message_id": gateway_id,
                    "status": accepted.status,
                }
                for gateway_id in dict.fromkeys(accepted.ids)
            ],
        )


def record_refused_later(
    claim: Claim, refused: Refused, *, now: datetime, timing: Timing, reason: Reason = Reason.NONE
) -> bool:
    """Surely not taken: back to the queue for another try, or failed after too many."""
    with writing() as connection:
        row = _mine(connection, claim)
        if row is None:
            return False
        # After an unknown outcome only the same reference may be used again.
        outcome = "unknown" if claim.calls > 1 else "refused"
        _close_attempt(connection, claim.attempt_id, outcome, now, code=refused.code, text=refused.text)
        add_event(connection, row.id, now, "refused", _words(refused))
        if MessageStatus(row.status).is_final:  # a report of an earlier call has settled it
            _set(connection, row.id, work=Work.CLOSED, lease=None, due_at=None, deadline_at=None)
            return True
        if claim.tries > timing.retry_limit and reason is Reason.NONE and claim.calls == 1:
            _finish(connection, row, MessageStatus.FAILED, Reason.GAVE_UP, _words(refused), now, timing)
            return True
        pause = pause_before(claim.tries, base_s=timing.retry_base_s)
        if refused.retry_after_s is not None:
            pause = max(pause, timedelta(seconds=refused.retry_after_s))
        _set(
            connection,
            row.id,
            work=Work.QUEUED,
            lease=None,
            due_at=min(now + pause, row.expires_at),
            hinted_at=None,
            reason=reason,
            reason_text=_words(refused),
        )
    return True


def record_refused_for_good(claim: Claim, refused: Refused, *, now: datetime, timing: Timing) -> bool:
    """This message never: it failed, with the gateway's words."""
    with writing() as connection:
        row = _mine(connection, claim)
        if row is None:
            return False
        _close_attempt(connection, claim.attempt_id, "refused", now, code=refused.code, text=refused.text)
        add_event(connection, row.id, now, "refused", _words(refused))
        _finish(connection, row, MessageStatus.FAILED, Reason.REFUSED, _words(refused), now, timing)
    return True


def record_unknown(row_id: int, lease: str, why: str, *, resend: bool, now: datetime, timing: Timing) -> bool:
    """No clear answer, or none at all. `resend`: the gateway drops what it already has, so try again.

    Otherwise the row waits for a report until the deadline: a second submission could send it twice.
    """
    with writing() as connection:
        row = locked(connection, row_id)
        if row is None or row.lease != lease or row.work != Work.SUBMITTING:
            return False
        _close_attempt(connection, row.attempt_id, "unknown", now, text=why)
        add_event(connection, row.id, now, "unknown", why)
        deadline = row.deadline_at or now + timing.span("unknown_s")
        status = advance(MessageStatus(row.status), MessageStatus.UNKNOWN)
        values: dict[str, Any] = {
            "status": status,
            "lease": None,
            "hinted_at": None,
            "deadline_at": deadline,
            "reason": Reason.UNKNOWN,
            "reason_text": why,
        }
        if status.is_final:
            values |= {"work": Work.CLOSED, "due_at": None, "deadline_at": None}
            values |= {"reason": row.reason, "reason_text": row.reason_text}
        elif resend and status is MessageStatus.UNKNOWN:
            again = now + pause_before(row.tries, base_s=timing.retry_base_s, cap_s=300)
            values |= {"work": Work.QUEUED, "due_at": min(again, deadline)}
        else:
            values |= {"work": Work.WAITING, "due_at": deadline}
        _set(connection, row.id, **values)
        attempt = connection.execute(sa.select(attempts).where(attempts.c.id == row.attempt_id)).one()
        apply_parked(
            connection,
            Claim(
                message_of(row), lease, attempt.id, attempt.reference, 1, 1, row.portal_id, attempt.account_id
            ),
            (),
            now=now,
            timing=timing,
        )
    return True


def wait_in_queue(row_id: int, reason: Reason, text: str, *, until: datetime) -> None:
    """Not now: no gateway, or its account is stopped. The row stays queued and says why."""
    with writing() as connection:
        connection.execute(
            sa.update(messages)
            .where(messages.c.id == row_id, messages.c.work == Work.QUEUED)
            .values(
                due_at=until,
                hinted_at=None,
                reason=reason,
                reason_text=text,
            )
        )


def finish(
    row_id: int,
    *,
    expected: Sequence[Work],
    status: MessageStatus,
    reason: Reason,
    text: str,
    now: datetime,
    timing: Timing,
) -> bool:
    """End a message by our own decision, if it is still where the caller saw it."""
    with writing() as connection:
        row = locked(connection, row_id)
        if row is None or row.work not in expected:
            return False
        add_event(connection, row.id, now, "ended", reason)
        _finish(connection, row, status, reason, text, now, timing)
    return True


def close_without_report(row_id: int, *, now: datetime) -> bool:
    """The gateway took it and never said more: closed as sent; a failure would be a guess."""
    with writing() as connection:
        row = locked(connection, row_id)
        if row is None or row.work != Work.WAITING:
            return False
        add_event(connection, row.id, now, "no_report")
        _set(
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
            _set(connection, row_id, poll_at=at, polls=row.polls + 1, due_at=due_at, hinted_at=None)


def resend(row_id: int, *, now: datetime, timing: Timing) -> bool:
    """A person wants it sent again: a new attempt with a fresh ladder. False while it is on its way."""
    with writing() as connection:
        row = locked(connection, row_id)
        if row is None or row.work in (Work.SUBMITTING, Work.QUEUED, Work.HELD):
            return False
        add_event(connection, row.id, now, "resend")
        _close_attempt(connection, row.attempt_id, "replaced", now)
        _set(
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
            is_resend=True,
            expires_at=now + timing.span("time_to_live_s"),
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
            .values(due_at=now, hinted_at=None)
        )


def end_unsent(portal_id: int, *, now: datetime) -> None:
    """The app was removed: what was not submitted is over, and nobody is left to be told."""
    with writing() as connection:
        connection.execute(
            sa.update(messages)
            .where(messages.c.portal_id == portal_id, messages.c.work.in_([Work.QUEUED, Work.HELD]))
            .values(
                work=Work.CLOSED,
                status=MessageStatus.FAILED,
                reason=Reason.UNINSTALLED,
                due_at=None,
            )
        )
        connection.execute(
            sa.update(messages)
            .where(messages.c.portal_id == portal_id)
            .values(push_due_at=None, author_token="", author_token_until=None)
        )


# --- pieces of the writes above ---


def _mine(connection: Connection, claim: Claim) -> AnyRow | None:
    row = locked(connection, claim.message.id)
    return row if row is not None and row.lease == claim.lease and row.work == Work.SUBMITTING else None


def _set(connection: Connection, row_id: int, **values: Any) -> None:
    connection.execute(sa.update(messages).where(messages.c.id == row_id).values(**values))


def _close_attempt(
    connection: Connection,
    attempt_id: int | None,
    outcome: str,
    now: datetime,
    *,
    code: str = "",
    text: str = "",
    cost: str = "",
) -> None:
    connection.execute(
        sa.update(attempts)
        .where(attempts.c.id == attempt_id)
        .values(outcome=outcome, finished_at=now, code=code[:60], text=text[:2000], cost=cost[:40])
    )


def _finish(
    connection: Connection,
    row: AnyRow,
    status: MessageStatus,
    reason: Reason,
    text: str,
    now: datetime,
    timing: Timing,
) -> None:
    reached = advance(MessageStatus(row.status), status)
    _set(
        connection,
        row.id,
        status=reached,
        work=Work.CLOSED,
        lease=None,
        due_at=None,
        poll_at=None,
        deadline_at=None,
        reason=reason,
        reason_text=text,
        **push_due(row, reached, now, timing),
    )


def _words(refused: Refused) -> str:
    return f"{refused.code}: {refused.text}".strip(": ")[:1000]


# --- the sweeper's and the readers' view ---


def neglected(now: datetime, *, timing: Timing, limit: int) -> list[tuple[int, Work]]:
    """Due rows whose hint is missing or old, each portal in turn; they are marked as hinted."""
    turn = sa.func.row_number().over(partition_by=messages.c.portal_id, order_by=messages.c.due_at)
    waiting = (
        sa.select(messages.c.id, messages.c.work, turn.label("turn"))
        .where(
            messages.c.due_at <= now,
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


def page(
    portal_id: int,
    *,
    limit: int,
    before_id: int | None = None,
    status: MessageStatus | None = None,
    number_part: str = "",
) -> list[Message]:
    """The newest messages first; `before_id` is the last row id of the page before."""
    query = sa.select(*message_columns()).where(messages.c.portal_id == portal_id)
    if before_id is not None:
        query = query.where(messages.c.id < before_id)
    if status is not None:
        query = query.where(messages.c.status == status)
    if number_part:
        query = query.where(messages.c.recipient.contains(number_part, autoescape=True))
    with statement() as connection:
        return [
            message_of(row) for row in connection.execute(query.order_by(messages.c.id.desc()).limit(limit))
        ]


def counts_since(portal_id: int, since: datetime) -> dict[MessageStatus, int]:
    query = (
        sa.select(messages.c.status, sa.func.count())
        .where(messages.c.portal_id == portal_id, messages.c.received_at >= since)
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


def lost_claim(row_id: int, *, now: datetime) -> tuple[str, int, int] | None:
    """Lease, account and portal of a claim that has run out, else None."""
    query = sa.select(messages.c.lease, messages.c.account_id, messages.c.portal_id).where(
        messages.c.id == row_id, messages.c.work == Work.SUBMITTING, messages.c.due_at <= now
    )
    with statement() as connection:
        row = connection.execute(query).first()
    return (row.lease, row.account_id, row.portal_id) if row else None


def is_past_deadline(row_id: int, *, now: datetime) -> bool:
    with statement() as connection:
        deadline = connection.scalar(sa.select(messages.c.deadline_at).where(messages.c.id == row_id))
    return deadline is not None and deadline <= now
