"""Many at once in a browser: chosen by keyboard, counted, begun, watched to its end, and found again."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from sandbox.gateway_client import GatewayClient
from sandbox.stack import Stack
from tests.ui.desk import Desk

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = pytest.mark.slow

FAST = "first_push_s=0.5,push_fill_s=0.2,sweep_s=0.5,push_repeat_s=1"


@pytest.fixture(scope="module")
def in_place(browser: Browser) -> Iterator[Stack]:
    """Installed, connected to the sandbox gateway, with messages that it turned away."""
    with Stack(env={"TIMING": FAST}) as stack:
        context = browser.new_context(viewport={"width": 1280, "height": 900})
        desk = Desk(stack, context.new_page())
        desk.open()
        gateway = GatewayClient(stack.gateway_url)
        pairs = [f"{name}={value}" for name, value in gateway.settings().items()]
        stack.flask("gateways", "set", desk.portal.info()["member_id"], "http", *pairs)
        gateway.behave("sandbox-key", next=5, answer="reject")
        for number in range(5):
            desk.portal.send_sms(f"+491511234560{number}", f"Number {number}")
        gateway.wait_for(submissions=5)
        context.close()
        desk.portal.close()
        yield stack


@pytest.fixture
def desk(in_place: Stack, page: Page) -> Iterator[Desk]:
    desk = Desk(in_place, page)
    yield desk
    desk.portal.close()
    desk.check_quiet()


def failed_log(desk: Desk) -> None:
    desk.open()
    desk.go("Messages")
    desk.app.locator("#status-failed").click()
    desk.app.locator("#status-failed[aria-current]").wait_for()


def test_by_keyboard_alone_from_the_list_to_the_result(desk: Desk) -> None:
    failed_log(desk)
    boxes = desk.app.locator('input[name="row"]')
    boxes.nth(4).wait_for()

    boxes.first.focus()
    desk.page.keyboard.press("Space")
    boxes.nth(2).focus()
    desk.page.keyboard.press("Shift+Space")
    picked = desk.app.locator("[data-picked]").inner_text()
    checked = [box.is_checked() for box in boxes.all()]
    desk.app.get_by_role("button", name="Send again").focus()
    desk.page.keyboard.press("Enter")
    desk.app.get_by_role("heading", name="What will become of them").wait_for()
    summary = desk.app.locator("tbody tr").inner_text()
    desk.app.locator("#title:focus").wait_for()
    desk.app.get_by_role("button", name="Send again").focus()
    desk.page.keyboard.press("Enter")
    desk.app.locator("#mark", has_text="Done").wait_for()

    assert picked == "3"
    assert checked == [True, True, True, False, False]
    assert summary.split("\n")[0].split() == ["3", "Will", "be", "sent", "again", "–"]
    assert "Sent again" in desk.app.locator("tbody tr").inner_text()
    assert desk.app.locator("[data-voice]").inner_text() in ("", "Done")
    assert desk.app.get_by_role("button", name="Stop").count() == 0
    desk.go("Messages")
    desk.app.locator("tr[data-row]", has=desk.page.locator(".tag.ok")).nth(2).wait_for()


def test_all_of_a_filter_says_how_many_and_leaves_the_list_when_none_is_chosen(desk: Desk) -> None:
    failed_log(desk)

    desk.app.get_by_role("button", name="Send again").click()
    desk.app.get_by_role("alert").filter(has_text="No message is selected").wait_for()
    assert desk.app.locator("tr[data-row]").count() > 0
    desk.app.get_by_label("Select this page").check()
    every = desk.app.get_by_label(re.compile(r"All \d messages that fit the filter|1 message that fits"))
    every.wait_for()
    every.check()
    desk.app.get_by_role("button", name="Do not send").click()

    desk.app.get_by_text("Of these messages none is fit for it").wait_for()


def set_job(desk: Desk, **values: object) -> None:
    """As the worker writes it; a lease of somebody else keeps the worker away from it."""
    until = datetime.now(UTC) + timedelta(minutes=5)
    values |= {"work_lease": "somebody", "work_lease_until": f"{until:%Y-%m-%d %H:%M:%S.%f}"}
    columns = ", ".join(f"{name} = ?" for name in values)
    with sqlite3.connect(desk.stack.dir / "product.db", timeout=10) as database:
        newest = "(SELECT max(id) FROM bulk_jobs)"
        database.execute(f"UPDATE bulk_jobs SET {columns} WHERE id = {newest}", tuple(values.values()))


def test_progress_is_announced_and_the_end_takes_the_focus_from_what_goes(desk: Desk) -> None:
    desk.open()
    desk.go("Messages")
    desk.app.get_by_role("button", name="Export as CSV").click()
    desk.app.get_by_role("link", name="Download the file").wait_for()
    set_job(desk, state="running", counted='{"yes": 10}', results='{"done": 4}')
    desk.go("Messages")
    desk.app.get_by_role("link", name="Earlier bulk actions").click()
    desk.see("Bulk actions")
    desk.app.locator("td.time a").first.click()
    desk.app.get_by_text("4 of 10 messages").wait_for()
    desk.check_accessible("a job that runs")
    stop = desk.app.get_by_role("button", name="Stop")
    stop.focus()

    set_job(desk, results='{"done": 7}')
    desk.app.locator("[data-voice]", has_text="Running: 70%").wait_for(state="attached")
    assert desk.app.locator("progress").get_attribute("value") == "7"
    assert desk.app.locator("button:focus").inner_text() == "Stop"
    set_job(desk, state="done", results='{"done": 10}')

    desk.app.locator("[data-voice]", has_text="Done").wait_for(state="attached")
    desk.app.locator("#job:focus").wait_for()
    assert stop.count() == 0
