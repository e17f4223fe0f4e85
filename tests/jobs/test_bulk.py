"""One deed for many messages: what is done is what was counted, once, whatever comes in between."""

from __future__ import annotations

import csv
import io
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from app.actions import bulk
from app.actions.send_again import send_again
from app.domain.bulk import BulkState, Deed
from app.domain.status import MessageStatus
from app.jobs.bulk import work_off
from app.services import services
from app.store.bulk import deeds, files, jobs, selection
from app.store.bulk.jobs import Asker, Job
from app.store.database import statement
from app.store.messages.log import Filters
from app.store.tables import audit_log, bulk_chunks, messages
from app.store.upkeep import erasure
from app.web.admin.parts import log_csv
from bench.rows import fill
from tests.worlds.faults import FaultWorld, fault_world
from tests.worlds.fields import set_message
from tests.worlds.product import a_portal, product

FAILED = Filters(status=MessageStatus.FAILED)


@pytest.fixture
def world() -> Iterator[FaultWorld]:
    with fault_world() as made:
        made.connect()
        yield made


def refused(world: FaultWorld, count: int) -> list[str]:
    """Messages that the gateway turned away for good."""
    world.gateway.behave("sandbox-key", next=count, answer="reject")
    sent = [world.send() for _ in range(count)]
    world.work()
    assert {world.row(each).status for each in sent} == {"failed"}
    return sent


def asked(
    world: FaultWorld, deed: Deed = Deed.AGAIN, filters: Filters = FAILED, *, key: str = "k", **more: Any
) -> Job:
    job = bulk.ask(world.services, world.world.row, deed, Asker("1"), key=key, filters=filters, **more)
    assert job is not None
    return job


def now(world: FaultWorld, job: Job) -> Job:
    found = jobs.find(job.portal_id, job.id)
    assert found is not None
    return found


def begun(world: FaultWorld, job: Job, *, is_sure: bool = False) -> Job:
    assert bulk.begin(world.services, job, is_sure=is_sure) == "begun"
    world.work()
    return now(world, job)


def copies(world: FaultWorld, sent: list[str]) -> list[int]:
    """How many the gateway took of each."""
    return [len(world.taken(each)) for each in sent]


# --- what was counted is done, and nothing else


def test_all_that_failed_are_sent_again_once_behind_single_messages(world: FaultWorld) -> None:
    sent = refused(world, 3)
    other = world.send()
    world.work()

    job = asked(world)
    assert job.state is BulkState.ASKED
    assert job.counted == {"yes": 3}
    done = begun(world, job)

    assert (done.state, done.results) == (BulkState.DONE, {"done": 3})
    assert copies(world, [*sent, other]) == [1, 1, 1, 1]
    with statement() as connection:
        lanes = connection.execute(sa.select(messages.c.message_id, messages.c.lane)).all()
    assert {each.message_id for each in lanes if each.lane == 1} == set(sent)


def test_nothing_happens_before_a_person_says_yes(world: FaultWorld) -> None:
    sent = refused(world, 2)

    asked(world)
    world.later(60)

    assert copies(world, sent) == [0, 0]


def test_each_is_asked_what_the_single_message_is_asked(world: FaultWorld) -> None:
    sent = [world.send() for _ in range(6)]
    world.work()
    ids = [world.row(each).id for each in sent]
    set_message(ids[0], status="failed", work="closed", reason="refused", due_at=None)
    set_message(ids[1], status="delivered", work="closed", due_at=None)
    set_message(ids[2], status="unknown", work="waiting", reason="unknown")
    set_message(ids[3], status="failed", work="closed", reason="bad_number", due_at=None)
    set_message(ids[4], status="failed", work="closed", text="", due_at=None)
    set_message(ids[5], status="queued", work="submitting")

    job = asked(world, filters=Filters(), row_ids=ids)
    assert job.counted == {
        "yes": 1,
        "ask delivered": 1,
        "ask unknown": 1,
        "no bad_number": 1,
        "no text_removed": 1,
        "no on_its_way": 1,
    }
    done = begun(world, job)

    assert done.results == {
        "done": 1,
        "left delivered": 1,
        "left unknown": 1,
        "no bad_number": 1,
        "no text_removed": 1,
        "no on_its_way": 1,
    }
    assert copies(world, sent) == [2, 1, 1, 1, 1, 1]


