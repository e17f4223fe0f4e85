"""`flask --app app bulk ...`: one deed for many messages of a portal."""

from __future__ import annotations

import secrets
import time
from datetime import UTC, datetime
from typing import Any

import click
from flask.cli import AppGroup

from app.actions import bulk as actions
from app.cli.output import as_json, fail, portal_of, show
from app.domain.audit import Action
from app.domain.bulk import BulkState, Deed, count_of
from app.domain.status import MessageStatus
from app.services import services
from app.store import audit
from app.store.bulk import files, jobs
from app.store.bulk.jobs import Asker, Job
from app.store.messages import messages
from app.store.messages.log import Filters, gateways_of

bulk_group = AppGroup("bulk", help="Send many messages again, resolve, cancel or export them.")

LOOK_EVERY_S = 1.0
DAY = click.DateTime(["%Y-%m-%d", "%Y-%m-%dT%H:%M:%S"])
NO_JOB = "there is no such job; see `bulk list`"


@bulk_group.command("start")
@click.argument("deed", type=click.Choice([deed.value for deed in Deed]))
@click.argument("member_id")
@click.option("--message-id", "message_ids", multiple=True, help="Only this one; may be given many times.")
@click.option("--status", type=click.Choice([status.value for status in MessageStatus]))
@click.option("--gateway", default="", help="Only what went through it, such as twilio.")
@click.option("--sender", default="", help="Only messages of this CODE.")
@click.option("--since", type=DAY, help="UTC.")
@click.option("--until", type=DAY, help="UTC; the first moment that does not count.")
@click.option("--may-arrive-twice", is_flag=True, help="Also those that may have arrived already.")
@click.option("--dry-run", is_flag=True, help="Count, and do nothing.")
@click.option("--yes", "is_yes", is_flag=True, help="Do not ask.")
@click.option("--wait", "waits", is_flag=True, help="Until it has ended.")
@as_json
def bulk_start(
    deed: str, member_id: str, dry_run: bool, is_yes: bool, waits: bool, as_json: bool, **narrowed: Any
) -> None:
    """Count what would become of the messages, ask, and start it; the worker does it.

    DEED: send again, an unknown outcome that arrived or was not sent, cancel what waits, or export.
    """
    may_arrive_twice = narrowed.pop("may_arrive_twice")
    portal = portal_of(member_id)
    row_ids, filters = _selection(portal.id, **narrowed)
    wanted = Deed(deed)
    if dry_run and not wanted.changes:
        raise click.UsageError("an export only reads: there is nothing to try")
    job = actions.ask(
        services(),
        portal,
        wanted,
        Asker(),
        key=secrets.token_hex(16),
        filters=filters,
        row_ids=row_ids,
        count_s=float("inf"),
    )
    if job is None:
        fail(f"{jobs.WAITING_LIMIT} jobs of this portal are under way: wait for them, or stop one")
    if wanted.changes and not dry_run:
        _begin(job, is_yes=is_yes, is_sure=may_arrive_twice)
    while waits and not dry_run and not _found(portal.id, job.id).state.is_over:
        time.sleep(LOOK_EVERY_S)
    _show(_found(portal.id, job.id), as_json=as_json)


def _selection(
    portal_id: int,
    *,
    message_ids: tuple[str, ...],
    status: str | None,
    gateway: str,
    sender: str,
    since: datetime | None,
    until: datetime | None,
) -> tuple[list[int], Filters]:
    if message_ids:
        if status or gateway or sender or since or until:
            raise click.UsageError("give messages by their ids, or by what they have in common")
        found = [messages.find(portal_id, message_id) for message_id in message_ids]
        if None in found:
            fail(f"the portal has no message {message_ids[found.index(None)]}")
        return [message.id for message in found if message is not None], Filters()
    accounts = tuple(id_ for id_, slug in gateways_of(portal_id).items() if slug == gateway)
    if gateway and not accounts:
        fail(f"the portal has no account at {gateway}")
    return [], Filters(
        since=since.replace(tzinfo=UTC) if since else None,
        until=until.replace(tzinfo=UTC) if until else None,
        status=MessageStatus(status) if status else None,
        account_ids=accounts,
        sender_code=sender,
    )


