"""What the pages show and do: overview, gateway, test SMS, log, one message."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from flask import Flask

from app.domain.messages import Reason, Work
from app.domain.status import MessageStatus
from app.services import services
from app.store.accounts import accounts
from app.store.database import writing
from app.store.messages import log as message_log
from app.store.messages import messages
from app.store.messages.timeline import timeline
from app.store.portals import portals, states
from app.store.tables import gateway_accounts
from app.store.tables import messages as rows
from app.web.admin.parts.setup_steps import home_country
from app.web.admin.words import messages as words
from tests.worlds.visitor import Visitor

HOSTILE = "\"><script>alert('x')</script><img src=x onerror=alert(1)> & 'quotes'"
CLOSED_PORT = "http://127.0.0.1:9/sms"


def _set(row_id: int, **values: Any) -> None:
    with writing() as connection:
        connection.execute(rows.update().where(rows.c.id == row_id).values(**values))


def _connect_demo(admin: Visitor) -> Any:
    answer = admin.submit("/ui/gateway", **{"gateway": "demo", "set-originator": "DEMO"})
    assert answer.status_code == 200, answer.text
    return answer


def _http(**settings: str) -> dict[str, str]:
    template = json.dumps({"to": "{to}", "text": "{text}"})
    chosen = {"method": "POST", "body": "json", "auth": "none", "template": template}
    given = {"url": CLOSED_PORT, **chosen, **settings}
    return {"gateway": "http", **{f"set-{name}": value for name, value in given.items()}}


# --- overview


def test_the_steps_of_the_set_up_are_done_one_by_one(admin: Visitor) -> None:
    assert "1 of 5 done" in admin.get("/ui/overview").text
    _connect_demo(admin)
    assert "2 of 5 done" in admin.get("/ui/overview").text
    account = accounts.default_of(admin.portal.id)
    assert account is not None
    test = admin.message(origin="test").id
    _set(test, status="delivered", work="closed", account_id=account.id)
    assert "3 of 5 done" in admin.get("/ui/overview").text
    assert "4 of 5 done" in admin.submit("/ui/setup/country", country="DE").text
    admin.message("from the CRM")

    answer = admin.get("/ui/overview")

    assert "Set up in a few steps" not in answer.text
    assert "Connected" in answer.text
    assert admin.portal.settings.default_country == "DE"


def test_a_step_of_the_set_up_is_ticked_only_while_it_holds(admin: Visitor) -> None:
    _connect_demo(admin)
    admin.submit("/ui/setup/country", country="")
    account = accounts.default_of(admin.portal.id)
    assert account is not None
    _set(admin.message().id, status="delivered", work="closed", account_id=account.id)
    assert "Set up in a few steps" not in admin.get("/ui/overview").text

    with writing() as connection:
        connection.execute(
            gateway_accounts.update()
            .where(gateway_accounts.c.id == account.id)
            .values(circuit_open_since=services().now())
        )
    text = admin.get("/ui/overview").text

    assert "3 of 5 done" in text  # neither the gateway nor what was tried through it
    assert "does not work at the moment" in text
    assert admin.portal.settings.default_country == ""


@pytest.mark.parametrize(
    ("spoken", "zone", "country"),
    [
        ("en", "Europe/Berlin", "DE"),
        ("pl", "", "PL"),
        ("br", "", "BR"),
        ("en", "", ""),
        ("la", "UTC", ""),
        ("ar", "Asia/Riyadh", "SA"),
        ("xx", "No/Where", ""),
    ],
)
def test_the_set_up_guesses_the_country_by_zone_and_language(
    web: Flask, spoken: str, zone: str, country: str
) -> None:
    with web.test_request_context():
        assert home_country(spoken, zone) == country


def test_the_overview_counts_and_names_what_did_not_arrive(admin: Visitor) -> None:
    failed = admin.message("one", to="+4915112345601")
    _set(failed.id, status="failed", reason="refused", work="closed")
    admin.message("two")

    text = admin.get("/ui/overview").text

    assert f"/ui/messages/{failed.id}" in text
    assert "The gateway refused the message for good" in text
    assert "+49***01" in text
    assert "+4915112345601" not in text


@pytest.mark.parametrize("state", ["reconnect", "payment", "no_rest", "gone"])
def test_a_portal_that_stands_badly_has_a_banner(admin: Visitor, state: str) -> None:
    states.set_state(admin.portal, portals.PortalState(state))

    text = admin.get("/ui/overview").text

    assert 'class="note bad"' in text
    assert "Messages" in text


def test_register_again_mends_the_portal(admin: Visitor) -> None:
    admin.sandbox.update()

    answer = admin.submit("/ui/sender")

    assert answer.status_code == 200
    assert [sender["code"] for sender in admin.sandbox.senders()] == ["sms"]


def test_register_again_says_what_failed(admin: Visitor) -> None:
    admin.sandbox.configure(rest_allowed=False)

    answer = admin.submit("/ui/sender")

    assert answer.status_code == 502
    assert 'class="note bad"' in answer.text


# --- gateway


def test_every_field_of_every_gateway_is_in_its_form(admin: Visitor) -> None:
    for slug, adapter in services().gateways.adapters.items():
        text = admin.get("/ui/gateway", query_string={"gateway": slug}).text
        for field in adapter.fields:
            assert f'name="set-{field.name}"' in text, f"{slug}.{field.name}"
            assert f'for="set-{field.name}"' in text, f"{slug}.{field.name}"


def test_an_unknown_gateway_is_not_there(admin: Visitor) -> None:
    assert admin.get("/ui/gateway", query_string={"gateway": "nobody"}).status_code == 404
    assert admin.submit("/ui/gateway", gateway="nobody").status_code == 404


def test_save_and_check_connects_and_shows_the_balance(admin: Visitor) -> None:
    answer = _connect_demo(admin)

    account = accounts.default_of(admin.portal.id)
    assert "Saved and connected" in answer.text
    assert account is not None
    assert account.slug == "demo"
    assert account.check is not None
    assert account.check.ok
    assert account.check.balance in answer.text


def test_save_and_check_wakes_the_messages_that_waited_for_it(admin: Visitor) -> None:
    waiting = admin.message()
    _set(waiting.id, reason=Reason.NO_GATEWAY, due_at=waiting.expires_at)

    _connect_demo(admin)

    after = messages.by_row(admin.portal.id, waiting.id)
    assert after is not None
    assert after.due_at is not None
    assert after.due_at <= services().now()


def test_settings_that_fail_are_not_saved_until_somebody_says_so(admin: Visitor) -> None:
    failed = admin.submit("/ui/gateway", **_http())
    nothing = accounts.default_of(admin.portal.id)
    saved = admin.submit("/ui/gateway", **_http(), anyway="1")

    account = accounts.default_of(admin.portal.id)
    assert (failed.status_code, saved.status_code) == (502, 502)
    assert "Not saved: the check failed" in failed.text
    assert "could not be reached" in failed.text
    assert "The gateway’s message" not in failed.text  # nobody was reached, so nobody said anything
    assert "Save anyway" in failed.text
    assert nothing is None
    assert "Saved, but the check failed" in saved.text
    assert account is not None
    assert account.settings["url"] == CLOSED_PORT
    assert "Check failed" in admin.get("/ui/overview").text


def test_an_account_that_works_is_never_replaced_by_one_that_fails(admin: Visitor) -> None:
    _connect_demo(admin)

    admin.submit("/ui/gateway", **_http())

    account = accounts.default_of(admin.portal.id)
    assert account is not None
    assert account.slug == "demo"


def test_invalid_settings_are_marked_and_what_was_typed_is_kept(admin: Visitor) -> None:
    typed = _http(
        url="not an address", template="{broken", originator="Bäckerei <1>", secret="typed-secret-42"
    )

    answer = admin.submit("/ui/gateway", **typed)

    text = answer.text
    assert answer.status_code == 422
    assert accounts.default_of(admin.portal.id) is None
    for name in ("url", "template"):
        assert re.search(
            rf'id="set-{name}"[^>]*aria-invalid="true"[^>]*aria-describedby="set-{name}-err', text
        )
        assert f'id="set-{name}-err"' in text
    assert 'value="not an address"' in text
    assert ">{broken</textarea>" in text
    assert 'value="Bäckerei &lt;1&gt;"' in text
    assert "“Template” is not JSON." in text
    assert "typed-secret-42" not in text
    assert re.search(r'id="set-secret"[^>]*hx-preserve', text)


def test_an_untouched_secret_is_kept_and_never_sent_back(admin: Visitor) -> None:
    secrets = {"secret": "sEcretsEcretsEcretsEcret7777", "headers": json.dumps({"X-Key": "headerKEY123"})}
    admin.submit("/ui/gateway", **_http(**secrets), anyway="1")

    shown = admin.get("/ui/gateway").text
    changed = _http(secret="", headers="", originator="NEW")
    answer = admin.submit("/ui/gateway", **changed, **_shown(admin), anyway="1")

    account = accounts.default_of(admin.portal.id)
    assert account is not None
    assert {name: account.settings[name] for name in secrets} == secrets
    assert account.settings["originator"] == "NEW"
    for text in (shown, answer.text):
        assert secrets["secret"] not in text
        assert "headerKEY123" not in text
    assert "ends in 7777" in shown


def test_a_short_secret_shows_no_end(admin: Visitor) -> None:
    admin.submit("/ui/gateway", **_http(secret="short7777"), anyway="1")

    assert "7777" not in admin.get("/ui/gateway").text


def test_an_unticked_box_is_no(admin: Visitor) -> None:
    admin.submit("/ui/gateway", **_http(idempotent="true"), anyway="1")
    admin.submit("/ui/gateway", **_http(), **_shown(admin), anyway="1")

    account = accounts.default_of(admin.portal.id)
    assert account is not None
    assert account.settings["idempotent"] == "false"


def test_the_report_address_is_shown_when_a_person_has_to_paste_it(admin: Visitor) -> None:
    reports = {"report_status_path": "status", "report_reference_path": "ref"}

    plain = _http(**reports, template='{"to": "{to}", "text": "{text}"}')
    pasted = admin.submit("/ui/gateway", **plain, anyway="1")
    account = accounts.default_of(admin.portal.id)
    assert account is not None
    url = services().report_url(account)
    along = _http(**reports, template='{"to": "{to}", "text": "{text}", "cb": "{report_url}"}')
    given_along = admin.submit("/ui/gateway", **along, **_shown(admin), anyway="1")

    assert url in pasted.text
    assert url not in given_along.text
    assert "nothing to set up" in given_along.text


def test_a_form_that_is_older_than_the_account_saves_and_sends_nothing(admin: Visitor) -> None:
    admin.submit("/ui/gateway", **_http(secret="first-secret"), anyway="1")
    stale = _shown(admin)
    admin.submit("/ui/gateway", **_http(secret="second-secret", originator="NEW"), **stale, anyway="1")

    answer = admin.submit("/ui/gateway", **_http(originator="OLD"), **stale, anyway="1")

    account = accounts.default_of(admin.portal.id)
    assert answer.status_code == 409
    assert "changed meanwhile" in answer.text
    assert f'name="version" value="{account.version}"' in answer.text if account else False
    assert account is not None
    assert (account.settings["originator"], account.settings["secret"]) == ("NEW", "second-secret")


def test_another_login_begins_a_new_account_and_the_old_one_still_hears_its_reports(admin: Visitor) -> None:
    admin.submit("/ui/gateway", **_http(user="alice", secret="s"), anyway="1")
    before = accounts.default_of(admin.portal.id)
    renewed = admin.submit("/ui/gateway", **_http(user="alice", secret="t"), **_shown(admin), anyway="1")
    same = accounts.default_of(admin.portal.id)
    changed = _http(user="bob", secret="u")
    admin.submit("/ui/gateway", **changed, **_shown(admin), anyway="1")
    after = accounts.default_of(admin.portal.id)

    assert before is not None and same is not None and after is not None
    assert renewed.status_code == 502
    assert same.id == before.id  # a new key is the same account
    assert after.id != before.id
    old = accounts.by_report_secret("http", before.report_secret)
    assert old is not None
    assert (old.id, old.settings["user"], old.is_default) == (before.id, "alice", False)
    assert [account.id for account in accounts.of_portal(admin.portal.id)] == [after.id]


def test_several_gateways_are_kept_and_one_of_them_sends(admin: Visitor) -> None:
    admin.submit("/ui/gateway", **_http(), anyway="1")
    _connect_demo(admin)
    page = admin.get("/ui/gateway").text
    other = next(a for a in accounts.of_portal(admin.portal.id) if a.slug == "http")

    admin.submit("/ui/gateway/default", account=str(other.id))

    assert "Your gateways" in page
    sends = accounts.default_of(admin.portal.id)
    assert sends is not None
    assert sends.id == other.id


def test_a_gateway_is_removed_after_a_question(admin: Visitor) -> None:
    _connect_demo(admin)
    account = accounts.default_of(admin.portal.id)
    assert account is not None

    question = admin.get(f"/ui/gateway/remove?account={account.id}")
    admin.submit("/ui/gateway/remove", account=str(account.id), version=str(account.version))

    assert "No message goes out until you choose another one" in question.text
    assert accounts.default_of(admin.portal.id) is None
    assert "Choose a gateway" in admin.get("/ui/gateway").text


def test_cards_are_found_by_name_country_and_need_and_the_trial_is_last(admin: Visitor) -> None:
    everything = _cards(admin.get("/ui/gateway/new").text)

    assert everything[-1] == "demo"
    assert len(everything) >= 20
    assert "seven" in _cards(admin.get("/ui/gateway/new?q=germany").text)
    assert _cards(admin.get("/ui/gateway/new?q=kannel").text) == ["kannel"]
    assert "by their HTTP interface" in admin.get("/ui/gateway/new?q=zzz").text


def test_while_a_trial_is_connected_every_page_says_so_and_the_step_stays_open(admin: Visitor) -> None:
    _connect_demo(admin)

    with marked_trial():
        pages = {path: admin.get(path).text for path in _PAGES}
    for path in _PAGES:
        assert "Test mode: no SMS leaves this app" in pages[path], path
    assert "Connect a gateway" in pages["/ui/overview"]


_PAGES = ("/ui/overview", "/ui/gateway", "/ui/test", "/ui/messages", "/ui/settings")


@contextmanager
def marked_trial() -> Iterator[None]:
    """As an instance is unless its operator says otherwise; the tests' own tells what the digits say."""
    config = services().config
    object.__setattr__(config, "demo_gateway", "marked")
    yield
    object.__setattr__(config, "demo_gateway", "full")


