"""Bulk jobs: asked for by a person, worked off by one worker at a time, kept with what came of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import accumulate
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from app.domain.audit import Action
from app.domain.bulk import CHANGED, UNDER_WAY, BulkState, Deed, Room
from app.domain.numbers import mask
from app.store import audit, leases
from app.store.bulk.selection import Selection, from_json, to_json
from app.store.database import AnyRow, insert_or_ignore, statement, writing
from app.store.messages.log import Position
from app.store.tables import BULK_UNDER_WAY, bulk_chunks, bulk_jobs

LEASE_S = 20.0  # a slice takes a fraction of a second; a killed worker's job goes on after this
WAITING_LIMIT = 10  # jobs of one portal that are under way
ASKED_LIMIT = 20  # questions of one portal that nobody has answered
FAULTS_TO_STOP = 5
EXAMPLES = 5

ASKED_KEPT = timedelta(days=1)
KEPT = timedelta(days=180)
FILE_KEPT = timedelta(days=3)
FILES_OF_PORTAL = 5
BYTES_OF_FILE = 512 * 1024 * 1024  # as they are stored: some ten million messages
BYTES_OF_PORTAL = 2 * BYTES_OF_FILE
DELETE_AT_ONCE = 10  # chunks; a commit keeps others waiting for as long as it takes


@dataclass(frozen=True)
class Asker:
    """Who wants it, and how they read. A command has no user."""

    user_id: str = ""
    language: str = ""
    time_zone: str = ""


@dataclass(frozen=True)
class Job:
    id: int
    deed: Deed
    state: BulkState
    asker: Asker
    selection: Selection
    chosen: Mapping[str, str]
    is_sure: bool
    counted: Mapping[str, int]
    results: Mapping[str, int]
    examples: Mapping[str, list[int]]
    position: Position | None
    is_stopping: bool
    faults: int
    chunks: int
    file_bytes: int
    file_until: datetime | None
    created_at: datetime
    started_at: datetime | None
    ended_at: datetime | None

    @property
    def portal_id(self) -> int:
        return self.selection.portal_id

    @property
    def total(self) -> int:
        """How many messages were counted."""
        return sum(self.counted.values())

    @property
    def looked_at(self) -> int:
        """How many of them the deed has come to."""
        return sum(self.results.values())

    @property
    def room(self) -> Room:
        return Room.of(self.counted, self.results)

    @property
    def has_file(self) -> bool:
        return self.chunks > 0 and self.state in (BulkState.DONE, BulkState.FULL, BulkState.STOPPED)


def _job(row: AnyRow) -> Job:
    selection = Selection(
        row.portal_id, from_json(row.filters), tuple(row.row_ids), row.up_to, row.event_up_to
    )
    return Job(
        id=row.id,
        deed=Deed(row.deed),
        state=BulkState(row.state),
        asker=Asker(row.user_id, row.language, row.time_zone),
        selection=selection,
        chosen=row.chosen,
        is_sure=row.is_sure,
        counted=row.counted,
        results=row.results,
        examples=row.examples,
        position=Position(row.position_at, row.position_id) if row.position_at else None,
        is_stopping=row.is_stopping,
        faults=row.faults,
        chunks=row.chunks,
        file_bytes=row.file_bytes,
        file_until=row.file_until,
        created_at=row.created_at,
        started_at=row.started_at,
        ended_at=row.ended_at,
    )


# --- asked, begun, stopped


def ask(
    selection: Selection,
    deed: Deed,
    asker: Asker,
    *,
    key: str,
    chosen: Mapping[str, str],
    counted: Mapping[str, int],
    position: Position | None,
    now: datetime,
) -> Job:
    """A new job, or the one that was made of the same form before. `position` is the last row that was
    counted, None when all are."""
    portal_id = selection.portal_id
    state = BulkState.COUNTING if position else BulkState.ASKED if deed.changes else BulkState.WAITING
    values = {
        "portal_id": portal_id,
        "key": key,
        "deed": deed,
        "state": state,
        "user_id": asker.user_id,
        "language": asker.language,
        "time_zone": asker.time_zone,
        "filters": to_json(selection.filters),
        "chosen": dict(chosen),
        "row_ids": list(selection.row_ids),
        "up_to": selection.up_to,
        "event_up_to": selection.event_up_to,
        "counted": dict(counted),
        "results": {},
        "examples": {},
        **_at(position),
        "created_at": now,
    }
    mine = bulk_jobs.c.portal_id == portal_id
    questions = bulk_jobs.c.state == BulkState.ASKED
    newest = sa.select(bulk_jobs.c.id).where(mine, questions).order_by(bulk_jobs.c.id.desc())
    with writing() as connection:
        insert = insert_or_ignore(connection, bulk_jobs, "portal_id", "key").values(**values)
        is_new = bool(connection.execute(insert).rowcount)
        kept = connection.scalars(newest.limit(ASKED_LIMIT)).all()
        connection.execute(sa.delete(bulk_jobs).where(mine, questions, bulk_jobs.c.id.not_in(kept)))
        job = _job(connection.execute(sa.select(bulk_jobs).where(mine, bulk_jobs.c.key == key)).one())
        if is_new and not deed.changes:
            _write_down(connection, Action.MESSAGES_EXPORTED, job, now)
    return job


def begin(portal_id: int, job_id: int, *, is_sure: bool, now: datetime) -> bool:
    """A person said yes. False when it was begun before, or so many are under way already."""
    others = bulk_jobs.alias("others")
    under_way = (
        sa.select(sa.func.count())
        .select_from(others)
        .where(others.c.portal_id == portal_id, others.c.state.in_(UNDER_WAY))
        .scalar_subquery()
    )
    with writing() as connection:
        row = connection.execute(
            sa.update(bulk_jobs)
            .where(_is(portal_id, job_id), bulk_jobs.c.state == BulkState.ASKED)
            .where(under_way < WAITING_LIMIT)
            .values(state=BulkState.WAITING, is_sure=is_sure, created_at=now, **_at(None))
            .returning(*bulk_jobs.c)
        ).first()
        if row is not None:
            _write_down(connection, Action.BULK_STARTED, _job(row), now)
    return row is not None


def stop(portal_id: int, job_id: int, *, now: datetime) -> bool:
    """Stop it: at once while nobody works on it, else before its next slice. False when it is over."""
    mine = _is(portal_id, job_id)
    is_free = leases.is_free(bulk_jobs, "work", now)
    at_once = {"state": BulkState.STOPPED, "ended_at": now}
    with writing() as connection:
        for condition, values in ((is_free, at_once), (sa.true(), {"is_stopping": True})):
            row = connection.execute(
                sa.update(bulk_jobs)
                .where(mine, sa.text(BULK_UNDER_WAY), condition)
                .values(**values)
                .returning(*bulk_jobs.c)
            ).first()
            if row is not None:
                _write_down(connection, Action.BULK_STOPPED, _job(row), now)
                return True
    return False


def _write_down(connection: Connection, action: Action, job: Job, now: datetime) -> None:
    """What was searched for may be a number, or words of a text."""
    narrowed = dict(job.chosen)
    is_id = job.selection.filters.message_id or job.selection.filters.row_id is not None
    if "q" in narrowed and not is_id:
        narrowed["q"] = mask(narrowed["q"])
    counted = {} if job.state is BulkState.COUNTING else {"messages": job.total}  # no part for the whole
    facts = {**narrowed, "deed": job.deed.value, **counted, "may_arrive_twice": job.is_sure}
    audit.record(connection, action, job.portal_id, about=f"job {job.id}", after=facts, at=now)


def _is(portal_id: int, job_id: int) -> sa.ColumnElement[bool]:
    return sa.and_(bulk_jobs.c.portal_id == portal_id, bulk_jobs.c.id == job_id)


def _at(position: Position | None) -> dict[str, Any]:
    return {
        "position_at": position.received_at if position else None,
        "position_id": position.row_id if position else None,
    }


# --- read


def find(portal_id: int, job_id: int) -> Job | None:
    with statement() as connection:
        row = connection.execute(sa.select(bulk_jobs).where(_is(portal_id, job_id))).first()
    return _job(row) if row else None


def of_key(portal_id: int, key: str) -> Job | None:
    """The job that was made of this form."""
    with statement() as connection:
        row = connection.execute(
            sa.select(bulk_jobs).where(bulk_jobs.c.portal_id == portal_id, bulk_jobs.c.key == key)
        ).first()
    return _job(row) if row else None


def newest(portal_id: int, *, limit: int) -> list[Job]:
    """The portal's jobs; a question that nobody answered is none yet."""
    query = (
        sa.select(bulk_jobs)
        .where(bulk_jobs.c.portal_id == portal_id, bulk_jobs.c.state != BulkState.ASKED)
        .order_by(bulk_jobs.c.id.desc())
        .limit(limit)
    )
    with statement() as connection:
        return [_job(row) for row in connection.execute(query)]


