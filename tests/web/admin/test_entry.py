"""The portal opens the installer and the application."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import sqlalchemy as sa

from app.bitrix.opener import OpenerCheck
from app.domain.portals import PortalState
from app.store.accounts import accounts
from app.store.database import statement
from app.store.portals import portals, states, tokens
from app.store.tables import credentials
from sandbox.client import PortalSandbox
from sandbox.serving import Server
from tests.worlds.visitor import Visitor

ENTRIES = ["/install", "/app"]


class Trap:
    """A server that nobody has a reason to call."""

    def __init__(self) -> None:
        self.calls: list[str] = []

    def __call__(self, environ: dict[str, Any], start_response: Any) -> list[bytes]:
        self.calls.append(environ["PATH_INFO"])
        start_response("200 OK", [("Content-Type", "application/json")])
        return [b'{"result": {"ID": "1", "ADMIN": true}}']


@pytest.fixture
def trap() -> Iterator[tuple[str, Trap]]:
    application = Trap()
    server = Server(application).start()
    yield f"127.0.0.1:{server.port}", application
    server.stop(grace_s=0.2)


@pytest.mark.parametrize("path", ENTRIES)
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_a_probe_gets_a_friendly_page(visitor: Visitor, path: str, method: str) -> None:
    answer = visitor.send(method, path)

    assert answer.status_code == 200
    assert "frame-ancestors *" in answer.headers["Content-Security-Policy"]
    assert method == "HEAD" or "Open this app from Bitrix24" in answer.text


def test_install_registers_the_sender_before_any_browser_script(visitor: Visitor) -> None:
    answer = visitor.open("/install")

    assert answer.status_code == 200
    assert "data-finish" in answer.text
    assert [sender["code"] for sender in visitor.sandbox.senders()] == ["sms"]
    assert visitor.portal.state is PortalState.ACTIVE
    assert visitor.portal.finished_at is not None
    assert accounts.default_of(visitor.portal.id) is None


def test_the_page_may_be_framed_by_the_verified_portal_only(visitor: Visitor) -> None:
    opening = visitor.opening("/install")
    host = opening["query"]["DOMAIN"]
    opening["query"] |= {"DOMAIN": "evil.example.com", "PROTOCOL": "1"}

    answer = visitor.post("/install", opening)

    policy = answer.headers["Content-Security-Policy"]
    assert policy.endswith(f"frame-ancestors http://{host}")
    assert "X-Frame-Options" not in answer.headers


def test_an_employees_page_may_be_framed_by_the_verified_portal_only(admin: Visitor) -> None:
    admin.sandbox.set_user(7, name="Eve", last_name="Example", role="employee")
    opening = admin.opening("/app", user=7)
    host = opening["query"]["DOMAIN"]
    opening["query"] |= {"DOMAIN": "evil.example.com", "PROTOCOL": "1"}

    answer = admin.post("/app", opening)

    assert answer.headers["Content-Security-Policy"].endswith(f"frame-ancestors http://{host}")


def test_installing_twice_changes_nothing(visitor: Visitor) -> None:
    visitor.open("/install")
    first = visitor.portal

    answer = visitor.open("/install")

    assert answer.status_code == 200
    assert visitor.portal.id == first.id
    assert [sender["code"] for sender in visitor.sandbox.senders()] == ["sms"]


def test_the_application_repairs_what_the_installer_left_undone(visitor: Visitor) -> None:
    visitor.sandbox.install()
    visitor.sandbox.finish()

    answer = visitor.open("/app")

    assert answer.status_code == 200
    assert "Set up in a few steps" in answer.text
    assert [sender["code"] for sender in visitor.sandbox.senders()] == ["sms"]


def test_a_sender_that_the_portal_dropped_is_back_after_an_opening(admin: Visitor) -> None:
    admin.sandbox.update()
    assert admin.sandbox.senders() == []

    admin.open("/install")

    assert [sender["code"] for sender in admin.sandbox.senders()] == ["sms"]


@pytest.mark.parametrize("state", [PortalState.RECONNECT, PortalState.PAYMENT, PortalState.GONE])
def test_an_administrators_opening_heals_a_suspended_portal(admin: Visitor, state: PortalState) -> None:
    states.set_state(admin.portal, state, "some reason")

    admin.open("/app")

    assert admin.portal.state is PortalState.ACTIVE


def test_when_the_registration_fails_the_installer_says_so_and_can_be_tried_again(visitor: Visitor) -> None:
    visitor.sandbox.add_fault(
        method="messageservice.sender.add", kind="error", error="insufficient_scope", count=0
    )

    answer = visitor.open("/install")

    assert answer.status_code == 200
    assert "data-finish" not in answer.text
    assert "lacks the right to register SMS providers" in answer.text
    assert "Try again" in answer.text
    again = visitor.submit("/ui/install")
    assert again.status_code == 502
    assert "lacks the right" in again.text
    visitor.sandbox.clear_faults()
    again = visitor.submit("/ui/install")
    assert again.status_code == 200
    assert "data-finish" in again.text


def test_when_the_registration_fails_the_application_opens_with_a_banner(admin: Visitor) -> None:
    admin.sandbox.add_fault(method="messageservice.sender.list", kind="error", error="insufficient_scope")

    answer = admin.open("/app")

    assert answer.status_code == 200
    assert "lacks the right to register SMS providers" in answer.text
    assert "Last checked" in answer.text


# --- who is not let in


def test_an_employee_sees_a_clear_page_and_nothing_is_stored(admin: Visitor) -> None:
    admin.sandbox.set_user(7, name="Eve", last_name="Example", role="employee")
    before = tokens.service(admin.portal.id)

    answer = admin.open("/app", user=7)

    assert answer.status_code == 200
    assert "This app is for administrators" in answer.text
    assert not admin.token
    assert tokens.service(admin.portal.id) == before
    with statement() as connection:
        users = connection.scalars(
            sa.select(credentials.c.user_id).where(credentials.c.portal_id == admin.portal.id)
        ).all()
    assert users == ["1"]


def test_an_employee_of_an_unknown_portal_leaves_no_trace(visitor: Visitor) -> None:
    visitor.sandbox.set_user(7, name="Eve", last_name="Example", role="employee")
    visitor.sandbox.install()
    visitor.sandbox.finish()

    answer = visitor.open("/app", user=7)

    assert "This app is for administrators" in answer.text
    assert portals.by_member(visitor.member_id) is None


def test_a_token_of_another_portal_opens_nothing(visitor: Visitor, stranger: Visitor) -> None:
    opening = visitor.opening("/install")
    opening["form"]["member_id"] = stranger.member_id

    answer = visitor.post("/app", opening)

    _assert_refused(answer)


def test_a_member_id_that_nobody_has_opens_nothing(visitor: Visitor) -> None:
    opening = visitor.opening("/install")
    opening["form"]["member_id"] = "0123456789abcdef0123456789abcdef"

    _assert_refused(visitor.post("/install", opening))
    assert portals.by_member(opening["form"]["member_id"]) is None


def test_an_expired_token_opens_nothing(visitor: Visitor) -> None:
    opening = visitor.opening("/install")
    visitor.sandbox.expire_tokens()

    _assert_refused(visitor.post("/install", opening))


def test_a_token_of_another_application_opens_nothing(visitor: Visitor, sandbox: PortalSandbox) -> None:
    sandbox.register_app("app.other", "another key", "http://127.0.0.1:9")
    opening = visitor.opening("/install")

    _assert_refused(visitor.post("/install", opening))


def test_a_token_that_the_portal_knows_as_another_users_opens_nothing(
    visitor: Visitor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(OpenerCheck, "_profile", lambda *_: {"ID": "99", "ADMIN": True})

    _assert_refused(visitor.open("/install"))


def test_invented_tokens_open_nothing(visitor: Visitor) -> None:
    opening = visitor.opening("/install")
    opening["form"]["AUTH_ID"] = "f" * 70

    _assert_refused(visitor.post("/install", opening))


@pytest.mark.parametrize("missing", ["AUTH_ID", "member_id"])
def test_half_a_form_opens_nothing(visitor: Visitor, missing: str) -> None:
    opening = visitor.opening("/install")
    del opening["form"][missing]

    answer = visitor.post("/install", opening)

    assert answer.status_code == 403
    assert "Open this app from Bitrix24" in answer.text


def _assert_refused(answer: Any) -> None:
    assert answer.status_code == 403
    assert "This page could not be opened" in answer.text
    assert 'name="s"' not in answer.text


@pytest.mark.parametrize("path", ENTRIES)
def test_no_address_out_of_the_request_is_ever_called(
    visitor: Visitor, trap: tuple[str, Trap], path: str
) -> None:
    address, application = trap
    opening = visitor.opening("/install")
    opening["query"] |= {"DOMAIN": address, "PROTOCOL": "0"}
    opening["form"] |= {"SERVER_ENDPOINT": f"http://{address}/rest/", "DOMAIN": address}

    good = visitor.post(path, opening)
    opening["form"]["AUTH_ID"] = "e" * 70
    forged = visitor.post(path, opening)

    assert (good.status_code, forged.status_code) == (200, 403)
    assert visitor.portal.client_endpoint.startswith("http://localhost:")
    assert application.calls == []


@pytest.mark.parametrize("path", ENTRIES)
def test_when_bitrix24_does_not_answer_the_page_says_so(visitor: Visitor, path: str) -> None:
    opening = visitor.opening("/install")
    visitor.sandbox.add_fault(side="auth", method="app.info", kind="html", status=502)

    answer = visitor.post(path, opening)

    assert answer.status_code == 503
    assert "Bitrix24 did not answer, try again" in answer.text


def test_too_long_a_body_is_refused(visitor: Visitor) -> None:
    opening = visitor.opening("/install")
    opening["form"]["PLACEMENT_OPTIONS"] = "x" * 100_000

    assert visitor.post("/install", opening).status_code == 413


# --- the application_token


def test_an_administrators_entry_proves_the_application_token(visitor: Visitor) -> None:
    opening = visitor.opening("/install")

    visitor.post("/install", opening)

    assert _knows(visitor, opening["form"]["APPLICATION_TOKEN"])


def test_an_employees_entry_cannot_change_the_application_token(admin: Visitor) -> None:
    admin.sandbox.set_user(7, name="Eve", last_name="Example", role="employee")
    opening = admin.opening("/app", user=7)
    opening["form"]["APPLICATION_TOKEN"] = "of my own"

    admin.post("/app", opening)

    assert not _knows(admin, "of my own")


def _knows(visitor: Visitor, token: str) -> bool:
    now = visitor.app.extensions["services"].now()
    return portals.knows_application_token(visitor.member_id, token, now=now)


# --- what is sent


@pytest.mark.parametrize(
    ("lang", "language", "direction"), [("en", "en", "ltr"), ("xx", "en", "ltr"), ("ar", "ar", "rtl")]
)
def test_language_and_direction_follow_the_portal(
    admin: Visitor, lang: str, language: str, direction: str
) -> None:
    opening = admin.opening("/app")
    opening["query"]["LANG"] = lang

    answer = admin.post("/app", opening)

    assert f'<html lang="{language}" dir="{direction}" class="light">' in answer.text


def test_no_token_of_bitrix24_reaches_the_page(visitor: Visitor) -> None:
    opening = visitor.opening("/install")

    answer = visitor.post("/install", opening)

    for name in ("AUTH_ID", "REFRESH_ID", "APPLICATION_TOKEN"):
        assert opening["form"][name] not in answer.text