def test_nothing_is_chosen_on_a_fresh_portal(admin: Visitor) -> None:
    page = admin.get("/ui/gateway").text

    assert "Choose a gateway" in page
    assert "gateway-form" not in page


def test_the_exact_request_is_shown_without_its_secrets(admin: Visitor) -> None:
    typed = _http(auth="bearer", secret="canary-of-the-form", headers='{"X-Key": "canary-in-a-header"}')

    shown = admin.submit("/ui/gateway/request", **typed).text

    assert "POST" in shown and CLOSED_PORT in shown
    assert "+4915112345678" in shown
    assert "Bearer *****" in shown
    assert "canary" not in shown


def test_a_sample_report_is_read_and_changes_nothing(admin: Visitor) -> None:
    typed = _http(report_status_path="status", report_id_path="id", id_path="id")

    known = admin.submit("/ui/gateway/sample", **typed, sample='{"id": "77", "status": "DELIVRD"}').text
    unknown = admin.submit("/ui/gateway/sample", **typed, sample="?id=77&status=TELEPORTED").text
    junk = admin.submit("/ui/gateway/sample", **typed, sample="hello").text

    assert "Delivered" in known and "77" in known
    assert "Unknown word" in unknown and "TELEPORTED" in unknown
    assert "No report can be read" in junk


