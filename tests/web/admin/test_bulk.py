"""Many at once, by the pages: what they ask, what two clicks do, who may, and what they say."""

from __future__ import annotations

import re
from typing import Any

import pytest

from app.domain.bulk import BulkState
from app.store.bulk import files, jobs
from app.store.database import writing
from app.store.messages import messages
from app.store.tables import bulk_jobs
from tests.worlds.fields import set_message
from tests.worlds.visitor import Visitor


def failed(admin: Visitor, count: int, **values: Any) -> list[int]:
    ids = [admin.message("x" * n, to=f"+4915112345{n:03}").id for n in range(1, count + 1)]
    for row_id in ids:
        set_message(
            row_id, **{"status": "failed", "work": "closed", "reason": "refused", "due_at": None, **values}
        )
    return ids


def job_in(text: str) -> str:
    found = re.search(r'"(/ui/bulk/[0-9]+)(?:/start)?"', text)
    assert found is not None, text
    return found[1]


def statuses(admin: Visitor, ids: list[int]) -> list[str]:
    rows = [messages.by_row(admin.portal.id, row_id) for row_id in ids]
    return [row.status.value for row in rows if row is not None]


def words(text: str) -> str:
    return " ".join(re.sub(r"<[^>]*>", " ", text).split())


def test_selected_messages_are_counted_then_sent_again(admin: Visitor) -> None:
    ids = failed(admin, 3)
    set_message(ids[2], reason="bad_number")

    asked = admin.submit("/ui/bulk", deed="again", key="k", row=[str(each) for each in ids])
    assert "2 Will be sent again" in words(asked.text)
    assert "1 Cannot be done Its number cannot get an SMS" in words(asked.text)
    assert statuses(admin, ids) == ["failed"] * 3
    started = admin.submit(f"{job_in(asked.text)}/start")
    admin.work_off()
    done = admin.get(job_in(started.text))

    assert "2 Sent again" in words(done.text)
    assert "1 Could not be done Its number cannot get an SMS" in words(done.text)
    assert f'href="/ui/messages/{ids[2]}"' in done.text
    assert statuses(admin, ids) == ["queued", "queued", "failed"]
    assert "data-live" not in done.text


def test_all_of_a_filter_is_what_was_counted(admin: Visitor) -> None:
    ids = failed(admin, 3)
    other = admin.message()

    counted = admin.get("/ui/bulk/count?status=failed").text
    asked = admin.submit("/ui/bulk", deed="again", key="k", all="true", status="failed", period="today")
    late = failed(admin, 1)
    admin.submit(f"{job_in(asked.text)}/start")
    admin.work_off()
    done = admin.get(job_in(asked.text))

    assert "All 3 messages" in counted
    assert "Status Failed" in words(asked.text)
    assert statuses(admin, [*ids, other.id, *late]) == ["queued"] * 4 + ["failed"]
    link = re.search(r'href="/ui/messages\?([^"]*)"[^>]*>In the log', done.text)
    assert link is not None and "period=custom" in link[1] and "from=" in link[1]


def test_what_may_arrive_twice_wants_a_word_of_its_own(admin: Visitor) -> None:
    ids = failed(admin, 2, status="delivered", reason="")

    asked = admin.submit("/ui/bulk", deed="again", key="k", row=[str(each) for each in ids])
    job = job_in(asked.text)
    without = admin.submit(f"{job}/start")
    assert statuses(admin, ids) == ["delivered"] * 2
    admin.submit(f"{job}/start", sure="true")
    admin.work_off()

    assert "2 May arrive twice It was delivered" in words(asked.text)
    assert without.status_code == 422 and 'aria-invalid="true"' in without.text
    assert statuses(admin, ids) == ["queued"] * 2


def test_a_double_click_makes_one_job_and_starts_it_once(admin: Visitor) -> None:
    ids = failed(admin, 1)
    form = {"deed": "again", "key": "k", "row": [str(ids[0])]}

    clicks = [admin.submit("/ui/bulk", **form) for _ in range(2)]
    starts = [admin.submit(f"{job_in(clicks[0].text)}/start").status_code for _ in range(2)]
    exports = [admin.submit("/ui/bulk", deed="export", key="e").text for _ in range(2)]

    assert job_in(clicks[0].text) == job_in(clicks[1].text)
    assert starts == [200, 409]
    assert job_in(exports[0]) == job_in(exports[1])
    assert len(jobs.newest(admin.portal.id, limit=10)) == 2


def test_nothing_selected_is_said_beside_the_buttons(admin: Visitor) -> None:
    failed(admin, 1)

    answer = admin.submit("/ui/bulk", deed="again", key="k", status="failed")

    assert answer.status_code == 422
    assert answer.headers["HX-Retarget"] == "#bulk-problem"
    assert "No message is selected" in answer.text


@pytest.mark.parametrize(
    "form",
    [{"deed": "again"}, {"deed": "again", "key": "k" * 41}, {"deed": "delete", "key": "k"}],
    ids=["no key", "a long key", "no such deed"],
)
def test_a_form_that_is_none_of_ours_is_refused(admin: Visitor, form: dict[str, str]) -> None:
    assert admin.submit("/ui/bulk", all="true", **form).status_code == 400


