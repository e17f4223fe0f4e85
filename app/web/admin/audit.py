"""The activity log: who did what in this portal's app, and when. For administrators."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from flask import Response, request, stream_with_context, url_for

from app.domain.audit import KINDS, Action, Who
from app.services import services
from app.store import audit
from app.store.audit import Entry, Filters
from app.web.admin.frame import document, sessions
from app.web.admin.messages import CardLink, user_link
from app.web.admin.parts.days import day_of, zone
from app.web.admin.parts.log_csv import written
from app.web.admin.words import audit as words
from app.web.admin.words.language import gettext as _

blueprint = document.page_blueprint("ui_audit")

PAGE_SIZE = 50


@blueprint.get("/activity")
def show() -> Response:
    """The newest rows first; `before` is the number of the last row of the page before."""
    kind, before = _kind(), request.args.get("before", type=_row)
    portal_id = sessions.this().portal.id
    found = audit.of_portal(portal_id, Filters(action=kind), limit=PAGE_SIZE + 1, before=before)
    rows, has_more = found[:PAGE_SIZE], len(found) > PAGE_SIZE
    chosen: dict[str, Any] = {"what": kind} if kind else {}
    return document.page(
        "audit.html",
        tab="settings",
        rows=[_shown(entry) for entry in rows],
        kinds=[(each, words.kind_label(each)) for each in KINDS if each != "server"],
        kind=kind,
        is_first=before is None,
        newest_url=url_for(".show", **chosen),
        older_url=url_for(".show", **chosen, before=rows[-1].id) if has_more else "",
        export_url=url_for(".export", **chosen),
        export_name=f"activity-{day_of(services().now()).isoformat()}.csv",
    )


@blueprint.get("/activity.csv")
def export() -> Response:
    portal_id, kind = sessions.this().portal.id, _kind()
    audit.note(Action.LOG_EXPORTED, portal_id, after={"what": kind} if kind else {})
    lines = _lines(audit.all_of(portal_id, Filters(action=kind)))
    return Response(stream_with_context(lines), mimetype="text/csv")


def _kind() -> str:
    asked = request.args.get("what", "")
    return asked if asked in KINDS else ""


def _row(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 19):
        raise ValueError("no number of a row")
    return int(text)


@dataclass(frozen=True)
class Row:
    at: datetime
    who: str
    user: CardLink | None
    address: str
    what: str
    about: str
    changes: list[tuple[str, str, str]]
    url: str  # of the message or the bulk action that it is about


def _shown(entry: Entry) -> Row:
    return Row(
        at=entry.at,
        who=_who(entry),
        user=user_link(entry.name) if entry.who is Who.USER else None,
        address=entry.address,
        what=words.action_label(entry.action),
        about=words.about(entry),
        changes=words.changes(entry),
        url=_url(entry),
    )


def _url(entry: Entry) -> str:
    number, job = entry.after.get("number"), entry.about.removeprefix(words.JOB)
    if isinstance(number, int):
        return url_for("ui_messages.show_message", row_id=number)
    if entry.about.startswith(words.JOB) and job.isdecimal():
        return url_for("ui_bulk.show", job_id=int(job))
    return ""


def _who(entry: Entry) -> str:
    """An operator's account and machine are nothing that a customer has to know."""
    match entry.who:
        case Who.USER:
            return _("User %(number)s", number=entry.name)
        case Who.OPERATOR:
            return _("Operator of this server")
    return services().config.app_name


# --- the file


def _lines(batches: Iterator[list[Entry]]) -> Iterator[str]:
    yield "\ufeff" + written(
        [[_("Time"), _("Who"), _("Address"), _("What"), _("About"), _("Changed"), _("Before"), _("After")]]
    )
    for batch in batches:
        yield written(line for entry in batch for line in _cells(entry))


def _cells(entry: Entry) -> Iterator[list[str]]:
    """A line for each thing that changed, one for a row without any."""
    at = entry.at.astimezone(zone()).isoformat(timespec="seconds")
    fixed = [at, _who(entry), entry.address, words.action_label(entry.action), words.about(entry)]
    for name, before, after in words.changes(entry) or [("", "", "")]:
        yield [*fixed, name, before, after]
