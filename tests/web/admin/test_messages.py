"""The log's filters, pages and export; a message's links, price and plain words, and its end by hand."""

from __future__ import annotations

import csv
import io
import re
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from app.bitrix.cards import CardKind, binding_of_document, cards_of
from app.domain.messages import Message, Work
from app.domain.prices import Price, parse_price
from app.domain.status import MessageStatus
from app.gateways.adapters import twilio
from app.gateways.adapters.twilio import Twilio
from app.services import services
from app.store.accounts import accounts
from app.store.database import writing
from app.store.messages import messages
from app.store.messages.rows import add_event
from app.store.portals import portals
from app.store.tables import attempts, senders
from app.store.tables import messages as rows
from app.web.admin.parts.log_csv import harmless, written
from app.web.admin.words import codes
from tests.worlds.visitor import Visitor

HOSTILE = "=cmd|' /C calc'!A0\"><script>alert('x')</script>\u202e" + "w" * 300 + "🎉"


def _set(row_id: int, **values: Any) -> None:
    with writing() as connection:
        connection.execute(rows.update().where(rows.c.id == row_id).values(**values))


def _account(admin: Visitor, slug: str = "demo") -> int:
    portal = admin.portal
    connected = accounts.connect(
        portal.id, portal.member_id, slug, label=slug, public={}, secrets={}, now=services().now()
    )
    return connected.id


def _attempt(message: Message, account_id: int, **values: Any) -> None:
    """An attempt as the gateway's answer leaves it."""
    filled = {"number": 1, "gateway": "twilio", "calls": 1, "started_at": services().now(), **values}
    with writing() as connection:
        connection.execute(
            attempts.insert().values(
                message_row_id=message.id, account_id=account_id, reference=f"r{message.id}", **filled
            )
        )


def _shown(admin: Visitor, **filters: str) -> list[int]:
    """The rows of the log's first page."""
    text = admin.get("/ui/messages", query_string=filters).text
    return [int(found) for found in re.findall(r'class="time"><a href="/ui/messages/(\d+)"', text)]


# --- filters


def test_the_log_is_searched_by_any_spelling_of_the_end_of_a_number(admin: Visitor) -> None:
    wanted = admin.message("one", to="+4915112345622").id
    admin.message("two", to="+4915112345699")

    for typed in ("5622", "+49 151 12345622", "0151/12345622", "0049 (151) 123-456-22"):
        assert _shown(admin, q=typed) == [wanted], typed


def test_the_log_is_searched_by_the_portals_id_its_beginning_and_our_number(admin: Visitor) -> None:
    ids = [admin.message("x" * n).id for n in (1, 2)]
    for row_id, message_id in zip(ids, ("65575980fa53aa", "65575980fa53bb"), strict=True):
        _set(row_id, message_id=message_id)

    assert _shown(admin, q="65575980fa53") == ids[::-1]
    assert _shown(admin, q="65575980fa53bb") == ids[1:]
    assert _shown(admin, q=f"#{ids[0]}") == ids[:1]
    assert _shown(admin, q="fa53aa") == []
    assert _shown(admin, q="65575980fa53%") == []


def test_a_period_ends_and_begins_with_the_persons_day(admin: Visitor) -> None:
    zone = ZoneInfo(_zone(admin))
    late = datetime(2026, 3, 1, 23, 59, 59, tzinfo=zone)
    ids = [admin.message("x" * n).id for n in (1, 2, 3)]
    for row_id, at in zip(
        ids, (late, late + timedelta(seconds=1), late + timedelta(days=1, seconds=1)), strict=True
    ):
        _set(row_id, received_at=at)

    one_day = {"period": "custom", "from": "2026-03-02", "to": "2026-03-02"}
    assert _shown(admin, **one_day) == [ids[1]]
    assert _shown(admin, period="custom", **{"from": "2026-03-02"}) == [ids[2], ids[1]]
    assert _shown(admin, period="custom", to="2026-03-01") == [ids[0]]
    assert _shown(admin, period="custom", to="2026-03-02", **{"from": "2026-03-03"}) == [ids[2], ids[1]]
    assert _shown(admin, period="today") == []


def _zone(admin: Visitor) -> str:
    found = re.search(r"in the time zone ([^.]+)\.", admin.get("/ui/messages").text)
    assert found is not None
    return found[1]


@pytest.mark.parametrize(
    ("period", "days", "seen"), [("7", 6, True), ("7", 7, False), ("30", 29, True), ("30", 30, False)]
)
def test_the_last_days_include_today(admin: Visitor, period: str, days: int, seen: bool) -> None:
    message = admin.message()
    _set(message.id, received_at=services().now() - timedelta(days=days))

    assert (_shown(admin, period=period) == [message.id]) == seen


