"""The admin's app in a real browser, in the frame of the sandbox portal: another site, as in real life."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import axe_playwright_python
import pytest

from sandbox.client import PortalSandbox
from sandbox.gateway_client import GatewayClient
from sandbox.stack import Stack

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Frame, FrameLocator, Page, Route

pytestmark = pytest.mark.slow

AXE = (Path(axe_playwright_python.__file__).parent / "axe.min.js").read_text(encoding="utf-8")
RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
EXPECTED_ERROR = re.compile(r"the server responded with a status of (401|422|502)")
PATIENCE_MS = 20_000  # other tests want the processors, too
FAST = "first_push_s=0.5,push_fill_s=0.2,sweep_s=0.5"


class Desk:
    """A person at the portal's page, and the product behind it."""

    def __init__(self, stack: Stack, page: Page) -> None:
        self.stack = stack
        self.page = page
        self.portal = PortalSandbox(stack.portal_url)
        self.app: FrameLocator = page.frame_locator("#fr")
        self.problems: list[str] = []
        self.tokens: set[str] = set()
        self.addresses: list[str] = []
        page.set_default_timeout(PATIENCE_MS)
        page.on("console", self._note_console)
        page.on("pageerror", self._note_exception)
        page.on("request", self._note_request)
        page.goto(f"{stack.portal_url}/")

    def _note_console(self, message: Any) -> None:
        if message.type == "error" and not EXPECTED_ERROR.search(message.text):
            self.problems.append(message.text)

    def _note_exception(self, error: Any) -> None:
        if "/ui/static/" in (error.stack or ""):
            self.problems.append(error.stack)

    def _note_request(self, request: Any) -> None:
        if not request.url.startswith(self.stack.public_url):
            return
        self.addresses += [request.url, request.headers.get("referer", "")]
        self.tokens.add(request.headers.get("authorization", "").removeprefix("Bearer "))

    def open(self, heading: str = "Overview") -> None:
        self.page.locator("#show-app").click()
        self.see(heading)

    def reopen(self) -> None:
        self.page.locator("#reload-app").click()
        self.app.locator("html:not([data-old])").wait_for()

    def go(self, name: str) -> None:
        self.app.get_by_role("navigation").get_by_role("link", name=name).click()
        self.see(name)

    def see(self, heading: str) -> None:
        self.app.get_by_role("heading", level=1, name=heading).wait_for()

    def document(self) -> Frame:
        handle = self.page.locator("#fr").element_handle()
        frame = handle.content_frame() if handle else None
        assert frame is not None
        return frame

    def settings(self, **values: str) -> None:
        """Change the portal's settings as a later page will."""
        with sqlite3.connect(self.stack.dir / "product.db", timeout=10) as database:
            for name, value in values.items():
                database.execute(
                    "UPDATE portals SET settings = json_set(settings, ?, ?)", (f"$.{name}", value)
                )

    def check_accessible(self, where: str) -> None:
        self.page.wait_for_timeout(100)
        document = self.document()
        document.evaluate(AXE)
        found = document.evaluate("rules => axe.run(document, {runOnly: rules})", RULES)
        told = [
            f"{where}: {violation['id']}: {node['html'][:160]} {node.get('failureSummary', '')[:200]}"
            for violation in found["violations"]
            for node in violation["nodes"]
        ]
        assert told == []

    def check_no_scroll_bar(self, where: str) -> None:
        """The portal gives the frame the height that the page asks for."""
        self.page.wait_for_timeout(150)
        sizes = self.document().evaluate(
            "() => {const e = document.documentElement;"
            " return [e.scrollWidth - e.clientWidth, e.scrollHeight - e.clientHeight]}"
        )
        assert sizes == [0, 0], where

    def check_quiet(self) -> None:
        """Nothing unexpected in the console; no token in any address or referrer."""
        assert self.problems == []
        assert not [a for a in self.addresses for token in self.tokens - {""} if token in a]
        assert not [a for a in self.addresses if "AUTH_ID" in a or "REFRESH_ID" in a]


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
    desk.portal.close()
    desk.check_quiet()


