"""The overview: today beside a usual day, what fails and what is behind it, what waits and why."""

from __future__ import annotations

import html
import re
from datetime import datetime, timedelta
from typing import Any

import pytest

from app.services import services
from app.store.accounts import accounts
from app.store.database import writing
from app.store.figures import overview
from app.store.tables import gateway_accounts
from app.store.tables import messages as rows
from app.web.admin.parts import today as parts
from tests.worlds.visitor import Visitor

NOON = "2026-11-25T12:07:00+01:00"  # a Wednesday in Berlin, where the sandbox's administrator lives


@pytest.fixture(autouse=True)
def noon(monkeypatch: pytest.MonkeyPatch, web: Any) -> datetime:
    """It is noon. The session and the portal have their own clocks; only what is counted goes by this one."""
    at = datetime.fromisoformat(NOON)
    monkeypatch.setattr("app.web.admin.overview._now", lambda: at)
    return at


def _messages(admin: Visitor, count: int, at: datetime, **values: Any) -> list[int]:
    found = []
    for _ in range(count):
        message = admin.message()
        found.append(message.id)
        with writing() as connection:
            connection.execute(
                rows.update()
                .where(rows.c.id == message.id)
                .values(message_id=f"m{message.id}", **{"work": "closed", "received_at": at, **values})
            )
    return found


def _text(admin: Visitor) -> str:
    answer = admin.get("/ui/overview")
    assert answer.status_code == 200, answer.text
    return html.unescape(" ".join(re.sub(r"<[^>]*>", " ", answer.text).split()))


def _links(admin: Visitor) -> dict[str, str]:
    page = admin.get("/ui/overview").text
    return {
        html.unescape(re.sub(r"<[^>]*>", " ", text)).strip(): html.unescape(url)
        for url, text in re.findall(r'<a href="(/ui/messages\?[^"]+)"[^>]*>(.*?)</a>', page, re.DOTALL)
    }


def _account(admin: Visitor) -> int:
    portal = admin.portal
    return accounts.connect(
        portal.id, portal.member_id, "http", label="x", public={}, secrets={}, now=services().now()
    ).id


# --- a usual day


def test_today_stands_beside_the_same_weekday_up_to_the_same_time(admin: Visitor, noon: datetime) -> None:
    _messages(admin, 3, noon - timedelta(minutes=1), status="delivered")
    for weeks, count in ((1, 4), (2, 6), (3, 30)):
        _messages(admin, count, noon - timedelta(weeks=weeks, hours=1), status="delivered")
    _messages(admin, 5, noon - timedelta(weeks=1) + timedelta(hours=1), status="delivered")  # later that day
    _messages(admin, 5, noon - timedelta(days=1), status="delivered")  # another weekday

    text = _text(admin)

    assert "So far: 3. Usual by this time (Wednesday): 5." in text
    assert "3 Delivered 0 Sent" in text


def test_a_portal_without_a_past_has_no_usual_day(admin: Visitor, noon: datetime) -> None:
    _messages(admin, 3, noon)

    assert "So far: 3." in _text(admin)
    assert "Usual by this time" not in _text(admin)


def test_silence_where_messages_are_usual_is_told(admin: Visitor, noon: datetime) -> None:
    for weeks in (1, 2, 3, 4):
        _messages(admin, 5, noon - timedelta(weeks=weeks, hours=1), status="delivered")
    silent = _text(admin)
    _messages(admin, 1, noon - timedelta(hours=1))

    assert "No message has come from Bitrix24 today" in silent
    assert "Usual by this time (Wednesday): 5." in silent
    assert "Register again" in silent
    assert "No message has come from Bitrix24 today" not in _text(admin)


# --- what fails


def test_many_failures_are_told_with_what_is_behind_them(admin: Visitor, noon: datetime) -> None:
    account, at = _account(admin), noon - timedelta(hours=20)  # yesterday, but within a day
    _messages(admin, 90, at, status="delivered", account_id=account)
    bad = _messages(admin, 4, at, status="failed", reason="refused", account_id=account, sender_code="sms_2")
    _messages(admin, 1, at, status="undelivered", reason="reported", account_id=account)

    text, links = _text(admin), _links(admin)

    assert "5.3% of the messages of the last 24 hours failed or were not delivered" in text
    assert "5 of 95 messages" in text
    assert "The gateway refused the message for good (4 of 5)" in text
    assert "Any HTTP gateway (5 of 5)" in text
    assert "sms_2 (4 of 5)" in text
    assert links["sms_2"].endswith("from=2026-11-24&to=2026-11-25&sender=sms_2")
    behind = admin.get(links["The gateway refused the message for good"]).text
    assert sorted(map(int, re.findall(r'data-row="(\d+)"', behind))) == bad


def test_few_failures_are_no_alarm(admin: Visitor, noon: datetime) -> None:
    _messages(admin, 97, noon, status="delivered")
    _messages(admin, 3, noon, status="failed", reason="refused")
    _messages(admin, 50, noon - timedelta(hours=26), status="failed", reason="refused")  # older than a day

    assert "of the messages of the last 24 hours failed" not in _text(admin)


# --- what waits


def test_what_waits_is_told_with_its_reason_and_its_next_moment(admin: Visitor, noon: datetime) -> None:
    later = noon + timedelta(hours=2)
    waiting = {"status": "queued", "work": "queued"}
    _messages(admin, 2, noon, **waiting, reason="no_gateway", due_at=later)
    _messages(admin, 1, noon, **waiting, due_at=noon - timedelta(seconds=1))
    _messages(admin, 3, noon, status="delivered", push_due_at=later)

    text, links = _text(admin), _links(admin)

    assert "No gateway is connected 2 25 Nov, 14:07" in text
    assert "Waiting to be sent 1 now" in text
    assert "Statuses not yet shown in Bitrix24 3 25 Nov, 14:07" in text
    assert links["No gateway is connected"] == "/ui/messages?status=queued&reason=no_gateway"


def test_messages_of_a_stopped_account_wait_for_its_next_trial(admin: Visitor, noon: datetime) -> None:
    account = _account(admin)
    with writing() as connection:
        connection.execute(
            gateway_accounts.update()
            .where(gateway_accounts.c.id == account)
            .values(probe_at=noon + timedelta(minutes=4))
        )
    _messages(admin, 2, noon, status="queued", work="queued", reason="account_stopped")

    assert "The gateway refuses your account 2 25 Nov, 12:11" in _text(admin)


def test_so_much_that_waits_is_not_counted_to_its_end(
    admin: Visitor, noon: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(overview, "COUNTED", 2)
    _messages(admin, 3, noon, status="queued", work="queued", due_at=noon)

    assert "Waiting to be sent 2 or more now" in _text(admin)


def test_where_nothing_waits_nothing_is_said_of_it(admin: Visitor, noon: datetime) -> None:
    _messages(admin, 1, noon, status="delivered")

    assert "What is waiting" not in _text(admin)
    assert parts.waiting(admin.portal.id, None, noon) == []


def test_every_tile_opens_todays_messages_of_its_status(admin: Visitor) -> None:
    page = admin.get("/ui/overview").text
    urls = re.findall(r'class="kpi[^"]*" href="([^"]+)"', page)

    assert urls == []  # nothing to show before the first message
    admin.message()
    urls = [
        html.unescape(url)
        for url in re.findall(r'<a class="kpi[^"]*" href="([^"]+)"', admin.get("/ui/overview").text)
    ]
    assert len(urls) == 6
    assert all(url.startswith("/ui/messages?period=today&status=") for url in urls)