def test_the_log_is_filtered_by_gateway_sender_and_status_together(admin: Visitor) -> None:
    demo, twilio_account = _account(admin), _account(admin, "twilio")
    with writing() as connection:
        connection.execute(
            senders.insert().values(portal_id=admin.portal.id, code="sms_2", name={}, description={})
        )
    wanted, other = admin.message("one").id, admin.message("two").id
    _set(wanted, account_id=demo, sender_code="sms_2", status="failed")
    _set(other, account_id=twilio_account, status="failed")

    assert _shown(admin, gateway="demo") == [wanted]
    assert _shown(admin, gateway="twilio", status="failed") == [other]
    assert _shown(admin, sender="sms_2", status="failed", gateway="demo") == [wanted]
    assert _shown(admin, sender="sms_2", status="sent") == []


def test_the_log_keeps_its_filters_and_clears_them(admin: Visitor) -> None:
    chosen = {"period": "custom", "from": "2026-03-02", "status": "failed", "q": "abc"}

    text = admin.get("/ui/messages", query_string=chosen).text

    assert '<option value="custom" selected>' in text
    assert 'name="status" value="failed" form="filters"' in text
    assert re.search('id="status-failed"[^>]* aria-current="true"', text)
    assert 'name="from" value="2026-03-02"' in text
    assert 'name="q" value="abc"' in text
    assert "No message fits this search" in text
    assert 'hx-get="/ui/messages"' in text


def test_an_empty_log_says_what_to_do(admin: Visitor) -> None:
    text = admin.get("/ui/messages").text

    assert "No messages yet" in text
    assert "/ui/test" in text
    assert "messages for 180" in text


