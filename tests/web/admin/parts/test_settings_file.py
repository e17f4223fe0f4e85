"""Settings as a file: exported without secrets, compared before they count, judged like what is typed."""

from __future__ import annotations

import html
import io
import json
import re
from dataclasses import replace
from typing import Any

import pytest
from werkzeug.test import TestResponse

from app.domain.portals import PortalSettings
from app.store.portals import portals
from tests.worlds.visitor import Visitor

CHANGED = PortalSettings(
    default_country="DE",
    countries=("DE", "FR"),
    expensive_numbers=True,
    time_to_live_s=3600,
    unknown_policy="resend",
    language="en",
    theme="dark",
    mask_numbers=False,
    text_days=3,
    low_balance="7.50",
    notices="none",
    notice_users=(),
    weekly_summary=True,
    time_zone="Europe/Berlin",
)


def _use(visitor: Visitor, settings: PortalSettings) -> None:
    portals.save_settings(visitor.portal.id, settings, version=visitor.portal.settings_version)


def _exported(visitor: Visitor) -> bytes:
    answer = visitor.get("/ui/settings.json")
    assert answer.mimetype == "application/json"
    return answer.data


def _import(visitor: Visitor, content: bytes) -> TestResponse:
    return visitor.ask("POST", "/ui/settings/import", data={"file": (io.BytesIO(content), "s.json")})


def _file(**values: Any) -> bytes:
    return json.dumps({"format": 1, "settings": values}).encode()


def _apply(visitor: Visitor, comparison: TestResponse) -> TestResponse:
    """Press "Apply": what the browser would send of the page."""
    fields = re.findall(r'<input type="hidden" name="([^"]+)" value="([^"]*)"', comparison.text)
    form: dict[str, list[str]] = {}
    for name, value in fields:
        form.setdefault(name, []).append(html.unescape(value))
    return visitor.submit("/ui/settings", **form)


def test_settings_go_from_one_portal_to_another(admin: Visitor, stranger: Visitor) -> None:
    _use(admin, CHANGED)
    before = stranger.portal

    comparison = _import(stranger, _exported(admin))

    assert comparison.status_code == 200, comparison.text
    assert stranger.portal == before  # shown, not saved
    assert "After the import" in comparison.text
    assert "France (+33), Germany (+49)" in comparison.text
    assert _apply(stranger, comparison).status_code == 200
    assert stranger.portal.settings == CHANGED


def test_a_file_has_neither_keys_nor_people_in_it(admin: Visitor) -> None:
    _use(admin, replace(CHANGED, notices="some", notice_users=("4711",)))

    text = _exported(admin).decode()

    assert "4711" not in text
    assert admin.member_id not in text
    assert portals.handler_secret(admin.portal.id) not in text
    assert set(json.loads(text)) == {"format", "settings"}


def test_people_of_another_portal_are_nobody_here(admin: Visitor) -> None:
    comparison = _import(admin, _file(notices="some", notice_users=["4711"], theme="dark"))

    assert _apply(admin, comparison).status_code == 200
    assert (admin.portal.settings.theme, admin.portal.settings.notices) == ("dark", "all")
    assert admin.portal.settings.notice_users == ()


def test_what_a_file_does_not_name_stays_and_what_is_not_known_is_said(admin: Visitor) -> None:
    _use(admin, CHANGED)

    comparison = _import(admin, _file(text_days=5, of_the_future=1))

    assert comparison.text.count('<th scope="row"') == 1
    assert "of_the_future" in comparison.text
    _apply(admin, comparison)
    assert admin.portal.settings == replace(CHANGED, text_days=5)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "Choose a file first"),
        (b"{", "is not JSON (1:2)"),
        (b"\xff\xfe", "is not JSON"),
        (b"[" * 50_000, "is not JSON"),
        (b"9" * 5_000, "is not JSON"),
        (b'{"format": 1, "settings": {"theme": "\\ud800"}}', "is not JSON"),
        (b"[]", "no settings of this app"),
        (b"null", "no settings of this app"),
        (b'{"settings": 1}', "no settings of this app"),
        (b'{"settings": {"theme": "dark"}}', "cannot read"),
        (b"x" * 70_000, "too large"),
    ],
)
def test_a_file_that_is_none_of_ours_is_named_as_such(admin: Visitor, content: bytes, said: str) -> None:
    answer = _import(admin, content)

    assert answer.status_code == 422
    assert said in html.unescape(answer.text)
    assert 'aria-invalid="true"' in answer.text
    assert admin.portal.settings == PortalSettings()


@pytest.mark.parametrize(
    "values",
    [
        {"text_days": "3"},
        {"text_days": True},
        {"text_days": 3.5},
        {"mask_numbers": 1},
        {"countries": "DE"},
        {"countries": [1]},
        {"theme": None},
        {"theme": {}},
    ],
)
def test_a_value_of_the_wrong_kind_is_named(admin: Visitor, values: dict[str, Any]) -> None:
    answer = _import(admin, _file(**values))

    assert answer.status_code == 422
    assert f"“{next(iter(values))}”" in html.unescape(answer.text)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"theme": "pink"}, "Theme: Choose one of the list."),
        ({"text_days": -1}, "whole number of days from 0"),
        ({"text_days": 10**40}, "whole number of days from 0"),
        ({"row_days": 10, "text_days": 20}, "cannot be kept longer"),
        ({"countries": ["XX"]}, "at least one country"),
        ({"low_balance": "a lot"}, "such as 10 or 7.50"),
        ({"time_to_live_s": 1}, "Choose one of the list."),
        ({"language": "xx"}, "Choose one of the list."),
    ],
)
def test_imported_values_are_judged_like_typed_ones(
    admin: Visitor, values: dict[str, Any], said: str
) -> None:
    answer = _import(admin, _file(**values))

    assert answer.status_code == 422
    assert said in html.unescape(answer.text)
    assert ">Apply<" not in answer.text
    assert _apply(admin, answer).status_code in (409, 422)  # by whoever sends it all the same
    assert admin.portal.settings == PortalSettings()


def test_a_comparison_that_is_out_of_date_replaces_nothing_silently(admin: Visitor) -> None:
    comparison = _import(admin, _file(theme="dark"))
    _use(admin, PortalSettings(text_days=10))

    answer = _apply(admin, comparison)

    assert answer.status_code == 409
    assert admin.portal.settings.text_days == 10


def test_the_same_settings_change_nothing(admin: Visitor) -> None:
    answer = _import(admin, _exported(admin))

    assert answer.status_code == 200
    assert "has the same settings" in answer.text
    assert ">Apply<" not in answer.text


def test_employees_neither_export_nor_import(admin: Visitor) -> None:
    _use(admin, replace(CHANGED, employees_see_log=True))
    admin.open(user=5)

    assert admin.get("/ui/settings.json").status_code == 403
    assert _import(admin, _file(theme="dark")).status_code == 403
