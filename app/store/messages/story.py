"""One message, one story: what happens to a message is told in the log, whichever process it happens in.

Every line has the portal's words for portal and message, and our numbers of both: each of the four finds the
whole story. The lines follow the timeline, which every change of a message goes into.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from typing import Any

import sqlalchemy as sa
from flask import current_app
from sqlalchemy.engine import Connection

from app.domain.life import Change
from app.store.database import AnyRow, StoreUnavailable, statement
from app.store.database.transactions import after_commit
from app.store.tables import portals

log = logging.getLogger(__name__)

_OUTCOMES = ("accepted", "refused", "unknown", "given_back", "never_taken")
_REPORTS = ("report", "report_not_understood")
_TELLINGS = ("told", "not_told")
_NOT_TOLD_TWICE = ("submitting",)  # its outcome follows, or the loss of its worker does


def received(values: dict[str, Any], row_id: int, member_id: str) -> None:
    """After the commit."""
    if log.isEnabledFor(logging.INFO):
        log.info(
            "message received",
            extra={
                **_who(row_id, values["portal_id"], values["message_id"], member_id),
                "origin": values["origin"],
                "work": str(values["work"]),
            },
        )


def tell_after_commit(connection: Connection, changes: Sequence[tuple[AnyRow, Change]]) -> None:
    """What these changes are, as soon as they are there."""
    if not log.isEnabledFor(logging.INFO):
        return
    told = [(row, change) for row, change in changes if change.steps]
    if told:
        after_commit(connection, partial(_tell, told))


def _tell(changes: Sequence[tuple[AnyRow, Change]]) -> None:
    for row, change in changes:
        who = _who(row.id, row.portal_id, row.message_id, member_of(row.portal_id))
        status = str(change.state.status)
        for event, detail in change.steps:
            if event in _OUTCOMES:
                log.info(
                    "message submitted",
                    extra={**who, "account": row.account_id, "outcome": event, "status": status},
                )
            elif event in _REPORTS:
                word = detail.partition(":")[0] if event == "report" else "not_understood"
                log.info(
                    "message reported",
                    extra={**who, "account": row.account_id, "report": word, "status": status},
                )
            elif event in _TELLINGS:
                word = str(detail) if event == "told" else ""
                log.info("message told", extra={**who, "told": word, "status": status})
            elif event not in _NOT_TOLD_TWICE:
                log.info("message changed", extra={**who, "step": event, "status": status})


def _who(row_id: int, portal_id: int, message_id: str, member_id: str) -> dict[str, Any]:
    return {"member_id": member_id, "message_id": message_id, "install": portal_id, "message_row": row_id}


def member_of(portal_id: int) -> str:
    """A portal's member id, looked up once, for neither it nor our number ever changes; empty where nobody
    can say."""
    known: dict[int, str] = current_app.extensions.setdefault("member_ids", {})
    if portal_id not in known:
        query = sa.select(portals.c.member_id).where(portals.c.id == portal_id)
        with suppress(StoreUnavailable), statement() as connection:
            known[portal_id] = connection.scalar(query) or ""
    return known.get(portal_id, "")
