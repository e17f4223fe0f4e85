"""After a restore from a backup: the rows know nothing of what went out since."""

from __future__ import annotations

from datetime import datetime

import sqlalchemy as sa

from app.config import Timing
from app.domain.messages import Reason, Work
from app.domain.status import MessageStatus
from app.store.database import writing
from app.store.tables import message_events, messages

WHY = "restored from a backup"


def doubt_unsent(*, now: datetime, timing: Timing) -> int:
    """Count every message that was still to be submitted as an unknown outcome; returns how many.

    The gateway may have them under references that the backup never saw, so nobody can ask for them and
    no repeat would be dropped. They wait for a person's word for as long as a message lives.
    """
    deadline = now + timing.span("time_to_live_s")
    unsent = messages.c.work.in_([Work.QUEUED, Work.HELD, Work.SUBMITTING])
    with writing() as connection:
        event = sa.select(messages.c.id, sa.literal(now), sa.literal("unknown"), sa.literal(WHY)).where(
            unsent
        )
        connection.execute(
            sa.insert(message_events).from_select(["message_row_id", "at", "event", "detail"], event)
        )
        return connection.execute(
            sa.update(messages)
            .where(unsent)
            .values(
                work=Work.WAITING,
                status=MessageStatus.UNKNOWN,
                reason=Reason.UNKNOWN,
                reason_text=WHY,
                lease=None,
                slot_at=None,
                due_at=deadline,
                deadline_at=deadline,
                hinted_at=None,
            )
        ).rowcount
