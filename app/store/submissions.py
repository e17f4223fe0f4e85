"""Submissions: what the gateway said to a claimed message. Every write names what it expects.

The outcome is written by whoever holds the lease; an answer that comes after the lease was lost still counts
as evidence, but never over what is known better.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from app.config import Timing
from app.domain.messages import Claim, Message, Reason, Work
from app.domain.outcomes import Accepted, Refused
from app.domain.retry import pause_before
from app.domain.status import MessageStatus, advance
from app.store.accounts import note_answered
from app.store.claims import held_by
from app.store.closing import close_attempt, finish_row, set_message, waiting_for_report
from app.store.database import AnyRow, insert_or_ignore, writing
from app.store.outbox import push_due
from app.store.reports import apply_parked
from app.store.rows import add_event, locked
from app.store.tables import attempts, messages, parts

FAULTS_TO_STOP = 3  # workers that died on one message
EXCEPTIONS_TO_STOP = 5
WAIT_TOGETHER = 500  # more of them would keep SQLite's other writers waiting


# --- what the gateway said ---


def record_accepted(
    claim: Claim, accepted: Accepted, *, now: datetime, timing: Timing, poll_s: float | None
) -> bool:
    """The gateway took it. False when the lease was lost: the answer is kept as evidence all the same."""
    with writing() as connection:
        row = locked(connection, claim.message.id)
        if row is None:
            return False
        close_attempt(connection, claim.attempt_id, "accepted", now, cost=accepted.cost or "")
        _add_parts(connection, claim, accepted)
        is_ours = row.lease == claim.lease
        add_event(connection, row.id, now, "accepted", " ".join(accepted.ids) if is_ours else "late answer")
        # A worker that was paused past its lease still proves that the gateway has the message:
        # whoever holds the row now must not submit it again.
        is_current = row.attempt_id == claim.attempt_id
        if is_ours or (is_current and row.work in (Work.WAITING, Work.QUEUED)):
            _wait_for_report(connection, row, accepted, now, timing, poll_s)
        apply_parked(connection, claim, accepted.ids, now=now, timing=timing)
        note_answered(connection, claim.account_id, accepted=True)
    return bool(is_ours)


def _wait_for_report(
    connection: Connection,
    row: AnyRow,
    accepted: Accepted,
    now: datetime,
    timing: Timing,
    poll_s: float | None,
) -> None:
    poll_at = now + timedelta(seconds=poll_s) if poll_s is not None and accepted.ids else None
    deadline = now + timing.span("report_deadline_s")
    status = advance(MessageStatus(row.status), accepted.status)
    values: dict[str, Any] = {
        "status": status,
        "work": Work.WAITING,
        "lease": None,
        "tries": 0,
        "faults": 0,
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
    set_message(connection, row.id, **values)


def _add_parts(connection: Connection, claim: Claim, accepted: Accepted) -> None:
    """A gateway that drops repeats answers the second call with the ids of the first."""
    for gateway_id in dict.fromkeys(accepted.ids):
        connection.execute(
            insert_or_ignore(connection, parts, "attempt_id", "gateway_message_id").values(
                attempt_id=claim.attempt_id,
                account_id=claim.account_id,
                gateway_message_id=gateway_id,
                status=accepted.status,
                call=claim.calls,
            )
        )


def record_refused_later(
    claim: Claim,
    refused: Refused,
    *,
    now: datetime,
    timing: Timing,
    reason: Reason = Reason.NONE,
    is_try: bool = True,
) -> bool:
    """Surely not taken: back to the queue for another try, or failed after too many.

    `is_try`: whether this one counts; being too fast, or having no money, is not the message's fault.
    """
    with writing() as connection:
        row = _answerable(connection, claim)
        if row is None:
            return False
        # What an earlier call under this reference came to is still not known.
        is_open = claim.calls > 1
        outcome = "unknown" if is_open else "refused"
        close_attempt(connection, claim.attempt_id, outcome, now, code=refused.code, text=refused.text)
        add_event(connection, row.id, now, "refused", _words(refused))
        if _is_settled(connection, row, now, timing):
            return True
        if is_try and claim.tries > timing.retry_limit and not is_open:
            finish_row(connection, row, MessageStatus.FAILED, Reason.GAVE_UP, _words(refused), now, timing)
            return True
        pause = pause_before(claim.tries if is_try else 1, base_s=timing.retry_base_s)
        if refused.retry_after_s is not None:
            pause = max(pause, timedelta(seconds=min(refused.retry_after_s, 3600.0)))
        values: dict[str, Any] = {"deadline_at": row.deadline_at} if is_open else {"deadline_at": None}
        if not is_open:
            values["status"] = MessageStatus.QUEUED  # it was unknown only while this call was
        limit = row.deadline_at if is_open and row.deadline_at else row.expires_at
        set_message(
            connection,
            row.id,
            work=Work.QUEUED,
            lease=None,
            due_at=min(now + pause, limit),
            hinted_at=None,
            tries=row.tries if is_try else max(0, row.tries - 1),
            reason=reason,
            reason_text=_words(refused),
            **values,
        )
    return True


def record_refused_for_good(claim: Claim, refused: Refused, *, now: datetime, timing: Timing) -> bool:
    """This message never: it failed, with the gateway's words.

    After an unknown outcome a refusal may mean "I have that already", so then only the report can tell.
    """
    if claim.calls > 1:
        return record_unknown(claim, f"refused when repeated: {_words(refused)}", now=now, timing=timing)
    with writing() as connection:
        row = _answerable(connection, claim)
        if row is None:
            return False
        close_attempt(connection, claim.attempt_id, "refused", now, code=refused.code, text=refused.text)
        add_event(connection, row.id, now, "refused", _words(refused))
        finish_row(connection, row, MessageStatus.FAILED, Reason.REFUSED, _words(refused), now, timing)
        note_answered(connection, claim.account_id, accepted=False)
    return True


def record_unknown(
    claim: Claim,
    why: str,
    *,
    now: datetime,
    timing: Timing,
    resend: bool = False,
    look_up_s: float | None = None,
    is_fault: bool = False,
) -> bool:
    """No clear answer, or none at all. False when somebody else wrote the outcome.

    `resend`: the gateway drops what it already has, so try again. `look_up_s`: ask the gateway after so
    long. Neither: the row waits for a report until its deadline, as a second submission could send it
    twice. `is_fault`: the worker died at it; the third one is the last.
    """
    with writing() as connection:
        row = held_by(connection, claim)
        if row is None:
            return False
        close_attempt(connection, claim.attempt_id, "unknown", now, text=why)
        add_event(connection, row.id, now, "unknown", why)
        if not _is_settled(connection, row, now, timing):
            faults = row.faults + is_fault
            is_poison = faults >= FAULTS_TO_STOP
            deadline = row.deadline_at or now + timing.span("unknown_s")
            values: dict[str, Any] = {"work": Work.WAITING, "due_at": deadline}
            if look_up_s is not None and not is_poison:
                values["due_at"] = min(now + timedelta(seconds=look_up_s), deadline)
            elif resend and not is_poison and now < deadline:
                again = now + pause_before(row.tries, base_s=timing.retry_base_s, cap_s=300)
                values = {"work": Work.QUEUED, "due_at": min(again, deadline)}
            set_message(
                connection,
                row.id,
                status=advance(MessageStatus(row.status), MessageStatus.UNKNOWN),
                lease=None,
                hinted_at=None,
                deadline_at=deadline,
                polls=0,
                faults=faults,
                reason=Reason.DEAD_LETTER if is_poison else Reason.UNKNOWN,
                reason_text=why,
                **values,
            )
        apply_parked(connection, claim, (), now=now, timing=timing)
    return True


def ask_again(claim: Claim, *, at: datetime, resend: bool) -> None:
    """The gateway could not tell: ask once more at `at`, or try the same reference again."""
    with writing() as connection:
        row = _asked(connection, claim)
        if row is not None:
            due_at = min(filter(None, (at, row.deadline_at)))
            work = Work.QUEUED if resend else Work.WAITING
            set_message(connection, row.id, work=work, due_at=due_at, polls=row.polls + 1, hinted_at=None)


def stop_asking(claim: Claim) -> None:
    """The gateway cannot be asked any more: only a report or the deadline ends the question."""
    with writing() as connection:
        row = _asked(connection, claim)
        if row is not None:
            set_message(connection, row.id, due_at=row.deadline_at, hinted_at=None)


def record_never_taken(claim: Claim, refused: Refused, *, now: datetime) -> bool:
    """The gateway, asked later, does not know our reference: nothing was sent, so send it now."""
    with writing() as connection:
        row = _asked(connection, claim)
        if row is None:
            return False
        close_attempt(connection, claim.attempt_id, "refused", now, code=refused.code, text=refused.text)
        add_event(connection, row.id, now, "never_taken", _words(refused))
        set_message(
            connection,
            row.id,
            status=MessageStatus.QUEUED,
            work=Work.QUEUED,
            due_at=now,
            deadline_at=None,
            hinted_at=None,
            polls=0,
            reason=Reason.NONE,
            reason_text="",
        )
    return True


# --- not now, and not at all ---


def wait_in_queue(
    row_id: int, reason: Reason, text: str, *, until: datetime, slot_at: datetime | None = None
) -> None:
    """Not now: no gateway, a stopped account, or not its turn. The row stays queued and says why."""
    with writing() as connection:
        connection.execute(
            sa.update(messages)
            .where(messages.c.id == row_id, messages.c.work == Work.QUEUED)
            .values(due_at=until, hinted_at=None, slot_at=slot_at, reason=reason, reason_text=text)
        )


def all_wait_in_queue(message: Message, *, until: datetime) -> None:
    """Not this one and none of those that wait for the same gateway: it is silent.

    Many at once, so that a long queue costs the other portals no time: each would be written by itself else,
    every time that its turn comes.
    """
    column = messages.c
    end: sa.ColumnElement[Any] = column.expires_at
    if message.status is MessageStatus.UNKNOWN:
        end = sa.case((column.deadline_at < column.expires_at, column.deadline_at), else_=column.expires_at)
    with writing() as connection:
        found = _waiting_like(connection, message, column.due_at <= until)
        connection.execute(
            sa.update(messages)
            .where(column.id.in_(found), column.work == Work.QUEUED)
            .values(
                due_at=sa.case((end < until, end), else_=until),
                hinted_at=None,
                slot_at=None,
                reason=Reason.NONE,
                reason_text="",
            )
        )


def all_may_go(message: Message, *, now: datetime) -> None:
    """The gateway answers again: those that were put off with this one need not wait for their time."""
    column = messages.c
    put_off = (column.due_at > now, column.slot_at.is_(None), column.reason == "", column.reason_text == "")
    with writing() as connection:
        found = _waiting_like(connection, message, *put_off)
        connection.execute(
            sa.update(messages)
            .where(column.id.in_(found), column.work == Work.QUEUED)
            .values(due_at=now, hinted_at=None)
        )


def _waiting_like(connection: Connection, message: Message, *more: sa.ColumnElement[bool]) -> Sequence[int]:
    """Those in the queue for the same gateway, some at a time; locked where rows have locks."""
    column = messages.c
    query = sa.select(column.id).where(
        column.portal_id == message.portal_id,
        column.work == Work.QUEUED,
        column.status == message.status,
        *more,
    )
    if message.status is MessageStatus.UNKNOWN:  # these stay with their gateway, whatever the portal's is now
        query = query.where(column.account_id == message.account_id)
    # Several workers may come to this at once.
    query = query.order_by(column.due_at).limit(WAIT_TOGETHER).with_for_update(skip_locked=True)
    return connection.scalars(query).all()


def stop_repeating(row_id: int) -> None:
    """An unknown outcome that must not be repeated any more: only a report or the deadline ends it."""
    with writing() as connection:
        connection.execute(
            sa.update(messages)
            .where(messages.c.id == row_id, messages.c.work == Work.QUEUED)
            .values(work=Work.WAITING, due_at=messages.c.deadline_at, hinted_at=None, reason=Reason.UNKNOWN)
        )


def note_exception(row_id: int, why: str, *, now: datetime, timing: Timing) -> bool:
    """A job failed at this message by an error of ours. True when it is a dead letter now."""
    with writing() as connection:
        row = locked(connection, row_id)
        if row is None or row.work not in (Work.QUEUED, Work.HELD, Work.WAITING):
            return False
        faults = row.faults + 1
        pause = pause_before(faults, base_s=timing.retry_base_s)
        if faults < EXCEPTIONS_TO_STOP:
            set_message(connection, row.id, faults=faults, due_at=now + pause, hinted_at=None)
            return False
        add_event(connection, row.id, now, "dead_letter", why)
        if MessageStatus(row.status) in (MessageStatus.QUEUED, MessageStatus.UNKNOWN):
            finish_row(connection, row, MessageStatus.FAILED, Reason.DEAD_LETTER, why, now, timing)
        else:  # the gateway has it; only our looking after it fails
            set_message(
                connection,
                row.id,
                work=Work.CLOSED,
                due_at=None,
                poll_at=None,
                deadline_at=None,
                reason=Reason.DEAD_LETTER,
                reason_text=why,
            )
    return True


# --- pieces of the writes above ---


def _asked(connection: Connection, claim: Claim) -> AnyRow | None:
    """The row while the question about this very call is still open."""
    row = locked(connection, claim.message.id)
    if row is None or row.work != Work.WAITING or row.status != MessageStatus.UNKNOWN:
        return None
    calls = connection.scalar(
        sa.select(attempts.c.calls).where(
            attempts.c.id == claim.attempt_id,
            attempts.c.id == row.attempt_id,
            attempts.c.outcome == "unknown",
        )
    )
    return row if calls == claim.calls else None


def _answerable(connection: Connection, claim: Claim) -> AnyRow | None:
    """The row when this answer may decide: by its lease, or because nobody did anything since it was lost."""
    row = locked(connection, claim.message.id)
    if row is None:
        return None
    if row.lease == claim.lease and row.work == Work.SUBMITTING:
        return row
    return _asked(connection, claim)


def _is_settled(connection: Connection, row: AnyRow, now: datetime, timing: Timing) -> bool:
    """A report has told meanwhile that the gateway has the message: then nothing is sent again."""
    status = MessageStatus(row.status)
    if status.is_final:
        set_message(
            connection, row.id, work=Work.CLOSED, lease=None, due_at=None, poll_at=None, deadline_at=None
        )
        return True
    if status is not MessageStatus.SENT:
        return False
    set_message(connection, row.id, lease=None, **waiting_for_report(now, timing))
    return True


def _words(refused: Refused) -> str:
    return f"{refused.code}: {refused.text}".strip(": ")[:1000]
