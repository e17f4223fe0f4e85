"""What an employee may see, and who sees how much of a number: by every address that the product has."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from app.domain.portals import PortalSettings
from app.domain.retry import Timing
from app.services import services
from app.store.database import writing
from app.store.messages import messages
from app.store.messages.rows import add_event
from app.store.portals import portals, tokens
from app.store.tables import credentials
from app.store.tables import messages as rows
from app.store.upkeep import installations
from tests.worlds.visitor import Visitor

NUMBER = "+4915112345678"
READABLE = {"/ui/messages", "/ui/messages/<int(max=9223372036854775807):row_id>"}
WITHOUT_A_ROLE = {"ui_static.send", "ui_renew.renew"}


def _settings(admin: Visitor, **changes: Any) -> None:
    portal = admin.portal
    portals.save_settings(portal.id, replace(portal.settings, **changes), version=portal.settings_version)


@pytest.fixture
def employee(admin: Visitor) -> Visitor:
    """A colleague who is no administrator, with the log open to him."""
    _settings(admin, employees_see_log=True)
    colleague = Visitor(admin.app, admin.sandbox)
    admin.sandbox.set_user(3, name="Eve", last_name="Employee", role="employee")
    assert "Messages" in colleague.open(user=3).text
    assert colleague.token
    return colleague


def _renew(visitor: Visitor, user: int) -> Any:
    fields = visitor.sandbox.open(user=user)["fields"]
    return visitor.submit("/ui/session", **{k: fields[k] for k in ("member_id", "AUTH_ID", "REFRESH_ID")})


# --- who comes in


def test_an_employee_does_not_come_in_unless_the_settings_let_him(admin: Visitor) -> None:
    admin.sandbox.set_user(3, name="Eve", last_name="Employee", role="employee")
    colleague = Visitor(admin.app, admin.sandbox)

    answer = colleague.open(user=3)

    assert not colleague.token
    assert "This app is for administrators" in answer.text
    assert "ask Alice Archer:" in answer.text


def test_where_nobody_can_be_named_an_employee_is_told_what_to_ask_for(admin: Visitor) -> None:
    admin.sandbox.set_user(3, name="Eve", last_name="Employee", role="employee")
    colleague = Visitor(admin.app, admin.sandbox)
    opening = colleague.opening(user=3)
    with writing() as connection:
        connection.execute(credentials.update().values(broken="gone"))

    answer = colleague.post("/app", opening)

    assert answer.status_code == 200
    assert "ask your administrator" in answer.text


def test_an_employee_does_not_bring_a_removed_portal_back(admin: Visitor, employee: Visitor) -> None:
    installations.uninstall(admin.portal, clean=False, now=services().now(), timing=Timing())

    assert "This app is for administrators" in employee.open("/app", user=3).text
    assert not employee.token
    assert admin.portal.state == "uninstalled"


def test_an_employees_tokens_are_not_stored(admin: Visitor, employee: Visitor) -> None:
    assert _renew(employee, 3).status_code == 200

    service = tokens.service(admin.portal.id)
    assert service is not None
    assert service.user_id == "1"
    with writing() as connection:
        users = connection.exec_driver_sql(
            "SELECT user_id FROM credentials WHERE portal_id = ?", (admin.portal.id,)
        )
        assert [row.user_id for row in users] == ["1"]


# --- where he may go


def _rules(visitor: Visitor) -> Iterator[tuple[str, str, str]]:
    """Every page behind a session: method, rule, and address with the row's number filled in."""
    row_id = visitor.message().id
    for rule in visitor.app.url_map.iter_rules():
        if rule.rule.startswith("/ui/") and rule.endpoint not in WITHOUT_A_ROLE:
            address = re.sub(r"<[^>]+>", str(row_id), rule.rule)
            yield from ((method, rule.rule, address) for method in (rule.methods or set()) - {"OPTIONS"})


def test_an_employee_reads_the_log_and_nothing_else(admin: Visitor, employee: Visitor) -> None:
    rules = list(_rules(admin))

    answers = {(m, rule): employee.ask(m, address).status_code for m, rule, address in rules}

    assert len(rules) > 20
    open_ones = {(method, rule) for method in ("GET", "HEAD") for rule in READABLE}
    assert {page for page, status in answers.items() if status == 200} == open_ones
    assert {status for page, status in answers.items() if page not in open_ones} == {403}


def test_an_employee_changes_nothing_by_any_method(admin: Visitor, employee: Visitor) -> None:
    row_id = admin.message().id
    for method in ("POST", "PUT", "PATCH", "DELETE"):
        for address in ("/ui/messages", f"/ui/messages/{row_id}"):
            assert employee.ask(method, address).status_code in (403, 405)


