"""The banner: on every page, said once, gone with its cause."""

from __future__ import annotations

import html
import re
from datetime import timedelta

import pytest

from app.domain.rest_calls import RestCall
from app.domain.retry import BAD_CALLS_TO_PAUSE
from app.services import services
from app.store.accounts import accounts, checks, pace
from app.store.accounts.accounts import Account, Check
from app.store.database import utcnow, writing
from app.store.figures import counts
from app.store.portals import portals, rest_log, states
from app.store.tables import message_counts
from app.store.tables import portals as portal_rows
from tests.worlds import stopped
from tests.worlds.product import MAY_SEE_METRICS
from tests.worlds.visitor import Visitor

PAGES = ("overview", "gateway", "senders", "test", "messages")


def _account(admin: Visitor) -> Account:
    admin.submit("/ui/gateway", **{"gateway": "demo", "set-originator": "DEMO"})
    found = accounts.default_of(admin.portal.id)
    assert found is not None
    return found


def _stop(account: Account, reason: str = "No money.") -> None:
    now = utcnow()
    stopped.stop(account, reason, probe_at=now, now=now)


def _limit(admin: Visitor, limit: str) -> None:
    settings = {**admin.portal.settings.to_json(), "low_balance": limit}
    with writing() as connection:
        connection.execute(
            portal_rows.update().where(portal_rows.c.id == admin.portal.id).values(settings=settings)
        )


def _text(page: str) -> str:
    return html.unescape(re.sub(r"<[^>]+>|\s+", " ", page))


BANNER = '<div class="stack" role="alert">'  # a page may have other places for what went wrong


@pytest.mark.parametrize("page", PAGES)
def test_every_page_says_once_what_stands_badly_and_what_to_do(admin: Visitor, page: str) -> None:
    _stop(_account(admin), "Your balance is empty")
    states.set_state(admin.portal, portals.PortalState.RECONNECT)
    _limit(admin, "5")

    text = admin.get(f"/ui/{page}").text

    assert text.count(BANNER) == 1
    assert text.count("refuses your account") == 1
    assert text.count("no longer accepts our access") == 1
    assert text.count("is low: 0.00") == 1
    assert text.count("Your balance is empty") == 1
    assert text.index("our access") < text.index("refuses your account") < text.index("is low")
    assert "top up the account at the gateway" in _text(text)


def test_a_rush_is_said_with_where_to_look(admin: Visitor) -> None:
    now = utcnow()
    for days_ago, count in ((0, 601), (1, 60)):
        row = {"status": "delivered", "account_id": 0, "reason": "", "count": count, "segments": count}
        quarter = counts.quarter_of(now - timedelta(days=days_ago, hours=2))
        with writing() as connection:
            connection.execute(
                message_counts.insert().values(portal_id=admin.portal.id, quarter=quarter, **row)
            )

    page = admin.get("/ui/overview").text

    assert page.count("Far more messages than usual") == 1
    assert 'href="/ui/messages' in page[page.index("Far more messages") :]


@pytest.mark.parametrize("page", PAGES)
def test_where_all_is_well_there_is_no_banner(admin: Visitor, page: str) -> None:
    _account(admin)

    assert BANNER not in admin.get(f"/ui/{page}").text


def test_a_banner_goes_with_its_cause(admin: Visitor) -> None:
    account = _account(admin)
    for _ in range(BAD_CALLS_TO_PAUSE):
        pace.note_no_answer(account, pause_s=30, now=utcnow())
    bad = admin.get("/ui/messages").text

    with writing() as connection:
        pace.note_answered(connection, account.id, accepted=True)

    assert "does not answer" in bad
    assert "does not answer" not in admin.get("/ui/messages").text


def test_the_button_mends_the_portal(admin: Visitor) -> None:
    states.set_state(admin.portal, portals.PortalState.RECONNECT)
    shown = admin.get("/ui/gateway").text
    [action] = re.findall(r'<form hx-post="([^"]+)"[^>]*><button[^>]*>.*?Try again', shown)

    answer = admin.submit(action)

    assert answer.status_code == 200
    assert BANNER not in answer.text


def test_a_check_that_fails_now_is_said_once(admin: Visitor) -> None:
    answer = admin.submit(
        "/ui/gateway",
        **{
            "gateway": "http",
            "set-url": "http://127.0.0.1:9/sms",
            "set-method": "POST",
            "set-body": "json",
            "set-auth": "none",
            "set-template": '{"to": "{to}", "text": "{text}"}',
            "set-check_url": "http://127.0.0.1:9/balance",
            "anyway": "1",
        },
    )

    assert answer.status_code == 502
    assert answer.text.count('class="note bad"') == 1
    assert admin.get("/ui/gateway").text.count('class="note bad"') == 1


def test_failing_regular_checks_show_beside_the_admins_own_result(admin: Visitor) -> None:
    account = _account(admin)
    for _ in range(2):
        checks.record_regular_check(account, Check(False, "The key was revoked.", "", services().now()))

    text = admin.get("/ui/overview").text

    assert "Check failed" in text
    assert text.count("The key was revoked.") == 1


def test_nobody_sees_the_banner_of_another_portal(admin: Visitor, stranger: Visitor) -> None:
    _stop(_account(admin))

    assert BANNER not in stranger.get("/ui/overview").text


def test_hostile_words_of_a_gateway_are_shown_as_they_are(admin: Visitor) -> None:
    _stop(_account(admin), "<script>alert(1)</script>")

    assert "<script>" not in admin.get("/ui/messages").text


def test_unknown_codes_of_portals_are_counted_in_a_bounded_number_of_values(admin: Visitor) -> None:
    for number in range(30):
        rest_log.add(admin.portal.id, RestCall("scope", "{}", 400, f"ODD_{number}", "", 1), at=utcnow())
    rest_log.add(admin.portal.id, RestCall("scope", "{}", 401, "EXPIRED_TOKEN", "", 1), at=utcnow())

    lines = [
        line
        for line in admin.send("GET", "/metrics", headers=MAY_SEE_METRICS).text.splitlines()
        if line.startswith("sms_portal_unknown_errors{")
    ]

    assert len(lines) == 21
    assert 'sms_portal_unknown_errors{code="other"} 10.0' in lines
    assert "EXPIRED_TOKEN" not in "".join(lines)