def test_those_that_may_arrive_twice_go_only_with_a_word_of_their_own(world: FaultWorld) -> None:
    sent = [world.send()]
    world.work()
    set_message(world.row(sent[0]).id, status="delivered", work="closed", due_at=None)
    job = asked(world, filters=Filters(status=MessageStatus.DELIVERED))

    assert bulk.begin(world.services, job, is_sure=False) == "not_sure"
    assert copies(world, sent) == [1]
    done = begun(world, job, is_sure=True)

    assert done.results == {"twice": 1}
    assert copies(world, sent) == [2]


def test_messages_that_come_later_are_not_swept_in(world: FaultWorld) -> None:
    refused(world, 1)
    job = asked(world)
    late = refused(world, 2)

    done = begun(world, job)

    assert done.results == {"done": 1}
    assert copies(world, late) == [0, 0]


def test_what_changed_since_it_was_counted_is_left_alone(world: FaultWorld) -> None:
    """Somebody else has sent it again meanwhile, and it failed again: that was theirs to look at."""
    sent = refused(world, 2)
    job = asked(world)
    row = world.row(sent[0])
    world.gateway.behave("sandbox-key", next=1, answer="reject")
    assert send_again(world.services, row, is_sure=False).answer == "yes"
    world.work()
    assert world.status(sent[0]) == ("failed", "refused")

    done = begun(world, job)

    assert done.results == {"changed": 1, "done": 1}
    assert copies(world, sent) == [0, 1]


def test_never_more_are_done_than_were_counted(world: FaultWorld) -> None:
    sent = refused(world, 1)
    row = world.row(sent[0])
    set_message(row.id, status="unknown", work="queued", reason="unknown")
    job = asked(world, filters=Filters(), row_ids=[row.id, world.row(refused(world, 1)[0]).id])
    assert job.counted == {"no on_its_way": 1, "yes": 1}
    set_message(row.id, work="waiting")  # without a step in its timeline

    done = begun(world, job, is_sure=True)

    assert done.results == {"changed": 1, "done": 1}


def test_a_status_that_was_told_meanwhile_is_no_change(world: FaultWorld) -> None:
    world.gateway.behave("sandbox-key", next=1, answer="reject")
    sent = world.send()
    world.submit(sent)
    job = asked(world)
    world.later(10)
    assert "told" in world.events(sent)

    assert begun(world, job).results == {"done": 1}


def test_a_removed_message_is_counted_as_changed(world: FaultWorld) -> None:
    sent = refused(world, 2)
    job = asked(world)
    set_message(world.row(sent[0]).id, status="delivered")

    assert begun(world, job).results == {"done": 1, "changed": 1}


# --- the other deeds


@pytest.mark.parametrize(
    ("deed", "status"), [(Deed.ARRIVED, "delivered"), (Deed.NOT_SENT, "failed")], ids=["arrived", "not sent"]
)
def test_unknown_outcomes_are_resolved_and_told(world: FaultWorld, deed: Deed, status: str) -> None:
    world.gateway.behave("sandbox-key", next=2, answer="reset")
    sent = [world.send() for _ in range(2)]
    world.work()
    known = refused(world, 1)
    ids = [world.row(each).id for each in [*sent, *known]]

    job = asked(world, deed, Filters(), row_ids=ids)
    done = begun(world, job)
    world.later(10)

    assert done.results == {"done": 2, "no not_unknown": 1}
    assert [world.told(each) for each in sent] == [[status], [status]]


