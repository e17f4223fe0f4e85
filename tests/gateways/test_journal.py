"""Calls as an administrator may see them: nothing of the messages, the account or a person is in them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote_plus, urlencode

import pytest

from app.gateways.base import Context, Field, Gateway, Outgoing
from app.gateways.journal import KEPT_CHARACTERS, Call, Redaction, called
from app.transport import HttpAnswer, NoAnswer

TEXT = "Ваш код: 4711 & <ждём> вас\nзавтра"
NUMBER = "+4915112345678"
SECRET = "k3y-that-nobody-sees"


class Acme(Gateway):
    slug = "acme"
    fields = (Field("key", "Key", "secret"), Field("url", "Address"))


def _redaction(text: str = TEXT) -> Redaction:
    gateway = Acme({"key": SECRET, "url": "https://acme.example"}, Context(http=None))  # type: ignore[arg-type]
    message = Outgoing("ref-1", NUMBER, text, "SHOP", "https://us/reports/acme/s3cr3t/ref-1", "ucs2", 1, 60)
    return Redaction(gateway, [message])


def _answer(body: Any, status: int = 200) -> HttpAnswer:
    text = body if isinstance(body, str) else json.dumps(body)
    return HttpAnswer(status, {"content-type": "application/json"}, text.encode())


FORM = {"to": NUMBER[1:], "text": TEXT, "api": SECRET, "ref": "ref-1"}
BODIES: Mapping[str, Mapping[str, Any]] = {
    "json": {"json": {"messages": [{"to": NUMBER, "content": {"text": TEXT}}], "auth": {"k": SECRET}}},
    "form": {"data": FORM},
    "encoded form": {"data": urlencode(FORM).encode()},
    "query": {"params": FORM},
    "xml": {"data": f"<sms to='00{NUMBER[1:]}'><t>{TEXT.replace('&', '&amp;')}</t>{SECRET}</sms>".encode()},
    "json as bytes": {"data": json.dumps({"phone": "015112345678", "t": TEXT, "k": SECRET}).encode()},
    "inside of other words": {"json": {"line": f"{NUMBER}|{TEXT}|{SECRET}", "number": int(NUMBER[1:])}},
    "quoted": {"data": f"raw:{quote_plus(TEXT)}:{quote_plus(NUMBER)}".encode()},
}


@pytest.mark.parametrize("name", BODIES)
def test_nothing_of_the_message_or_the_account_is_shown(name: str) -> None:
    echo = {"received": {"to": NUMBER, "body": TEXT}, "key": SECRET, "error": "The sender is not allowed"}
    call = Call(
        "POST", f"https://acme.example/{SECRET}/sms?to={NUMBER}", BODIES[name], _answer(echo), "", 0.25
    )

    shown = _redaction().written_down(call)

    everything = f"{shown.url} {shown.asked} {shown.answered}"
    for hidden in ("4711", "ждём", "завтра", "15112345678", "5112345678", SECRET, quote_plus("ждём")):
        assert hidden not in everything, (hidden, everything)
    assert "The sender is not allowed" in shown.answered
    assert (shown.http_status, shown.took_ms) == (200, 250)


def test_a_short_text_is_hidden_where_it_stands_alone() -> None:
    shown = _redaction("Hi").written_down(
        Call(
            "POST", "https://acme.example", {"json": {"t": "Hi", "high": "Higher"}}, _answer({"ok": 1}), "", 0
        )
    )

    assert json.loads(shown.asked) == {"t": "***", "high": "Higher"}
    raw = Call("POST", "https://acme.example", {"data": b"<t>Hi</t>"}, None, "no answer", 0)
    assert "Hi" not in _redaction("Hi").written_down(raw).asked


def test_what_is_asked_can_still_be_understood() -> None:
    asked = {"json": {"to": NUMBER, "from": "SHOP", "reference": "ref-1", "text": TEXT}}

    shown = _redaction().written_down(Call("POST", "https://acme.example/v1", asked, _answer({}), "", 0))

    assert json.loads(shown.asked) == {
        "to": "+49***78",
        "from": "SHOP",
        "reference": "ref-1",
        "text": "***",
    }


def test_a_call_is_bounded_and_an_answer_that_is_none_says_why() -> None:
    asked = {"json": {"list": ["word"] * 5000}}
    made: list[Call] = []

    def silent(*_: Any, **__: Any) -> HttpAnswer:
        raise NoAnswer("no complete answer came in time")

    with pytest.raises(NoAnswer):
        called(silent, made, "POST", "https://acme.example", **asked)
    shown = _redaction().written_down(made[0])

    assert (shown.http_status, shown.answered) == (0, "no complete answer came in time")
    assert len(shown.asked) <= KEPT_CHARACTERS