def test_an_example_fills_the_form_and_says_what_is_left(admin: Visitor) -> None:
    curl = (
        "curl -X POST https://api.example.com/v1/sms -H 'Authorization: Bearer canary-key' "
        """-d '{"to": "+4915112345678", "text": "Hi", "sender": "ACME"}'"""
    )

    page = admin.submit("/ui/gateway/example", example=curl).text
    wrong = admin.submit("/ui/gateway/example", example="hello")

    assert 'value="https://api.example.com/v1/sms"' in page
    assert "{to}" in page and "{text}" in page
    assert "Enter your key or password as the secret" in page
    assert "canary-key" not in page
    assert wrong.status_code == 422
    assert "no address" in wrong.text


def _cards(page: str) -> list[str]:
    return re.findall(r'href="/ui/gateway\?gateway=([a-z0-9_]+)', page)


def _shown(admin: Visitor) -> dict[str, str]:
    """What the form of the account that sends carries."""
    page = admin.get("/ui/gateway").text
    return {name: re.findall(rf'name="{name}" value="([0-9]+)"', page)[0] for name in ("account", "version")}


# --- test SMS


def test_a_test_sms_is_a_real_message(admin: Visitor) -> None:
    _connect_demo(admin)

    answer = admin.submit("/ui/test", number="+49 151 12345678", text="Grüße")

    (message,) = message_log.page(admin.portal.id, limit=5)
    assert answer.status_code == 200
    assert message.origin == "test"
    assert message.message_id.startswith("test-")
    assert message.recipient == "+4915112345678"
    assert message.text == "Grüße"
    assert f"/ui/test/{message.id}?seen=1" in answer.text


