"""Who may ask for a page: signed tokens, their renewal, and headers on every answer."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any
from urllib.parse import urlencode

import pytest
from flask import Flask

from app.domain.portals import PortalState
from app.domain.retry import Timing
from app.services import services
from app.store.portals import portals
from app.store.upkeep import installations
from app.web.admin.frame import sessions
from app.web.admin.frame.sessions import Session
from tests.worlds.visitor import Visitor

OPEN = ("ui_static.send", "ui_renew.renew")


def _pages(app: Flask) -> Iterator[tuple[str, str]]:
    """Method and address of every page behind a session, with 1 for every number in it."""
    for rule in app.url_map.iter_rules():
        if rule.rule.startswith("/ui/") and rule.endpoint not in OPEN:
            address = re.sub(r"<[^>]+>", "1", rule.rule)
            yield from ((method, address) for method in rule.methods & {"GET", "POST"})


def _forged(admin: Visitor, **claims: Any) -> str:
    portal = admin.portal
    right = {
        "v": sessions.VERSION,
        "portal": portal.id,
        "member": portal.member_id,
        "user": "1",
        "lang": "en",
        "zone": "",
        "admin": True,
        "epoch": portal.session_epoch,
        "iat": int(time.time()),
    }
    return str(sessions._serializer().dumps({**right, **claims}))


def test_every_page_wants_a_session(admin: Visitor) -> None:
    pages = list(_pages(admin.app))

    answers = {page: admin.ask(*page, token="").status_code for page in pages}

    assert len(pages) >= 12
    assert set(answers.values()) == {401}


@pytest.mark.parametrize(
    "token",
    ["x", "e30.e30", "a.b.c", "Bearer", "é", "." * 50],
    ids=["letter", "unsigned", "three parts", "word", "not ascii", "dots"],
)
def test_junk_is_no_session(admin: Visitor, token: str) -> None:
    assert admin.get("/ui/overview", token=token).status_code == 401


def test_a_changed_token_is_no_session(admin: Visitor) -> None:
    changed = admin.token[:-2] + ("AA" if admin.token[-2:] != "AA" else "BB")

    assert admin.get("/ui/overview", token=changed).status_code == 401


@pytest.mark.parametrize(
    ("claims", "status"),
    [
        ({}, 200),
        ({"iat": int(time.time()) - 16 * 60}, 401),
        ({"v": 0}, 401),
        ({"epoch": 99}, 401),
        ({"portal": 10**9}, 401),
    ],
    ids=["as it should be", "old", "of an older release", "of another epoch", "of an erased portal"],
)
def test_what_a_token_says_must_hold(admin: Visitor, claims: dict[str, Any], status: int) -> None:
    assert admin.get("/ui/overview", token=_forged(admin, **claims)).status_code == status


def test_a_token_signed_with_another_key_is_no_session(admin: Visitor) -> None:
    serializer = sessions._serializer()
    serializer.secret_keys = [b"somebody else's key, long enough for anybody"]

    assert admin.get("/ui/overview", token=str(serializer.dumps({"v": 1}))).status_code == 401


def test_an_older_signing_key_is_still_accepted(
    admin: Visitor, web: Flask, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = services()
    rotated = replace(
        now.config, secret_keys=("a fresh key that is long enough too", *now.config.secret_keys)
    )
    monkeypatch.setitem(web.extensions, "services", replace(now, config=rotated))

    assert admin.get("/ui/overview").status_code == 200
    assert sessions._serializer().secret_keys[-1] == b"a fresh key that is long enough too"


def test_ended_sessions_stay_ended(admin: Visitor) -> None:
    portals.end_sessions(admin.portal.id)

    assert admin.get("/ui/overview").status_code == 401
    assert _renewal(admin).status_code == 401


def test_an_uninstallation_ends_the_sessions(admin: Visitor) -> None:
    now = services().now()
    installations.uninstall(admin.portal, clean=False, now=now, timing=Timing())

    assert admin.portal.state is PortalState.UNINSTALLED
    assert admin.get("/ui/overview").status_code == 401


def test_the_button_ends_all_sessions(admin: Visitor) -> None:
    answer = admin.submit("/ui/settings/end-sessions")

    assert answer.status_code == 200
    assert "All sessions were ended" in answer.text
    assert admin.get("/ui/overview").status_code == 401
    admin.open()
    assert admin.get("/ui/overview").status_code == 200


def test_the_command_ends_all_sessions(admin: Visitor) -> None:
    done = admin.app.test_cli_runner().invoke(args=["portals", "end-sessions", admin.portal.member_id])

    assert done.exit_code == 0
    assert admin.get("/ui/overview").status_code == 401


def test_who_writes_was_proved_within_five_minutes(admin: Visitor) -> None:
    """An administrator who was demoted meanwhile changes nothing: the renewal proves them anew."""
    before = admin.portal.settings_version
    admin.token = _forged(admin, iat=int(time.time()) - 301)

    assert admin.get("/ui/overview").status_code == 200
    writes = [page for page in _pages(admin.app) if page[0] not in ("GET", "HEAD")]
    answers = {page: admin.ask(*page).status_code for page in writes}

    assert set(answers.values()) == {401}, answers
    assert admin.portal.settings_version == before
    admin.sandbox.set_user(1, role="employee")
    assert _renewal(admin).status_code == 403


def test_a_session_is_of_the_portal_whose_name_it_carries(admin: Visitor, stranger: Visitor) -> None:
    """Should a number ever be another portal's, an old token of it opens nothing."""
    admin.token = _forged(admin, member=stranger.portal.member_id)

    assert admin.get("/ui/overview").status_code == 401


