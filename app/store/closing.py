"""The writes that several files on messages share: a row, its attempt, its wait for the end, and the end."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from app.config import Timing
from app.domain.messages import Reason, Work
from app.domain.status import MessageStatus, advance
from app.store.database import AnyRow
from app.store.outbox import push_due
from app.store.tables import attempts, messages

# A message without its content. The hash goes too: a text of four digits can be found by trying.
NO_CONTENT: Mapping[str, Any] = {
    "text": "",
    "bindings": [],
    "extra": {},
    "body_hash": "",
    "author_token": "",
    "author_token_until": None,
}


def set_message(connection: Connection, row_id: int, **values: Any) -> None:
    connection.execute(sa.update(messages).where(messages.c.id == row_id).values(**values))


def close_attempt(
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


def waiting_for_report(now: datetime, timing: Timing, *, poll_at: datetime | None = None) -> dict[str, Any]:
    """A message that the gateway surely has: nothing is sent again, its report or this deadline ends it."""
    deadline = now + timing.span("report_deadline_s")
    return {
        "work": Work.WAITING,
        "deadline_at": deadline,
        "due_at": min(filter(None, (poll_at, deadline))),
        "hinted_at": None,
        "reason": Reason.NONE,
        "reason_text": "",
    }


def finish_row(
    connection: Connection,
    row: AnyRow,
    status: MessageStatus,
    reason: Reason | str,
    text: str,
    now: datetime,
    timing: Timing,
) -> None:
    """Close a locked row; a status that it has reached already is not taken back."""
    reached = advance(MessageStatus(row.status), status)
    values: dict[str, Any] = {
        "status": reached,
        "work": Work.CLOSED,
        "lease": None,
        "due_at": None,
        "slot_at": None,
        "poll_at": None,
        "deadline_at": None,
        **push_due(row, reached, now, timing),
    }
    if reached is status:
        values |= {"reason": reason, "reason_text": text}
    set_message(connection, row.id, **values)
