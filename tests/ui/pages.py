"""A walk through every page of the admin's app, each in its busiest state.

It goes by addresses and elements, since words change with the language. The browser tests check each page on
the way, the tour takes a picture of it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING

from tests.ui.desk import Desk

if TYPE_CHECKING:
    from playwright.sync_api import FilePayload


SETTINGS_FILE: FilePayload = {
    "name": "settings.json",
    "mimeType": "application/json",
    "buffer": json.dumps(
        {"format": 1, "settings": {"countries": ["DE", "FR"], "text_days": 7, "weekly_summary": True}}
    ).encode(),
}


def all_tabs(desk: Desk) -> Iterator[str]:
    for address in desk.tabs():
        desk.turn_to(address)
        yield address.removeprefix("/ui/")


def every_page(desk: Desk) -> Iterator[str]:
    """In a portal that has messages of all fates. Yields a name when the page stands."""
    app, page = desk.app, desk.page
    desk.enter()
    yield from all_tabs(desk)

    desk.turn_to("/ui/gateway")
    desk.follow('a[href$="/gateway/new"]', ".card.pick")
    yield "gateways"
    desk.follow('a[href*="gateway=http"]', "#set-url")
    app.locator("#set-url").fill("not an address")
    yield "gateway-new"
    desk.follow("form .btn.primary", ".err")
    yield "gateway-mistakes"

    desk.turn_to("/ui/test")
    desk.follow("form .btn.primary", ".err")
    yield "test-mistakes"

    desk.turn_to("/ui/messages")
    with page.expect_response("**/ui/messages?*"):
        app.locator("#period").select_option("custom")
    app.locator("#from").wait_for()
    app.locator("#q").fill("99999999")
    desk.follow("form .btn", "#log .empty")
    yield "messages-none-fit"
    for fate, tone in (("delivered", "ok"), ("failed", "bad"), ("unknown", "wait")):
        desk.turn_to("/ui/messages")
        desk.follow(f"tr:has(.tag.{tone}) td a", "ol.tl")
        yield f"message-{fate}"
    desk.follow('a[href$="/again"]', "form.card")
    desk.follow("form .btn.primary", ".err")
    yield "message-again"

    desk.turn_to("/ui/messages")
    app.locator("[data-pick-all]").check()
    app.locator("[data-picked]:not(:text-is('0'))").wait_for()
    yield "messages-selected"
    desk.follow('#bulk button[value="again"]', "#counted")
    yield "bulk-asked"
    desk.turn_to("/ui/messages")
    desk.follow('#bulk button[value="cancel"]', "#bulk-problem .note")
    yield "messages-none-selected"
    desk.follow('#bulk button[value="export"]', "#job a[download]")
    yield "bulk-done"
    desk.follow('.crumb a[href="/ui/bulk"]', "td.time a")
    yield "bulk"

    desk.turn_to("/ui/senders")
    desk.follow('a[href$="/senders/new"]', "form.card")
    app.locator("details summary").click()
    app.locator("#originator").fill("longer than eleven")
    desk.follow("form .btn.primary", ".err")
    yield "sender-mistakes"

    desk.turn_to("/ui/settings")
    app.locator("#row_days").fill("1")
    desk.follow("form .btn.primary", ".err")
    yield "settings-mistakes"
    app.locator('nav.tabs a[href="/ui/statistics"]').click()
    app.locator("#leaving:not([hidden])").wait_for()
    yield "settings-unsaved"
    desk.follow("[data-leave]", ".bars")

    app.locator("details summary").first.click()
    app.locator(".bars a").last.focus()
    yield "statistics-table"

    desk.turn_to("/ui/settings")
    app.locator("#import").set_input_files(SETTINGS_FILE)
    desk.follow('form[hx-encoding] [type="submit"]', 'form:has([name="version"])')
    yield "settings-import"
    desk.turn_to("/ui/settings")
    desk.follow('a[href$="/ui/activity"]', "#log table")
    yield "activity"

    desk.settings(low_balance="5")
    desk.turn_to("/ui/help")
    app.locator("[role=alert]:visible").first.wait_for()
    app.locator("details summary").first.click()
    yield "help-balance-low"
    desk.settings(low_balance="")
