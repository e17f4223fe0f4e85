"""The activity log: no deed of the pages without its row, and each portal sees its own."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable
from typing import Any

import pytest

from app.domain.audit import KINDS, Action, Actor, Who
from app.services import services
from app.store import audit
from app.store.accounts import accounts
from app.store.audit import Entry
from app.store.bulk import jobs
from app.store.database import writing
from app.store.messages import messages
from app.store.portals import portals, senders
from app.store.tables import messages as rows
from app.web.admin.words import audit as words
from tests.worlds.visitor import Visitor

NUMBER = "+4915112345678"
HTTP = {"gateway": "http", "anyway": "true", "set-url": "http://127.0.0.1:9/sms", "set-auth": "bearer"}
CHANGES_NOTHING = {
    "ui_gateway_tools.show_request": "shows what would be sent",
    "ui_gateway_tools.try_report": "reads a pasted report",
    "ui_gateway_tools.use_example": "fills a form",
    "ui_test.measure_text": "counts characters",
    "ui_settings.compare": "shows what a file would change",
    "ui_settings.test_notice": "tells the person who asks, and nobody else",
    "ui_messages.choose_columns": "is about what this person alone sees",
    "ui_renew.renew": "proves the person anew",
}


def _set(row_id: int, **values: Any) -> None:
    with writing() as connection:
        connection.execute(rows.update().where(rows.c.id == row_id).values(**values))


def _a_sender(admin: Visitor) -> str:
    texts: dict[str, Any] = {"originator": "ACME", "name": {}, "description": {}}
    return senders.add(admin.portal.id, **texts, now=services().now())


def _an_account(admin: Visitor) -> dict[str, str]:
    assert admin.submit("/ui/gateway", **{"gateway": "demo", "set-originator": "DEMO"}).status_code == 200
    account = accounts.default_of(admin.portal.id)
    assert account is not None
    return {"account": str(account.id), "version": str(account.version)}


def _ended(admin: Visitor, **values: Any) -> int:
    row_id = admin.message("Hello", NUMBER).id
    _set(row_id, **values)
    return row_id


def _settings(admin: Visitor) -> Any:
    form = {"version": "1", "text_days": "5", "row_days": "180", "which_countries": "all"}
    return admin.submit("/ui/settings", **form)


def _send_again(admin: Visitor) -> Any:
    row_id = _ended(admin, status="failed", work="closed", reason="refused", due_at=None)
    return admin.submit(f"/ui/messages/{row_id}/again")


def _resolve(admin: Visitor) -> Any:
    row_id = _ended(admin, status="unknown", work="waiting", reason="unknown")
    return admin.submit(f"/ui/messages/{row_id}/resolve", found="failed")


def _export_messages(admin: Visitor) -> Any:
    return admin.submit("/ui/bulk", deed="export", key="e", q="15112345678")


def _fetch_export(admin: Visitor) -> Any:
    return admin.export()


def _a_bulk_job(admin: Visitor) -> str:
    row_id = _ended(admin, status="failed", work="closed", reason="refused", due_at=None)
    admin.submit("/ui/bulk", deed="again", key="k", row=[str(row_id)])
    job = jobs.of_key(admin.portal.id, "k")
    assert job is not None
    return f"/ui/bulk/{job.id}"


def _start_bulk(admin: Visitor) -> Any:
    return admin.submit(f"{_a_bulk_job(admin)}/start")


def _stop_bulk(admin: Visitor) -> Any:
    job = _a_bulk_job(admin)
    admin.submit(f"{job}/start")
    return admin.submit(f"{job}/stop")


# What a person does, by the endpoint that does it -> what has to be written down.
DEEDS: dict[str, tuple[Action, Callable[[Visitor], Any]]] = {
    "ui_overview.register_again": (Action.SENDERS_REGISTERED, lambda admin: admin.submit("/ui/sender")),
    "ui_overview.retry_install": (Action.SENDERS_REGISTERED, lambda admin: admin.submit("/ui/install")),
    "ui_senders.register_again": (Action.SENDERS_REGISTERED, lambda admin: admin.submit("/ui/senders")),
    "ui_senders.renew_address": (
        Action.ADDRESS_RENEWED,
        lambda admin: admin.submit("/ui/senders/renew-address"),
    ),
    "ui_senders.add": (
        Action.SENDER_ADDED,
        lambda admin: admin.submit("/ui/senders/new", originator="NEW"),
    ),
    "ui_senders.change": (
        Action.SENDER_CHANGED,
        lambda admin: admin.submit(f"/ui/senders/{_a_sender(admin)}", originator="OTHER"),
    ),
    "ui_senders.remove": (
        Action.SENDER_REMOVED,
        lambda admin: admin.submit(f"/ui/senders/{_a_sender(admin)}/remove"),
    ),
    "ui_gateway.save_and_check": (
        Action.GATEWAY_CONNECTED,
        lambda admin: admin.submit("/ui/gateway", **{"gateway": "demo", "set-originator": "DEMO"}),
    ),
    "ui_gateway.renew_report_address": (
        Action.ADDRESS_RENEWED,
        lambda admin: (_an_account(admin), admin.submit("/ui/gateway/renew-address"))[1],
    ),
    "ui_gateway.make_default": (
        Action.GATEWAY_CHOSEN,
        lambda admin: admin.submit("/ui/gateway/default", account=_an_account(admin)["account"]),
    ),
    "ui_gateway.remove": (
        Action.GATEWAY_REMOVED,
        lambda admin: admin.submit("/ui/gateway/remove", **_an_account(admin)),
    ),
    "ui_test.send": (
        Action.MESSAGE_TESTED,
        lambda admin: admin.submit("/ui/test", number=NUMBER, text="Hello"),
    ),
    "ui_messages.send_again": (Action.MESSAGE_SENT_AGAIN, _send_again),
    "ui_messages.resolve": (Action.MESSAGE_RESOLVED, _resolve),
    "ui_settings.save": (Action.SETTINGS_CHANGED, _settings),
    "ui_overview.choose_country": (
        Action.SETTINGS_CHANGED,
        lambda admin: admin.submit("/ui/setup/country", country="DE"),
    ),
    "ui_settings.end_sessions": (
        Action.SESSIONS_ENDED,
        lambda admin: admin.submit("/ui/settings/end-sessions"),
    ),
    "ui_messages.cancel": (
        Action.MESSAGE_ENDED,
        lambda admin: admin.submit(f"/ui/messages/{admin.message('Hello', NUMBER).id}/cancel"),
    ),
    "ui_bulk.ask": (Action.MESSAGES_EXPORTED, _export_messages),
    "ui_bulk.start": (Action.BULK_STARTED, _start_bulk),
    "ui_bulk.stop": (Action.BULK_STOPPED, _stop_bulk),
    # What shows or gives away something is a GET.
    "ui_bulk.download": (Action.EXPORT_FETCHED, _fetch_export),
    "ui_messages.show_message": (
        Action.NUMBER_SHOWN,
        lambda admin: admin.get(f"/ui/messages/{admin.message('Hello', NUMBER).id}"),
    ),
    "ui_messages.show_numbers": (
        Action.NUMBER_SHOWN,
        lambda admin: admin.submit("/ui/messages/numbers", show="true"),
    ),
    "ui_settings.export": (Action.SETTINGS_EXPORTED, lambda admin: admin.get("/ui/settings.json")),
    "ui_statistics.export": (
        Action.STATISTICS_EXPORTED,
        lambda admin: admin.get("/ui/statistics/days.csv"),
    ),
    "ui_audit.export": (Action.LOG_EXPORTED, lambda admin: admin.get("/ui/activity.csv")),
}


def newest(admin: Visitor, action: str = "") -> Entry:
    return audit.of_portal(admin.portal.id, audit.Filters(action=action), limit=1)[0]


def test_every_route_that_changes_something_is_among_the_deeds_below(admin: Visitor) -> None:
    posts = {
        rule.endpoint
        for rule in admin.app.url_map.iter_rules()
        if rule.rule.startswith("/ui/") and "POST" in (rule.methods or ())
    }

    files = {
        rule.endpoint
        for rule in admin.app.url_map.iter_rules()
        if rule.rule.startswith("/ui/") and rule.rule.endswith((".csv", ".json", "/file"))
    }

    assert posts - set(CHANGES_NOTHING) - set(DEEDS) == set(), "say in DEEDS what they write down"
    assert files - set(DEEDS) == set(), "what gives away a file is written down"


@pytest.mark.parametrize("endpoint", sorted(DEEDS))
def test_no_deed_of_a_page_is_without_its_row(admin: Visitor, endpoint: str) -> None:
    action, do = DEEDS[endpoint]

    answer = do(admin)

    assert answer.status_code == 200, answer.text
    row = newest(admin, action)
    assert (row.who, row.name, row.address) == (Who.USER, "1", "127.0.0.1")
    assert row.member_id == admin.member_id


def test_an_installation_is_its_administrators_doing(admin: Visitor) -> None:
    row = newest(admin, Action.PORTAL_INSTALLED)

    assert (row.who, row.name) == (Who.USER, "1")
    assert row.after["domain"] == admin.portal.domain


# --- what a row says


def test_only_what_changed_is_kept_before_and_after(admin: Visitor) -> None:
    _settings(admin)

    row = newest(admin)

    assert (row.before["text_days"], row.after["text_days"]) == (30, 5)
    assert "row_days" not in row.before | row.after


def test_a_secret_shows_that_it_is_another_and_nothing_else(admin: Visitor) -> None:
    for secret in ("K7-the-first-canary", "K8-the-second-canary"):
        account = accounts.default_of(admin.portal.id)
        base = {"account": str(account.id), "version": str(account.version)} if account else {}
        template = {"set-template": '{"to": "{to}", "text": "{text}"}', "set-method": "POST"}
        secrets = {"set-secret": secret, "set-headers": f'{{"X-Mine": "{secret}"}}'}
        answer = admin.submit("/ui/gateway", **HTTP, **template, **base, **secrets)
        assert accounts.default_of(admin.portal.id) is not None, answer.text

    row, text = newest(admin, "gateway"), admin.get("/ui/activity").text

    assert row.action == Action.GATEWAY_CHANGED
    for name in ("secret", "headers"):
        assert row.before[name] == "***"
        assert row.after[name].startswith("***")
    assert "canary" not in text + str(row)


def test_numbers_are_shortened_everywhere(admin: Visitor) -> None:
    for _, do in (DEEDS[name] for name in ("ui_messages.send_again", "ui_test.send", "ui_bulk.ask")):
        do(admin)

    text = admin.get("/ui/activity").text + admin.get("/ui/activity.csv").text

    assert "+49***78" in text
    assert "12345678" not in text


def test_looking_twice_leaves_one_row(admin: Visitor) -> None:
    row_id = admin.message("Hello", NUMBER).id
    for _ in range(3):
        admin.get(f"/ui/messages/{row_id}")

    assert len(audit.of_portal(admin.portal.id, audit.Filters(action="data"), limit=9)) == 1


def test_what_was_not_done_is_not_written_down(admin: Visitor) -> None:
    before = audit.of_portal(admin.portal.id, limit=99)

    assert admin.submit("/ui/settings", version="7", text_days="5", row_days="180").status_code in (409, 422)
    assert admin.submit("/ui/gateway/remove", account="1", version="99999").status_code in (200, 404)
    assert admin.submit("/ui/test", number="no number", text="Hello").status_code == 422

    assert audit.of_portal(admin.portal.id, limit=99) == before


# --- who may see it


def test_the_page_and_the_file_show_the_own_portals_rows_only(admin: Visitor, stranger: Visitor) -> None:
    _a_sender(stranger)
    admin.submit("/ui/senders/new", originator="MINE")

    page, file = admin.get("/ui/activity").text, admin.get("/ui/activity.csv").text

    for text in (page, file):
        assert "MINE" in text
        assert "ACME" not in text
    newest_line = next(csv.DictReader(io.StringIO(file.lstrip("\ufeff"))))
    assert newest_line["What"] == "Activity log exported"


def test_an_employee_sees_nothing_of_it(admin: Visitor) -> None:
    settings = {"version": "1", "text_days": "30", "row_days": "180", "which_countries": "all"}
    admin.submit("/ui/settings", **settings, employees_see_log="true")

    admin.open("/app", user=5)

    assert admin.get("/ui/messages").status_code == 200
    assert admin.get("/ui/activity").status_code == 403
    assert admin.get("/ui/activity.csv").status_code == 403


def test_the_operators_account_is_nothing_for_a_customer(admin: Visitor) -> None:
    with audit.acting_as(Actor(Who.OPERATOR, "root@secret-machine")):
        portals.end_sessions(admin.portal.id)
    admin.open("/app")

    text = admin.get("/ui/activity").text

    assert "Operator of this server" in text
    assert "secret-machine" not in text


def test_a_bulk_action_is_told_in_words_and_leads_to_its_page(admin: Visitor) -> None:
    job = _a_bulk_job(admin)
    admin.submit(f"{job}/start")

    row = admin.get("/ui/activity").text

    assert f'href="{job}"' in row and f">#{job.rpartition('/')[2]}</a>" in row
    assert "What: <bdi>Send again</bdi>" in row and "Messages: <bdi>1</bdi>" in row
    assert "May arrive twice: <bdi>No</bdi>" in row
    assert "deed" not in row and "may_arrive_twice" not in row


def test_pages_are_turned_and_narrowed(admin: Visitor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.web.admin.audit.PAGE_SIZE", 2)
    for number in range(3):
        admin.submit("/ui/senders/new", originator=f"N{number}")

    first = admin.get("/ui/activity", query_string={"what": "sender"}).text
    last = audit.of_portal(admin.portal.id, audit.Filters(action="sender"), limit=2)[-1].id
    second = admin.get("/ui/activity", query_string={"what": "sender", "before": str(last)}).text

    assert "N2" in first
    assert "N0" not in first
    assert "N0" in second
    assert "Settings saved" not in admin.get("/ui/activity", query_string={"what": "sender"}).text


def test_every_action_and_kind_has_its_words() -> None:
    assert set(words.ACTIONS) == set(Action)
    assert set(words._KINDS) == set(KINDS)


# --- where from


@pytest.mark.parametrize(
    ("peer", "said", "address"),
    [
        ("203.0.113.9", "198.51.100.7", "203.0.113.9"),  # nobody of ours: it may say what it likes
        ("127.0.0.1", "198.51.100.7", "198.51.100.7"),
        ("10.0.0.2", "192.0.2.66, 198.51.100.7, 10.0.0.3", "198.51.100.7"),
        ("10.0.0.2", "", "10.0.0.2"),
        ("10.0.0.2", "<script>", "10.0.0.2"),
        ("10.0.0.2", "10.1.1.1", "10.1.1.1"),
    ],
)
def test_the_address_is_what_our_own_proxies_say(admin: Visitor, peer: str, said: str, address: str) -> None:
    headers = {"X-Forwarded-For": said} if said else {}

    admin.ask("POST", "/ui/sender", headers=headers, environ_base={"REMOTE_ADDR": peer})

    assert newest(admin, Action.SENDERS_REGISTERED).address == address


def test_a_request_is_not_taken_for_the_one_before_it(admin: Visitor) -> None:
    """A thread serves many people: without its own word each request is the application's."""
    client = admin.app.test_client(use_cookies=False)
    audit.act_as(Actor(Who.USER, "777"))

    client.get("/healthz")

    assert not audit.is_a_person()
    assert messages.backlog(admin.portal.id) is not None
