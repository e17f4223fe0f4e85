"""Help and diagnostics: every failing link says what to do, and the report holds no secret."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import sqlalchemy as sa

from app.domain.portals import PortalState
from app.domain.rest_calls import RestCall
from app.gateways.adapters.demo import Demo
from app.services import services
from app.store import job_runs
from app.store.accounts import accounts
from app.store.database import db, utcnow, writing
from app.store.portals import portals, rest_log, tokens, turns
from app.store.portals import states as portal_states
from app.store.tables import (
    attempts,
    credentials,
    gateway_accounts,
    message_events,
    messages,
    parts,
    rest_calls,
)
from app.store.tables import portals as portal_rows
from app.store.tables import senders as sender_rows
from tests.worlds import stopped
from tests.worlds.visitor import Visitor

NUMBER = "+4915112345678"
KEY = "sEcretKEY7f3a9c"


def _rows(page: str) -> dict[str, str]:
    """The chain as a person reads it: link -> everything in its row."""
    [table] = re.findall(r"<tbody>(.*?)</tbody>", page, re.DOTALL)[:1]
    rows = re.findall(r"<tr>(.*?)</tr>", table, re.DOTALL)
    texts = [html.unescape(re.sub(r"<[^>]+>|\s+", " ", row)).split() for row in rows]
    titles = re.findall(r'class="strong">([^<]*)</td>', table)
    return {html.unescape(title): " ".join(words) for title, words in zip(titles, texts, strict=True)}


def _report(page: str) -> str:
    [found] = re.findall(r'<textarea[^>]*id="report"[^>]*>(.*?)</textarea>', page, re.DOTALL)
    return html.unescape(found)


def _all_well(admin: Visitor) -> Any:
    admin.submit("/ui/gateway", **{"gateway": "demo", "set-originator": "DEMO"})
    message = admin.message(to=NUMBER)
    services().engine.perform("submit", message.portal_id)
    turns.note_pushed(admin.portal.id, utcnow())
    account = accounts.default_of(admin.portal.id)
    assert account is not None
    with writing() as connection:
        connection.execute(gateway_accounts.update().values(last_report_at=utcnow()))
    _sweep()
    return message


def _sweep() -> None:
    now = utcnow()
    with writing() as connection:
        connection.execute(sa.text("DELETE FROM job_runs WHERE name = 'sweep'"))
    assert job_runs.claim("sweep", now=now, every_s=0, lease_s=0)


def test_where_all_is_well_every_link_says_so(admin: Visitor) -> None:
    _all_well(admin)

    rows = _rows(admin.get("/ui/help").text)

    assert len(rows) == 10
    states = "Works", "Complete", "Works", "1 of 1", "4 of 4", "Received", "Connected", "Received"
    for (title, row), state in zip(rows.items(), states, strict=False):
        assert f"{title} {state}" in row


def _engine_down(admin: Visitor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(services().engine, "pending", lambda: None)


def _worker_down(admin: Visitor, monkeypatch: pytest.MonkeyPatch) -> None:
    with writing() as connection:
        connection.execute(sa.text("DELETE FROM job_runs WHERE name = 'sweep'"))


def _state(admin: Visitor, monkeypatch: pytest.MonkeyPatch) -> None:
    portal_states.set_state(admin.portal, PortalState.PAYMENT)


def _broken_tokens(admin: Visitor, monkeypatch: pytest.MonkeyPatch) -> None:
    credential = tokens.service(admin.portal.id)
    assert credential is not None
    tokens.mark_broken(credential, "INVALID_GRANT", now=utcnow())


def _no_sender(admin: Visitor, monkeypatch: pytest.MonkeyPatch) -> None:
    with writing() as connection:
        connection.execute(sa.text("UPDATE senders SET told_hash = '', registered_at = NULL"))


def _refused_event(admin: Visitor, monkeypatch: pytest.MonkeyPatch) -> None:
    admin.sandbox.add_fault(method="event.bind", error="ERROR_EVENT_NOT_FOUND", count=1)
    admin.sandbox.update(all_handlers=True)
    assert admin.submit("/ui/sender").status_code == 200


def _stopped(admin: Visitor, monkeypatch: pytest.MonkeyPatch) -> None:
    account = accounts.default_of(admin.portal.id)
    assert account is not None
    stopped.stop(account, "", probe_at=utcnow(), now=utcnow())


def _no_report(admin: Visitor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Demo, "capabilities", replace(Demo.capabilities, reports="callback"))
    with writing() as connection:
        connection.execute(gateway_accounts.update().values(last_report_at=None))


def _much(admin: Visitor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.web.admin.help.MANY_WAITING", 0)


@pytest.mark.parametrize(
    ("breaks", "link", "advice"),
    [
        (_engine_down, "This app’s server", "still sent, only more slowly"),
        (_worker_down, "This app’s server", "not sent until it works again"),
        (_state, "Installation in Bitrix24", "Renew the subscription"),
        (_broken_tokens, "Access to Bitrix24", "Open this app as an administrator"),
        (_no_sender, "Senders registered", "Open the senders"),
        (_refused_event, "Bitrix24 events subscribed", "checks once a day"),
        (_stopped, "SMS gateway", "save and check"),
        (_no_report, "Last delivery report", "set up its address"),
        (_much, "On their way now", "unless a campaign is running"),
    ],
)
def test_a_link_that_fails_says_what_to_do(
    admin: Visitor, monkeypatch: pytest.MonkeyPatch, breaks: Any, link: str, advice: str
) -> None:
    _all_well(admin)

    before = _rows(admin.get("/ui/help").text)[link]
    breaks(admin, monkeypatch)
    after = _rows(admin.get("/ui/help").text)[link]

    assert advice not in before
    assert advice in after


def test_the_first_steps_say_what_comes_next(admin: Visitor) -> None:
    rows = _rows(admin.get("/ui/help").text)

    assert "choose this app as the provider" in rows["Last message from Bitrix24"]
    assert "Not connected" in rows["SMS gateway"]
    assert "None yet" in rows["Last status sent to Bitrix24"]


@pytest.mark.parametrize(
    ("method", "code", "words"),
    [
        ("scope", "EXPIRED_TOKEN", "was renewed"),
        ("oauth.token", "INVALID_GRANT", "refused an administrator’s rights"),
        ("scope", "ACCESS_DENIED", "refused an administrator’s rights"),
        ("scope", "NOANSWER", "did not answer or was busy"),
        ("scope", "HTTP_502", "did not answer or was busy"),
        ("scope", "QUERY_LIMIT_EXCEEDED", "did not answer or was busy"),
        ("scope", "INSUFFICIENT_SCOPE", "A right is missing"),
        ("batch", "ERROR_MESSAGE_NOT_FOUND, ACCESS_DENIED", "did not know the message"),
        ("scope", "ERROR_CORE", "refused the call for good"),
        ("scope", "NEVER_SEEN", "does not know. Send the report"),
    ],
)
def test_an_error_of_the_portal_is_told_in_plain_words(
    admin: Visitor, method: str, code: str, words: str
) -> None:
    rest_log.add(admin.portal.id, RestCall(method, "{}", 400, code, "", 1), at=utcnow())

    page = admin.get("/ui/help").text

    assert words in html.unescape(page)
    assert code in page


def _reached(admin: Visitor, monkeypatch: pytest.MonkeyPatch, contact: str, page: str = "/ui/help") -> str:
    """Where the button leads that sends the report."""
    monkeypatch.setitem(vars(services().config), "support_contact", contact)
    found = re.search(r'<a class="btn primary" href="([^"]*)"[^>]*data-copy="report"', admin.get(page).text)
    return html.unescape(found[1]) if found else ""


def test_one_click_sends_the_report_to_the_support(admin: Visitor, monkeypatch: pytest.MonkeyPatch) -> None:
    message = admin.message(to=NUMBER)

    nowhere = _reached(admin, monkeypatch, "")
    page = _reached(admin, monkeypatch, "https://example.com/help")
    mail = _reached(admin, monkeypatch, "help@example.com")
    about = _reached(admin, monkeypatch, "help@example.com", f"/ui/help/messages/{message.id}")

    assert (nowhere, page) == ("", "https://example.com/help")
    assert mail.startswith("mailto:help@example.com?subject=")
    body = parse_qs(urlsplit(mail).query)["body"][0]
    assert "report of: " in body
    assert "clipboard" in body or "backlog: " in body  # all of it, or where the rest is
    assert len(mail) < 2_000  # some mail programs cut longer ones
    assert f"#{message.id}" in parse_qs(urlsplit(about).query)["subject"][0]


def test_what_the_operator_looks_at_is_in_the_report_and_not_on_the_page(admin: Visitor) -> None:
    page = admin.get("/ui/help").text
    report = _report(page)

    assert "server: schema 0" in report
    assert "worker: " in report
    for word in ("schema", "engine", "Worker", "database"):
        assert word not in _text_beside_the_report(page)


def test_an_error_that_comes_again_and_again_is_told_once_with_its_messages(admin: Visitor) -> None:
    mine, gone = admin.message(to=NUMBER), 10**15
    answer = json.dumps(
        {
            "result": {
                "result": [],
                "result_error": {
                    f"m_{mine.id}": {"error": "ERROR_MESSAGE_NOT_FOUND"},
                    f"m_{gone}": {"error": "ERROR_MESSAGE_NOT_FOUND"},
                },
            }
        }
    )
    for _ in range(12):
        rest_log.add(
            admin.portal.id, RestCall("batch", "{}", 200, "ERROR_MESSAGE_NOT_FOUND", answer, 1), at=utcnow()
        )
    told = RestCall("messageservice.message.status.update", '{"MESSAGE_ID": "m1"}', 400, "ODD", "", 1)
    rest_log.add(admin.portal.id, told, at=utcnow())

    page = admin.get("/ui/help").text

    assert page.count("did not know the message") == 1
    assert re.search(r'class="num">12<', page)
    assert f'href="/ui/messages/{mine.id}"' in page
    assert str(gone) not in _text_beside_the_report(page)
    assert 'href="/ui/messages?q=m1&amp;how=id"' in page


def test_an_error_names_no_message_of_another_portal(admin: Visitor, stranger: Visitor) -> None:
    foreign = stranger.message(to=NUMBER)
    answer = f'{{"result": {{"result_error": {{"m_{foreign.id}": {{"error": "ODD"}}}}}}}}'
    rest_log.add(admin.portal.id, RestCall("batch", "{}", 200, "ODD", answer, 1), at=utcnow())

    assert f"/ui/messages/{foreign.id}" not in admin.get("/ui/help").text


def _text_beside_the_report(page: str) -> str:
    return re.sub(r"<textarea.*?</textarea>", "", page, flags=re.DOTALL)


# --- the report

# What a report shows by design; every other text of a portal's rows must not be in it.
_SHOWN = {
    "portals": {"member_id", "domain", "state", "app_version"},
    "senders": {"code", "originator"},
    "gateway_accounts": {"slug"},
    "messages": {"message_id", "origin", "status", "reason", "work", "encoding", "told", "sender_code"},
    "attempts": {"gateway", "reference", "outcome"},
    "parts": {"gateway_message_id"},
    "message_events": {"event"},
    "rest_calls": {"method"},
}
# What our own code must be able to read, and what is sealed: checked in the clear below.
_LEFT_ALONE = {
    "portals": {
        "handler_secret",
        "handler_hash",
        "application_token_hash",
        "client_endpoint",
        "oauth_server",
    },
    "credentials": {"access_token", "refresh_token", "user_id"},
    "gateway_accounts": {"secrets", "report_secret", "report_hash", "check_text"},
    "messages": {"recipient", "author_token", "held_token"},
    "attempts": {"exchanges"},
    "parts": {"status"},
}
_TABLES = (
    portal_rows,
    credentials,
    sender_rows,
    gateway_accounts,
    messages,
    attempts,
    parts,
    message_events,
    rest_calls,
)


def _canaries() -> Iterator[str]:
    """Fill every text that is not shown by design with a word that would be recognised."""
    with writing() as connection:
        for table in _TABLES:
            known = _SHOWN.get(table.name, set()) | _LEFT_ALONE.get(table.name, set())
            for column in table.columns:
                if column.name in known or not isinstance(column.type, sa.String) or column.foreign_keys:
                    continue
                canary = f"Canary of {column.name}"[: column.type.length or 60]
                connection.execute(table.update().values({column: canary}))
                yield canary


@pytest.fixture
def telltale(admin: Visitor) -> Iterator[Any]:
    """A message with a whole story, in rows full of canaries; afterwards nothing of it is left."""
    settings = {"auth": "none", "url": "http://127.0.0.1:9/sms", "method": "POST", "body": "json"}
    secrets = {
        "secret": KEY,
        "headers": f'{{"X-Key": "{KEY}"}}',
        "template": '{"to": "{to}", "text": "{text}"}',
    }
    admin.submit(
        "/ui/gateway",
        gateway="http",
        anyway="1",
        **{f"set-{name}": text for name, text in {**settings, **secrets}.items()},
    )
    admin.submit("/ui/senders/new", originator=NUMBER, name="Name of a sender")
    message = admin.message("The text of the message", to=NUMBER)
    services().engine.perform("submit", message.portal_id)
    rest_log.add(admin.portal.id, RestCall("scope", "{}", 400, "ODD", "", 1), at=utcnow())
    yield message
    db.session.remove()


def test_a_report_holds_no_secret_no_text_and_no_number(admin: Visitor, telltale: Any) -> None:
    handler_secret = portals.handler_secret(admin.portal.id)
    account = accounts.default_of(admin.portal.id)
    credential = tokens.service(admin.portal.id)
    assert account is not None
    assert credential is not None
    assert account.settings["secret"] == KEY
    in_the_clear = [
        handler_secret,
        account.report_secret,
        credential.tokens.access_token,
        credential.tokens.refresh_token,
        KEY,
        NUMBER.removeprefix("+"),
        "The text of the message",
        services().config.client_secret,
        *services().config.secret_keys,
        *services().config.encryption_keys,
    ]
    canaries = list(_canaries())

    reports = [
        _report(admin.get("/ui/help").text),
        _report(admin.get(f"/ui/help/messages/{telltale.id}").text),
    ]

    assert len(canaries) > 25
    for report in reports:
        assert admin.member_id in report
        assert [secret for secret in in_the_clear if secret in report] == []
        assert [canary for canary in canaries if canary in report] == []
    assert "attempt 1: http" in reports[1]
    assert "+49***78" in reports[1]


@pytest.mark.parametrize("planted", [KEY, NUMBER, NUMBER.removeprefix("+")])
def test_even_a_code_of_the_gateway_that_repeats_a_secret_is_left_out(
    admin: Visitor, telltale: Any, planted: str
) -> None:
    with writing() as connection:
        connection.execute(attempts.update().values(code=planted))
        connection.execute(rest_calls.update().values(error=planted))
        connection.execute(sender_rows.update().values(error=f"{planted}: words"))

    reports = [_report(admin.get(page).text) for page in ("/ui/help", f"/ui/help/messages/{telltale.id}")]

    assert [planted.removeprefix("+") in report for report in reports] == [False, False]


def test_a_report_is_shown_only_to_its_own_portal(admin: Visitor, stranger: Visitor) -> None:
    message = admin.message(to=NUMBER)

    assert admin.get(f"/ui/help/messages/{message.id}").status_code == 200
    assert stranger.get(f"/ui/help/messages/{message.id}").status_code == 404
    assert admin.member_id not in stranger.get("/ui/help").text
