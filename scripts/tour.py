"""The tour: a picture of every page of the admin's app in its states, taken in a real browser.

    .venv/bin/python scripts/tour.py --out tour

Everything is real but the data: sandbox portals, the product's web and worker, Debian's Chromium. One portal
has just installed the app, one has ninety days of history behind it. The numbers are fictitious ones.
Each picture is named `<variant>/<page>.png`; look at them before every release.
"""

from __future__ import annotations

import argparse
import random
import secrets
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import sqlalchemy as sa

from app import create_app
from app.config import load_config
from app.store.database import utcnow, writing
from app.store.portals import portals
from app.store.tables import attempts, message_events, messages
from sandbox.client import PortalSandbox
from sandbox.stack import Stack
from tests.ui.desk import Desk, launch
from tests.ui.pages import all_tabs, every_page

if TYPE_CHECKING:
    from playwright.sync_api import Browser

PROJECT = Path(__file__).resolve().parent.parent
FAST = "first_push_s=0.2,push_fill_s=0.2,sweep_s=0.5"
DAYS = 90
SETTLED_MS = 250
BESIDE_THE_FRAME = 200  # what the portal's page needs above and below
# Numbers that are kept for films; the last two digits choose what the demo gateway does.
TEXTS = (
    ("+120255501{}", "Your order 1042 is ready. We are open until 19:00."),
    ("+120255501{}", "Dr. Smith expects you tomorrow at 9:30. Reply to this e-mail to move the date."),
    ("+120255501{}", "Ваш заказ 2210 передан курьеру, он будет у вас с 14 до 16 часов."),
    ("+120255501{}", "Dein Termin am 3. Juni um 10 Uhr ist bestätigt. Wir freuen uns auf dich! 🎉"),
    ("+120255501{}", "Code 4471. Valid for five minutes."),
)
ENDINGS = ("20", "31", "42", "53", "64", "75", "86", "97", "22", "33", "01", "02", "03", "07", "09")
FATES = {"delivered", "undelivered", "failed", "unknown", "sent"}


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
    options = parser.parse_args()
    chromium = shutil.which("chromium")
    if chromium is None:
        sys.exit("Chromium is not installed; scripts/prerequisites does it")
    wanted = [VARIANTS[name] for name in options.variants.split(",")]
    from playwright.sync_api import sync_playwright  # noqa: PLC0415 - slow, and not needed for --help

    with Stack(env={"TIMING": FAST, "APP_NAME": "Example SMS"}) as stack, sync_playwright() as playwright:
        browser = launch(playwright, chromium)
        busy = prepare(stack, browser)
        for variant in wanted:
            pictures = Album(options.out / variant.name)
            fresh = PortalSandbox(stack.portal_url).create_portals(1)[0]["portal"]
            walk(Tourist(stack, browser, variant, fresh), pictures, first_run)
            walk(Tourist(stack, browser, variant, busy), pictures, every_day)
            print(f"{variant.name}: {pictures.count} pictures in {pictures.folder}")
        browser.close()
    return 0


# --- the data


def prepare(stack: Stack, browser: Browser) -> int:
    """A portal that has sent for three months; returns its number."""
    desk = Desk(stack, browser.new_page())
    desk.enter()
    desk.turn_to("/ui/gateway")
    desk.follow('a[href*="gateway=demo"]', "#set-originator")
    desk.app.locator("#set-originator").fill("EXAMPLE")
    desk.follow("form .btn.primary", ".note.ok")
    desk.page.close()
    portal = desk.portal
    member_id = str(portal.info()["member_id"])
    for index, ending in enumerate(ENDINGS):
        number, text = TEXTS[index % len(TEXTS)]
        portal.send_sms(number.format(ending), text, author=5)
    _wait_for_fates(stack, member_id)
    _spread_over_the_past(stack, member_id)
    return 1


def _wait_for_fates(stack: Stack, member_id: str) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        rows = stack.flask("messages", "list", member_id, "--limit", "100")
        fates = [row["status"] for row in rows]
        if len(rows) == len(ENDINGS) and "queued" not in fates and set(fates) >= FATES:
            return
        time.sleep(0.5)
    raise SystemExit(f"the messages of the tour did not come to their ends: {fates}")


def _spread_over_the_past(stack: Stack, member_id: str) -> None:
    """Copies of what was just sent, with everything that belongs to them, on each of the days before."""
    chance = random.Random(7)  # noqa: S311 - the same story every time
    with create_app(load_config(stack.env)).app_context():
        portal = portals.by_member(member_id)
        assert portal is not None
        with writing() as connection:
            originals = (
                connection.execute(sa.select(messages).where(messages.c.portal_id == portal.id))
                .mappings()
                .all()
            )
            good = [row for row in originals if row["status"] == "delivered"]
            for day in range(DAYS, 0, -1):
                is_weekend = (utcnow() - timedelta(days=day)).weekday() >= 5
                for _ in range(chance.randint(1, 3) if is_weekend else chance.randint(6, 14)):
                    row = chance.choice(good if chance.random() < 0.8 else originals)
                    back = timedelta(days=day, minutes=chance.randint(-300, 300))
                    _copy(connection, dict(row), back, f"{chance.getrandbits(128):032x}")
            for row in originals:  # the log is in the order of the rows, so the newest ones come last
                connection.execute(
                    sa.update(messages).where(messages.c.id == row["id"]).values(message_id="copied")
                )
                _copy(connection, dict(row), timedelta(0), row["message_id"])
                connection.execute(sa.delete(messages).where(messages.c.id == row["id"]))


def _copy(connection: sa.Connection, row: dict[str, Any], back: timedelta, message_id: str) -> None:
    old_id = row.pop("id")
    row |= {"message_id": message_id, "attempt_id": None, "counted_as": "", "split_as": ""}
    if back:  # the portal knows nothing of it, so it is told nothing
        row |= {"push_due_at": None}
    new_id = connection.execute(sa.insert(messages).values(_earlier(row, back))).inserted_primary_key[0]
    for table in (attempts, message_events):
        for each in (
            connection.execute(sa.select(table).where(table.c.message_row_id == old_id)).mappings().all()
        ):
            copy = {**each, "message_row_id": new_id}
            del copy["id"]
            if "reference" in copy:
                copy["reference"] = secrets.token_hex(8)
            connection.execute(sa.insert(table).values(_earlier(copy, back)))


def _earlier(row: dict[str, Any], back: timedelta) -> dict[str, Any]:
    return {name: value - back if hasattr(value, "tzinfo") else value for name, value in row.items()}


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
