"""A log one can work with: search by what a person knows, counts, columns, full numbers, own messages."""

from __future__ import annotations

import gzip
import re
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from app.services import services
from app.store.database import writing
from app.store.portals import portals
from app.store.tables import messages as rows
from app.store.tables import preferences
from tests.worlds.visitor import Visitor


def _set(row_id: int, **values: Any) -> None:
    with writing() as connection:
        connection.execute(rows.update().where(rows.c.id == row_id).values(**values))


def _settings(admin: Visitor, **changes: Any) -> None:
    portal = admin.portal
    portals.save_settings(portal.id, replace(portal.settings, **changes), version=portal.settings_version)


def _listed(text: str) -> list[int]:
    return [int(found) for found in re.findall(r'class="time"><a href="/ui/messages/(\d+)"', text)]


def _shown(visitor: Visitor, **filters: str) -> list[int]:
    return _listed(visitor.get("/ui/messages", query_string=filters).text)


def _counts(text: str) -> dict[str, str]:
    pattern = r'id="status-(\w+)"[^>]*>[^<]*(?:<span class="count">([^<]*)</span>)?'
    return {found[0]: found[1] for found in re.findall(pattern, text)}


# --- search


def test_a_part_of_a_number_in_any_place_finds_it(admin: Visitor) -> None:
    wanted = admin.message("one", to="+4915112345622").id
    admin.message("two", to="+4917699999999")

    assert _shown(admin, q="51123") == [wanted]
    assert _shown(admin, q="4915112345") == [wanted]
    assert _shown(admin, q="77777") == []


@pytest.mark.parametrize("typed", ["заказ", "ЗАКАЗ", "Заказ", "zakaz-7"])
def test_a_word_of_the_text_finds_it_in_large_and_small_letters(admin: Visitor, typed: str) -> None:
    wanted = admin.message("Ваш Заказ, ваш ЗАКАЗ, ваш заказ: Zakaz-7").id
    admin.message("Something else")

    assert _shown(admin, q=typed) == [wanted]


def test_a_wildcard_in_a_search_is_a_letter_like_any_other(admin: Visitor) -> None:
    admin.message("Ten percent")

    assert _shown(admin, q="T_n") == _shown(admin, q="T%t") == []


def test_what_can_mean_two_things_is_offered_in_the_other_way_too(admin: Visitor) -> None:
    by_number = admin.message("one", to="+4915112344711").id
    by_text = admin.message("Your code is 4711").id

    first = admin.get("/ui/messages?q=4711").text

    assert _listed(first) == [by_number]
    assert "Search for “4711” in the texts" in first
    assert _shown(admin, q="4711", how="text") == [by_text]


def test_hidden_texts_cannot_be_searched(admin: Visitor) -> None:
    admin.message("A secret word")
    assert _shown(admin, q="secret") != []

    _settings(admin, hide_texts=True)

    assert _shown(admin, q="secret") == _shown(admin, q="secret", how="text") == []