@pytest.mark.parametrize("site", ["cross-site", "same-site", "none"])
def test_other_sites_are_refused(admin: Visitor, site: str) -> None:
    headers = {"Sec-Fetch-Site": site}

    answers = {admin.ask(*page, headers=headers).status_code for page in _pages(admin.app)}
    renewal = admin.ask("POST", "/ui/session", headers=headers)

    assert answers == {403}
    assert renewal.status_code == 403


def test_no_preflight_is_answered(admin: Visitor) -> None:
    for _, address in _pages(admin.app):
        answer = admin.send("OPTIONS", address, headers={"Origin": "https://evil.example.com"})
        assert not [name for name, _value in answer.headers if name.startswith("Access-Control")]


# --- renewal


def _renewal(admin: Visitor, *, user: int = 1, **form: str) -> Any:
    fields = admin.sandbox.open(user=user)["fields"]
    given = {name: fields[name] for name in ("member_id", "AUTH_ID", "REFRESH_ID")}
    return admin.submit("/ui/session", **{**given, **form})


def test_an_old_token_is_renewed_with_fresh_access(admin: Visitor) -> None:
    admin.token = _forged(admin, iat=int(time.time()) - 3600, lang="de")

    answer = _renewal(admin)

    assert answer.status_code == 200
    assert admin.get("/ui/overview", token=answer.json["token"]).status_code == 200


def test_the_renewal_wants_the_same_person(admin: Visitor) -> None:
    admin.sandbox.set_user(2, name="Ada", last_name="Second", role="admin")

    assert _renewal(admin, user=2).status_code == 403


def test_the_renewal_wants_the_same_portal(admin: Visitor, stranger: Visitor) -> None:
    stranger_fields = stranger.sandbox.open()["fields"]

    assert _renewal(admin, AUTH_ID=stranger_fields["AUTH_ID"]).status_code == 403
    assert _renewal(admin, **{n: stranger_fields[n] for n in ("AUTH_ID", "member_id")}).status_code == 403


def test_the_renewal_wants_an_administrator_still(admin: Visitor) -> None:
    admin.sandbox.set_user(2, name="Ada", last_name="Second", role="admin")
    admin.open("/app", user=2)
    admin.sandbox.set_user(2, role="employee")

    assert _renewal(admin, user=2).status_code == 403