def _begin(job: Job, *, is_yes: bool, is_sure: bool) -> None:
    click.echo("\n".join(_counts(job)), err=True)
    if not is_yes:
        click.confirm(f"{job.deed.value}: do it?", abort=True, err=True)
    match actions.begin(services(), job, is_sure=is_sure):
        case "nothing":
            fail("none of them is fit for it")
        case "not_sure":
            twice = count_of(job.counted, "ask")
            fail(f"{twice} may arrive twice and none surely not: use --may-arrive-twice")
        case "too_many":
            fail(f"{jobs.WAITING_LIMIT} jobs of this portal are under way: wait for them, or stop one")


@bulk_group.command("list")
@click.argument("member_id")
@click.option("--limit", default=20, type=click.IntRange(1, 1000))
@as_json
def bulk_list(member_id: str, limit: int, as_json: bool) -> None:
    """The newest jobs of a portal."""
    found = jobs.newest(portal_of(member_id).id, limit=limit)
    lines = [
        f"{job.id:>6}  {job.created_at:%Y-%m-%d %H:%M}  {job.deed:<9} {job.state:<9}"
        f" {job.looked_at} of {job.total}"
        for job in found
    ]
    show([_data(job) for job in found], lines or ["no jobs"], as_json=as_json)


@bulk_group.command("show")
@click.argument("member_id")
@click.argument("job_id", type=int)
@as_json
def bulk_show(member_id: str, job_id: int, as_json: bool) -> None:
    """How far a job is, and what came of it."""
    _show(_found(portal_of(member_id).id, job_id), as_json=as_json)


@bulk_group.command("stop")
@click.argument("member_id")
@click.argument("job_id", type=int)
@as_json
def bulk_stop(member_id: str, job_id: int, as_json: bool) -> None:
    """Stop a job; what was done by then stays done."""
    portal = portal_of(member_id)
    if not actions.stop(services(), _found(portal.id, job_id)):
        fail("it is over already")
    _show(_found(portal.id, job_id), as_json=as_json)


@bulk_group.command("file")
@click.argument("member_id")
@click.argument("job_id", type=int)
def bulk_file(member_id: str, job_id: int) -> None:
    """Print the file of an export."""
    job = _found(portal_of(member_id).id, job_id)
    if not job.has_file:
        fail("it has no file (any more)")
    audit.note_once(Action.EXPORT_FETCHED, job.portal_id, about=f"job {job.id}")
    for text in files.read(job):
        click.echo(text, nl=False)


def _found(portal_id: int, job_id: int) -> Job:
    return jobs.find(portal_id, job_id) or fail(NO_JOB)


def _show(job: Job, *, as_json: bool) -> None:
    lines = [f"job {job.id}: {job.deed}, {job.state}", *_counts(job)]
    if job.has_file:
        lines.append(f"  file: kept until {job.file_until:%Y-%m-%d %H:%M} UTC, see `bulk file`")
    show(_data(job), lines, as_json=as_json)


def _counts(job: Job) -> list[str]:
    is_begun = job.state is not BulkState.ASKED
    tallies = job.results if is_begun else job.counted
    lines = [f"  {count:>9,}  {key}" for key, count in sorted(tallies.items(), key=lambda each: -each[1])]
    return [*lines, f"  {job.looked_at if is_begun else job.total:>9,}  of {job.total:,}"]


def _data(job: Job) -> dict[str, Any]:
    return {
        "job": job.id,
        "deed": job.deed.value,
        "state": job.state.value,
        "asked_by": job.asker.user_id or None,
        "counted": job.counted,
        "results": job.results,
        "may_arrive_twice": job.is_sure,
        "created_at": job.created_at,
        "started_at": job.started_at,
        "ended_at": job.ended_at,
        "file_until": job.file_until if job.has_file else None,
    }
