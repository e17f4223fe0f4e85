"""The admin's app in a real browser, in the frame of the sandbox portal: another site, as in real life."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from sandbox.client import PortalSandbox
from sandbox.gateway_client import GatewayClient
from sandbox.stack import Stack
from tests.ui.desk import Desk
from tests.ui.pages import every_page

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page, Route

pytestmark = pytest.mark.slow

FAST = "first_push_s=0.5,push_fill_s=0.2,sweep_s=0.5"


@pytest.fixture(scope="module")
def whole(browser: Browser) -> Iterator[Stack]:
    with Stack(env={"TIMING": FAST}) as stack:
        yield stack


@pytest.fixture(scope="module")
def in_place(whole: Stack, browser: Browser) -> Iterator[Stack]:
    """Installed through the portal's page, with the demo gateway, and messages of several fates."""
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    desk = Desk(whole, context.new_page())
    desk.open()
    _save_demo(desk)
    for ending in ("01", "03", "07", "44"):
        desk.portal.send_sms(f"+49151123456{ending}", 'Ready <script>alert("x")</script>')
    context.close()
    desk.portal.close()
    yield whole


@pytest.fixture
def desk(in_place: Stack, page: Page) -> Iterator[Desk]:
    desk = Desk(in_place, page)
    yield desk
    desk.forget_settings()
    desk.portal.close()
    desk.check_quiet()


def _save_demo(desk: Desk) -> None:
    desk.go("Gateway")
    desk.app.get_by_role("link", name="Try without sending").click()
    desk.app.get_by_role("button", name="Save and check").click()
    desk.app.get_by_text("Saved and connected").wait_for()


def test_the_installer_finishes_through_the_portals_own_sdk(whole: Stack, page: Page) -> None:
    # A portal of its own: in the first one another test may have finished the installation.
    desk = Desk(whole, page, PortalSandbox(whole.portal_url).create_portals(1)[0]["portal"])

    desk.open()

    assert [sender["code"] for sender in desk.portal.senders()] == ["sms"]
    assert desk.page.evaluate("window.seen.map(call => call.method)").count("setInstallFinish") == 1
    desk.check_quiet()
    desk.portal.close()


def test_a_test_sms_is_watched_until_it_is_delivered(desk: Desk) -> None:
    desk.open()
    desk.go("Test SMS")
    desk.app.get_by_label("Text").fill("Fertig 🎉")
    desk.app.get_by_text("is not in the GSM alphabet").wait_for()
    desk.app.get_by_label("Phone number").fill("12")
    desk.app.get_by_role("button", name="Send test SMS").click()
    desk.app.get_by_text("The phone number is too short").wait_for()
    assert desk.app.get_by_label("Text").input_value() == "Fertig 🎉"

    desk.app.get_by_label("Phone number").fill("+49 151 12345678")
    desk.app.get_by_role("button", name="Send test SMS").click()

    desk.app.get_by_text("The message is on the recipient’s phone.").wait_for()
    assert desk.app.locator("[data-poll]").count() == 0


def test_the_gateway_form_works_by_keyboard(desk: Desk) -> None:
    desk.open()
    desk.app.get_by_role("link", name="Gateway", exact=True).focus()
    desk.page.keyboard.press("Enter")
    desk.see("Gateway")
    assert desk.document().evaluate("document.activeElement.id") == "title"
    desk.page.keyboard.press("Tab")
    assert desk.document().evaluate("document.activeElement.id") == "set-originator"
    desk.page.keyboard.press("ControlOrMeta+A")
    desk.page.keyboard.type("SHOP")
    desk.page.keyboard.press("Enter")

    desk.app.get_by_text("Saved and connected").wait_for()

    assert desk.app.get_by_label("Originator").input_value() == "SHOP"
    assert "Saved and connected" in desk.document().evaluate("document.activeElement.textContent")