def test_waiting_messages_are_cancelled_and_told_as_failed(world: FaultWorld) -> None:
    sent = [world.send() for _ in range(3)]
    ids = [world.row(each).id for each in sent]
    world.world.engine.hints.clear()
    set_message(ids[0], work="submitting", lease="somebody")
    set_message(ids[1], status="unknown")

    job = asked(world, Deed.CANCEL, Filters(), row_ids=ids)
    assert job.counted == {"no on_its_way": 1, "no unknown": 1, "yes": 1}
    done = begun(world, job)
    world.later(10)

    assert done.results == {"no on_its_way": 1, "no unknown": 1, "done": 1}
    assert world.status(sent[2]) == ("failed", "cancelled")
    assert world.told(sent[2]) == ["failed"]
    assert not world.taken(sent[2])


# --- kill, stop, wait


def small_slices(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deeds, "AT_ONCE", 2)
    monkeypatch.setattr(files, "AT_ONCE", 2)
    monkeypatch.setattr("app.jobs.bulk.PAUSE", 0)
    monkeypatch.setattr("app.jobs.bulk.PAUSE_OF_READING", 0)


class Killed(BaseException):
    """Nothing of ours runs any more."""


def kill_at(monkeypatch: pytest.MonkeyPatch, number: int, name: str) -> None:
    """The process ends in the middle of this slice, before its commit."""
    real, seen = getattr(jobs, name), []

    def write(*args: Any, **values: Any) -> None:
        real(*args, **values)
        seen.append(1)
        if len(seen) == number:
            raise Killed

    monkeypatch.setattr(jobs, name, write)
    monkeypatch.setattr(jobs, "release", lambda *_: None)