def _save_demo(desk: Desk) -> None:
    desk.go("Gateway")
    desk.app.get_by_label("Gateway", exact=True).select_option("demo")
    desk.app.get_by_role("button", name="Save and check").click()
    desk.app.get_by_text("Saved and connected").wait_for()


def test_the_installer_finishes_through_the_portals_own_sdk(whole: Stack, page: Page) -> None:
    desk = Desk(whole, page)

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
    for _ in range(2):  # the heading, the choice of gateway, the originator
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
    desk.app.get_by_label("Gateway", exact=True).select_option("http")
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

    desk.app.get_by_text("Handed to the gateway").wait_for()

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


@pytest.mark.parametrize("variant", ["light", "dark", "narrow", "rtl"])
def test_every_page_is_accessible(desk: Desk, variant: str) -> None:
    desk.settings(theme="dark" if variant == "dark" else "light")
    if variant == "narrow":
        desk.page.set_viewport_size({"width": 390, "height": 844})
    if variant == "rtl":
        desk.page.locator("#lang").select_option("ar")
    desk.open()
    found = desk.document().evaluate(
        "[document.documentElement.className, document.documentElement.dir, innerWidth <= 390,"
        " getComputedStyle(document.documentElement).backgroundColor]"
    )
    dark = variant == "dark"
    assert found[:3] == [
        "dark" if dark else "light",
        "rtl" if variant == "rtl" else "ltr",
        variant == "narrow",
    ]
    assert found[3] == ("rgb(23, 23, 23)" if dark else "rgb(241, 244, 246)")

    for where in _walk(desk):
        desk.check_accessible(f"{where}, {variant}")
        if variant in ("light", "rtl"):
            desk.check_no_scroll_bar(f"{where}, {variant}")
        if variant == "narrow":
            wider = desk.document().evaluate(
                "document.documentElement.scrollWidth - document.documentElement.clientWidth"
            )
            assert wider == 0, where


def _walk(desk: Desk) -> Iterator[str]:
    """Every page once, each in its busiest state."""
    yield "overview"
    desk.go("Gateway")
    yield "gateway"
    desk.app.get_by_label("Gateway", exact=True).select_option("http")
    desk.app.locator("#set-url").fill("not an address")
    desk.app.get_by_text("More settings").click()
    desk.app.get_by_role("button", name="Save and check").click()
    desk.app.get_by_text("Nothing was saved").wait_for()
    yield "gateway with mistakes"
    desk.go("Test SMS")
    yield "test"
    desk.app.get_by_role("button", name="Send test SMS").click()
    desk.app.get_by_text("Nothing was sent").wait_for()
    yield "test with mistakes"
    desk.go("Messages")
    yield "log"
    desk.app.get_by_label("Status", exact=True).select_option("failed")
    desk.app.locator("tbody:not(:has-text('Outcome unknown'))").wait_for()
    desk.app.get_by_label("Part of the phone number").fill("999999")
    desk.app.get_by_role("button", name="Search").click()
    desk.app.get_by_text("No message fits this search").wait_for()
    yield "empty log"
    desk.app.get_by_role("link", name="Show all").click()
    desk.app.get_by_role("row").filter(has_text="Outcome unknown").get_by_role("link").click()
    desk.app.get_by_text("Every step").wait_for()
    yield "message"
    desk.app.get_by_role("link", name="Send again").click()
    desk.app.get_by_role("button", name="Send again").click()
    desk.app.get_by_text("Confirm that you know it").wait_for()
    yield "question"
    desk.go("Senders")
    desk.app.get_by_text("In step").wait_for()
    yield "senders"
    desk.app.get_by_role("link", name="Add a sender").click()
    desk.app.get_by_text("In other languages").click()
    desk.app.get_by_label("The phone shows").fill("longer than eleven")
    desk.app.get_by_role("button", name="Save").click()
    desk.app.get_by_text("Nothing was saved").wait_for()
    yield "sender with mistakes"
    desk.settings(low_balance="5")
    desk.go("Help")
    desk.app.get_by_role("alert").get_by_text("is low: 0.00").wait_for()
    desk.app.get_by_text("How do I send an SMS").click()
    yield "help under a banner"
    desk.settings(low_balance="")
