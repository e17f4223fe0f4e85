"""The tour: a picture of every page of the admin's app in its states, taken in a real browser.

    .venv/bin/python scripts/tour.py --out tour
    .venv/bin/python scripts/tour.py --store

Everything is real but the data: sandbox portals, the product's web and worker, Debian's Chromium. One portal
has just installed the app, one has ninety days of history behind it. The numbers are fictitious ones.
Each picture is named `<variant>/<page>.png`; look at them before every release. With `--store` the
pictures are those of the marketplace's card, `store/<language>/<page>.png`; icon and README get theirs anew.
"""

from __future__ import annotations

import argparse
import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from sandbox.client import PortalSandbox
from sandbox.stack import Stack
from scripts.tour_data import LANGUAGES, prepare
from scripts.tour_store import take_for_the_store
from tests.ui.desk import Desk, launch
from tests.ui.pages import all_tabs, every_page

if TYPE_CHECKING:
    from playwright.sync_api import Browser

PROJECT = Path(__file__).resolve().parent.parent
FAST = "first_push_s=0.2,push_fill_s=0.2,sweep_s=0.5"
SETTLED_MS = 250
BESIDE_THE_FRAME = 200  # what the portal's page needs above and below


@dataclass(frozen=True)
class Variant:
    name: str
    theme: str = "light"
    lang: str = "en"
    width: int = 1640  # the portal shows the frame in a slider over two thirds of its page


VARIANTS = {
    variant.name: variant
    for variant in (
        Variant("light"),
        Variant("dark", theme="dark"),
        Variant("narrow", width=390),
        Variant("arabic", lang="ar"),
        Variant("russian", lang="ru"),
        Variant("german", lang="de"),
        Variant("spanish", lang="la"),
        Variant("portuguese", lang="br"),
        Variant("french", lang="fr"),
        Variant("polish", lang="pl"),
        Variant("turkish", lang="tr"),
        Variant("ukrainian", lang="ua"),
    )
}


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, default=PROJECT / "tour")
    parser.add_argument("--variants", default="light,dark,narrow,arabic", help=f"of {','.join(VARIANTS)}")
    parser.add_argument(
        "--store", action="store_true", help="the card's screenshots and icon, and the README's pictures"
    )
    parser.add_argument("--languages", default=",".join(LANGUAGES), help="of the card's screenshots")
    options = parser.parse_args()
    chromium = shutil.which("chromium")
    if chromium is None:
        sys.exit("Chromium is not installed; scripts/prerequisites does it")
    wanted = [VARIANTS[name] for name in options.variants.split(",")]
    from playwright.sync_api import sync_playwright  # noqa: PLC0415 - slow, and not needed for --help

    name = "Tellback SMS" if options.store else "Example SMS"
    with Stack(env={"TIMING": FAST, "APP_NAME": name}) as stack, sync_playwright() as playwright:
        browser = launch(playwright, chromium)
        if options.store:
            take_for_the_store(stack, browser, options.out / "store", options.languages.split(","))
            return 0
        busy = prepare(stack, browser)
        for variant in wanted:
            pictures = Album(options.out / variant.name)
            fresh = PortalSandbox(stack.portal_url).create_portals(1)[0]["portal"]
            walk(Tourist(stack, browser, variant, fresh), pictures, first_run)
            walk(Tourist(stack, browser, variant, busy), pictures, every_day)
            print(f"{variant.name}: {pictures.count} pictures in {pictures.folder}")
        browser.close()
    return 0


# --- the walk


class Album:
    """The pictures of one variant."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.count = 0
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)

    def add(self, tourist: Tourist, name: str) -> None:
        """The frame as high as its page, so that nothing is cut off."""
        page = tourist.desk.page
        page.wait_for_timeout(SETTLED_MS)
        height = page.locator("#fr").evaluate("frame => frame.clientHeight") + BESIDE_THE_FRAME
        page.set_viewport_size({"width": tourist.variant.width, "height": max(720, min(height, 4000))})
        page.wait_for_timeout(SETTLED_MS)
        page.locator("#fr").screenshot(path=self.folder / f"{name}.png")
        self.count += 1


class Tourist:
    """One visit to one portal, in one variant. Finds its way by addresses: words change with the language."""

    def __init__(self, stack: Stack, browser: Browser, variant: Variant, portal: int) -> None:
        self.variant = variant
        context = browser.new_context(viewport={"width": variant.width, "height": 900})
        self.desk = Desk(stack, context.new_page(), portal)
        self.desk.page.locator("#lang").select_option(variant.lang)

    def become(self, user: int) -> None:
        """Somebody else opens the app."""
        self.desk.page.locator("#user").select_option(str(user))
        self.desk.page.locator("#lang").select_option(self.variant.lang)
        self.desk.page.locator("#reload-app").click()


Steps = Callable[[Tourist], Iterator[str]]


def walk(tourist: Tourist, pictures: Album, steps: Steps) -> None:
    for name in steps(tourist):
        pictures.add(tourist, name)
    tourist.desk.page.context.close()


def first_run(tourist: Tourist) -> Iterator[str]:
    """A portal that has nothing yet: from the installer on."""
    desk = tourist.desk
    desk.page.evaluate("window.appFrame.modeFor = {setInstallFinish: 'silent'}")
    desk.enter("[data-finish]")
    yield "new-installer"
    desk.app.locator("[data-finish-failed]:not([hidden])").wait_for()
    yield "new-installer-not-finished"
    desk.page.evaluate("window.appFrame.modeFor = {}")
    desk.settings(theme=tourist.variant.theme)
    desk.page.locator("#reload-app").click()
    desk.app.locator("nav").wait_for()
    for name in all_tabs(desk):
        yield f"new-{name}"
    tourist.become(5)
    desk.app.locator(".system").wait_for()
    yield "employee"


def every_day(tourist: Tourist) -> Iterator[str]:
    """A portal that has sent for months, and what can go wrong in it."""
    desk, app, page = tourist.desk, tourist.desk.app, tourist.desk.page
    desk.settings(theme=tourist.variant.theme)
    yield from every_page(desk)

    desk.turn_to("/ui/test")
    app.locator("#number").fill("+12025550142")
    desk.follow("form .btn.primary", "#live .tag.ok")
    yield "test-delivered"

    desk.settings(employees_see_log=True)
    tourist.become(5)
    app.locator("#log").wait_for()
    yield "employee-messages"
    desk.follow("td a", "ol.tl")
    yield "employee-message"
    desk.settings(employees_see_log=False)

    tourist.become(1)
    app.locator("nav").wait_for()
    page.evaluate("window.appFrame.modeFor = {refreshAuth: 'deny'}")
    page.route("**/ui/help", lambda route: route.fulfill(status=401, body=""))
    desk.follow('nav a[href="/ui/help"]', "#ended:not([hidden])")
    yield "session-ended"


if __name__ == "__main__":
    sys.exit(main())