def test_a_killed_worker_has_done_a_slice_or_not_and_the_next_one_goes_on(
    world: FaultWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    small_slices(monkeypatch)
    sent = refused(world, 7)
    job = asked(world)
    bulk.begin(world.services, job, is_sure=False)
    world.world.engine.hints.clear()
    with monkeypatch.context() as patch:
        kill_at(patch, 3, "write")
        with pytest.raises(Killed):
            work_off(world.services, job.portal_id, write=log_csv.piece)
    assert now(world, job).results == {"done": 4}

    work_off(world.services, job.portal_id, write=log_csv.piece)
    assert now(world, job).state is BulkState.RUNNING  # while the dead one's lease lasts
    world.later(jobs.LEASE_S + 1)
    world.work()

    assert now(world, job).results == {"done": 7}
    assert copies(world, sent) == [1] * 7


def test_a_worker_that_slept_too_long_writes_nothing(world: FaultWorld) -> None:
    sent = refused(world, 3)
    job = asked(world)
    bulk.begin(world.services, job, is_sure=False)
    first = jobs.take(job.portal_id, now=world.world.now())
    world.world.pass_time(seconds=jobs.LEASE_S + 1)
    second = jobs.take(job.portal_id, now=world.world.now())
    assert first is not None and second is not None

    more = {"now": world.world.now(), "timing": world.services.timing}
    asleep = deeds.do_some(*first, world.world.row.settings, **more)  # type: ignore[arg-type]

    assert asleep is None
    assert now(world, job).results == {}
    assert {world.row(each).status for each in sent} == {"failed"}
    deeds.do_some(*second, world.world.row.settings, **more)  # type: ignore[arg-type]
    assert now(world, job).results == {"done": 3}


def test_a_stopped_job_keeps_what_was_done(world: FaultWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    small_slices(monkeypatch)
    monkeypatch.setattr("app.jobs.bulk.ROUND_S", 0)  # one slice a round
    sent = refused(world, 5)
    job = asked(world)
    bulk.begin(world.services, job, is_sure=False)
    world.world.engine.hints.clear()
    work_off(world.services, job.portal_id, write=log_csv.piece)

    assert bulk.stop(world.services, now(world, job))
    world.work()

    stopped = now(world, job)
    assert (stopped.state, stopped.results) == (BulkState.STOPPED, {"done": 2})
    assert sum(copies(world, sent)) == 2
    assert not bulk.stop(world.services, stopped)


def test_a_job_at_work_stops_before_its_next_slice(
    world: FaultWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    small_slices(monkeypatch)
    sent = refused(world, 6)
    job = asked(world)
    bulk.begin(world.services, job, is_sure=False)
    real = deeds.do_some

    def do_some(*args: Any, **values: Any) -> Job | None:
        left = real(*args, **values)
        bulk.stop(world.services, job)
        return left

    monkeypatch.setattr(deeds, "do_some", do_some)
    world.work()

    assert (now(world, job).state, now(world, job).results) == (BulkState.STOPPED, {"done": 2})
    assert sum(copies(world, sent)) == 2


def test_one_job_of_a_portal_runs_and_the_others_wait(
    world: FaultWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    small_slices(monkeypatch)
    monkeypatch.setattr("app.jobs.bulk.ROUND_S", 0)
    refused(world, 3)
    first, second = asked(world), asked(world, Deed.EXPORT, Filters(), key="second")
    bulk.begin(world.services, first, is_sure=False)
    work_off(world.services, first.portal_id, write=log_csv.piece)

    assert [now(world, each).state for each in (first, second)] == [BulkState.RUNNING, BulkState.WAITING]
    world.work()
    assert {now(world, each).state for each in (first, second)} == {BulkState.DONE}


def test_two_clicks_make_one_job_and_start_it_once(world: FaultWorld) -> None:
    refused(world, 1)

    first, second = asked(world), asked(world)

    assert first.id == second.id
    assert bulk.begin(world.services, first, is_sure=False) == "begun"
    assert bulk.begin(world.services, second, is_sure=False) == "before"


def test_so_many_jobs_and_no_more_wait(world: FaultWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs, "WAITING_LIMIT", 1)
    refused(world, 1)
    job = asked(world)
    asked(world, Deed.EXPORT, Filters(), key="other")

    assert bulk.begin(world.services, job, is_sure=False) == "too_many"
    assert (
        bulk.ask(world.services, world.world.row, Deed.EXPORT, Asker(), key="third", filters=Filters())
        is None
    )


def test_an_error_of_ours_ends_the_job_after_some_tries(
    world: FaultWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    refused(world, 1)
    job = asked(world)
    bulk.begin(world.services, job, is_sure=False)

    def fail(*_: Any, **__: Any) -> None:
        raise ValueError("a fault of ours")

    monkeypatch.setattr(deeds, "write_all", fail)
    for _ in range(jobs.FAULTS_TO_STOP):
        world.later(6)

    assert now(world, job).state is BulkState.FAILED


def test_what_is_too_much_for_one_request_is_counted_by_the_worker(
    world: FaultWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    refused(world, 5)
    monkeypatch.setattr(selection, "COUNT_AT_ONCE", 2)
    monkeypatch.setattr(bulk, "COUNT_S", -1)

    job = asked(world)
    assert (job.state, job.counted) == (BulkState.COUNTING, {"yes": 2})
    world.work()

    counted = now(world, job)
    assert (counted.state, counted.counted) == (BulkState.ASKED, {"yes": 5})
    assert begun(world, counted).results == {"done": 5}


def test_an_export_of_all_is_counted_in_slices_too(
    world: FaultWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    refused(world, 5)
    monkeypatch.setattr(selection, "COUNT_AT_ONCE", 2)
    monkeypatch.setattr(bulk, "COUNT_S", -1)

    job = asked(world, Deed.EXPORT)
    assert (job.state, job.counted) == (BulkState.COUNTING, {"yes": 2})
    with statement() as connection:
        written_down = connection.scalars(
            sa.select(audit_log.c.after).order_by(audit_log.c.id.desc())
        ).first()
    assert written_down is not None and "messages" not in written_down  # so far would be read as all
    world.work()

    over = now(world, job)
    assert (over.state, over.counted, over.results) == (BulkState.DONE, {"yes": 5}, {"done": 5})
    assert over.started_at is not None
    assert len(exported(over)) == 6


@pytest.mark.parametrize("deed", [Deed.AGAIN, Deed.EXPORT])
def test_what_the_database_takes_is_of_the_time_that_a_request_counts(
    world: FaultWorld, monkeypatch: pytest.MonkeyPatch, deed: Deed
) -> None:
    refused(world, 5)
    monkeypatch.setattr(selection, "COUNT_AT_ONCE", 2)
    monkeypatch.setattr(bulk, "COUNT_S", 0.2)
    count_some = selection.count_some

    def on_a_server(*args: Any, **more: Any) -> selection.Counted:
        time.sleep(0.3)  # we wait, and use no processor
        return count_some(*args, **more)

    monkeypatch.setattr(selection, "count_some", on_a_server)
    assert asked(world, deed).counted == {"yes": 2}


def test_what_must_be_looked_for_is_found_in_steps(
    world: FaultWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent = refused(world, 9)
    monkeypatch.setattr(selection, "COUNT_AT_ONCE", 2)
    monkeypatch.setattr(bulk, "COUNT_S", 60)
    words = Filters(words="message 7")

    job = asked(world, filters=words)
    assert job.counted == {"yes": 1}
    assert begun(world, job).results == {"done": 1}
    assert copies(world, sent) == [0] * 6 + [1] + [0] * 2


# --- the file of an export


def exported(job: Job) -> list[list[str]]:
    text = "".join(files.read(job))
    assert text.startswith("\ufeff")
    return list(csv.reader(io.StringIO(text.removeprefix("\ufeff"))))


def test_an_export_is_written_in_pieces_and_is_there_afterwards(
    world: FaultWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    small_slices(monkeypatch)
    sent = refused(world, 5)

    job = asked(world, Deed.EXPORT)
    assert job.state is BulkState.WAITING
    world.work()

    done = now(world, job)
    assert (done.state, done.results, done.chunks) == (BulkState.DONE, {"done": 5}, 3)
    header, *rows = exported(done)
    assert [row[header.index("ID in Bitrix24")] for row in rows] == sent[::-1]


def test_an_export_that_was_killed_has_every_message_once(
    world: FaultWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    small_slices(monkeypatch)
    sent = refused(world, 7)
    job = asked(world, Deed.EXPORT)
    world.world.engine.hints.clear()
    with monkeypatch.context() as patch:
        kill_at(patch, 2, "write")
        with pytest.raises(Killed):
            work_off(world.services, job.portal_id, write=log_csv.piece)
    world.later(jobs.LEASE_S + 1)
    world.work()

    header, *rows = exported(now(world, job))
    assert [row[header.index("ID in Bitrix24")] for row in rows] == sent[::-1]


def test_a_file_is_sealed_and_goes_after_its_days(world: FaultWorld) -> None:
    sent = refused(world, 1)
    job = asked(world, Deed.EXPORT)
    world.work()
    with statement() as connection:
        payload = connection.scalar(sa.select(bulk_chunks.c.payload))
    assert payload and world.row(sent[0]).recipient not in payload

    world.world.pass_time(days=3, seconds=1)
    jobs.purge(world.world.now())

    gone = now(world, job)
    assert gone.state is BulkState.DONE and not gone.has_file
    with statement() as connection:
        assert connection.execute(sa.select(bulk_chunks.c.id)).all() == []


def test_a_newer_file_takes_the_room_of_the_oldest(
    world: FaultWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jobs, "FILES_OF_PORTAL", 2)
    refused(world, 1)

    made = []
    for key in ("a", "b", "c"):
        made.append(asked(world, Deed.EXPORT, key=key))
        world.work()

    assert [now(world, each).has_file for each in made] == [False, True, True]


def test_a_file_that_is_too_large_says_so(world: FaultWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    small_slices(monkeypatch)
    monkeypatch.setattr(jobs, "BYTES_OF_FILE", 1)
    refused(world, 3)

    job = asked(world, Deed.EXPORT)
    world.work()

    assert (now(world, job).state, now(world, job).results) == (BulkState.FULL, {"done": 2})
    assert len(exported(now(world, job))) == 3


def test_an_erased_number_is_in_no_file_also_of_an_export_that_runs(
    world: FaultWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    small_slices(monkeypatch)
    monkeypatch.setattr("app.jobs.bulk.ROUND_S", 0)
    sent = refused(world, 5)
    number = world.row(sent[4]).recipient
    before = asked(world, Deed.EXPORT, key="before")
    world.work()
    running = asked(world, Deed.EXPORT, key="running")
    world.world.engine.hints.clear()
    work_off(world.services, running.portal_id, write=log_csv.piece)
    assert now(world, running).chunks == 1

    eraser = erasure.NumberEraser(number, erasure.Scope(), timing=world.services.timing)
    removed = eraser.erase(now=world.world.now())
    world.work()

    assert removed["bulk_chunks"] == 4
    assert [now(world, each).state for each in (before, running)] == [BulkState.ERASED] * 2
    after = asked(world, Deed.EXPORT, key="after")
    world.work()
    assert number not in "".join(files.read(now(world, after)))


def test_a_message_whose_number_is_erased_during_the_job_is_not_sent_again(
    world: FaultWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent = refused(world, 2)
    number = world.row(sent[1]).recipient
    job = asked(world)
    bulk.begin(world.services, job, is_sure=False)
    erasure.NumberEraser(number, erasure.Scope(), timing=world.services.timing).erase(now=world.world.now())

    world.work()

    assert now(world, job).results == {"done": 1, "no text_removed": 1}
    assert list(world.gateway.messages(to=number)) == []


def test_a_removed_app_ends_what_is_under_way(world: FaultWorld) -> None:
    sent = refused(world, 1)
    job = asked(world)
    world.world.engine.register("bulk", lambda _: None)  # nobody comes by until the app is gone
    bulk.begin(world.services, job, is_sure=False)
    world.portal.uninstall(clean=False)
    world.later(30, steps=3)
    assert world.world.row.state == "uninstalled"

    work_off(world.services, job.portal_id, write=log_csv.piece)

    assert now(world, job).state is BulkState.STOPPED
    assert copies(world, sent) == [0]


@pytest.mark.slow
def test_postgresql_does_alike(tmp_path: Path, postgres_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    small_slices(monkeypatch)
    monkeypatch.setattr(selection, "COUNT_AT_ONCE", 3)
    monkeypatch.setattr(bulk, "COUNT_S", 60)
    with product(tmp_path, DATABASE_URL=postgres_url):
        portal, parts = a_portal(), services()
        fill(portal, 5, prefix="failed", status="failed", reason="refused", segments=1)
        fill(portal, 2, prefix="delivered", segments=1)

        for deed, key in ((Deed.AGAIN, "a"), (Deed.EXPORT, "b")):
            asked = bulk.ask(parts, portal, deed, Asker(), key=key, filters=Filters(words="HELLO"))
            again = bulk.ask(parts, portal, deed, Asker(), key=key, filters=Filters())
            assert asked is not None and again is not None and asked.id == again.id
            bulk.begin(parts, asked, is_sure=False)
            while jobs.under_way(portal.id):
                work_off(parts, portal.id, write=log_csv.piece)

        export, sent = jobs.newest(portal.id, limit=2)
        assert sent.results == {"done": 5, "left delivered": 2}
        assert export.results == {"done": 7}
        assert "".join(files.read(export)).count("\r\n") == 8
        assert jobs.end_of_erasure(None) == export.chunks