def test_equal_moments_lose_no_row_between_two_pages(admin: Visitor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.web.admin.messages.PAGE_SIZE", 2)
    ids = [admin.message("x" * n).id for n in range(1, 6)]
    for row_id in ids:
        _set(row_id, received_at=services().now(), status="failed")
    seen: list[int] = []
    address = "/ui/messages?status=failed"
    while address:
        text = admin.get(address).text
        seen += [int(found) for found in re.findall(r'class="time"><a href="/ui/messages/(\d+)"', text)]
        older = re.search(r'hx-get="(/ui/messages\?[^"]*after=[^"]*)"', text)
        address = older[1].replace("&amp;", "&") if older else ""

    assert sorted(seen) == ids
    assert seen == sorted(seen, reverse=True)


# --- the CRM


def test_a_message_links_to_its_cards_in_the_portal(admin: Visitor) -> None:
    bound = ({"OWNER_TYPE_ID": "3", "OWNER_ID": "123"}, {"OWNER_TYPE_ID": "2", "OWNER_ID": "77"})
    message = admin.message(bindings=bound)
    host = admin.portal.client_endpoint.removesuffix("/rest/")

    for address in ("/ui/messages", f"/ui/messages/{message.id}"):
        text = admin.get(address).text
        assert f'<a href="{host}/crm/contact/details/123/" target="_blank"' in text
        assert f'<a href="{host}/crm/deal/details/77/" target="_blank"' in text


@pytest.mark.parametrize(
    "binding",
    [
        {"OWNER_TYPE_ID": "14", "OWNER_ID": "5"},
        {"OWNER_TYPE_ID": "3", "OWNER_ID": "../../x"},
        {"OWNER_TYPE_ID": "3"},
        {"OWNER_TYPE_ID": "contact", "OWNER_ID": "5"},
        {"OWNER_TYPE_ID": "0", "OWNER_ID": "5"},
        {"OWNER_TYPE_ID": "²", "OWNER_ID": "5"},
    ],
)
def test_what_is_not_known_gets_no_link(admin: Visitor, binding: dict[str, str]) -> None:
    message = admin.message(bindings=(binding,))

    assert "data-portal" not in admin.get("/ui/messages").text
    assert "data-portal" not in admin.get(f"/ui/messages/{message.id}").text


def test_a_robots_document_is_a_card() -> None:
    documents = ("LEAD_5", "DEAL_77", "CONTACT_1", "COMPANY_2", "QUOTE_3", "SMART_INVOICE_4", "DYNAMIC_130_9")
    bindings = [binding_of_document({"0": "crm", "1": "CCrmDocument", "2": words}) for words in documents]

    cards = cards_of(filter(None, bindings))

    assert [card.kind for card in cards] == list(CardKind)
    assert cards[-1].path == "/crm/type/130/details/9/"
    for odd in ({"0": "lists", "2": "DEAL_77"}, {"0": "crm", "2": "ORDER_7"}, {"0": "crm", "2": {}}, {}):
        assert binding_of_document(odd) is None


def test_an_author_is_linked_when_there_is_one(admin: Visitor) -> None:
    message = admin.message()
    shown = {}
    for author in ("5", "0", "", "x"):
        _set(message.id, author_id=author)
        shown[author] = "/company/personal/user/" in admin.get(f"/ui/messages/{message.id}").text

    assert shown == {"5": True, "0": False, "": False, "x": False}


# --- prices


def test_what_a_message_cost_is_the_sum_of_its_attempts(admin: Visitor) -> None:
    message, account = admin.message(), _account(admin, "twilio")
    _attempt(message, account, cost="-0.00750 USD")
    with writing() as connection:
        connection.execute(attempts.update().values(reference="other"))
    _attempt(message, account, number=2, cost="0.0075 usd")

    assert "$0.015" in admin.get("/ui/messages").text
    assert "$0.015" in admin.get(f"/ui/messages/{message.id}").text


@pytest.mark.parametrize("words", ["", "free", "1,5 EUR", "NaN", "1e9", "1 EURO", "<b>"])
def test_words_that_are_no_price_are_none(words: str) -> None:
    assert parse_price(words) is None


def test_a_price_may_lack_its_currency() -> None:
    found = parse_price(" 12.5 ")
    assert found is not None
    assert (str(found.amount), found.currency) == ("12.5", "")
    assert found == Price(found.amount, "")


# --- the export


def _exported(admin: Visitor, **filters: str) -> list[list[str]]:
    answer = admin.export(**filters)
    assert answer.status_code == 200
    assert answer.mimetype == "text/csv"
    text = answer.data.decode()
    assert text.startswith("\ufeff")
    return list(csv.reader(io.StringIO(text.removeprefix("\ufeff"))))


def test_the_export_has_every_message_of_the_filter_in_full(
    admin: Visitor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.store.bulk.files.AT_ONCE", 2)
    ids = [admin.message("x" * n, to=f"+4915112345{n:03}").id for n in range(1, 6)]
    for row_id in ids[1:]:
        _set(row_id, status="failed", reason="refused")

    header, *found = _exported(admin, status="failed")

    assert header[:3] == ["Time", "Recipient", "Status"]
    assert [int(row[header.index("ID in this app")]) for row in found] == ids[:0:-1]
    assert found[0][1:4] == ["+4915112345005", "Failed", "The gateway refused the message for good"]
    at = datetime.fromisoformat(found[0][0])
    assert at.utcoffset() == at.astimezone(ZoneInfo(_zone(admin))).utcoffset()


def test_the_export_speaks_the_persons_language_and_spreadsheet(admin: Visitor) -> None:
    opening = admin.opening("/app")
    opening["query"]["LANG"] = "de"
    admin.post("/app", opening)
    message = admin.message()
    _attempt(message, _account(admin, "twilio"), cost="0.0075 USD")

    text = admin.export().text

    assert ';"0,0075";"USD";' in text


def test_hostile_cells_are_harmless(admin: Visitor) -> None:
    message = admin.message(HOSTILE, to="@SUM(1+1)")
    _set(message.id, message_id="-2+3\r\nx", sender_code="\t=1")

    header, *found = _exported(admin)

    row = dict(zip(header, found[0], strict=True))
    assert row["Text"] == f"'{HOSTILE}"
    assert row["Recipient"] == "'@SUM(1+1)"
    assert row["ID in Bitrix24"] == "'-2+3\r\nx"
    assert row["Sender"] == "'\t'=1"
    assert len(found) == 1


def test_a_phone_number_is_no_formula() -> None:
    assert harmless("+4915112345678") == "+4915112345678"
    assert harmless("+49151+1") == "'+49151+1"
    assert harmless("+4915112345678\n=1") == "'+4915112345678\n'=1"


@given(st.text(alphabet="=+-@＝＋－＠;,|\t\r\n \"'ax1", max_size=12))
def test_no_cell_begins_a_formula_whatever_separator_a_spreadsheet_goes_by(text: str) -> None:
    assume(not re.fullmatch(r"\+1+", text))  # a phone number is none
    file = written([["first", text, "last"]])

    assert re.search(r"(^|[;,|\t\r\n])[ \"]*[=+\-@＝＋－＠]", file) is None


def test_every_cell_is_quoted(admin: Visitor) -> None:
    admin.message("Hello")

    text = admin.export().data.decode()

    for line in text.removeprefix("\ufeff").splitlines():
        assert line.startswith('"') and line.endswith('"') and '","' in line


def test_another_portals_messages_are_in_no_log_and_no_file(admin: Visitor, stranger: Visitor) -> None:
    message = stranger.message("A secret of another portal", to="+4915112345688")
    searches: list[dict[str, str]] = [{}, {"q": f"#{message.id}"}, {"q": message.message_id}, {"q": "5688"}]

    for filters in searches:
        for text in (admin.get("/ui/messages", query_string=filters).text, admin.export(**filters).text):
            assert "another portal" not in text
            assert "88" not in re.findall(r"\*\*\*(\d\d)", text)
            assert f"/ui/messages/{message.id}" not in text
    assert _shown(stranger, q=f"#{message.id}") == [message.id]


# --- one message


@pytest.mark.parametrize(("found", "status"), [("delivered", "delivered"), ("failed", "failed")])
def test_a_person_says_what_became_of_an_unknown_message(admin: Visitor, found: str, status: str) -> None:
    message = admin.message()
    _set(message.id, status="unknown", work="waiting", reason="unknown")

    shown = admin.get(f"/ui/messages/{message.id}").text
    answer = admin.submit(f"/ui/messages/{message.id}/resolve", found=found)

    after = messages.by_row(admin.portal.id, message.id)
    assert "It arrived" in shown
    assert "It was not sent" in shown
    assert answer.status_code == 200
    assert "An administrator entered the outcome" in answer.text
    assert "It arrived" not in answer.text
    assert after is not None
    assert (after.status.value, after.work) == (status, Work.CLOSED)
    assert after.push_due_at is not None


@pytest.mark.parametrize(
    ("status", "work"),
    [("delivered", "closed"), ("sent", "waiting"), ("queued", "queued"), ("unknown", "submitting")],
)
def test_what_is_known_is_not_resolved_by_hand(admin: Visitor, status: str, work: str) -> None:
    message = admin.message()
    _set(message.id, status=status, work=work)

    shown = admin.get(f"/ui/messages/{message.id}").text
    answer = admin.submit(f"/ui/messages/{message.id}/resolve", found="failed")

    after = messages.by_row(admin.portal.id, message.id)
    assert "It was not sent" not in shown
    assert answer.status_code == 409
    assert "Nothing was changed" in answer.text
    assert after is not None
    assert (after.status.value, after.work.value) == (status, work)


def test_only_the_two_findings_can_be_said(admin: Visitor) -> None:
    message = admin.message()
    _set(message.id, status="unknown", work="waiting")

    assert admin.submit(f"/ui/messages/{message.id}/resolve", found="sent").status_code == 400
    assert admin.submit(f"/ui/messages/{message.id}/resolve").status_code == 400


# What is under the heading for each status, by how far our own work is.
SUMMARIES = {
    (MessageStatus.QUEUED, Work.HELD): "until it is confirmed that it comes from your Bitrix24",
    (MessageStatus.QUEUED, Work.QUEUED): "waits to be handed to the gateway",
    (MessageStatus.QUEUED, Work.SUBMITTING): "is being handed to the gateway",
    (MessageStatus.UNKNOWN, Work.QUEUED): "not known whether the gateway took the message",
    (MessageStatus.UNKNOWN, Work.SUBMITTING): "not known whether the gateway took the message",
    (MessageStatus.UNKNOWN, Work.WAITING): "not known whether the gateway took the message",
    (MessageStatus.SENT, Work.WAITING): "Its delivery report has not come yet",
    (MessageStatus.SENT, Work.CLOSED): "never said whether it arrived",
    (MessageStatus.DELIVERED, Work.CLOSED): "is on the recipient’s phone",
    (MessageStatus.UNDELIVERED, Work.CLOSED): "did not reach the recipient’s phone",
    (MessageStatus.FAILED, Work.CLOSED): "did not reach the recipient’s phone",
}


def test_each_status_and_work_has_the_page_that_fits(admin: Visitor) -> None:
    message = admin.message()
    for (status, work), words in SUMMARIES.items():
        _set(message.id, status=status, work=work)
        text = admin.get(f"/ui/messages/{message.id}").text
        offers_again = work in (Work.WAITING, Work.CLOSED)
        offers_finding = status is MessageStatus.UNKNOWN and work is not Work.SUBMITTING
        assert words in text, (status, work)
        assert ("Send again" in text) == offers_again, (status, work)
        assert ("It was not sent" in text) == offers_finding, (status, work)


@pytest.mark.parametrize(
    ("values", "state", "words"),
    [
        ({"push_tries": 3}, "active", "does not have the status yet"),
        ({"push_tries": 0}, "reconnect", "is not accepting statuses from this app at the moment"),
        ({"push_due_at": None}, "active", "did not get the status"),
    ],
)
def test_a_status_that_is_not_told_is_explained(
    admin: Visitor, values: dict[str, Any], state: str, words: str
) -> None:
    message = admin.message()
    soon = services().now() + timedelta(minutes=5)
    _set(message.id, **{"status": "failed", "work": "closed", "push_due_at": soon, **values})
    with writing() as connection:
        portals_table = rows.metadata.tables["portals"]
        connection.execute(
            portals_table.update().where(portals_table.c.id == admin.portal.id).values(state=state)
        )

    text = admin.get(f"/ui/messages/{message.id}").text

    assert words in text
    assert "not affected" in text


def test_a_status_that_was_told_needs_no_words(admin: Visitor) -> None:
    message = admin.message()
    _set(message.id, status="failed", work="closed", told="failed", told_at=services().now())

    assert "not affected" not in admin.get(f"/ui/messages/{message.id}").text


def test_a_gateways_words_are_explained(admin: Visitor) -> None:
    message = admin.message()
    _attempt(
        message,
        _account(admin, "twilio"),
        outcome="refused",
        code="21610",
        text="Attempt to send to unsubscribed",
    )
    _set(message.id, status="failed", work="closed", reason="refused", reason_text="21610: Attempt to send")

    assert "The recipient has replied STOP" in admin.get(f"/ui/messages/{message.id}").text


def test_every_code_that_an_adapter_knows_is_explained() -> None:
    assert set(twilio._ERRORS.kinds) == set(Twilio.explanations)
    assert all(text.endswith(".") for text in Twilio.explanations.values())


@pytest.mark.parametrize("status", [301, 400, 401, 402, 403, 404, 408, 413, 422, 429, 500, 502, 503, 504])
def test_every_class_of_http_errors_is_explained(web: Any, status: int) -> None:
    with web.test_request_context():
        assert codes.meaning(None, f"HTTP {status}: so it is").endswith(".")
        assert codes.meaning(None, f"The gateway answered HTTP {status}.").endswith(".")


def test_the_character_that_makes_a_text_dear_is_named(admin: Visitor) -> None:
    message = admin.message("Fertig 🎉")
    _set(message.id, encoding="ucs2", segments=1)

    assert (
        '<code class="sign" dir="ltr">🎉</code> is not in the GSM alphabet'
        in admin.get(f"/ui/messages/{message.id}").text
    )


def test_hostile_words_of_everybody_are_shown_as_they_are(admin: Visitor) -> None:
    message = admin.message(HOSTILE, module_id="<b>")
    _set(
        message.id,
        status="failed",
        work="closed",
        reason="refused",
        reason_text=HOSTILE,
        sender_code=HOSTILE[:100],
    )
    _attempt(message, _account(admin, "twilio"), outcome="refused", text=HOSTILE, cost="<script>")
    with writing() as connection:
        add_event(connection, message.id, services().now(), "refused", HOSTILE)

    for address in ("/ui/messages", f"/ui/messages/{message.id}", f"/ui/messages/{message.id}/again"):
        text = admin.get(address).text
        assert "<script>" not in text
        assert "<b>" not in text


def test_from_a_failed_message_to_its_reason_is_one_click(admin: Visitor) -> None:
    message = admin.message()
    _set(message.id, status="failed", work="closed", reason="refused")

    for address in ("/ui/overview", "/ui/messages"):
        assert f'hx-get="/ui/messages/{message.id}"' in admin.get(address).text


# --- what stands in a row


def test_a_row_shows_how_the_text_begins_and_who_sent_it(admin: Visitor) -> None:
    admin.message(
        "Your order 4711 is ready and waits for you at the counter, bring your card", module_id="bizproc"
    )

    log = admin.ask("GET", "/ui/messages").text

    assert "Your order 4711 is ready and waits for you at the counter," in log
    assert "bring your card" not in log
    assert "Automation rule or workflow" in log


def test_texts_that_are_hidden_are_hidden_in_the_list_too(admin: Visitor) -> None:
    admin.message("Your order 4711 is ready")
    portal = admin.portal
    hidden = replace(portal.settings, hide_texts=True)
    portals.save_settings(portal.id, hidden, version=portal.settings_version)

    assert "4711" not in admin.ask("GET", "/ui/messages").text


def test_what_is_often_wanted_is_one_click_away(admin: Visitor) -> None:
    log = admin.ask("GET", "/ui/messages?period=yesterday&status=failed").text

    assert 'aria-current="page">Failed yesterday</a>' in log
    assert "/ui/messages?period=today&amp;status=failed" in log
