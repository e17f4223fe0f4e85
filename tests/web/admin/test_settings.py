"""The settings page: what is typed is what counts, and nobody's change is lost silently."""

from __future__ import annotations

import html
import re
from datetime import timedelta
from typing import Any

import pytest

from app.domain.portals import PortalSettings
from app.domain.retry import Timing
from app.services import services
from app.store.database import writing
from app.store.messages import messages
from app.store.portals import portals
from app.store.tables import messages as rows
from app.store.upkeep import installations
from tests.worlds.visitor import Visitor

TYPED = {
    "language": "de",
    "theme": "dark",
    "mask_numbers": "",
    "hide_texts": "true",
    "employees_see_log": "true",
    "text_days": "3",
    "row_days": "90",
    "default_country": "DE",
    "which_countries": "some",
    "country": ["FR", "DE", "XX"],
    "time_to_live_s": "3600",
    "unknown_policy": "resend",
    "low_balance": "7,50",
    "notices": "some",
    "notice_user": ["27", "1", "nobody"],
    "weekly_summary": "true",
}


def _save(admin: Visitor, *, version: int | str | None = None, **changes: Any) -> Any:
    now = admin.portal.settings_version if version is None else version
    return admin.submit("/ui/settings", **{**TYPED, "version": str(now), **changes})


def _value(page: str, name: str) -> str:
    found = re.search(rf'<input[^>]* name="{name}" value="([^"]*)"', page)
    assert found, name
    return html.unescape(found[1])


def test_everything_that_is_typed_is_saved_and_shown_again(admin: Visitor) -> None:
    answer = _save(admin)

    assert answer.status_code == 200, answer.text
    assert admin.portal.settings == PortalSettings(
        default_country="DE",
        countries=("DE", "FR"),
        time_to_live_s=3600,
        unknown_policy="resend",
        language="de",
        theme="dark",
        mask_numbers=False,
        hide_texts=True,
        text_days=3,
        row_days=90,
        low_balance="7.50",
        employees_see_log=True,
        notices="some",
        notice_users=("1", "27"),
        weekly_summary=True,
        time_zone="Europe/Berlin",  # of the person who saved
    )
    shown = admin.get("/ui/settings").text
    assert _value(shown, "text_days") == "3"
    assert _value(shown, "low_balance") == "7.50"
    assert 'id="country-FR" name="country" value="FR" checked' in shown
    assert 'id="country-PL" name="country" value="PL" checked' not in shown


def test_a_new_portal_masks_numbers_and_keeps_texts_for_a_month(admin: Visitor) -> None:
    shown = admin.get("/ui/settings").text

    assert 'name="mask_numbers" value="true" checked' in shown
    assert (_value(shown, "text_days"), _value(shown, "row_days")) == ("30", "180")
    assert "As usual on this server (1 day)" in shown


@pytest.mark.parametrize(
    ("changes", "field", "said"),
    [
        ({"text_days": "soon"}, "text_days", "whole number of days from 0"),
        ({"text_days": "-1"}, "text_days", "whole number of days from 0"),
        ({"row_days": "6"}, "row_days", "from 7 to 3650"),
        ({"row_days": "99999999999"}, "row_days", "from 7 to 3650"),
        ({"text_days": "91"}, "text_days", "cannot be kept longer than its message"),
        ({"low_balance": "1e9"}, "low_balance", "such as 10 or 7.50"),
        ({"low_balance": "1,000"}, "low_balance", "such as 10 or 7.50"),
        ({"low_balance": "-1"}, "low_balance", "such as 10 or 7.50"),
        ({"low_balance": "NaN"}, "low_balance", "such as 10 or 7.50"),
        ({"country": []}, "countries", "at least one country"),
        ({"notice_user": []}, "notices", "at least one person"),
    ],
)
def test_what_cannot_work_is_said_beside_its_field(
    admin: Visitor, changes: dict[str, Any], field: str, said: str
) -> None:
    before = admin.portal

    answer = _save(admin, **changes)

    assert answer.status_code == 422
    assert f'<a href="#{field}">' in answer.text
    assert answer.text.count(said) == 2  # in the summary and at the field
    for name in {"text_days", "row_days", "low_balance"} & set(changes):
        assert _value(answer.text, name) == changes[name]
    assert admin.portal == before


def test_two_administrators_do_not_overwrite_each_other(admin: Visitor) -> None:
    seen = admin.portal.settings_version
    portals.save_settings(admin.portal.id, PortalSettings(text_days=10), version=seen)

    answer = _save(admin, version=seen)

    assert answer.status_code == 409
    assert admin.portal.settings.text_days == 10
    assert "Someone else saved these settings in the meantime" in answer.text
    assert '<a href="#text_days">' in answer.text
    assert _value(answer.text, "text_days") == "3"
    again = _save(admin, version=int(_value(answer.text, "version")))
    assert again.status_code == 200
    assert admin.portal.settings.text_days == 3