def test_an_employee_sees_no_tab_and_no_button(admin: Visitor, employee: Visitor) -> None:
    failed = admin.message()
    with writing() as connection:
        connection.execute(
            rows.update().where(rows.c.id == failed.id).values(status="failed", work="closed", due_at=None)
        )

    pages = employee.get("/ui/messages").text + employee.get(f"/ui/messages/{failed.id}").text

    assert f"/ui/messages/{failed.id}" in pages
    for address in ("/ui/overview", "/ui/gateway", "/ui/settings", "/ui/test", "/again"):
        assert address not in pages
    assert "/again" in admin.get(f"/ui/messages/{failed.id}").text


def test_the_right_ends_with_the_setting(admin: Visitor, employee: Visitor) -> None:
    assert employee.get("/ui/messages").status_code == 200

    _settings(admin, employees_see_log=False)

    assert employee.get("/ui/messages").status_code == 401
    assert _renew(employee, 3).status_code == 401


def test_a_renewal_makes_nobody_an_administrator(admin: Visitor, employee: Visitor) -> None:
    admin.sandbox.set_user(3, role="admin")

    renewed = _renew(employee, 3)

    assert renewed.status_code == 200
    assert employee.get("/ui/settings", token=renewed.json["token"]).status_code == 403


def test_who_is_administrator_no_more_keeps_no_session(admin: Visitor) -> None:
    _settings(admin, employees_see_log=True)
    admin.sandbox.set_user(2, name="Ada", last_name="Second", role="admin")
    admin.open(user=2)
    admin.sandbox.set_user(2, role="employee")

    assert _renew(admin, 2).status_code == 403


# --- how much of a number


def _trouble(admin: Visitor) -> int:
    """A message that failed a moment ago, with the number in the gateway's own words."""
    message = admin.message("The code is 1234", to=NUMBER)
    words = f"number {NUMBER} (0151 12345678) is barred"
    with writing() as connection:
        connection.execute(
            rows.update()
            .where(rows.c.id == message.id)
            .values(status="failed", work="closed", reason="refused", reason_text=words, due_at=None)
        )
        add_event(connection, message.id, services().now(), "refused", words)
    return message.id


def test_lists_mask_and_the_page_of_a_message_does_not(admin: Visitor) -> None:
    row_id = _trouble(admin)

    for address in ("/ui/overview", "/ui/messages", "/ui/messages?number=15112345678"):
        shown = admin.get(address).text
        assert "+49***78" in shown, address
        assert NUMBER not in shown.replace("value", ""), address
    page = admin.get(f"/ui/messages/{row_id}").text
    assert NUMBER in page
    assert "lists show it masked" in page


def test_without_masking_lists_show_numbers_in_full(admin: Visitor) -> None:
    row_id = _trouble(admin)
    _settings(admin, mask_numbers=False)

    assert NUMBER in admin.get("/ui/overview").text
    assert NUMBER in admin.get("/ui/messages").text
    assert "lists show it masked" not in admin.get(f"/ui/messages/{row_id}").text


@pytest.mark.parametrize("mask_numbers", [True, False])
def test_an_employee_sees_no_number_in_full_anywhere(
    admin: Visitor, employee: Visitor, mask_numbers: bool
) -> None:
    row_id = _trouble(admin)
    _settings(admin, mask_numbers=mask_numbers)

    for address in ("/ui/messages", f"/ui/messages/{row_id}"):
        shown = employee.get(address).text
        assert "+49***78" in shown
        assert "112345678" not in shown
        assert "151" not in shown


def test_an_employee_cannot_spell_a_number_out_by_searching(admin: Visitor, employee: Visitor) -> None:
    _trouble(admin)

    seen = {q: "+49***78" in employee.get(f"/ui/messages?q={q}").text for q in ("345678", "000000", NUMBER)}
    seen |= {
        how: "+49***78" in employee.get(f"/ui/messages?q=345678&how={how}").text for how in ("number", "id")
    }
    assert not any(seen.values()), seen
    assert "+49***78" in admin.get("/ui/messages?q=345678").text
    assert "A number or a part of it" not in employee.get("/ui/messages").text


def test_hidden_texts_are_on_no_page_and_are_sent_all_the_same(admin: Visitor, employee: Visitor) -> None:
    row_id = _trouble(admin)
    assert "The code is 1234" in employee.get(f"/ui/messages/{row_id}").text
    _settings(admin, hide_texts=True)

    for who in (admin, employee):
        for address in ("/ui/messages", f"/ui/messages/{row_id}", f"/ui/messages/{row_id}/again"):
            assert "1234</p>" not in who.get(address).text
    assert admin.submit(f"/ui/messages/{row_id}/again").status_code == 200
    kept = messages.by_row(admin.portal.id, row_id)
    assert kept is not None
    assert kept.text == "The code is 1234"


def test_the_defaults_are_the_careful_ones() -> None:
    settings = PortalSettings.from_json({})

    assert settings.mask_numbers
    assert not settings.employees_see_log
    assert settings.text_days == 30