def test_the_timeline_of_a_test_sms_is_polled_until_the_end(admin: Visitor) -> None:
    _connect_demo(admin)
    admin.submit("/ui/test", number="+4915112345678", text="Hello")
    (message,) = message_log.page(admin.portal.id, limit=5)

    same = admin.get(f"/ui/test/{message.id}?seen=1")
    services().engine.perform("submit", message.portal_id)
    taken = admin.get(f"/ui/test/{message.id}?seen=1")
    _set(message.id, status=MessageStatus.DELIVERED, work=Work.CLOSED)
    done = admin.get(f"/ui/test/{message.id}?seen={len(timeline(message))}")

    assert (same.status_code, same.data) == (204, b"")
    assert "Taken by the gateway" in taken.text
    assert "hx-trigger" in taken.text
    assert done.status_code == 200
    assert "hx-trigger" not in done.text
    assert "The message is on the recipient’s phone." in done.text


@pytest.mark.parametrize(
    ("number", "text", "complaint"),
    [
        ("", "Hello", "Write the phone number"),
        ("12", "Hello", "too short"),
        ("call me", "Hello", "has letters"),
        ("+4915112345678", "", "Write a text"),
        ("+4915112345678", "x" * 1001, "longer than 1000"),
    ],
)
def test_a_test_sms_that_cannot_be_sent_is_explained(
    admin: Visitor, number: str, text: str, complaint: str
) -> None:
    _connect_demo(admin)

    answer = admin.submit("/ui/test", number=number, text=text)

    assert answer.status_code == 422
    assert complaint in answer.text
    assert 'aria-invalid="true"' in answer.text
    assert message_log.page(admin.portal.id, limit=5) == []


