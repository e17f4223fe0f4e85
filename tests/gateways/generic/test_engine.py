"""The engine of the generic gateway: what goes out, in which charset and shape, and what is asked."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from app.domain.outcomes import Accepted, RefusalKind, Refused, Unknown
from app.domain.status import MessageStatus
from app.gateways import explanations as why
from app.gateways.base import SettingsInvalid, Submitted
from app.gateways.generic.gateway import format_number
from app.gateways.generic.presets import FOLDER, PresetInvalid, load_presets, preset_of
from app.transport import HttpAnswer
from tests.worlds.gateways import MESSAGE, Recorded, json_answer, make

_TAKEN = json_answer({"id": "7"})


def _sent(text: str = "Hello", **settings: str) -> dict[str, Any]:
    http = Recorded(_TAKEN)
    outcome = make("http", http, **settings).submit(replace(MESSAGE, text=text))
    assert isinstance(outcome, Accepted), outcome
    return http.calls[0]


_FORM = json.dumps({"to": "{to}", "text": "{text}"})


@pytest.mark.parametrize(
    ("charset", "text", "expected"),
    [
        ("windows-1251", "Привет", b"text=%CF%F0%E8%E2%E5%F2"),
        ("iso-8859-9", "ğış", b"text=%F0%FD%FE"),
        ("utf-16-be", "Hi", b"text=%00H%00i"),
    ],
)
def test_form_is_written_in_the_charset_that_is_wanted(charset: str, text: str, expected: bytes) -> None:
    call = _sent(text, body="form", charset=charset, template=_FORM)

    assert expected in call["data"]
    assert charset in call["headers"]["Content-Type"]


def test_query_is_written_in_the_charset_that_is_wanted() -> None:
    call = _sent("Привет", body="query", method="GET", charset="windows-1251", template=_FORM)

    assert call["url"].endswith("text=%CF%F0%E8%E2%E5%F2")
    assert call["params"] is None


def test_character_that_the_charset_lacks_refuses_the_message_and_replaces_nothing() -> None:
    http = Recorded(_TAKEN)
    gateway = make("http", http, body="form", charset="windows-1251", template=_FORM)

    outcome = gateway.submit(replace(MESSAGE, text="Hi 👋"))

    assert isinstance(outcome, Refused)
    assert (outcome.kind, outcome.code) == (RefusalKind.PERMANENT, "charset")
    assert http.calls == []


def test_xml_is_escaped_and_may_have_any_character() -> None:
    call = _sent(
        '<b> & "q" 👋',
        body="xml",
        charset="iso-8859-1",
        body_text='<sms to="{to}"><text>{text}</text></sms>',
    )

    assert call["data"] == (
        b'<sms to="+14155552345"><text>&lt;b&gt; &amp; &quot;q&quot; &#128075;</text></sms>'
    )
    assert call["headers"]["Content-Type"] == "application/xml; charset=iso-8859-1"


def test_any_other_text_is_sent_as_it_is_written() -> None:
    call = _sent('say "hi"', body="raw", body_text='{"to":"{to}","text":"{text|json}"}')

    assert json.loads(call["data"]) == {"to": "+14155552345", "text": 'say "hi"'}


@pytest.mark.parametrize(
    ("how", "expected"),
    [
        ("e164", "+4915112345678"),
        ("digits", "4915112345678"),
        ("00", "004915112345678"),
        ("national", "15112345678"),
    ],
)
def test_numbers_are_written_as_the_gateway_wants_them(how: str, expected: str) -> None:
    assert format_number("+4915112345678", how) == expected


@pytest.mark.parametrize(
    ("template", "text", "expected"),
    [
        ("{text|hexucs2}", "Aж", "00410436"),
        ("{text|base64}", "Hi", "SGk="),
        ("{validity_s|minutes}", "x", "60"),
        ("{validity_s|milliseconds}", "x", "3600000"),
        ("{segments|number}", "x", 1),
    ],
)
def test_filters_change_a_value(template: str, text: str, expected: object) -> None:
    call = _sent(text, template=json.dumps({"to": "{to}", "t": "{text}", "x": template}))

    assert call["json"]["x"] == expected


@pytest.mark.parametrize("way", ["header", "query"])
def test_key_goes_into_a_header_or_the_query_of_its_own(way: str) -> None:
    call = _sent(auth=way, auth_name="X-Api-Key", secret="s 1", headers="{}")

    if way == "header":
        assert call["headers"]["X-Api-Key"] == "s 1"
    else:
        assert call["url"].endswith("?X-Api-Key=s+1")


def _outcome(body: str, kind: str = "text/plain", status: int = 200, **settings: str) -> Any:
    answer = HttpAnswer(status, {"Content-Type": kind}, body.encode())
    return make("http", Recorded(answer), **settings).submit(MESSAGE)


@pytest.mark.parametrize(
    ("body", "path", "found"),
    [
        ("OK: 12345", "words.1", "12345"),
        ("id=12345&status=ok", "id", "12345"),
        ("<?xml version='1.0'?><r><m id='12345'>x</m></r>", "r.m.@id", "12345"),
        ('{"sms": {"4915": {"sms_id": "12345"}}}', "sms.*.sms_id", "12345"),
        ('{"data": {"a": ""}, "id": 12345}', "data.a|id", "12345"),
    ],
)
def test_id_is_found_in_every_shape_of_answer(body: str, path: str, found: str) -> None:
    assert _outcome(body, id_path=path) == Accepted((found,))


def test_each_part_of_a_long_text_has_its_own_id() -> None:
    outcome = _outcome('{"messages": [{"id": 1}, {"id": 2}]}', id_path="messages.[].id")

    assert outcome == Accepted(("1", "2"))


def test_document_type_in_an_answer_expands_nothing() -> None:
    bomb = '<!DOCTYPE r [<!ENTITY a "aaaaaaaaaa">]><r><id>&a;</id></r>'

    assert isinstance(_outcome(bomb, "text/xml", id_path="r.id"), Unknown)


@pytest.mark.parametrize(
    ("body", "taken"),
    [("OK 1", True), ("ACCEPTED", True), ("QUEUE FULL", False), ("<html>Maintenance", None), ("", None)],
)
def test_words_of_success_tell_yes_from_no_from_nobody_knows(body: str, taken: bool | None) -> None:
    outcome = _outcome(body, success_values="OK,ACCEPTED", id_path="", report_id_path="")

    wanted = {True: Accepted, False: Refused, None: Unknown}[taken]
    assert isinstance(outcome, wanted)


def test_id_beside_an_error_that_no_map_has_leaves_it_unknown() -> None:
    outcome = _outcome('{"id": "7", "error": {"code": 99}}', "application/json", error_map="{}")

    assert isinstance(outcome, Unknown)


def test_price_and_segments_are_kept() -> None:
    paths = {"cost_path": "price", "currency_path": "cur", "segments_path": "parts"}

    outcome = _outcome('{"id": "7", "price": 0.05, "cur": "EUR", "parts": 2}', "application/json", **paths)

    assert outcome == Accepted(("7",), MessageStatus.SENT, 2, "0.05 EUR")


def test_asked_gateway_is_asked_by_its_id_and_number() -> None:
    http = Recorded(json_answer({"messages": [{"id": "8"}, {"id": "7", "state": "UNDELIV"}]}))
    gateway = make(
        "http",
        http,
        poll_url="https://gateway.example/v1/messages/{id}?to={to_digits}",
        poll_items_path="messages",
        poll_id_path="id",
        poll_status_path="state",
    )

    (report,) = gateway.poll([Submitted("7", "+4915112345678")])

    assert http.calls[0]["url"] == "https://gateway.example/v1/messages/7?to=4915112345678"
    assert (report.status, report.gateway_message_id) == ("undelivered", "7")
    assert gateway.active_capabilities.reports == "both"


# --- presets


def test_preset_that_says_what_nobody_knows_stops_the_start() -> None:
    (seven,) = [one for one in load_presets() if one.slug == "seven"]
    about = getattr(seven, "about", {})
    good = {
        "slug": "acme",
        "title": "Acme",
        "needs": "A key",
        "docs_url": "https://acme.example/",
        "fields": [{"name": "key", "label": "Key", "kind": "secret"}],
        "plan": {"url": "https://acme.example/", "template": {"to": "{to}", "text": "{text}", "k": "{key}"}},
        "about": about,
    }

    assert preset_of(good).slug == "acme"
    plan = good["plan"]
    for wrong in (
        {"plan": {**plan, "colour": "red"}},
        {"plan": {**plan, "template": {"to": "{typo}"}}},
        {"plan": {**plan, "template": {"to": "{to|typo}"}}},
        {"plan": {**plan, "status_map": {"OK": "arrived"}}},
        {"fields": [{"name": "to", "label": "To"}]},
        {"about": {}},
        {"colour": "red"},
    ):
        with pytest.raises(PresetInvalid):
            preset_of({**good, **wrong})


# --- letters


def test_text_in_latin_letters_is_sent_and_counted_as_such() -> None:
    http = Recorded(_TAKEN)
    template = json.dumps({"to": "{to}", "text": "{text}", "parts": "{segments}", "kind": "{encoding}"})
    gateway = make("http", http, text_transform="latin", template=template)
    written = replace(MESSAGE, text="Привет, " * 12, encoding="ucs2", segments=2)

    outcome = gateway.submit(written)

    assert http.calls[0]["json"] == {
        "to": MESSAGE.recipient,
        "text": "Privet, " * 12,
        "parts": "1",
        "kind": "gsm7",
    }
    assert outcome == Accepted(("7",), segments=1)


def test_text_goes_out_as_it_was_written_where_nothing_else_is_chosen() -> None:
    assert _sent("Привет")["json"]["text"] == "Привет"


@pytest.mark.parametrize("listed", ["nonsense", "192.0.2.300", "192.0.2.0/40", "192.0.2.1 or so"])
def test_only_addresses_can_be_listed(listed: str) -> None:
    with pytest.raises(SettingsInvalid) as caught:
        make("http", None, report_addresses=listed)

    assert list(caught.value.errors) == ["report_addresses"]


# --- shared explanations


def test_preset_names_a_sentence_that_is_translated_already() -> None:
    data = json.loads((FOLDER / "elks.json").read_text(encoding="utf-8"))

    named = preset_of({**data, "explanations": {"1": "NO_MONEY", "2": "A sentence of its own."}})

    assert named.explanations == {"1": why.NO_MONEY, "2": "A sentence of its own."}
    with pytest.raises(PresetInvalid, match="NO_SUCH"):
        preset_of({**data, "explanations": {"1": "NO_SUCH"}})
