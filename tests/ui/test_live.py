"""Pages that live, and where they say what went well or badly: in a browser, with servers that fail."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from sandbox.gateway_client import GatewayClient
from sandbox.stack import Stack
from tests.ui.desk import Desk

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page, Route

pytestmark = pytest.mark.slow

FAST = "first_push_s=0.5,push_fill_s=0.2,sweep_s=0.5,push_repeat_s=1"


@pytest.fixture(scope="module")
def in_place(browser: Browser) -> Iterator[Stack]:
    """Installed, and connected to the sandbox gateway."""
    with Stack(env={"TIMING": FAST}) as stack:
        context = browser.new_context(viewport={"width": 1280, "height": 900})
        desk = Desk(stack, context.new_page())
        desk.open()
        settings = GatewayClient(stack.gateway_url).settings()
        pairs = [f"{name}={value}" for name, value in settings.items()]
        stack.flask("gateways", "set", desk.portal.info()["member_id"], "http", *pairs)
        context.close()
        desk.portal.close()
        yield stack


@pytest.fixture
def desk(in_place: Stack, page: Page) -> Iterator[Desk]:
    desk = Desk(in_place, page)
    yield desk
    desk.portal.close()


def test_an_open_log_and_an_open_message_show_what_becomes_of_it(desk: Desk) -> None:
    desk.portal.send_sms("+4915112345610", "There before")
    desk.open()
    desk.go("Messages")
    desk.app.locator("tr[data-row]").first.wait_for()

    desk.portal.send_sms("+4915112345699", "Under way")

    row = desk.app.locator("tr[data-row]").filter(has_text="99")
    row.wait_for()  # without a click
    row.get_by_role("link").first.click()
    desk.app.locator("#mark", has_text="Delivered").wait_for()
    desk.app.get_by_text("Status in Bitrix24").first.wait_for()
    desk.app.locator("#message:not([data-live])").wait_for()  # at its end it is not asked for any more


def test_a_list_in_which_somebody_selects_stays_as_it_is(desk: Desk) -> None:
    desk.portal.send_sms("+4915112345611", "To be selected")
    desk.open()
    desk.go("Messages")
    desk.app.locator("tr[data-row]").first.wait_for()
    desk.document().evaluate(
        "() => {document.querySelector('#log').dataset.mine = '1';"
        " getSelection().selectAllChildren(document.querySelector('tr[data-row]'))}"
    )
    desk.portal.send_sms("+4915112345612", "Comes meanwhile")
    desk.page.wait_for_timeout(5000)  # longer than the time between two looks
    assert desk.document().evaluate("document.querySelector('#log').dataset.mine") == "1"

    desk.document().evaluate("getSelection().removeAllRanges()")

    desk.app.locator("#log:not([data-mine])").wait_for()


def test_a_busy_server_is_asked_less(desk: Desk) -> None:
    asked: list[str] = []

    def busy(route: Route) -> None:
        asked.append(route.request.url)
        route.fulfill(status=503, body="")

    desk.page.clock.install()
    desk.open()
    desk.go("Messages")
    desk.app.locator("#log").wait_for()
    desk.page.route("**/ui/messages*", busy)

    for _ in range(20):
        desk.page.clock.run_for(4000)
        desk.document().evaluate("new Promise(done => queueMicrotask(done))")
        desk.page.wait_for_timeout(100)

    # After 4, 8, 16, 32 and 60 seconds more; 20 without growing pauses.
    assert 1 <= len(asked) <= 6


def test_a_failure_is_told_beside_what_was_clicked_and_gone_with_the_next_click(desk: Desk) -> None:
    desk.open()
    desk.go("Settings")
    # The route stays: a request that is made while one is taken away can get lost.
    failures = iter([True])
    desk.page.route(
        "**/ui/settings",
        lambda route: route.fulfill(status=500, body="no") if next(failures, False) else route.continue_(),
    )
    save = desk.app.get_by_role("button", name="Save", exact=True)
    save.click()
    broken = desk.app.locator("#broken")
    broken.wait_for()
    assert desk.document().evaluate("document.activeElement.id") == "broken"
    assert desk.document().evaluate(
        "document.querySelector('#broken').parentElement.closest('#main') !== null"
    )

    save.click()

    broken.wait_for(state="hidden")
    desk.app.get_by_text("The new settings apply from now on.").wait_for()


def test_a_saved_is_gone_when_something_else_begins(desk: Desk) -> None:
    desk.open()
    desk.go("Settings")
    desk.app.get_by_role("button", name="Save", exact=True).click()
    saved = desk.app.get_by_text("The new settings apply from now on.")
    saved.wait_for()
    desk.page.route("**/ui/help", lambda route: None)  # an answer that does not come

    desk.app.get_by_role("navigation").get_by_role("link", name="Help").click()

    saved.wait_for(state="detached")
    desk.app.locator("#main[aria-busy]").wait_for()
    desk.page.unroute_all(behavior="ignoreErrors")


def test_without_our_scripts_the_page_asks_to_reload(desk: Desk) -> None:
    desk.page.route("**/htmx-*.js", lambda route: route.abort())
    desk.page.locator("#show-app").click()

    desk.app.get_by_text("This page did not load completely").wait_for()

    assert desk.app.get_by_role("button", name="Reload").is_visible()


def test_a_second_failure_is_told_as_well_as_the_first(desk: Desk) -> None:
    desk.open()
    desk.page.route("**/ui/help", lambda route: route.fulfill(status=500, body="no"))
    for page in ("Settings", "Senders"):
        desk.app.get_by_role("navigation").get_by_role("link", name="Help").click()
        desk.app.locator("#broken").wait_for()
        desk.go(page)
        desk.app.locator("#broken").wait_for(state="hidden")