def test_the_measure_names_the_character_that_makes_it_dear(admin: Visitor) -> None:
    plain = admin.submit("/ui/test/measure", text="Hello").text
    dear = admin.submit("/ui/test/measure", text="Hello 🎉 " + "x" * 80).text

    assert "1 segment, 5 of 160" in plain
    assert "2 segments" in dear
    assert "🎉" in dear


def test_without_a_gateway_the_test_page_leads_to_it(admin: Visitor) -> None:
    assert "Connect a gateway first" in admin.get("/ui/test").text


# --- log and message


def test_the_log_is_newest_first_masked_and_filtered(admin: Visitor) -> None:
    old = admin.message("old", to="+4915112345611")
    new = admin.message("newer", to="+4915112345622")
    _set(old.id, status="failed", work="closed")

    everything = admin.get("/ui/messages").text
    failed = admin.get("/ui/messages?status=failed").text
    by_number = admin.get("/ui/messages?q=5622").text
    nothing = admin.get("/ui/messages?q=999").text

    assert everything.index(f"/ui/messages/{new.id}") < everything.index(f"/ui/messages/{old.id}")
    assert "+4915112345622" not in everything
    assert "+49***22" in everything
    assert f"/ui/messages/{new.id}" not in failed
    assert f"/ui/messages/{old.id}" in failed
    assert f"/ui/messages/{new.id}" in by_number
    assert f"/ui/messages/{old.id}" not in by_number
    assert "No message fits this search" in nothing


