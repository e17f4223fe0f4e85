"""A new user, without documentation: from the empty gateway page to a delivered test SMS, clicks counted."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from sandbox.client import PortalSandbox
from sandbox.stack import Stack
from tests.ui.desk import Desk
from tests.ui.vendors import VENDORS, doubles

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Locator, Page

pytestmark = pytest.mark.slow

FAST = "first_push_s=0.5,push_fill_s=0.2,sweep_s=0.5"


@pytest.fixture(scope="module")
def stack(browser: Browser) -> Iterator[Stack]:
    with doubles() as hosts, Stack(env={"TIMING": FAST, "GATEWAY_HOSTS": hosts}) as started:
        yield started


@pytest.fixture
def desk(stack: Stack, page: Page) -> Iterator[Desk]:
    """A portal that has just installed the app."""
    desk = Desk(stack, page, PortalSandbox(stack.portal_url).create_portals(1)[0]["portal"])
    desk.open()
    yield desk
    desk.portal.close()
    desk.check_quiet()


class Clicks:
    """What a hand does; a form is filled in by keys and the Tab key."""

    def __init__(self, desk: Desk) -> None:
        self.app = desk.app
        self.count = 0

    def on(self, place: Locator) -> None:
        place.click()
        self.count += 1

    def link(self, name: str) -> None:
        self.on(self.app.get_by_role("link", name=name, exact=True))

    def button(self, name: str) -> None:
        self.on(self.app.get_by_role("button", name=name))


@pytest.mark.parametrize("slug", VENDORS)
def test_four_clicks_lead_from_the_empty_gateway_page_to_a_delivered_test_sms(desk: Desk, slug: str) -> None:
    vendor, app = VENDORS[slug], desk.app
    desk.go("Gateway")
    app.get_by_role("heading", name="Choose a gateway").wait_for()
    clicks = Clicks(desk)

    clicks.link(vendor.card)
    for label, value in vendor.typed.items():
        app.get_by_label(label, exact=False).first.fill(value)
    clicks.button("Save and check")
    app.get_by_text("Saved and connected").wait_for()
    clicks.link("Send a test SMS")
    app.get_by_label("Phone number").fill("+49 151 12345678")
    clicks.button("Send test SMS")
    app.get_by_text("The message is on the recipient’s phone.").wait_for()

    assert clicks.count == 4


def test_an_example_from_a_documentation_fills_in_what_the_form_needs(desk: Desk) -> None:
    """The headers come along: their key is the secret that is left to type."""
    app = desk.app
    desk.go("Gateway")
    clicks = Clicks(desk)

    clicks.link("Any HTTP gateway")
    clicks.on(app.get_by_text("Paste an example"))
    app.locator("#example").fill(
        "curl https://api.example.com/v1/sms -H 'X-Api-Key: 123abc' -H 'X-Tenant: acme' "
        '--json \'{"to": "+491511234567", "message": "Hello", "from": "ACME"}\''
    )
    clicks.button("Fill in the form")
    app.get_by_text("The form is filled in from your example").wait_for()
    app.locator("#set-secret").fill("typed-1")
    clicks.on(app.get_by_text("Show the exact request"))
    clicks.button("Show the request")
    request = app.locator("#request-out pre")
    request.wait_for()

    shown = request.inner_text()
    assert "X-Api-Key: *****" in shown and "X-Tenant: *****" in shown
    assert '"message": "Hello, your order is ready."' in shown
    assert "123abc" not in desk.document().content() and "typed-1" not in shown
    assert clicks.count == 5
