"""One deed for many messages: asked in the log, started with the counts in sight, watched, stopped, kept.

A form carries a key, so that a second click finds the first one's job. What is done to which message is
decided in the background, by the guard of the single message: see `app/jobs/bulk.py`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from flask import Response, abort, request, stream_with_context, url_for

from app.actions import bulk as actions
from app.domain.audit import Action
from app.domain.bulk import BulkState, Deed, count_of
from app.domain.status import MessageStatus
from app.services import services
from app.store import audit
from app.store.bulk import files, jobs, selection
from app.store.bulk.jobs import Asker, Job
from app.web.admin.frame import document, sessions
from app.web.admin.frame.document import ROW_LIMIT
from app.web.admin.parts import filters
from app.web.admin.parts.days import day_of
from app.web.admin.words import bulk as words
from app.web.admin.words.language import gettext as _
from app.web.admin.words.language import percent
from app.web.admin.words.troubles import Trouble

blueprint = document.page_blueprint("ui_bulk")

JOB = f"<int(max={ROW_LIMIT}):job_id>"
SHOWN = 50
SELECTED_LIMIT = 1000  # a page has far fewer
KEY_LIMIT = 40


# --- asked


@blueprint.get("/bulk/count")
def count() -> Response:
    """How many messages the filter finds, for the box that selects them all."""
    query = filters.read(sessions.this().portal.id, request.args, now=services().now())
    found = selection.count(sessions.this().portal.id, query.filters)
    return document.page("_bulk_count.html", count=found)


@blueprint.post("/bulk")
def ask() -> Response:
    """Count what would become of the selected messages; an export begins at once."""
    portal, form = sessions.this().portal, request.form
    deed, key = _deed(form.get("deed", "")), form.get("key", "")
    if not key or len(key) > KEY_LIMIT:
        abort(400)
    rows = [int(value) for value in form.getlist("row") if value.isdecimal() and len(value) < 19]
    is_all = form.get("all") == "true" or (deed is Deed.EXPORT and not rows)
    if not (is_all or rows) or len(rows) > SELECTED_LIMIT:
        return _problem(words.nothing_chosen())
    chosen = {name: form[name] for name in form if name not in ("key", "deed", "row", "all")}
    query = filters.read(portal.id, chosen if is_all else {}, now=services().now())
    session = sessions.this()
    job = actions.ask(
        services(),
        portal,
        deed,
        Asker(session.user_id, portal.settings.language or session.language, session.time_zone),
        key=key,
        filters=query.filters,
        row_ids=() if is_all else rows,
        chosen={name: str(value) for name, value in query.chosen.items()},
    )
    return _page(job) if job is not None else _problem(words.too_many())


def _deed(word: str) -> Deed:
    try:
        return Deed(word)
    except ValueError:
        abort(400)


def _problem(text: Trouble) -> Response:
    """Beside the buttons: the list with what is selected in it stays."""
    answer = document.page("_problem.html", status=422, text=text)
    answer.headers["HX-Retarget"], answer.headers["HX-Reswap"] = "#bulk-problem", "innerHTML"
    return answer


@blueprint.post(f"/bulk/{JOB}/start")
def start(job_id: int) -> Response:
    """The word that a person gives with the counts in sight; of two clicks one starts it."""
    job = _job(job_id)
    begun = actions.begin(services(), job, is_sure=request.form.get("sure") == "true")
    match begun:
        case "begun":
            return _page(_job(job_id))
        case "not_sure":
            error = _("Confirm that you know it: the recipients may get the message twice.")
            return _page(job, status=422, error=error)
    text = {"nothing": words.nothing_to_do, "too_many": words.too_many, "before": words.not_begun}[begun]()
    return _page(_job(job_id), status=409, notice=text)


@blueprint.post(f"/bulk/{JOB}/stop")
def stop(job_id: int) -> Response:
    job = _job(job_id)
    actions.stop(services(), job)
    return _page(_job(job_id))


# --- seen


@blueprint.get("/bulk")
def show_all() -> Response:
    """What was done to many, newest first."""
    found = jobs.newest(sessions.this().portal.id, limit=SHOWN)
    return document.page("bulk.html", tab="messages", jobs=[_facts(job) for job in found])


@blueprint.get(f"/bulk/{JOB}")
def show(job_id: int) -> Response:
    return _page(_job(job_id))


@blueprint.get(f"/bulk/{JOB}/file")
def download(job_id: int) -> Response:
    """The file, as it was written then."""
    job = _job(job_id)
    pieces = files.read(job) if job.has_file else iter(())
    try:
        first = next(pieces)
    except (StopIteration, files.FileGone):
        return document.page("_problem.html", status=422, text=words.file_gone())
    audit.note_once(Action.EXPORT_FETCHED, job.portal_id, about=f"job {job.id}")
    return Response(stream_with_context(_behind(first, pieces)), mimetype="text/csv")


def _behind(first: str, pieces: Iterator[str]) -> Iterator[str]:
    yield first
    yield from pieces


def _job(job_id: int) -> Job:
    return jobs.find(sessions.this().portal.id, job_id) or abort(404)


def _page(job: Job, *, status: int = 200, **more: Any) -> Response:
    return document.page("bulk_job.html", status=status, tab="messages", **_facts(job), **more)


@dataclass(frozen=True)
class Line:
    """So many messages, what becomes or became of them, and where they can be seen."""

    count: int
    label: str
    why: str
    tone: str
    log_url: str
    examples: list[tuple[int, str]]


def _facts(job: Job) -> dict[str, Any]:
    total, seen = job.total, job.looked_at
    is_asked = job.state is BulkState.ASKED
    return {
        "job": job,
        "url": url_for(".show", job_id=job.id),
        "label": words.deed_label(job.deed),
        "state": words.state_label(job.state),
        "tone": words.state_tone(job.state),
        "who": job.asker.user_id,
        "narrowed": _in_words(job),
        "total": total,
        "seen": seen,
        "said": _said(job),
        "lines": _lines(job, job.counted if is_asked else job.results),
        "is_asked": is_asked,
        "yes": count_of(job.counted, "yes"),
        "twice": count_of(job.counted, "ask"),
        "is_export": job.deed is Deed.EXPORT,
        "ending": words.ending(job.state),
        "live_url": url_for(".show", job_id=job.id) if job.state.is_under_way else "",
        "file_url": url_for(".download", job_id=job.id) if job.has_file else "",
        "file_name": f"messages-{day_of(job.created_at).isoformat()}.csv",
    }


def _said(job: Job) -> str:
    """For a screen reader, in steps of a tenth, so that it is not interrupted all the time."""
    if job.state is not BulkState.RUNNING or not job.total:
        return words.state_label(job.state)
    share = percent(job.looked_at * 10 // job.total / 10)
    return _("%(state)s: %(share)s", state=words.state_label(job.state), share=share)


def _lines(job: Job, tallies: Mapping[str, int]) -> list[Line]:
    label = words.verdict_label if job.state is BulkState.ASKED else words.outcome_label
    order = {"yes": 0, "done": 0, "twice": 1, "ask": 2, "left": 2, "no": 3, "changed": 4}
    keys = sorted(
        (key for key, count in tallies.items() if count),
        key=lambda key: (order[key.partition(" ")[0]], -tallies[key]),
    )
    return [
        Line(
            tallies[key],
            *label(job.deed, key),
            log_url=_log_url(job, key),
            examples=[
                (row, url_for("ui_messages.show_message", row_id=row)) for row in job.examples.get(key, ())
            ],
        )
        for key in keys
    ]


# Where the log shows messages of one reason.
_STATUS_OF = {
    "delivered": MessageStatus.DELIVERED,
    "no_report": MessageStatus.SENT,
    "waiting": MessageStatus.SENT,
    "unknown": MessageStatus.UNKNOWN,
    "on_its_way": MessageStatus.QUEUED,
    "not_proved": MessageStatus.QUEUED,
    "bad_number": MessageStatus.FAILED,
    "not_ours": MessageStatus.FAILED,
    "uninstalled": MessageStatus.FAILED,
}


def _log_url(job: Job, key: str) -> str:
    """The log with the job's filter, as far as messages of this key still fit it; empty for selected rows."""
    if job.selection.row_ids:
        return ""
    narrowed: dict[str, Any] = {**job.chosen, **_days(job)}
    kind, _space, why = key.partition(" ")
    if kind in ("done", "twice", "changed"):
        narrowed.pop("status", None)  # that is what has changed
    elif why in _STATUS_OF:
        narrowed["status"] = _STATUS_OF[why].value
    return url_for("ui_messages.show_log", **narrowed)


def _days(job: Job) -> dict[str, str]:
    """The period of a job stays, whenever its link is followed: "today" was that day."""
    since, until = job.selection.filters.since, job.selection.filters.until
    if since is None and until is None:
        return {}
    days = {"period": "custom"}
    if since is not None:
        days["from"] = day_of(since).isoformat()
    last = until - timedelta(microseconds=1) if until is not None else job.created_at
    return {**days, "to": day_of(last).isoformat()}


def _in_words(job: Job) -> list[tuple[str, str]]:
    """What the job was narrowed to: the name of each filter and what was chosen."""
    if job.selection.row_ids:
        return [(_("Messages"), _("Selected in the list"))]
    return filters.in_words(job.selection.portal_id, {**job.chosen, **_days(job)}, now=job.created_at)