def test_a_typed_secret_survives_a_mistake_elsewhere(desk: Desk) -> None:
    desk.open()
    desk.go("Gateway")
    desk.app.get_by_role("link", name="All gateways").click()
    desk.app.get_by_role("link", name="Any HTTP gateway").click()
    desk.app.locator("#set-secret").fill("typed and kept")
    desk.app.locator("#set-url").fill("not an address")
    desk.app.get_by_role("button", name="Save and check").click()
    desk.app.get_by_text("Nothing was saved").wait_for()

    assert desk.app.locator("#set-secret").input_value() == "typed and kept"
    assert desk.app.locator("#set-url").input_value() == "not an address"


def test_the_report_address_can_be_copied(desk: Desk) -> None:
    settings = GatewayClient(desk.stack.gateway_url).settings()
    settings["template"] = '{"to": "{to}", "text": "{text}", "reference": "{reference}"}'
    pairs = [f"{name}={value}" for name, value in settings.items()]
    made = desk.stack.flask("gateways", "set", desk.portal.info()["member_id"], "http", *pairs)
    desk.open()
    desk.go("Gateway")

    desk.app.get_by_role("button", name="Copy").click()
    desk.app.get_by_text("Copied.").wait_for()

    assert desk.app.locator("#report-url").input_value() == made["report_url"]
    _save_demo(desk)


def test_an_expired_session_is_renewed_and_the_form_is_sent_once(desk: Desk) -> None:
    desk.open()
    desk.go("Test SMS")
    desk.page.route("**/ui/test", _refuse, times=1)
    desk.app.get_by_label("Phone number").fill("+4915112345687")
    desk.app.get_by_role("button", name="Send test SMS").click()

    desk.app.get_by_text("Taken by the gateway").wait_for()

    assert desk.page.evaluate("window.seen.map(call => call.method)").count("refreshAuth") == 1
    assert [address for address in desk.addresses if address.endswith("/ui/session")] != []
    assert desk.tokens - {""} != set()
    rows = desk.stack.flask("messages", "list", desk.portal.info()["member_id"])
    assert [row["recipient"] for row in rows].count("+4915112345687") == 1


def test_when_the_portal_is_silent_a_banner_says_that_the_session_has_ended(desk: Desk) -> None:
    desk.open()
    desk.page.evaluate("window.appFrame.modeFor = {refreshAuth: 'silent'}")
    desk.page.route("**/ui/gateway", _refuse)

    desk.app.get_by_role("link", name="Gateway", exact=True).click()

    desk.app.get_by_text("The session has ended").wait_for()
    desk.see("Overview")
    desk.check_accessible("the banner")


def _refuse(route: Route) -> None:
    route.fulfill(status=401, body="")


def test_the_pages_work_before_the_sdk_has_arrived(desk: Desk) -> None:
    held: list[Route] = []
    desk.page.route("**/b24jssdk*", lambda route: held.append(route))
    desk.page.locator("#show-app").click()

    desk.see("Overview")
    desk.go("Messages")
    held[0].continue_()

    desk.page.locator("#app-title", has_text="Messages").wait_for()


def test_an_employee_sees_a_page_of_his_own(desk: Desk) -> None:
    desk.portal.set_user(9, name="Eve", last_name="Example", role="employee")
    desk.page.reload()
    desk.page.locator("#user").select_option("9")
    desk.open("This app is for administrators")

    desk.check_accessible("an employee's page")
    assert desk.tokens == {""}


def test_a_new_language_and_theme_are_seen_at_once(desk: Desk) -> None:
    desk.open()
    desk.go("Settings")
    desk.app.get_by_label("Language", exact=True).select_option("de")
    desk.app.get_by_label("Theme").select_option("dark")
    desk.app.get_by_role("button", name="Save").click()

    desk.see("Einstellungen")
    desk.app.locator("html.dark[lang=de]").wait_for()
    desk.app.get_by_role("link", name="Übersicht").wait_for()
    desk.check_accessible("settings in dark")
    desk.check_quiet()


