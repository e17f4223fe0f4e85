"""What Bitrix24 refused lately: the same error once, with how often it came and the messages it was about."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from flask import url_for

from app.store.messages import messages
from app.store.portals import rest_log
from app.store.portals.rest_log import ErrorGroup
from app.web.admin.words.language import gettext as _
from app.web.admin.words.troubles import rest_error_text

SHOWN = 20
MESSAGES_SHOWN = 3
# A batch names its commands by our rows, and tells each one's error under that name.
_REFUSED_COMMAND = re.compile(r'"m_([0-9]{1,18})"\s*:\s*\{\s*"error"')
_LONGEST_ID = 128


@dataclass(frozen=True)
class Link:
    url: str
    label: str


@dataclass(frozen=True)
class Errors:
    """One kind of refusal."""

    text: str
    method: str
    code: str
    count: int
    first_at: datetime
    last_at: datetime
    messages: tuple[Link, ...]  # of the last time


def grouped(portal_id: int) -> list[Errors]:
    """The newest kind first."""
    return [
        Errors(
            text=rest_error_text(group.method, group.error),
            method=group.method,
            code=group.error,
            count=group.count,
            first_at=group.first_at,
            last_at=group.last_at,
            messages=tuple(_messages(portal_id, group)),
        )
        for group in rest_log.error_groups(portal_id, limit=SHOWN)
    ]


def _messages(portal_id: int, group: ErrorGroup) -> Iterator[Link]:
    """Those that are still there, by the portal's own rows alone."""
    for number in _REFUSED_COMMAND.findall(group.answer)[:MESSAGES_SHOWN]:
        if messages.by_row(portal_id, int(number)) is not None:
            url = url_for("ui_messages.show_message", row_id=int(number))
            yield Link(url, _("Message %(number)s", number=f"#{number}"))
    if message_id := _told_of(group.params):
        yield Link(
            url_for("ui_messages.show_log", q=message_id, how="id"),
            _("Message %(number)s", number=message_id),
        )


def _told_of(params: str) -> str:
    """The portal's id of the message that a single call told of."""
    try:
        found = json.loads(params)
    except ValueError:
        return ""
    message_id = found.get("MESSAGE_ID") if isinstance(found, dict) else None
    return message_id if isinstance(message_id, str) and len(message_id) <= _LONGEST_ID else ""