def test_nobody_acts_on_another_portals_rows_or_job(admin: Visitor, stranger: Visitor) -> None:
    theirs = failed(stranger, 1)
    job = job_in(stranger.submit("/ui/bulk", deed="again", key="k", all="true").text)

    asked = admin.submit("/ui/bulk", deed="again", key="k", row=[str(theirs[0])])
    doors = [admin.get(job), admin.get(f"{job}/file")]
    doors += [admin.submit(f"{job}/start"), admin.submit(f"{job}/stop")]

    assert "Nothing can be started" in asked.text
    assert [door.status_code for door in doors] == [404] * 4
    assert statuses(stranger, theirs) == ["failed"]


def test_employees_have_no_part_in_it(admin: Visitor) -> None:
    failed(admin, 1)
    job = job_in(admin.submit("/ui/bulk", deed="again", key="k", all="true").text)
    settings = {"employees_see_log": "true", "text_days": "30", "row_days": "180"}
    admin.submit("/ui/settings", **settings, version=str(admin.portal.settings_version))
    admin.sandbox.set_user(9, name="Eve", last_name="Example", role="employee")
    admin.open(user=9)

    log = admin.get("/ui/messages")
    doors = [
        admin.get("/ui/bulk"),
        admin.get("/ui/bulk/count"),
        admin.get(job),
        admin.get(f"{job}/file"),
        admin.submit("/ui/bulk", deed="export", key="e"),
        admin.submit(f"{job}/start"),
        admin.submit(f"{job}/stop"),
    ]

    assert log.status_code == 200 and 'name="row"' not in log.text and "/ui/bulk" not in log.text
    assert {door.status_code for door in doors} == {403}


def test_a_job_says_how_far_it_is_and_stops(admin: Visitor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.store.bulk.deeds.AT_ONCE", 2)
    monkeypatch.setattr("app.jobs.bulk.ROUND_S", 0)
    ids = failed(admin, 5)
    job = job_in(admin.submit("/ui/bulk", deed="again", key="k", all="true", status="failed").text)
    waits = admin.submit(f"{job}/start")
    admin.work_off(rounds=1)

    runs = admin.get(job)
    stopped = admin.submit(f"{job}/stop")

    assert "Waits for its turn" in waits.text
    assert '<progress class="progress" max="5" value="2"' in runs.text
    assert 'data-say="Running: 40%"' in runs.text
    assert "It was stopped" in stopped.text and "2 Sent again" in words(stopped.text)
    assert statuses(admin, ids).count("queued") == 2


def test_what_was_done_stays_to_be_seen(admin: Visitor) -> None:
    failed(admin, 1)
    admin.export(status="failed")

    listed = admin.get("/ui/bulk")

    assert "Export as CSV 1 Done Status: Failed User 1" in words(listed.text)


def test_a_file_that_is_gone_is_said_beside_its_button(admin: Visitor) -> None:
    admin.message()
    admin.export()
    (job,) = jobs.newest(admin.portal.id, limit=1)
    jobs.remove_files([job.id])

    answer = admin.get(f"/ui/bulk/{job.id}/file")

    assert answer.status_code == 422
    assert "The file is not there any more" in answer.text


def test_half_a_file_does_not_look_like_a_whole_one(admin: Visitor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.store.bulk.files.AT_ONCE", 1)
    failed(admin, 3)
    whole = admin.export()
    (job,) = jobs.newest(admin.portal.id, limit=1)

    assert whole.text.count("\r\n") == 4
    pieces = files.read(job)
    next(pieces)
    jobs.remove_files([job.id])
    with pytest.raises(files.FileGone):
        list(pieces)


def test_hidden_texts_are_in_no_file(admin: Visitor) -> None:
    admin.message("a secret text")
    form = {"hide_texts": "true", "text_days": "30", "row_days": "180"}
    admin.submit("/ui/settings", **form, version=str(admin.portal.settings_version))

    assert "a secret text" not in admin.export().text


def test_a_message_that_waits_can_be_cancelled_on_its_page(admin: Visitor) -> None:
    message = admin.message()

    page = admin.get(f"/ui/messages/{message.id}")
    cancelled = admin.submit(f"/ui/messages/{message.id}/cancel")
    again = admin.submit(f"/ui/messages/{message.id}/cancel")

    assert "Do not send" in page.text
    assert "It will no longer be sent" in cancelled.text
    assert again.status_code == 409
    assert statuses(admin, [message.id]) == ["failed"]


def test_every_state_has_its_words(admin: Visitor) -> None:
    admin.message()
    admin.export()
    (job,) = jobs.newest(admin.portal.id, limit=1)
    for state in BulkState:
        with writing() as connection:
            connection.execute(bulk_jobs.update().where(bulk_jobs.c.id == job.id).values(state=state))
        assert admin.get(f"/ui/bulk/{job.id}").status_code == 200
