"""Overview, statistics and settings in a browser: bars read by keyboard, files, unsaved changes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from sandbox.stack import Stack
from tests.ui.desk import Desk
from tests.ui.pages import SETTINGS_FILE

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def in_place(browser: Browser) -> Iterator[Stack]:
    """Installed, with the demo gateway and some messages of today."""
    with Stack(env={"TIMING": "first_push_s=0.5,push_fill_s=0.2,sweep_s=0.5"}) as stack:
        context = browser.new_context(viewport={"width": 1280, "height": 900})
        desk = Desk(stack, context.new_page())
        desk.open()
        stack.flask("gateways", "set", desk.portal.info()["member_id"], "demo")
        for ending in ("01", "03", "07", "44"):
            desk.portal.send_sms(f"+49151123456{ending}", "Ready")
        desk.go("Messages")
        desk.app.locator("tr[data-row] .tag.bad").first.wait_for()
        context.close()
        desk.portal.close()
        yield stack


@pytest.fixture
def desk(in_place: Stack, page: Page) -> Iterator[Desk]:
    desk = Desk(in_place, page)
    yield desk
    desk.forget_settings()
    desk.portal.close()
    desk.check_quiet()


def _focused(desk: Desk) -> str:
    return str(desk.document().evaluate("document.activeElement.textContent")).strip()


def test_a_bar_is_read_and_opened_by_keyboard_alone(desk: Desk) -> None:
    desk.open()
    desk.go("Statistics")
    bars = desk.app.locator(".bars a")
    assert [bar.get_attribute("tabindex") for bar in bars.all()].count("0") == 1  # one stop of the Tab key

    bars.last.focus()
    assert "so far" in _focused(desk)
    assert bars.last.locator(".tip").evaluate("tip => getComputedStyle(tip).opacity") == "1"
    desk.page.keyboard.press("ArrowLeft")
    yesterday = _focused(desk)
    desk.page.keyboard.press("Home")
    first = _focused(desk)
    desk.page.keyboard.press("End")
    desk.page.keyboard.press("Enter")

    desk.see("Messages")
    assert desk.app.locator("tr[data-row]").count() == 4
    assert "No messages" in yesterday
    assert first != yesterday


def test_the_numbers_of_a_bar_appear_under_the_pointer(desk: Desk) -> None:
    desk.open()
    desk.go("Statistics")
    bar = desk.app.locator(".bars a").last
    hidden = bar.locator(".tip").evaluate("tip => getComputedStyle(tip).opacity")

    bar.hover()

    assert hidden == "0"
    assert bar.locator(".tip").evaluate("tip => getComputedStyle(tip).opacity") == "1"


def test_a_table_is_downloaded_with_the_dates_that_are_shown(desk: Desk, tmp_path: Path) -> None:
    desk.open()
    desk.go("Statistics")
    desk.app.get_by_label("From").fill("2026-01-01")
    desk.app.get_by_role("button", name="Show").click()
    desk.app.locator("#title:not([data-old])").wait_for()

    with desk.page.expect_download() as download:
        desk.app.get_by_role("link", name="Export “By sender” as CSV").click()

    assert download.value.suggested_filename.startswith("senders-")
    assert '"sms"' in Path(download.value.path()).read_text(encoding="utf-8-sig")


def test_typed_settings_are_not_lost_by_a_click_on_a_tab(desk: Desk) -> None:
    desk.open()
    desk.go("Settings")
    desk.app.locator("#row_days").fill("99")
    desk.app.get_by_text("You have unsaved changes.").first.wait_for()

    tab = desk.app.get_by_role("navigation", name="Pages").get_by_role("link", name="Help")
    tab.click()
    desk.app.get_by_role("button", name="Stay on this page").click()
    assert desk.app.locator("#row_days").input_value() == "99"
    tab.click()
    desk.app.get_by_role("button", name="Leave without saving").click()

    desk.see("Help")
    desk.go("Settings")
    assert desk.app.locator("#row_days").input_value() == "180"


def test_what_was_saved_or_put_back_is_no_unsaved_change(desk: Desk) -> None:
    desk.open()
    desk.go("Settings")
    days = desk.app.locator("#row_days")
    days.fill("99")
    days.fill("180")
    desk.go("Help")
    desk.go("Settings")
    days.fill("99")
    desk.app.get_by_role("button", name="Save", exact=True).click()
    desk.app.get_by_text("The new settings apply from now on.").wait_for()

    desk.go("Help")


def test_settings_go_out_as_a_file_and_come_in_by_a_comparison(desk: Desk) -> None:
    desk.open()
    desk.go("Settings")
    with desk.page.expect_download() as download:
        desk.app.get_by_role("link", name="Export the settings").click()
    assert '"text_days": 30' in Path(download.value.path()).read_text()

    desk.app.get_by_label("Settings file").set_input_files(SETTINGS_FILE)
    desk.app.get_by_role("button", name="Compare").click()
    desk.see("What the file would change")
    assert desk.app.get_by_text("France (+33), Germany (+49)").is_visible()
    desk.app.get_by_role("button", name="Apply").click()

    desk.app.get_by_text("The new settings apply from now on.").wait_for()
    assert desk.app.locator("#text_days").input_value() == "7"


def test_a_test_notice_says_beside_its_button_how_it_went(desk: Desk) -> None:
    desk.portal.configure(scope=["messageservice"])
    desk.open()
    desk.go("Settings")
    desk.app.locator("#row_days").fill("99")

    desk.app.get_by_role("button", name="Send me a test notice").click()
    desk.app.locator("#notice-result").get_by_text("may not write notices").wait_for()

    assert desk.app.locator("#row_days").input_value() == "99"  # what was typed is still there
    desk.portal.configure(scope=["messageservice", "im"])
    desk.app.get_by_role("button", name="Send me a test notice").click()
    desk.app.get_by_text("Look into your notification center").wait_for()


def test_a_failure_leads_from_the_overview_to_its_messages(desk: Desk) -> None:
    desk.open()
    tile = desk.app.get_by_role("link", name="Failed")

    tile.first.click()

    desk.see("Messages")
    assert desk.app.locator("tr[data-row] .tag.bad").count() > 0