def under_way(portal_id: int) -> int:
    query = sa.select(sa.func.count()).where(bulk_jobs.c.portal_id == portal_id, sa.text(BULK_UNDER_WAY))
    with statement() as connection:
        return int(connection.scalar(query) or 0)


# --- worked off


def portals_with_work(now: datetime, *, limit: int) -> list[int]:
    """Portals with a job under way that nobody works on."""
    query = (
        sa.select(bulk_jobs.c.portal_id)
        .where(sa.text(BULK_UNDER_WAY), leases.is_free(bulk_jobs, "work", now))
        .group_by(bulk_jobs.c.portal_id)
        .order_by(sa.func.min(bulk_jobs.c.id))
        .limit(limit)
    )
    with statement() as connection:
        return list(connection.scalars(query))


def take(portal_id: int, *, now: datetime) -> tuple[Job, str] | None:
    """The portal's oldest job under way, with the lease to work on it; the others wait until it is over. What
    is only counted changes nothing, and waits for nobody."""
    oldest = (
        sa.select(bulk_jobs.c.id)
        .where(bulk_jobs.c.portal_id == portal_id, sa.text(BULK_UNDER_WAY))
        .order_by(bulk_jobs.c.state != BulkState.COUNTING, bulk_jobs.c.id)
        .limit(1)
    )
    with statement() as connection:
        job_id = connection.scalar(oldest)
    if job_id is None:
        return None
    is_due = (bulk_jobs.c.state.in_(UNDER_WAY),)
    lease = leases.take(bulk_jobs, job_id, "work", now=now, lease_s=LEASE_S, only=is_due)
    if lease is None:
        return None
    with writing() as connection:
        connection.execute(
            sa.update(bulk_jobs)
            .where(*_held(job_id, lease), bulk_jobs.c.state == BulkState.WAITING)
            .values(state=BulkState.RUNNING, started_at=now)
        )
    job = find(portal_id, job_id)
    return (job, lease) if job else None


