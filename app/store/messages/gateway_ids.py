"""What is asked of submitted messages by the ids that their gateways gave them, or for want of these."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import sqlalchemy as sa

from app.domain.messages import Work
from app.domain.outcomes import DeliveryReport, id_spellings
from app.store.database import statement
from app.store.messages.reports import attempts_with
from app.store.tables import attempts, gateway_accounts, messages, parts


def message_of(account_id: int, report: DeliveryReport) -> int | None:
    """The row of the message that a report would be about; nothing is changed."""
    row_id = row_of(account_id, report.reference) if report.reference else None
    if row_id is not None:
        return row_id
    with statement() as connection:
        known = attempts_with(connection, account_id, [report])
    return next((int(row.row_id) for row in known.values()), None)


def waiting_for_poll(row_id: int) -> tuple[int, int, list[str]] | None:
    """Account, polls so far and the gateway's ids of a message that waits for its report."""
    with statement() as connection:
        row = connection.execute(
            sa.select(messages.c.account_id, messages.c.polls, messages.c.attempt_id).where(
                messages.c.id == row_id, messages.c.work == Work.WAITING
            )
        ).first()
        if row is None:
            return None
        ids = connection.scalars(
            sa.select(parts.c.gateway_message_id).where(parts.c.attempt_id == row.attempt_id)
        ).all()
    return row.account_id, row.polls, list(ids)


def spelt_otherwise(account_id: int, spellings: Sequence[str], number: str) -> str:
    """The id among `spellings` under which this account's gateway took a message to this number; else empty.

    Only the number's last digits are compared, for gateways write it in forms of their own.
    """
    digits = "".join(filter(str.isdigit, number))[-8:]
    if not digits or not spellings:
        return ""
    query = (
        sa.select(parts.c.gateway_message_id)
        .join(attempts, attempts.c.id == parts.c.attempt_id)
        .join(messages, messages.c.id == attempts.c.message_row_id)
        .where(
            parts.c.account_id == account_id,
            parts.c.gateway_message_id.in_(spellings),
            messages.c.recipient.endswith(digits, autoescape=True),
        )
        .order_by(parts.c.id.desc())
        .limit(1)
    )
    with statement() as connection:
        return connection.scalar(query) or ""


def row_of(account_id: int, reference: str) -> int | None:
    """The row of the message that this reference of ours belongs to."""
    query = sa.select(attempts.c.message_row_id).where(
        attempts.c.reference == reference, attempts.c.account_id == account_id
    )
    with statement() as connection:
        return connection.scalar(query)


@dataclass(frozen=True)
class Nameless:
    """A message that waits for a report which does not name it."""

    account_id: int
    reference: str
    text: str
    segments: int


def only_one_to(
    account_ids: Sequence[int], number: str, *, has_ids: Sequence[bool] = (False,)
) -> Nameless | None:
    """The message to this number that waits for a report, for one that does not name it; None when there is
    none, or another one. `has_ids`: whether ids of the gateway's may or must be known of it."""
    digits = "".join(filter(str.isdigit, number))
    if not digits:
        return None
    is_known = sa.exists().where(parts.c.attempt_id == messages.c.attempt_id)
    query = (
        sa.select(messages, attempts.c.reference)
        .join(attempts, attempts.c.id == messages.c.attempt_id)
        .where(
            messages.c.portal_id.in_(_portals_of(account_ids)),
            messages.c.due_at.is_not(None),
            messages.c.account_id.in_(account_ids),
            messages.c.work.in_((Work.WAITING, Work.SUBMITTING)),
            messages.c.recipient == f"+{digits}",
            is_known.in_(has_ids),
        )
        .limit(2)
    )
    with statement() as connection:
        found = connection.execute(query).all()
    if len(found) != 1:
        return None
    (row,) = found
    return Nameless(row.account_id, row.reference, row.text, row.segments)


def _portals_of(account_ids: Sequence[int]) -> sa.Select[tuple[int]]:
    return sa.select(gateway_accounts.c.portal_id).where(gateway_accounts.c.id.in_(account_ids))


def knows(account_id: int, gateway_message_id: str) -> bool:
    """Whether a message was taken under this id, as it is written or with other leading zeros."""
    query = sa.select(parts.c.id).where(
        parts.c.account_id == account_id, parts.c.gateway_message_id.in_(id_spellings(gateway_message_id))
    )
    with statement() as connection:
        return connection.scalar(query.limit(1)) is not None
