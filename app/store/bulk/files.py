"""The file of an export, piece by piece: compressed and sealed in rows, for every machine to hand out."""

from __future__ import annotations

import base64
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa

from app.domain.bulk import DONE, BulkState
from app.domain.messages import Message
from app.store.bulk import jobs
from app.store.bulk.jobs import Job
from app.store.bulk.selection import next_rows
from app.store.database import statement, writing
from app.store.database.secrets import secret_box
from app.store.messages.log import Position
from app.store.messages.rows import message_columns, message_of
from app.store.tables import bulk_chunks, bulk_jobs, messages, portals

AT_ONCE = 500  # messages of one chunk


class FileGone(Exception):
    """The file was removed: its days are over, newer ones needed the room, or a number was erased."""


@dataclass(frozen=True)
class Slice:
    """What the next chunk is made of, and how far was looked for it."""

    messages: Sequence[Message]
    position: Position | None
    is_last: bool


def next_slice(job: Job) -> Slice:
    """The newest first, as in the log."""
    step = next_rows(job.selection, job.position, limit=AT_ONCE, newest_first=True)
    order = (messages.c.received_at.desc(), messages.c.id.desc())
    query = sa.select(*message_columns()).where(messages.c.id.in_(step.row_ids))
    with statement() as connection:
        rows = connection.execute(query.where(messages.c.portal_id == job.portal_id).order_by(*order))
        found = [message_of(row) for row in rows]
    return Slice(found, step.position, step.is_last)


def add(job: Job, lease: str, member_id: str, some: Slice, text: str, *, now: datetime) -> Job | None:
    """Keep a chunk, and with it how far the export is; the job as it stands then, None when it is over or
    another worker's."""
    sealed = secret_box().seal(member_id, base64.b64encode(zlib.compress(text.encode())).decode())
    with writing() as connection:
        held = jobs.held(connection, job, lease, now=now)
        if held is None:
            return None
        if text:
            connection.execute(
                sa.insert(bulk_chunks).values(job_id=held.id, number=held.chunks + 1, payload=sealed)
            )
        file_bytes = held.file_bytes + len(sealed)
        values = {
            "results": {DONE: held.results.get(DONE, 0) + len(some.messages)},
            "chunks": held.chunks + bool(text),
            "file_bytes": file_bytes,
        }
        if some.is_last:
            jobs.end(connection, held, BulkState.DONE, now=now, **values)
        elif file_bytes > jobs.BYTES_OF_FILE:
            jobs.end(connection, held, BulkState.FULL, now=now, **values)
        else:
            jobs.write(connection, held, now=now, **jobs.place(some.position), **values)
    return jobs.find(job.portal_id, job.id)


def read(job: Job) -> Iterator[str]:
    """The file's text, one chunk at a time.

    Raises:
        FileGone: it is not there (any more). Half a file must not look like a whole one.
    """
    query = (
        sa.select(bulk_chunks.c.payload, portals.c.member_id)
        .join(bulk_jobs, bulk_jobs.c.id == bulk_chunks.c.job_id)
        .join(portals, portals.c.id == bulk_jobs.c.portal_id)
        .where(bulk_chunks.c.job_id == job.id, bulk_jobs.c.portal_id == job.portal_id)
    )
    for number in range(1, job.chunks + 1):
        with statement() as connection:
            row = connection.execute(query.where(bulk_chunks.c.number == number)).first()
        if row is None:
            raise FileGone
        plain = secret_box().open(row.member_id, row.payload)
        yield zlib.decompress(base64.b64decode(plain)).decode()