def test_a_search_looks_so_far_and_says_where_to_go_on(
    admin: Visitor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.store.messages.log._NEAR_IN_ROWS", 1)
    monkeypatch.setattr("app.store.messages.log._FAR_IN_ROWS", 2)
    wanted = admin.message("the needle").id
    for n in range(1, 6):
        admin.message("x" * n)

    answers, address = [], "/ui/messages?q=needle&how=text"
    while address:
        answers.append(text := admin.get(address).text)
        more = re.search(r'hx-get="(/ui/messages\?[^"]*after=[^"]*)"', text)
        address = more[1].replace("&amp;", "&") if more else ""

    assert [_listed(text) for text in answers] == [[], [], [wanted]]
    assert "Older messages were not looked at yet" in answers[0]
    assert "No message fits" not in answers[0]
    assert "not looked at yet" not in answers[-1]


def test_the_log_is_narrowed_to_what_sent_a_message(admin: Visitor) -> None:
    made = {
        "robot": {"module_id": "bizproc", "author_id": "5"},
        "marketing": {"module_id": "sender"},
        "person": {"module_id": "crm", "author_id": "5"},
        "automatic": {"module_id": "crm", "author_id": "0"},
        "test": {"origin": "test", "author_id": "5"},
    }
    ids = {}
    for number, (source, values) in enumerate(made.items(), 1):
        ids[source] = admin.message("x" * number).id
        _set(ids[source], **values)

    assert {source: _shown(admin, author=source) for source in made} == {s: [i] for s, i in ids.items()}
    assert _shown(admin, author="no such") == list(ids.values())[::-1]


def test_yesterday_is_one_day_of_the_person(admin: Visitor) -> None:
    ids = [admin.message("x" * n).id for n in (1, 2, 3)]
    for row_id, days in zip(ids, (0, 1, 2), strict=True):
        _set(row_id, received_at=services().now() - timedelta(days=days))

    assert _shown(admin, period="yesterday") == [ids[1]]


# --- counts


def test_each_status_says_how_many_messages_the_other_filters_leave(admin: Visitor) -> None:
    for n in range(1, 4):
        admin.message("x" * n)
    _set(admin.message("old").id, received_at=services().now() - timedelta(days=9), status="failed")
    _set(admin.message("bad").id, status="failed")

    assert _counts(admin.get("/ui/messages").text)["failed"] == "2"
    text = admin.get("/ui/messages?period=7&status=queued").text

    found = _counts(text)
    assert found.pop("all") == ""
    assert found.pop("queued") == "3"
    assert found.pop("failed") == "1"
    assert set(found.values()) == {"0"}
    assert len(found) == 4


def test_no_status_is_counted_further_than_a_thousand(
    admin: Visitor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.store.messages.log.COUNTED", 2)
    for n in range(1, 4):
        admin.message("x" * n)

    assert _counts(admin.get("/ui/messages").text)["queued"] == "2+"


# --- columns


def test_each_person_chooses_columns_for_themselves(admin: Visitor) -> None:
    colleague = Visitor(admin.app, admin.sandbox)
    admin.sandbox.set_user(7, name="Ada", last_name="Second", role="admin")
    colleague.open(user=7)
    message = admin.message("Hello there")

    chosen = admin.submit("/ui/messages/columns", column=["message_id", "no such one"]).text

    for text in (chosen, admin.get("/ui/messages").text):
        assert f">{message.message_id}</bdi>" in text
        assert "Hello there" not in text
    assert "Hello there" in colleague.get("/ui/messages").text
    assert "Hello there" not in admin.submit("/ui/messages/columns").text
    assert "Hello there" in admin.submit("/ui/messages/columns", column="text").text


def test_a_choice_of_columns_shows_no_hidden_text(admin: Visitor) -> None:
    admin.message("A secret word")
    _settings(admin, hide_texts=True)

    assert "A secret word" not in admin.submit("/ui/messages/columns", column="text").text


# --- numbers in full


def test_an_administrator_sees_numbers_in_full_for_a_while_and_alone(admin: Visitor) -> None:
    colleague = Visitor(admin.app, admin.sandbox)
    admin.sandbox.set_user(7, name="Ada", last_name="Second", role="admin")
    colleague.open(user=7)
    admin.message(to="+4915112345678")
    assert "+4915112345678" not in admin.get("/ui/messages").text

    assert "+4915112345678" in admin.submit("/ui/messages/numbers", show="true").text
    assert "+4915112345678" in admin.get("/ui/messages").text
    assert "+4915112345678" not in colleague.get("/ui/messages").text
    with writing() as connection:
        connection.execute(preferences.update().values(numbers_until=services().now() - timedelta(seconds=1)))
    assert "+4915112345678" not in admin.get("/ui/messages").text

    admin.submit("/ui/messages/numbers", show="true")
    assert "+4915112345678" not in admin.submit("/ui/messages/numbers", show="false").text


# --- employees and their own messages


def test_no_filter_opens_other_peoples_messages(admin: Visitor, author: Visitor) -> None:
    other = admin.message("x")
    _set(other.id, author_id="33")
    for source in ("person", "automatic", "robot", "test"):
        for words in (f"#{other.id}", other.message_id, "x"):
            assert _shown(author, q=words, author=source) == []


@pytest.fixture
def author(admin: Visitor) -> Visitor:
    """An employee who may see what they wrote themselves."""
    _settings(admin, employees_see_own=True)
    admin.sandbox.set_user(3, name="Eve", last_name="Employee", role="employee")
    colleague = Visitor(admin.app, admin.sandbox)
    assert colleague.open(user=3).status_code == 200
    assert colleague.token
    return colleague


def test_an_employee_sees_their_own_messages_and_no_others(admin: Visitor, author: Visitor) -> None:
    own, other, automatic = (admin.message("x" * n) for n in (1, 2, 3))
    _set(own.id, author_id="3")
    _set(other.id, author_id="33")

    assert _shown(author) == [own.id]
    assert _shown(author, status="queued") == [own.id]
    for row in (own, other, automatic):
        for filters in ({"q": f"#{row.id}"}, {"q": row.message_id}, {"author": "33"}, {"author_id": "33"}):
            assert set(_shown(author, **filters)) <= {own.id}
    assert _counts(author.get("/ui/messages").text)["queued"] == "1"
    assert author.get(f"/ui/messages/{own.id}").status_code == 200
    for row in (other, automatic):
        assert author.get(f"/ui/messages/{row.id}").status_code == 404
    assert _shown(admin) == [automatic.id, other.id, own.id]


def test_own_messages_are_not_shown_with_numbers_in_full_nor_exported(
    admin: Visitor, author: Visitor
) -> None:
    own = admin.message(to="+4915112345678")
    _set(own.id, author_id="3")

    for address in ("/ui/messages", f"/ui/messages/{own.id}"):
        assert "112345678" not in author.get(address).text
    assert author.submit("/ui/bulk", deed="export", key="k").status_code == 403
    assert author.submit("/ui/messages/numbers", show="true").status_code == 403
    assert author.submit("/ui/messages/columns", column="text").status_code == 403


def test_the_right_to_own_messages_ends_with_the_setting(admin: Visitor, author: Visitor) -> None:
    assert author.get("/ui/messages").status_code == 200

    _settings(admin, employees_see_own=False)

    assert author.get("/ui/messages").status_code == 401


def test_the_first_load_stays_under_175_kilobytes(admin: Visitor) -> None:
    """With the official SDK, everything compressed as it travels."""
    page = admin.open()
    files = re.findall(r'(?:href|src)="(/ui/static/[^"]+)"', page.text)

    sent = [admin.ask("GET", name, headers={"Accept-Encoding": "gzip"}).data for name in files]

    assert len(files) == 5
    assert sum(map(len, sent)) + len(gzip.compress(page.data)) < 175_000
