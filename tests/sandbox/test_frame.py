"""The portal's page in a browser, with an application that speaks the frame protocol by hand."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import axe_playwright_python
import pytest

from tests.sandbox.stage import Stage

if TYPE_CHECKING:
    from playwright.sync_api import Frame, Page, Route

# The wire protocol as the official SDK speaks it: "method:JSON:callback:SID", JSON left out when empty.
BRIDGE = """
<script>
  const [host, , sid] = window.name.split("|");
  const heard = [], waiting = {};
  addEventListener("message", (event) => {
    heard.push([event.origin, event.data]);
    if (event.source !== parent || event.origin !== `http://${host}`) return;
    const colon = event.data.indexOf(":");
    waiting[event.data.slice(0, colon)]?.(JSON.parse(event.data.slice(colon + 1)));
  });
  function call(method, params) {
    const id = `c${Object.keys(waiting).length}`;
    const answer = new Promise((resolve) => {
      waiting[id] = resolve;
      setTimeout(() => resolve("no answer"), 2000);
    });
    const parts = params ? [method, JSON.stringify(params), id, sid] : [method, id, sid];
    parent.postMessage(parts.join(":"), `http://${host}`);
    return answer;
  }
</script>
"""


@pytest.fixture
def portal_page(live: Stage, page: Page) -> Iterator[Page]:
    """The CRM card of a portal where the application is installed; nothing may fail or leave the machine."""
    problems: list[str] = []
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on("request", lambda request: _note_foreign(request.url, problems))
    live.listener.page = BRIDGE
    page.goto(live.info["url"])
    yield page
    assert problems == []


def _note_foreign(url: str, problems: list[str]) -> None:
    if not url.startswith(("http://localhost:", "http://127.0.0.1:", "data:")):
        problems.append(url)


def app_frame(page: Page, heading: str) -> Frame:
    page.frame_locator("#fr").get_by_role("heading", name=heading).wait_for()
    handle = page.locator("#fr").element_handle()
    frame = handle.content_frame() if handle is not None else None
    assert frame is not None
    return frame


def open_app(page: Page, heading: str = "/app") -> Frame:
    page.get_by_role("button", name="Open application").click()
    return app_frame(page, heading)


def call(frame: Frame, method: str, params: dict[str, Any] | None = None) -> Any:
    return frame.evaluate("([method, params]) => call(method, params)", [method, params])


def test_form_is_posted_into_a_frame_named_for_the_portal(live: Stage, portal_page: Page) -> None:
    frame = open_app(portal_page)
    got = live.listener.at("/app")[-1]

    host, secure, sid = frame.evaluate("window.name").split("|")
    assert (host, secure, sid) == (live.info["domain"], "0", got.query["APP_SID"])
    assert got.form["member_id"] == live.info["member_id"]
    init = call(frame, "getInitData")
    assert init["AUTH_ID"] == got.form["AUTH_ID"]
    assert (init["IS_ADMIN"], init["INSTALL"], init["LANG"], init["PROTOCOL"]) == (True, False, "en", "0")
    assert init["FIRST_RUN"] is True
    assert call(frame, "setInstall", {"install": True}) is True


def test_nothing_is_opened_before_the_page_knows_its_portal(live: Stage, page: Page) -> None:
    """It would install the application once more, as nobody."""
    installed = len(live.listener.at("/install"))
    held: list[Route] = []
    page.route("**/_portal/state*", lambda route: held.append(route), times=1)
    page.goto(live.info["url"])
    while not held:
        page.wait_for_timeout(20)
    early = [page.locator(selector).is_enabled() for selector in ("#show-app", "#user", "#lang")]
    held[0].continue_()

    open_app(page)

    assert early == [False, False, False]
    assert len(live.listener.at("/install")) == installed


def test_install_finish_reloads_the_frame_with_the_application(live: Stage, portal_page: Page) -> None:
    live.sandbox.reinstall()
    frame = open_app(portal_page, "/install")
    assert call(frame, "getInitData")["INSTALL"] is True

    frame.evaluate("() => { call('setInstallFinish') }")

    app_frame(portal_page, "/app")
    assert live.sandbox.info()["installation"]["installed"] is True


def test_install_finish_has_no_effect_outside_the_installer(live: Stage, portal_page: Page) -> None:
    frame = open_app(portal_page)
    live.sandbox.update(wizard=True)

    assert call(frame, "setInstallFinish") == "no answer"
    assert live.sandbox.info()["installation"]["installed"] is False


def test_refresh_gives_a_working_token_or_never_answers(live: Stage, portal_page: Page) -> None:
    frame = open_app(portal_page)

    token = call(frame, "refreshAuth")["AUTH_ID"]
    assert live.result("profile", token)["ID"] == "1"

    live.sandbox.uninstall()
    assert call(frame, "refreshAuth") == "no answer"


@pytest.mark.parametrize(
    ("path", "answer"),
    [
        ("/crm/configs/sms/", {"result": "error", "errorCode": "PATH_NOT_AVAILABLE"}),
        ("https://elsewhere.example/crm/deal/", {"result": "error", "errorCode": "PATH_NOT_AVAILABLE"}),
        ("/crm/deal/details/77/", {"result": "close"}),
        # The official SDK climbs out of an allowed folder, and the kernel lets it.
        ("/crm/deal/../../crm/configs/sms/", {"result": "close"}),
    ],
)
def test_paths_that_the_application_may_open(portal_page: Page, path: str, answer: dict[str, str]) -> None:
    frame = open_app(portal_page)
    frame.evaluate("(path) => { window.opened = call('openPath', {path}) }", path)
    if answer == {"result": "close"}:
        portal_page.locator("#path-dialog").get_by_role("button", name="Close").click()

    assert frame.evaluate("window.opened") == answer


def test_title_height_and_interface(portal_page: Page) -> None:
    frame = open_app(portal_page)

    assert call(frame, "setTitle", {"title": "A: title"}) is True
    assert portal_page.get_by_role("heading", name="A: title").is_visible()
    assert call(frame, "resizeWindow", {"width": "100%", "height": 900})["height"] == 900
    assert "refreshAuth" in call(frame, "getInterface")["command"]
    portal_page.evaluate("appFrame.inSlider = true")
    assert call(frame, "resizeWindow", {"width": "100%", "height": 500}) == "no answer"
    assert [seen["method"] for seen in portal_page.evaluate("seen")][:2] == ["setTitle", "resizeWindow"]


def test_page_can_be_silent_refuse_or_answer_from_a_wrong_origin(live: Stage, portal_page: Page) -> None:
    frame = open_app(portal_page)

    portal_page.evaluate("appFrame.mode = 'silent'")
    assert call(frame, "getInitData") == "no answer"
    portal_page.evaluate("appFrame.mode = 'deny'")
    assert call(frame, "refreshAuth") == {"result": "error", "errorCode": "ACCESS_DENIED"}
    portal_page.evaluate(
        "Object.assign(appFrame, { mode: 'normal', modeFor: { refreshAuth: 'wrong-origin' } })"
    )
    assert call(frame, "refreshAuth") == "no answer"

    origin, text = frame.evaluate("heard.at(-1)")
    assert origin == f"http://{live.info['domain']}".replace("localhost", "127.0.0.1")
    assert "AUTH_ID" in text
    assert call(frame, "getInitData")["MEMBER_ID"] == live.info["member_id"]


def test_employee_sees_a_reason_while_not_installed(live: Stage, portal_page: Page) -> None:
    live.sandbox.update(wizard=True)
    portal_page.get_by_label("Signed in as").select_option("5")

    portal_page.get_by_role("button", name="Open application").click()

    portal_page.get_by_text("not fully installed").wait_for()


def test_message_is_sent_from_the_card_and_its_status_followed(live: Stage, portal_page: Page) -> None:
    live.sandbox.configure(races={"enabled": False})
    portal_page.get_by_role("button", name="Send SMS").click()
    dialog = portal_page.locator("#sms-dialog")
    dialog.get_by_label("Text").fill("Grüße 👋")
    assert dialog.get_by_text("8 characters, 1 part, UCS-2").is_visible()
    dialog.get_by_role("button", name="Send").click()
    row = portal_page.locator("#timeline li[data-status=sent]")
    row.wait_for()

    form = live.listener.wait(live.handler_path)[0].form
    assert form["message_body"] == "Grüße 👋"
    message_id = row.get_attribute("data-message-id")
    live.result("messageservice.message.status.update", CODE="sms", MESSAGE_ID=message_id, STATUS="delivered")

    portal_page.locator("#timeline li[data-status=delivered]").wait_for()


def test_faults_are_added_shown_and_cleared(live: Stage, portal_page: Page) -> None:
    portal_page.get_by_role("button", name="Faults").click()
    form = portal_page.locator("form[data-path='/sandbox/faults']").first
    form.locator("[name=method]").select_option("profile")
    form.get_by_role("button", name="Add").click()
    portal_page.locator("#rules").get_by_text("profile: QUERY_LIMIT_EXCEEDED").wait_for()

    assert live.refusal("profile")[:2] == (503, "QUERY_LIMIT_EXCEEDED")

    form.get_by_role("button", name="Add").click()
    portal_page.get_by_role("button", name="Back to normal").click()
    portal_page.locator("#rules").get_by_text("All is well.").wait_for()
    assert live.result("profile")["ID"] == "1"


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_card_and_dialogs_are_accessible(portal_page: Page, theme: str) -> None:
    axe = Path(axe_playwright_python.__file__).parent / "axe.min.js"
    portal_page.evaluate(axe.read_text())
    portal_page.evaluate("(theme) => { document.documentElement.className = theme }", theme)
    rules = "{iframes: false, runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa']}"

    for dialog in ("", "faults", "sms-dialog"):
        if dialog:
            portal_page.evaluate("(id) => document.getElementById(id).showModal()", dialog)
        violations = portal_page.evaluate(f"axe.run(document, {rules}).then((found) => found.violations)")
        assert [(found["id"], dialog) for found in violations] == []
        portal_page.evaluate("document.querySelectorAll('dialog[open]').forEach((each) => each.close())")