def test_the_renewal_wants_a_token_of_ours(admin: Visitor) -> None:
    admin.token = "x.y"

    assert _renewal(admin).status_code == 401


def test_the_renewal_says_when_bitrix24_is_silent(admin: Visitor) -> None:
    admin.sandbox.add_fault(side="auth", method="app.info", kind="html", status=502)

    assert _renewal(admin).status_code == 503


# --- what every answer has in common


def _all_answers(admin: Visitor) -> list[Any]:
    """Each page, each entry, errors of all kinds, and a static file."""
    message = admin.message()
    admin.answers.clear()
    pages = [(m, p.replace("/1", f"/{message.id}")) for m, p in _pages(admin.app)]
    for method, address in pages:
        admin.ask(method, address)
        admin.ask(method, address, token="")
    admin.open("/app")
    admin.get("/ui/messages/999999")
    admin.get("/ui/nothing")
    admin.send("GET", "/install")
    admin.send("POST", "/app", data={"member_id": "?"})
    static = re.search(r'src="(/ui/static/[^"]+)"', admin.open("/app").text)
    assert static
    admin.send("GET", static[1])
    return admin.answers


def test_headers_of_every_answer(admin: Visitor) -> None:
    for answer in _all_answers(admin):
        where = f"{answer.request.method} {answer.request.path} {answer.status_code}"
        policy = answer.headers["Content-Security-Policy"]
        assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self';"), where
        assert "unsafe" not in policy, where
        assert "frame-ancestors " in policy, where
        assert "X-Frame-Options" not in answer.headers, where
        assert answer.headers["Referrer-Policy"] == "no-referrer", where
        assert answer.headers["X-Content-Type-Options"] == "nosniff", where
        is_static = "/static/" in answer.request.path
        assert answer.headers["Cache-Control"] == (
            "public, max-age=31536000, immutable" if is_static else "no-store"
        ), where


def test_no_answer_sets_a_cookie(admin: Visitor) -> None:
    for answer in _all_answers(admin):
        assert "Set-Cookie" not in answer.headers, answer.request.path


def test_no_page_has_a_token_or_script_in_an_attribute(admin: Visitor) -> None:
    for answer in _all_answers(admin):
        if "html" not in answer.content_type:
            continue
        addresses = re.findall(r'(?:href|src|action|hx-get|hx-post)="([^"]*)"', answer.text)
        assert not [a for a in addresses if admin.token and admin.token in a]
        assert not re.search(r"\s(style|on\w+)=", re.sub(r">[^<]*<", "><", answer.text)), answer.request.path
        assert "<style" not in answer.text
        assert not re.search(r"<script(?! src=)", answer.text)


def test_the_token_is_in_the_whole_page_only_once(admin: Visitor) -> None:
    answer = admin.open("/app")

    assert answer.text.count(admin.token) == 1
    assert admin.token not in admin.get("/ui/overview").text


def test_a_static_file_with_another_hash_is_not_there(admin: Visitor) -> None:
    assert admin.send("GET", "/ui/static/000000000000/ui.js").status_code == 404
    assert admin.send("GET", "/ui/static/000000000000/../ui.py").status_code == 404


def test_static_files_are_packed_for_those_who_take_it(admin: Visitor) -> None:
    address = re.search(r'src="(/ui/static/[^"]+jssdk[^"]+)"', admin.open("/app").text)
    assert address

    packed = admin.send("GET", address[1], headers={"Accept-Encoding": "gzip, br"})
    plain = admin.send("GET", address[1], headers={"Accept-Encoding": "gzip;q=0"})

    assert packed.headers["Content-Encoding"] == "gzip"
    assert len(packed.data) < len(plain.data) / 2
    assert "Content-Encoding" not in plain.headers


def test_a_session_is_its_portals(admin: Visitor) -> None:
    with admin.app.test_request_context(headers={"Authorization": f"Bearer {admin.token}"}):
        session = sessions.current()

    assert isinstance(session, Session)
    assert session.portal == admin.portal
    assert urlencode({"lang": session.language}) == "lang=en"
