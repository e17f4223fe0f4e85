"""The pictures that strangers see first: the card's screenshots and icon, and those of the README.

The store takes screenshots of at most 1280x720 and an icon of 250 to 650 px square. The app stands in the
portal's slider, over the page that it was opened from.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from sandbox.client import PortalSandbox
from sandbox.stack import Stack
from scripts.tour_data import LANGUAGES, prepare
from tests.ui.desk import Desk

if TYPE_CHECKING:
    from playwright.sync_api import Browser, ViewportSize

PROJECT = Path(__file__).resolve().parent.parent
IMAGES = PROJECT / "docs" / "images"
CARD = PROJECT / "docs" / "marketplace"
SCREENSHOT: ViewportSize = {"width": 1280, "height": 720}
ICON_PX = 512
SETTLED_MS = 600
HOST = "example.bitrix24.com"
# As wide as a real portal's slider, without what only a sandbox has.
SLIDER = """
    .slider { position: fixed; inset-block: 0; inset-inline: 88px 0; z-index: 3; border: 0;
      border-radius: 0; border-start-start-radius: 12px; display: flex; flex-direction: column;
      animation: none; }
    .slider .holder { flex: 1; max-height: none; scrollbar-width: none; background: #eef2f4; }
    .slider .log, .slider-head button { display: none; }
    body { overflow: hidden; background: #16263f; }
    .bar, .stage > main { visibility: hidden; }
"""
# The sandbox's own addresses are of no use to anybody who looks at a picture.
RENAME = """host => {
    const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    while (walker.nextNode())
        walker.currentNode.data = walker.currentNode.data.replace(/(localhost|127\\.0\\.0\\.1):\\d+/g, host);
}"""


def take_for_the_store(stack: Stack, browser: Browser, folder: Path, languages: Sequence[str]) -> None:
    draw_icon(browser)
    for language in languages:
        portal = 1
        if language != languages[0]:
            portal = int(PortalSandbox(stack.portal_url).create_portals(1)[0]["portal"])
        prepare(stack, browser, portal, *LANGUAGES[language])
        count = _take_screenshots(stack, browser, folder / language, portal, language)
        print(f"{language}: {count} pictures in {folder / language}", flush=True)
        if language == "en":
            _take_for_the_readme(stack, browser, portal)


def draw_icon(browser: Browser) -> None:
    page = browser.new_page(viewport={"width": ICON_PX, "height": ICON_PX})
    page.set_content(f"<style>body {{ margin: 0 }}</style>{(CARD / 'icon.svg').read_text(encoding='utf-8')}")
    page.screenshot(path=CARD / "icon.png")
    page.close()


def _take_screenshots(stack: Stack, browser: Browser, folder: Path, portal: int, language: str) -> int:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    context = browser.new_context(viewport=SCREENSHOT, color_scheme="light")
    desk = Desk(stack, context.new_page(), portal)
    desk.settings(theme="light", default_country="US")
    desk.page.locator("#lang").select_option(language)
    desk.enter()
    desk.page.add_style_tag(content=SLIDER)
    direction = desk.document().evaluate("document.documentElement.dir")
    desk.page.evaluate("direction => { document.documentElement.dir = direction }", direction)
    count = 0
    for count, name in enumerate(_sights(desk), 1):
        _settle(desk)
        desk.page.screenshot(path=folder / f"{count}-{name}.png")
    context.close()
    return count


def _sights(desk: Desk) -> Iterator[str]:
    yield "overview"
    desk.turn_to("/ui/messages")
    _scroll_to(desk, "#log")
    desk.follow("tr:has(.tag.ok) td a", "#beside ol.tl")
    _scroll_to(desk, "#log")
    yield "messages"
    desk.turn_to("/ui/overview")
    desk.follow("tr:has(.tag.bad) td a", "ol.tl")
    yield "why-it-failed"
    desk.turn_to("/ui/statistics")
    desk.app.locator(".bars").first.wait_for()
    _scroll_to(desk, ".kpis")
    yield "statistics"
    desk.turn_to("/ui/gateway")
    desk.follow('a[href$="/gateway/new"]', ".card.pick")
    yield "gateways"
    desk.turn_to("/ui/settings")
    yield "settings"


def _take_for_the_readme(stack: Stack, browser: Browser, portal: int) -> None:
    context = browser.new_context(viewport={"width": 1280, "height": 860}, color_scheme="light")
    desk = Desk(stack, context.new_page(), portal)
    desk.enter()
    _settle(desk)
    desk.page.screenshot(path=IMAGES / "portal.png")
    desk.page.set_viewport_size({"width": 1640, "height": 2200})
    desk.turn_to("/ui/overview")
    desk.follow("tr:has(.tag.wait) td a", "ol.tl")
    _settle(desk)
    desk.page.locator("#fr").screenshot(path=IMAGES / "message.png")
    desk.turn_to("/ui/statistics")
    _settle(desk)
    desk.page.locator("#fr").screenshot(path=IMAGES / "statistics.png")
    context.close()


def _settle(desk: Desk) -> None:
    desk.page.wait_for_timeout(SETTLED_MS)
    desk.document().evaluate(RENAME, HOST)


def _scroll_to(desk: Desk, selector: str) -> None:
    top = desk.app.locator(selector).first.evaluate("e => e.getBoundingClientRect().top - 16")
    desk.page.locator("#holder").evaluate("(holder, top) => { holder.scrollTop = top }", top)