@pytest.mark.parametrize("version", ["", "x", "-1", "9" * 30, "１"])
def test_a_version_that_never_was_saves_nothing(admin: Visitor, version: str) -> None:
    answer = _save(admin, version=version)

    assert answer.status_code == 409
    assert admin.portal.settings == PortalSettings()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("theme", "pink"),
        ("time_to_live_s", "1"),
        ("unknown_policy", "guess"),
        ("language", "xx"),
        ("default_country", "??"),
        ("which_countries", "none"),
        ("notices", "everybody"),
    ],
)
def test_a_choice_that_is_none_saves_nothing(admin: Visitor, name: str, value: str) -> None:
    answer = _save(admin, **{name: value})

    assert answer.status_code == 422
    assert answer.text.count("Choose one of the list.") == 2  # in the summary and at the field
    assert admin.portal.settings == PortalSettings()


def test_language_and_theme_count_at_once(admin: Visitor) -> None:
    answer = _save(admin)

    assert 'data-theme="dark" lang="de" dir="ltr"' in answer.text
    assert "Übersicht" in answer.text
    assert '<html lang="de" dir="ltr" class="dark">' in admin.open("/app").text


def test_settings_survive_a_removal_and_a_new_installation(admin: Visitor) -> None:
    _save(admin)
    admin.sandbox.uninstall()
    installations.uninstall(admin.portal, clean=False, now=portals.utcnow(), timing=Timing())

    admin.come_in()

    assert admin.portal.settings.text_days == 3


def test_the_time_to_live_counts_for_new_messages_and_for_those_sent_again(admin: Visitor) -> None:
    _save(admin, time_to_live_s="600")

    message = admin.message()
    with writing() as connection:
        ended = {"status": "failed", "work": "closed", "reason": "gave_up", "due_at": None}
        connection.execute(rows.update().where(rows.c.id == message.id).values(**ended))
    assert admin.submit(f"/ui/messages/{message.id}/again").status_code == 200

    again = messages.by_row(admin.portal.id, message.id)
    assert again is not None
    assert message.expires_at - message.received_at == timedelta(minutes=10)
    assert again.expires_at - services().now() < timedelta(minutes=10)


def test_expensive_numbers_are_allowed_by_a_tick(admin: Visitor) -> None:
    before = portals.by_id(admin.portal.id)
    assert not before.settings.expensive_numbers

    answer = _save(admin, expensive_numbers="true")

    assert answer.status_code == 200
    assert portals.by_id(admin.portal.id).settings.expensive_numbers


def test_the_page_of_an_earlier_release_leaves_alone_what_it_does_not_know(admin: Visitor) -> None:
    _save(admin)
    older = {name: value for name, value in TYPED.items() if name not in ("notices", "theme")}

    answer = admin.submit("/ui/settings", **{**older, "version": str(admin.portal.settings_version)})

    assert answer.status_code == 200
    assert (admin.portal.settings.notices, admin.portal.settings.theme) == ("some", "dark")


def test_every_section_has_a_heading_that_can_be_linked_to(admin: Visitor) -> None:
    page = admin.get("/ui/settings").text

    links = re.findall(r'class="chip" href="#([a-z]+)"', page)
    assert len(links) == 9
    assert [f'<h2 id="{name}"' in page for name in links] == [True] * 9


def test_who_is_ticked_stays_on_the_list_although_they_never_opened_the_app(admin: Visitor) -> None:
    _save(admin, language="en")

    page = admin.get("/ui/settings").text

    assert 'name="notice_user" value="1" checked' in page
    assert "You (user 1)" in page
    assert 'name="notice_user" value="27" checked' in page


# --- a notice to try


@pytest.mark.parametrize(
    ("scope", "status", "said"),
    [
        (["messageservice", "im"], 200, "Sent. Look into your notification center"),
        (["messageservice"], 502, "may not write notices"),
    ],
)
def test_a_test_notice_comes_or_says_why_not(
    admin: Visitor, scope: list[str], status: int, said: str
) -> None:
    admin.sandbox.configure(scope=scope)

    answer = admin.submit("/ui/settings/test-notice")

    assert (answer.status_code, said in answer.text) == (status, True)
    told = [entry["text"] for entry in admin.sandbox.ledger("notice") if entry["user"] == 1]
    assert len(told) == (status == 200)


def test_a_portal_that_does_not_answer_is_told_beside_the_button(admin: Visitor) -> None:
    admin.sandbox.configure(scope=["messageservice", "im"])
    admin.sandbox.add_fault(method="im.notify.system.add", error="ERROR_CORE", count=1)

    answer = admin.submit("/ui/settings/test-notice")

    assert answer.status_code == 502
    assert "Bitrix24 refused the notice" in answer.text
