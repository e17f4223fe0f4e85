"""The log in a browser: a row beside the list, back, Escape, the keyboard, a narrow screen, employees."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from sandbox.gateway_client import GatewayClient
from sandbox.stack import Stack
from tests.ui.desk import Desk

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = pytest.mark.slow

FAST = "first_push_s=0.5,push_fill_s=0.2,sweep_s=0.5,push_repeat_s=1"
NUMBERS = ("+4915112345601", "+4915112345602", "+4917699999903")


@pytest.fixture(scope="module")
def in_place(browser: Browser) -> Iterator[Stack]:
    """Connected to the sandbox gateway, with some messages; one has failed."""
    with Stack(env={"TIMING": FAST}) as stack:
        context = browser.new_context(viewport={"width": 1280, "height": 900})
        desk = Desk(stack, context.new_page())
        desk.open()
        gateway = GatewayClient(stack.gateway_url)
        pairs = [f"{name}={value}" for name, value in gateway.settings().items()]
        stack.flask("gateways", "set", desk.portal.info()["member_id"], "http", *pairs)
        for number in NUMBERS:
            desk.portal.send_sms(number, f"A message to {number[-2:]}")
        desk.portal.send_sms("0171", "To no number")
        desk.go("Messages")
        desk.app.locator("tr[data-row]").filter(has_text="Failed").wait_for()
        context.close()
        desk.portal.close()
        yield stack


@pytest.fixture
def desk(in_place: Stack, page: Page) -> Iterator[Desk]:
    page.set_viewport_size({"width": 1500, "height": 900})
    desk = Desk(in_place, page)
    desk.open()
    desk.go("Messages")
    desk.app.locator("tr[data-row]").first.wait_for()
    yield desk
    desk.forget_settings()
    desk.portal.close()
    desk.check_quiet()


def _focused(desk: Desk) -> str:
    return str(desk.document().evaluate("document.activeElement.id || document.activeElement.textContent"))


def test_a_row_opens_beside_the_list_and_closes_in_every_way(desk: Desk) -> None:
    beside, row = desk.app.locator("#beside"), desk.app.locator("tr[data-row]").nth(1)
    link = row.get_by_role("link").first
    opened = link.inner_text()
    close = {
        "escape": lambda: desk.page.keyboard.press("Escape"),
        "button": lambda: beside.get_by_role("button", name="Close").click(),
        "back": lambda: desk.document().evaluate("history.back()"),
    }
    for name, way in close.items():
        link.focus()
        desk.page.keyboard.press("Enter")
        beside.get_by_role("heading", name="Message to").wait_for()
        assert _focused(desk) == "beside-title", name
        assert row.get_attribute("aria-current") == "true"
        assert desk.app.locator("#log tr[data-row]").count() == 4
        way()
        beside.wait_for(state="hidden")
        desk.page.wait_for_timeout(50)
        assert _focused(desk) == opened, name
        assert row.get_attribute("aria-current") is None


def test_what_is_done_beside_the_list_stays_there_and_the_list_follows(desk: Desk) -> None:
    beside = desk.app.locator("#beside")
    with sqlite3.connect(desk.stack.dir / "product.db", timeout=10) as database:
        values = "status = 'failed', work = 'closed', reason = 'gave_up', due_at = NULL"
        database.execute(f"UPDATE messages SET {values} WHERE recipient = ?", (NUMBERS[1],))
    desk.app.locator("tr[data-row]").filter(has_text="again and again").get_by_role("link").first.click()
    beside.get_by_role("link", name="Send again").click()
    beside.get_by_role("button", name="Send again").click()

    beside.get_by_text("It is being sent again").wait_for()

    beside.locator("#mark", has_text="Delivered").wait_for()
    desk.see("Messages")
    desk.app.locator("tr[data-row]").filter(has_text="again and again").wait_for(state="detached")
    assert desk.app.locator("#log tr[data-row]").count() == 4


def test_on_a_narrow_screen_a_row_is_a_page_and_back_leads_to_the_same_list(desk: Desk) -> None:
    desk.page.set_viewport_size({"width": 390, "height": 844})
    desk.app.locator("#q").fill("17699")
    desk.app.get_by_role("button", name="Search").click()
    desk.app.locator("tr[data-row]").nth(1).wait_for(state="detached")
    desk.app.locator("tr[data-row] a").first.click()
    desk.see("Message to")
    assert desk.app.locator("#beside").count() == 0

    desk.document().evaluate("history.back()")

    desk.see("Messages")
    assert desk.app.locator("tr[data-row]").count() == 1
    assert desk.app.locator("#q").input_value() == "17699"


def test_back_leads_through_the_pages_one_came_by(desk: Desk) -> None:
    desk.go("Settings")
    desk.go("Help")

    desk.document().evaluate("history.back()")
    desk.see("Settings")
    desk.document().evaluate("history.back()")
    desk.see("Messages")
    desk.document().evaluate("history.forward()")
    desk.see("Settings")


def test_statuses_columns_and_numbers_work_by_keyboard_alone(desk: Desk) -> None:
    app = desk.app
    app.locator("#status-failed").focus()
    desk.page.keyboard.press("Enter")
    app.locator("tr[data-row]").nth(1).wait_for(state="detached")
    assert _focused(desk) == "status-failed"
    assert app.locator("#status-failed").get_attribute("aria-current") == "true"

    app.locator("#columns summary").focus()
    desk.page.keyboard.press("Enter")
    app.locator("#column-text").focus()
    desk.page.keyboard.press("Space")
    app.get_by_role("columnheader", name="Text").wait_for(state="detached")
    assert app.locator("tr[data-row]").count() == 1  # the filter stays
    desk.go("Help")
    desk.go("Messages")
    assert app.get_by_role("columnheader", name="Text").count() == 0

    app.locator("#numbers").focus()
    desk.page.keyboard.press("Enter")
    app.get_by_text(NUMBERS[0]).wait_for()
    app.locator("#numbers").focus()
    desk.page.keyboard.press("Enter")
    app.get_by_text(NUMBERS[0]).wait_for(state="detached")


@pytest.mark.parametrize("variant", ["light", "dark rtl", "narrow"])
def test_the_log_with_a_row_beside_it_is_accessible(desk: Desk, variant: str) -> None:
    desk.settings(theme="dark" if "dark" in variant else "light")
    if "rtl" in variant:
        desk.page.locator("#lang").select_option("ar")
    if variant == "narrow":
        desk.page.set_viewport_size({"width": 390, "height": 844})
    desk.reopen()
    desk.app.locator("nav.tabs").wait_for()
    desk.turn_to("/ui/messages")
    desk.app.locator("#columns summary").click()
    desk.check_accessible(f"columns, {variant}")
    desk.follow("tr[data-row] td a", "ol.tl")
    assert desk.app.locator("#beside").count() == (0 if variant == "narrow" else 1)
    desk.check_accessible(f"beside, {variant}")


def test_at_390_pixels_nothing_is_smaller_than_a_finger_nor_empty(desk: Desk) -> None:
    desk.page.set_viewport_size({"width": 390, "height": 844})
    desk.turn_to("/ui/messages")
    for where in ("log", "message"):
        small = desk.document().evaluate(
            """() => [...document.querySelectorAll("a, button, select, summary, input:not([type=hidden])")]
                .map(e => e.matches("[type=checkbox], [type=radio]") ? e.parentElement : e)
                .filter(e => e.checkVisibility() && e.getBoundingClientRect().height < 43.5)
                .filter(e => !e.closest(".skip, .vh") && !e.classList.contains("skip"))
                .map(e => e.outerHTML.slice(0, 120))"""
        )
        assert small == [], where
        if where == "log":
            dashes = desk.document().evaluate(
                "() => [...document.querySelectorAll('#log td')]"
                ".filter(e => e.checkVisibility() && e.innerText.trim() === '–').length"
            )
            assert dashes == 0
            rows = desk.document().evaluate(
                "() => new Set([...document.querySelectorAll('nav.tabs a')].map(e => e.offsetTop)).size"
            )
            assert rows == 1
            desk.follow("tr[data-row] td a", "ol.tl")


def test_a_slow_a_failing_and_a_lost_server_are_told_where_one_clicked(desk: Desk) -> None:
    app, row = desk.app, desk.app.locator("tr[data-row] a").first
    failures = {
        "failing": lambda route: route.fulfill(status=500, body="no"),
        "lost": lambda route: route.abort(),
    }
    for name, answer in failures.items():
        desk.page.route("**/ui/messages/*", answer)
        row.click()
        app.locator("#broken").wait_for()
        assert _focused(desk) == "broken", name
        assert app.locator("tr[data-row]").count() == 4, name
        assert app.locator("#beside:visible").count() == 0, name
        desk.page.unroute("**/ui/messages/*")
    desk.problems.clear()  # the browser's own lines about these answers

    desk.page.route("**/ui/messages/*", lambda route: (desk.page.wait_for_timeout(1000), route.continue_()))
    row.click(no_wait_after=True)
    app.locator("#main[aria-busy]").wait_for()
    app.locator("#broken").wait_for(state="hidden")
    app.locator("#beside ol.tl").wait_for()
    app.locator("#main:not([aria-busy])").wait_for()
    desk.page.unroute_all(behavior="ignoreErrors")


def test_an_employee_finds_their_own_messages_and_a_stranger_a_name(desk: Desk) -> None:
    desk.page.locator("#user").select_option(label="Clara Cole (employee)")
    desk.reopen()
    desk.app.get_by_text("ask Alice Archer").wait_for()

    desk.settings(employees_see_own=True)
    desk.reopen()

    desk.app.locator("tr[data-row]").first.wait_for()
    desk.check_accessible("own messages")
    desk.page.locator("#user").select_option(index=0)
