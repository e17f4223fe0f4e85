"""A person at the sandbox portal's page in a real browser, and the admin's app in its frame.

The frame is another site than the portal, as in real life: no cookies, no storage.
"""

from __future__ import annotations

import re
import sqlite3
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sandbox.client import PortalSandbox
from sandbox.stack import Stack

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Frame, FrameLocator, Locator, Page, Playwright

RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
# Only what is wrong comes back: the whole of the findings takes longer on its way than the search.
_VIOLATIONS = """rules => axe.run(document, {runOnly: rules, resultTypes: ["violations"]}).then(found =>
    found.violations.flatMap(rule => rule.nodes.map(node => [
        rule.id, node.html.slice(0, 160), (node.failureSummary || "").slice(0, 200)])))"""
EXPECTED_ERROR = re.compile(r"the server responded with a status of (401|422|502)")
PATIENCE_MS = 20_000  # other tests want the processors, too
OPTIONS = [
    "--no-sandbox",  # Chromium's own sandbox does not work for root
    "--disable-dev-shm-usage",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    # Nothing leaves this machine.
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE localhost, EXCLUDE 127.0.0.1",
]


def launch(playwright: Playwright, chromium: str) -> Browser:
    """Debian's Chromium, without its background traffic."""
    return playwright.chromium.launch(executable_path=chromium, args=OPTIONS)


@cache
def _axe() -> str:
    package = find_spec("axe_playwright_python")  # only the script in it is wanted
    assert package is not None
    assert package.origin is not None
    return (Path(package.origin).parent / "axe.min.js").read_text(encoding="utf-8")


class Desk:
    """A person at the portal's page, and the product behind it."""

    def __init__(self, stack: Stack, page: Page, portal: int = 1) -> None:
        self.stack = stack
        self.page = page
        self.portal = PortalSandbox(stack.portal_url, portal)
        self.app: FrameLocator = page.frame_locator("#fr")
        self.problems: list[str] = []
        self.tokens: set[str] = set()
        self.addresses: list[str] = []
        page.on("console", self._note_console)
        page.on("pageerror", self._note_exception)
        page.on("request", self._note_request)
        page.goto(f"{stack.portal_url}/" if portal == 1 else f"{stack.portal_url}/p/{portal}/")

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
        self._turn(self.app.get_by_role("navigation").get_by_role("link", name=name))
        self.see(name)

    def see(self, heading: str) -> None:
        self.app.get_by_role("heading", level=1, name=heading).wait_for()

    def enter(self, waiting_for: str = "nav") -> None:
        """`open` in any language."""
        self.page.locator("#show-app").click()
        self.app.locator(waiting_for).first.wait_for()

    def tabs(self) -> list[str]:
        return [str(link.get_attribute("href")) for link in self.app.locator("nav.tabs a").all()]

    def turn_to(self, address: str) -> None:
        """`go` in any language."""
        self._turn(self.app.locator(f'nav.tabs a[href="{address}"]'))
        self.app.locator(f'nav.tabs a[href="{address}"][aria-current]').wait_for()

    def _turn(self, link: Locator) -> None:
        """Wait for a page that is new: the one that stands may have the same address and heading, and what is
        filled in there goes with it."""
        self.document().evaluate("document.getElementById('title').dataset.old = ''")
        link.click()
        self.app.locator("#title:not([data-old])").wait_for()

    def follow(self, selector: str, shows: str) -> None:
        """Click, and wait for what comes of it."""
        self.app.locator(selector).first.click()
        self.app.locator(shows).first.wait_for()

    def document(self) -> Frame:
        handle = self.page.locator("#fr").element_handle()
        frame = handle.content_frame() if handle else None
        assert frame is not None
        return frame

    def settings(self, **values: str | bool) -> None:
        """Change the portal's settings without their page."""
        with sqlite3.connect(self.stack.dir / "product.db", timeout=10) as database:
            for name, value in values.items():
                database.execute(
                    "UPDATE portals SET settings = json_set(settings, ?, ?)", (f"$.{name}", value)
                )

    def forget_settings(self) -> None:
        with sqlite3.connect(self.stack.dir / "product.db", timeout=10) as database:
            database.execute("UPDATE portals SET settings = '{}'")

    def check_accessible(self, where: str) -> None:
        self.page.wait_for_timeout(100)
        document = self.document()
        document.wait_for_function("!document.querySelector('.htmx-request')")  # what is asked for is paler
        if not document.evaluate("'axe' in window"):  # pages come and go within one document
            document.evaluate(_axe())
        told = [f"{where}: {rule}: {html} {why}" for rule, html, why in document.evaluate(_VIOLATIONS, RULES)]
        assert not told, "\n".join(told)

    def check_no_scroll_bar(self, where: str) -> None:
        """The portal gives the frame the height that the page asks for, soon."""
        self.page.wait_for_timeout(50)
        for _ in range(100):
            sizes = self.document().evaluate(
                "() => {const e = document.documentElement;"
                " return [e.scrollWidth - e.clientWidth, e.scrollHeight - e.clientHeight]}"
            )
            if sizes == [0, 0]:
                return
            self.page.wait_for_timeout(50)
        raise AssertionError(f"{where}: {sizes} do not fit")

    def check_quiet(self) -> None:
        """Nothing unexpected in the console; no token in any address or referrer."""
        assert self.problems == []
        assert not [a for a in self.addresses for token in self.tokens - {""} if token in a]
        assert not [a for a in self.addresses if "AUTH_ID" in a or "REFRESH_ID" in a]
