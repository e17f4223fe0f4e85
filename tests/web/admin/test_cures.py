"""The cure beside the fault: what is wrong is named as it is, and one click leads to where it is mended."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from app.domain.life import AttemptEnd
from app.domain.outcomes import Exchange
from app.domain.status import MessageStatus
from app.services import services
from app.store.accounts import accounts
from app.store.database import writing
from app.store.messages import messages
from app.store.messages.rows import add_event, close_attempts, forget_exchanges
from app.store.portals import portals
from app.store.tables import attempts
from app.store.tables import messages as rows
from tests.worlds.visitor import Visitor

NATIONAL = "+1711234567"  # what the portal makes of 0171 1234567


def _set(row_id: int, **values: Any) -> None:
    with writing() as connection:
        connection.execute(rows.update().where(rows.c.id == row_id).values(**values))


def _settings(admin: Visitor, **changes: Any) -> None:
    portal = admin.portal
    portals.save_settings(portal.id, replace(portal.settings, **changes), version=portal.settings_version)


def _failed(admin: Visitor, reason: str, words: str = "", **values: Any) -> int:
    message = admin.message(**values)
    ended = {"status": "failed", "work": "closed", "due_at": None}
    _set(message.id, **ended, reason=reason, reason_text=words)
    return message.id


def test_a_number_without_a_country_leads_to_the_setting_and_can_then_be_sent(admin: Visitor) -> None:
    row_id = _failed(admin, "bad_number", "No country has a phone number like this.", to=NATIONAL)

    before = admin.get(f"/ui/messages/{row_id}").text
    assert "The phone number has no country code" in before
    assert 'hx-get="/ui/settings#default_country"' in before
    assert "The phone number has no country code" in admin.get("/ui/messages").text
    assert "/again" not in before
    assert 'id="default_country"' in admin.get("/ui/settings").text
    assert admin.submit(f"/ui/messages/{row_id}/again").status_code == 409
    _settings(admin, default_country="DE")

    assert "/again" in admin.get(f"/ui/messages/{row_id}").text
    assert admin.submit(f"/ui/messages/{row_id}/again").status_code == 200
    after = messages.by_row(admin.portal.id, row_id)
    assert after is not None
    assert after.status is MessageStatus.QUEUED


@pytest.mark.parametrize("number", ["abc", "12", "+49151", ""])
def test_what_is_no_number_of_any_country_does_not_lead_there(admin: Visitor, number: str) -> None:
    row_id = _failed(admin, "bad_number", to=number)
    _settings(admin, default_country="DE")

    text = admin.get(f"/ui/messages/{row_id}").text

    assert "/ui/settings#" not in text
    assert "/again" not in text


@pytest.mark.parametrize(
    ("reason", "address"),
    [
        ("country", "/ui/settings#which_countries"),
        ("expensive", "/ui/settings#expensive_numbers"),
        ("expired", "/ui/settings#time_to_live_s"),
        ("trial", "/ui/gateway"),
        ("not_reached", "/ui/gateway"),
    ],
)
def test_each_fault_that_can_be_mended_has_a_link_to_where(admin: Visitor, reason: str, address: str) -> None:
    row_id = _failed(admin, reason)

    text = admin.get(f"/ui/messages/{row_id}").text
    assert f'hx-get="{address}"' in text
    page, _, anchor = address.partition("#")
    assert not anchor or f'id="{anchor}"' in admin.get(page).text


def test_a_call_that_reached_nobody_is_not_called_a_refusal(admin: Visitor) -> None:
    words = "not_sent: the connection was refused"
    waits = admin.message("It waits").id
    _set(waits, reason="not_reached", reason_text=words, due_at=services().now() + timedelta(minutes=3))
    ended = _failed(admin, "not_reached", words)
    stopped = admin.message("Is held").id
    _set(stopped, reason="account_stopped", reason_text="address: the host has a private address")
    with writing() as connection:
        for row_id in (waits, ended):
            add_event(connection, row_id, services().now(), "not_reached", words)

    for row_id in (waits, ended, stopped):
        text = admin.get(f"/ui/messages/{row_id}").text
        assert not re.search("[Rr]efuse[ds] (by|the|your)", text.replace(words, "")), row_id
        assert "reached" in text
        assert 'hx-get="/ui/gateway"' in text


def test_a_waiting_message_says_why_and_when_it_is_tried_next(admin: Visitor) -> None:
    row_id = admin.message().id
    at = services().now() + timedelta(minutes=3)
    _set(row_id, reason="later", reason_text="HTTP 503", due_at=at)

    for address in (f"/ui/messages/{row_id}", "/ui/messages"):
        text = admin.get(address).text
        assert "The gateway could not take it yet" in text
        assert "Next try:" in text
        assert at.isoformat() in text


def test_what_was_given_up_is_not_said_to_be_tried_again(admin: Visitor) -> None:
    row_id = _failed(admin, "gave_up", "HTTP 503")
    with writing() as connection:
        values = {"message_row_id": row_id, "number": 1, "account_id": 1, "gateway": "demo", "calls": 1}
        connection.execute(attempts.insert().values(**values, reference="r1", started_at=services().now()))

    text = admin.get(f"/ui/messages/{row_id}").text

    assert "tries again automatically" not in text
    assert "tried again by itself" not in text


def test_what_held_an_old_message_up_is_said_in_words(admin: Visitor) -> None:
    row_id = _failed(admin, "expired", "account_stopped")

    text = admin.get(f"/ui/messages/{row_id}").text

    assert "The gateway refuses your account" in text
    assert "account_stopped" not in text


def test_only_administrators_are_led_to_settings(admin: Visitor) -> None:
    row_id = _failed(admin, "bad_number", to=NATIONAL)
    _settings(admin, employees_see_log=True)
    admin.sandbox.set_user(3, name="Eve", last_name="Employee", role="employee")
    colleague = Visitor(admin.app, admin.sandbox)
    colleague.open(user=3)

    text = colleague.get(f"/ui/messages/{row_id}").text

    assert "The phone number has no country code" in text
    assert "/ui/settings" not in text


def test_an_attempt_says_how_its_calls_went_to_administrators_as_long_as_the_text(admin: Visitor) -> None:
    row_id = _failed(admin, "gave_up")
    portal = admin.portal
    account = accounts.connect(
        portal.id, portal.member_id, "demo", label="", public={}, secrets={}, now=services().now()
    )
    said = Exchange("POST", "https://acme.example/v1", '{"text": "***"}', 503, "<b>busy</b>", 1_250)
    with writing() as connection:
        values = {"message_row_id": row_id, "number": 1, "account_id": account.id, "gateway": "demo"}
        made = connection.execute(
            attempts.insert().values(**values, reference="r", calls=1, started_at=services().now())
        )
        assert made.inserted_primary_key is not None
        end = AttemptEnd("refused", exchanges=(said,))
        close_attempts(connection, [(made.inserted_primary_key[0], end)], services().now())
    _settings(admin, employees_see_log=True)
    admin.sandbox.set_user(3, name="Eve", last_name="Employee", role="employee")
    colleague = Visitor(admin.app, admin.sandbox)
    colleague.open(user=3)

    text = admin.get(f"/ui/messages/{row_id}").text

    assert "HTTP 503" in text
    assert "1.2 sec" in text or "1.3 sec" in text
    assert "POST https://acme.example/v1" in text
    assert "&lt;b&gt;busy&lt;/b&gt;" in text
    assert "acme.example" not in colleague.get(f"/ui/messages/{row_id}").text
    with writing() as connection:
        forget_exchanges(connection, [row_id])
    after = admin.get(f"/ui/messages/{row_id}").text
    assert "acme.example" not in after
    assert "HTTP 503" in after