def test_an_employee_reads_the_log_where_the_settings_let_them(desk: Desk) -> None:
    desk.portal.set_user(9, name="Eve", last_name="Example", role="employee")
    desk.open()
    desk.go("Settings")
    desk.app.get_by_label("Every employee may read the message log").check()
    desk.app.get_by_role("button", name="Save").click()
    desk.app.get_by_text("The new settings apply from now on").wait_for()
    desk.page.reload()
    desk.page.locator("#user").select_option("9")
    desk.open("Messages")

    desk.app.get_by_role("link").first.wait_for()
    desk.check_accessible("an employee's log")
    assert desk.app.locator("nav.tabs").count() == 0
    desk.check_quiet()


def test_the_log_is_exported_and_its_cards_open_in_the_slider(desk: Desk) -> None:
    desk.open()
    desk.go("Messages")
    desk.app.get_by_role("button", name="Export as CSV").click()
    file = desk.app.get_by_role("link", name="Download the file")
    file.wait_for()  # the worker has written it
    desk.go("Overview")
    desk.go("Messages")
    desk.app.get_by_role("link", name="Earlier bulk actions").click()
    desk.see("Bulk actions")
    desk.app.locator("td.time a").first.click()
    desk.page.route("**/ui/bulk/*/file", _refuse, times=1)  # the session has ended: it is renewed

    with desk.page.expect_download() as waiting:
        file.click()
    name, text = waiting.value.suggested_filename, waiting.value.path().read_text(encoding="utf-8-sig")
    desk.page.route(
        "**/ui/bulk/*/file", lambda route: route.fulfill(status=422, body="<p>It is gone</p>"), times=1
    )
    file.click()
    desk.app.get_by_role("alert").filter(has_text="It is gone").wait_for()
    desk.go("Messages")
    desk.app.get_by_role("link", name="Contact 123").first.click()
    desk.page.locator("#path-dialog[open]").wait_for()

    assert re.fullmatch(r"messages-\d{4}-\d\d-\d\d\.csv", name)
    assert "+4915112345601" in text
    assert 'Ready <script>alert(""x"")</script>' in text
    assert desk.page.locator("#path-text").inner_text().endswith("/crm/contact/details/123/")
    assert len(desk.page.context.pages) == 1
    desk.page.locator("#path-dialog").get_by_role("button").click()


@pytest.mark.parametrize("variant", ["light", "dark rtl", "narrow"])
def test_every_page_is_accessible(desk: Desk, variant: str) -> None:
    desk.settings(theme="dark" if "dark" in variant else "light")
    if variant == "narrow":
        desk.page.set_viewport_size({"width": 390, "height": 844})
    if "rtl" in variant:
        desk.page.locator("#lang").select_option("ar")
    seen = []
    for where in every_page(desk):
        seen.append(where)
        _check_variant(desk, variant)
        desk.check_accessible(f"{where}, {variant}")
        if variant != "narrow":
            desk.check_no_scroll_bar(f"{where}, {variant}")
        if variant == "narrow":
            wider = desk.document().evaluate(
                "document.documentElement.scrollWidth - document.documentElement.clientWidth"
            )
            assert wider == 0, where
    assert len(seen) > len(desk.tabs()) > 0


def _check_variant(desk: Desk, variant: str) -> None:
    """A walk that is silently in light colours and English would pass, too."""
    dark = "dark" in variant
    found = desk.document().evaluate(
        "[document.documentElement.className, document.documentElement.dir, innerWidth <= 390,"
        " getComputedStyle(document.documentElement).backgroundColor]"
    )
    assert found == [
        "dark" if dark else "light",
        "rtl" if "rtl" in variant else "ltr",
        variant == "narrow",
        "rgb(23, 23, 23)" if dark else "rgb(241, 244, 246)",
    ]