def release(job_id: int, lease: str) -> None:
    leases.release(bulk_jobs, job_id, "work", lease)


def _held(job_id: int, lease: str) -> tuple[sa.ColumnElement[bool], ...]:
    return bulk_jobs.c.id == job_id, bulk_jobs.c.work_lease == lease


_GIVEN_BACK: Mapping[str, Any] = {"work_lease": None, "work_lease_until": None}


def held(connection: Connection, job: Job, lease: str, *, now: datetime) -> Job | None:
    """The job, locked until the commit, as it was when its next step was prepared. None when it went to
    another worker, is over, is somewhere else by now, or was removed; one that is to stop ends here."""
    now_held = _locked(connection, job.id, lease)
    if now_held is None or now_held.position != job.position:
        return None
    if now_held.is_stopping:
        end(connection, now_held, BulkState.STOPPED, now=now)
        return None
    return now_held


def _locked(connection: Connection, job_id: int, lease: str) -> Job | None:
    query = sa.select(bulk_jobs).where(*_held(job_id, lease), sa.text(BULK_UNDER_WAY)).with_for_update()
    row = connection.execute(query).first()
    return _job(row) if row else None


def write(connection: Connection, job: Job, *, now: datetime, **values: Any) -> None:
    """Write how far a held job is, and hold on to it."""
    until = now + timedelta(seconds=LEASE_S)
    connection.execute(
        sa.update(bulk_jobs)
        .where(bulk_jobs.c.id == job.id)
        .values(**{"work_lease_until": until, "faults": 0, **values})
    )


def end(connection: Connection, job: Job, state: BulkState, *, now: datetime, **values: Any) -> None:
    """Nothing more happens. What was counted and never met is not there any more, or not as it was."""
    results = dict(values.pop("results", job.results))
    missing = job.total - sum(results.values())
    if state is BulkState.DONE and missing > 0 and job.deed.changes:
        results[CHANGED] = results.get(CHANGED, 0) + missing
    over = {"state": state, "ended_at": now, "results": results, **_GIVEN_BACK}
    if job.deed is Deed.EXPORT:
        over["file_until"] = now + FILE_KEPT
    write(connection, job, now=now, **over, **values)


def place(position: Position | None) -> dict[str, Any]:
    """The columns of a position."""
    return _at(position)


def note_counted(
    seen: Job, lease: str, counted: Mapping[str, int], position: Position | None, *, now: datetime
) -> Job | None:
    """Some more rows were counted; without a position all are. None when the job is another worker's."""
    with writing() as connection:
        job = held(connection, seen, lease, now=now)
        if job is None:
            return None
        sums = _added(job.counted, counted)
        values: dict[str, Any] = {"counted": sums, **_at(position)}
        if position is None and job.deed.changes:
            values |= {"state": BulkState.ASKED, **_GIVEN_BACK}
        elif position is None:
            values |= {"state": BulkState.RUNNING, "started_at": now}
        write(connection, job, now=now, **values)
    return find(job.portal_id, job.id)