def test_the_log_is_turned_page_by_page(admin: Visitor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.web.admin.messages.PAGE_SIZE", 2)
    ids = [admin.message("x" * n).id for n in range(1, 6)]
    seen: list[int] = []
    address = "/ui/messages"
    while address:
        text = admin.get(address).text
        seen += [int(found) for found in re.findall(r'<a href="/ui/messages/(\d+)"', text)]
        older = re.search(r'hx-get="(/ui/messages\?after=\d+-\d+)"', text)
        address = older[1] if older else ""

    assert seen == ids[::-1]


@pytest.mark.parametrize(
    "odd", ["after=x", "after=-1-1", "after=" + "9" * 30, "status=nothing", "q=%00", "q=%23" + "9" * 30]
)
def test_odd_questions_to_the_log_are_answered(admin: Visitor, odd: str) -> None:
    assert admin.get(f"/ui/messages?{odd}").status_code == 200


def test_a_message_of_an_absurd_number_is_not_there(admin: Visitor) -> None:
    answer = admin.get("/ui/messages/" + "9" * 30)

    assert answer.status_code == 404
    assert "There is no such page" in answer.text


def test_hostile_texts_are_shown_as_they_are(admin: Visitor) -> None:
    message = admin.message(HOSTILE, to=HOSTILE[:60], module_id="<b>")
    _set(message.id, status="failed", work="closed", reason="refused", reason_text=HOSTILE)

    shown = [admin.get(a).text for a in (f"/ui/messages/{message.id}", "/ui/messages", "/ui/overview")]
    again = admin.get(f"/ui/messages/{message.id}/again").text

    for text in (*shown, again):
        assert "<script>" not in text
        assert "<img" not in text
    assert "&lt;script&gt;alert(&#39;x&#39;)&lt;/script&gt;" in shown[0]


def test_the_page_of_a_message_tells_its_whole_way(admin: Visitor) -> None:
    _connect_demo(admin)
    message = admin.message("Hello", to="+4915112345603")
    services().engine.perform("submit", message.portal_id)

    text = admin.get(f"/ui/messages/{message.id}").text

    assert "+4915112345603" in text
    assert "Handed to the gateway" in text
    assert "Refused by the gateway" in text
    assert "The gateway refused the message for good" in text
    assert "This number does not exist." in text


def test_a_failed_message_is_sent_again_after_a_question(admin: Visitor) -> None:
    message = admin.message()
    _set(message.id, status="failed", work="closed", reason="refused", due_at=None)

    question = admin.get(f"/ui/messages/{message.id}/again")
    unchanged = messages.by_row(admin.portal.id, message.id)
    answer = admin.submit(f"/ui/messages/{message.id}/again")

    after = messages.by_row(admin.portal.id, message.id)
    assert "Send this message again?" in question.text
    assert 'name="sure"' not in question.text
    assert unchanged is not None
    assert unchanged.status is MessageStatus.FAILED
    assert answer.status_code == 200
    assert after is not None
    assert (after.status, after.work, after.is_resend) == (MessageStatus.QUEUED, Work.QUEUED, True)


@pytest.mark.parametrize(
    ("status", "work", "reason"),
    [
        ("unknown", "closed", "unknown"),
        ("failed", "closed", "unknown"),
        ("failed", "closed", "dead_letter"),
        ("sent", "closed", "no_report"),
        ("sent", "waiting", ""),
        ("delivered", "closed", ""),
    ],
)
def test_what_may_arrive_twice_wants_a_word(admin: Visitor, status: str, work: str, reason: str) -> None:
    message = admin.message()
    _set(message.id, status=status, work=work, reason=reason, due_at=None)

    refused = admin.submit(f"/ui/messages/{message.id}/again")
    unchanged = messages.by_row(admin.portal.id, message.id)
    done = admin.submit(f"/ui/messages/{message.id}/again", sure="true")

    assert refused.status_code == 422
    assert "may get the message twice" in refused.text
    assert unchanged is not None
    assert unchanged.status.value == status
    assert done.status_code == 200


@pytest.mark.parametrize(
    ("status", "work", "reason"),
    [
        ("queued", "queued", ""),
        ("queued", "submitting", ""),
        ("failed", "closed", "not_verified"),
        ("failed", "closed", "uninstalled"),
        ("failed", "closed", "bad_number"),
    ],
)
def test_what_must_not_be_sent_again_is_not(admin: Visitor, status: str, work: str, reason: str) -> None:
    message = admin.message()
    _set(message.id, status=status, work=work, reason=reason)

    question = admin.get(f"/ui/messages/{message.id}/again")
    answer = admin.submit(f"/ui/messages/{message.id}/again", sure="true")

    after = messages.by_row(admin.portal.id, message.id)
    assert (question.status_code, answer.status_code) == (409, 409)
    assert "Send again" not in admin.get(f"/ui/messages/{message.id}").text
    assert after is not None
    assert (after.status.value, after.work.value) == (status, work)


def test_another_portals_message_is_not_there(admin: Visitor, stranger: Visitor) -> None:
    message = stranger.message()
    rules = [rule for rule in admin.app.url_map.iter_rules() if "row_id" in rule.arguments]

    for rule in rules:
        address = re.sub(r"<[^>]+>", str(message.id), rule.rule)
        for method in rule.methods & {"GET", "POST"}:
            answer = admin.ask(method, address, data={"sure": "true"} if method == "POST" else None)
            assert answer.status_code == 404, f"{method} {address}"
            assert message.text not in answer.text
    assert len(rules) >= 4
    assert stranger.get(f"/ui/messages/{message.id}").status_code == 200


def test_every_reason_has_its_words() -> None:
    assert set(Reason) - {Reason.NONE} == set(words._REASONS)


def test_every_state_has_a_page(admin: Visitor) -> None:
    message = admin.message()
    for status in MessageStatus:
        for work in Work:
            _set(message.id, status=status, work=work)
            answer = admin.get(f"/ui/messages/{message.id}")
            assert answer.status_code == 200, (status, work)
            assert words.STATUS_LABELS[status] in answer.text, (status, work)


def test_every_reason_is_explained_on_the_page(admin: Visitor) -> None:
    message = admin.message()
    for reason in [*Reason, "of_a_later_release"]:
        _set(message.id, status="failed", work="closed", reason=reason)
        text = admin.get(f"/ui/messages/{message.id}").text
        assert ('class="note bad"' in text) == (reason != Reason.NONE), reason