def note_fault(job_id: int, lease: str, *, now: datetime) -> None:
    """An error of ours. After some in a row the job ends, and says so."""
    with writing() as connection:
        job = _locked(connection, job_id, lease)
        if job is None:
            return
        if job.faults + 1 >= FAULTS_TO_STOP:
            end(connection, job, BulkState.FAILED, now=now)
        else:
            write(connection, job, now=now, faults=job.faults + 1)


def stop_all(portal_id: int, *, now: datetime) -> None:
    """The app was removed: what is under way is over."""
    with writing() as connection:
        connection.execute(
            sa.update(bulk_jobs)
            .where(bulk_jobs.c.portal_id == portal_id, bulk_jobs.c.state.in_(UNDER_WAY))
            .values(state=BulkState.STOPPED, ended_at=now, work_lease=None)
        )


def _added(before: Mapping[str, int], more: Mapping[str, int]) -> dict[str, int]:
    return {key: before.get(key, 0) + more.get(key, 0) for key in {**before, **more}}


def added(job: Job, outcomes: Iterable[tuple[int, str]]) -> dict[str, Any]:
    """The columns of results and examples with these rows' outcomes."""
    results, examples = dict(job.results), {key: list(rows) for key, rows in job.examples.items()}
    for row_id, key in outcomes:
        results[key] = results.get(key, 0) + 1
        some = examples.setdefault(key, [])
        if len(some) < EXAMPLES:
            some.append(row_id)
    return {"results": results, "examples": examples}


# --- over


def end_of_erasure(portal_id: int | None) -> int:
    """A number was erased: all files of the portal, or of all portals, may have it. How many chunks they had.

    After the messages themselves: what is read from now on is without it, and what an export has read before
    is not written any more.
    """
    exports = [bulk_jobs.c.deed == Deed.EXPORT]
    if portal_id is not None:
        exports.append(bulk_jobs.c.portal_id == portal_id)
    with_file = sa.or_(bulk_jobs.c.chunks > 0, bulk_jobs.c.state == BulkState.RUNNING)
    with writing() as connection:
        ids = connection.scalars(
            sa.update(bulk_jobs)
            .where(*exports, with_file)
            .values(state=BulkState.ERASED, work_lease=None)
            .returning(bulk_jobs.c.id)
        ).all()
    return remove_files(ids)


def superfluous_files(portal_id: int) -> list[int]:
    """Exports whose files have to make room for newer ones."""
    query = (
        sa.select(bulk_jobs.c.id, bulk_jobs.c.file_bytes)
        .where(bulk_jobs.c.portal_id == portal_id, bulk_jobs.c.chunks > 0)
        .order_by(bulk_jobs.c.id.desc())
    )
    with statement() as connection:
        rows = connection.execute(query).all()
    sums = accumulate(row.file_bytes for row in rows)
    return [
        row.id
        for number, (row, so_far) in enumerate(zip(rows, sums, strict=True))
        if number >= FILES_OF_PORTAL or so_far > BYTES_OF_PORTAL
    ]


def purge(now: datetime) -> None:
    """Files whose days are over, questions that nobody answered, and results after half a year."""
    with statement() as connection:
        files = connection.scalars(sa.select(bulk_jobs.c.id).where(bulk_jobs.c.file_until < now)).all()
    remove_files(files)
    state, created_at = bulk_jobs.c.state, bulk_jobs.c.created_at
    is_stale = sa.and_(state == BulkState.ASKED, created_at < now - ASKED_KEPT)
    is_old = sa.and_(state != BulkState.ASKED, created_at < now - KEPT, state.not_in(UNDER_WAY))
    with writing() as connection:
        connection.execute(sa.delete(bulk_jobs).where(sa.or_(is_stale, is_old)))


def remove_files(job_ids: Iterable[int]) -> int:
    """Remove the files of these jobs, some chunks in a commit; how many chunks they had."""
    removed = 0
    for job_id in job_ids:
        with writing() as connection:  # from now on nobody begins to read it
            connection.execute(
                sa.update(bulk_jobs)
                .where(bulk_jobs.c.id == job_id)
                .values(chunks=0, file_bytes=0, file_until=None)
            )
        some = sa.select(bulk_chunks.c.id).where(bulk_chunks.c.job_id == job_id).limit(DELETE_AT_ONCE)
        while True:
            with writing() as connection:
                ids = connection.scalars(some).all()
                if not ids:
                    break
                connection.execute(sa.delete(bulk_chunks).where(bulk_chunks.c.id.in_(ids)))
            removed += len(ids)
    return removed
