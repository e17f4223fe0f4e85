"""The generic gateway: settings in, requests out, answers and reports back."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.outcomes import Accepted, RefusalKind, Refused, Unknown
from app.domain.status import MessageStatus
from app.gateways.adapters.http import HttpGateway
from app.gateways.base import GatewayCall, SettingsInvalid
from app.gateways.settings import validate_settings
from app.transport import HttpAnswer
from tests.worlds.gateways import MESSAGE, Recorded, inbound, json_answer, make, sample

# --- requests


def _submitted(message: Any = MESSAGE, **changes: str) -> dict[str, Any]:
    http = Recorded(json_answer({"id": "7"}))
    make("http", http, **changes).submit(message)
    return http.calls[0]


def test_smallest_settings_that_the_contract_promises() -> None:
    given = {
        "url": "https://gateway.example/send",
        "method": "POST",
        "body": "json",
        "template": json.dumps({"to": "{to}", "text": "{text}", "cb": "{report_url}"}),
        "headers": json.dumps({"X-Key": "k"}),
        "originator": "ACME",
        "id_path": "messages.0.id",
        "report_reference_path": "ref",
        "report_status_path": "state",
        "status_map": json.dumps({"OK": "delivered"}),
        "idempotent": "true",
    }
    settings = validate_settings(HttpGateway, given)
    http = Recorded(json_answer({"messages": [{"id": 42}]}))
    gateway = HttpGateway(settings, type("C", (), {"http": http})())

    outcome = gateway.submit(MESSAGE)

    assert outcome == Accepted(("42",))
    assert http.calls[0]["json"] == {"to": "+14155552345", "text": "Hello", "cb": MESSAGE.report_url}
    assert http.calls[0]["headers"] == {"X-Key": "k"}
    assert gateway.active_capabilities.idempotent
    assert gateway.active_capabilities.reports == "callback"


def test_template_is_filled_leaf_by_leaf() -> None:
    template = {
        "messages": [{"destinations": [{"to": "{to_digits}"}], "text": "<{text}>", "flash": False, "n": 1}],
        "ref": "{reference}/{segments}/{validity_s}/{encoding}",
        "{to}": None,
    }

    call = _submitted(replace(MESSAGE, text='"},{"to": "{to}"'), template=json.dumps(template))

    assert call["json"] == {
        "messages": [
            {
                "destinations": [{"to": "14155552345"}],
                "text": '<"},{"to": "{to}">',
                "flash": False,
                "n": 1,
            }
        ],
        "ref": "r1/1/3600/gsm7",
        "{to}": None,
    }


@pytest.mark.parametrize(("body", "place"), [("form", "data"), ("query", "params")])
def test_forms_and_queries_are_flat(body: str, place: str) -> None:
    template = {"to": "{to}", "text": "{text}", "flash": True, "max": 3, "none": None}

    call = _submitted(body=body, template=json.dumps(template))

    assert call[place] == {"to": "+14155552345", "text": "Hello", "flash": "true", "max": "3"}
    assert call["json"] is None


def test_get_with_everything_in_the_address() -> None:
    call = _submitted(
        replace(MESSAGE, text="a&b=c/ü"),
        url="https://gateway.example/send/{to_digits}?text={text}&key={secret}",
        method="GET",
        body="query",
        template="{}",
        secret="s/1",
    )

    assert call["url"] == "https://gateway.example/send/14155552345?text=a%26b%3Dc%2F%C3%BC&key=s%2F1"
    assert parse_qs(urlsplit(call["url"]).query)["text"] == ["a&b=c/ü"]


def test_sign_in_by_basic_bearer_and_header() -> None:
    basic = _submitted(auth="basic", user="u", secret="s")
    bearer = _submitted(auth="bearer", secret="s", headers='{"X-Ref": "{reference}"}')
    header = _submitted(headers='{"Authorization": "Key {user}:{secret}"}', user="u", secret="s")

    assert basic["auth"] == ("u", "s")
    assert bearer["headers"] == {"X-Ref": "r1", "Authorization": "Bearer s"}
    assert header["headers"] == {"Authorization": "Key u:s"}


def test_account_without_an_originator_sends_none() -> None:
    assert "from" not in _submitted(originator="")["json"]
    assert _submitted()["json"]["from"] == "ACME"
    assert _submitted(replace(MESSAGE, originator="OTHER"))["json"]["from"] == "OTHER"


@given(st.text())
def test_no_text_changes_the_structure(text: str) -> None:
    call = _submitted(replace(MESSAGE, text=text))

    assert set(call["json"]) == {"to", "text", "from", "reference", "callback"}
    assert call["json"]["text"] == text


# --- answers

_ERROR_MAP = json.dumps(
    {"0": "ok", "12": "config", "13": "THROTTLE", "14": "temporary", "15": "permanent", "*": "permanent"}
)


@pytest.mark.parametrize(
    ("status", "code", "kind"),
    [
        (200, "12", RefusalKind.CONFIG),
        (200, 13, RefusalKind.THROTTLE),
        (200, "99", RefusalKind.PERMANENT),
        (400, "14", RefusalKind.TEMPORARY),
        (400, "99", RefusalKind.PERMANENT),
        (401, "99", RefusalKind.CONFIG),
        (429, "99", RefusalKind.THROTTLE),
        (500, "15", RefusalKind.PERMANENT),
        (404, "99", RefusalKind.CONFIG),
    ],
)
def test_the_gateways_own_codes(status: int, code: object, kind: RefusalKind) -> None:
    http = Recorded(json_answer({"error": {"code": code, "text": "said\x00 so"}, "id": "7"}, status))

    outcome = make("http", http, error_map=_ERROR_MAP).submit(MESSAGE)

    assert outcome == Refused(kind, str(code), "said so")


@pytest.mark.parametrize(
    ("status", "code", "kind"),
    [
        (200, "99", RefusalKind.CONFIG),
        (400, "99", RefusalKind.CONFIG),
        (400, "0", RefusalKind.PERMANENT),
        (400, "", RefusalKind.PERMANENT),
        (429, "99", RefusalKind.THROTTLE),
    ],
)
def test_star_stands_for_unlisted_codes_alone(status: int, code: str, kind: RefusalKind) -> None:
    http = Recorded(json_answer({"error": {"code": code}, "id": "7"}, status))

    outcome = make("http", http, error_map='{"0": "ok", "*": "config"}').submit(MESSAGE)

    assert isinstance(outcome, Refused)
    assert outcome.kind is kind


@pytest.mark.parametrize(("status", "code"), [(500, "99"), (500, "0"), (409, ""), (504, "99")])
def test_unlisted_codes_never_settle_an_unknown_outcome(status: int, code: str) -> None:
    http = Recorded(json_answer({"error": {"code": code}}, status))

    assert isinstance(make("http", http, error_map=_ERROR_MAP).submit(MESSAGE), Unknown)


@pytest.mark.parametrize("error", [{}, {"code": "0"}, {"code": 0}, {"code": ""}, {"code": None}])
def test_codes_that_mean_success(error: dict[str, object]) -> None:
    http = Recorded(json_answer({"error": error, "id": "7"}))

    assert make("http", http, error_map=_ERROR_MAP).submit(MESSAGE) == Accepted(("7",))


def test_without_an_id_path_any_2xx_is_accepted() -> None:
    http = Recorded(HttpAnswer(200, {}, b"OK"))

    assert make("http", http, id_path="").submit(MESSAGE) == Accepted(())


def test_plain_words_of_a_refusal_are_kept_short() -> None:
    http = Recorded(HttpAnswer(400, {"Content-Type": "text/plain; charset=utf-8"}, b"bad number " * 100))
    page = Recorded(HttpAnswer(400, {"Content-Type": "text/html"}, b"<script>"))

    refused = make("http", http).submit(MESSAGE)

    assert isinstance(refused, Refused)
    assert len(refused.text) == 200
    assert make("http", page).submit(MESSAGE) == Refused(RefusalKind.PERMANENT, "HTTP 400", "")


# --- looking up, checking

_LOOKUP = "https://gateway.example/messages?ref={reference}"


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (json_answer({"id": "7"}), Accepted(("7",))),
        (
            json_answer({}, 404),
            Refused(RefusalKind.TEMPORARY, "not_found", "The gateway does not have this message."),
        ),
        (json_answer({}, 500), None),
        (json_answer({"id": "7"}, 401), None),
        (json_answer({}), None),
    ],
)
def test_look_up(answer: HttpAnswer, expected: object) -> None:
    http = Recorded(answer)
    gateway = make("http", http, lookup_url=_LOOKUP)

    assert gateway.active_capabilities.lookup
    assert gateway.look_up("r1", "+49") == expected
    assert http.calls[0]["url"] == "https://gateway.example/messages?ref=r1"


def test_check_shows_the_balance() -> None:
    result = make("http", Recorded(json_answer({"balance": 12.5}))).check()

    assert (result.ok, result.balance) == (True, "12.5")


def test_check_without_an_address_is_honest_and_shows_no_key() -> None:
    http = Recorded(HttpAnswer(405, {}, b""))

    result = make("http", http, check_url="", url="https://gateway.example/v1/{to}?key=s").check()

    assert result.ok
    assert "not tried" in result.text
    assert http.calls == [{"method": "OPTIONS", "url": "https://gateway.example/"}]


# --- reports


def _report(**changes: Any) -> GatewayCall:
    return inbound(sample("http")["report"], **changes)


def test_reports_as_a_list_with_a_path() -> None:
    items = [{"reference": f"r{n}", "status": "DELIVRD"} for n in range(3)]
    items += [{"reference": "", "status": "DELIVRD"}, {"status": "x"}, None, 7]  # type: ignore[list-item]
    gateway = make("http", None, report_items_path="data.results", report_id_path="")

    reports = gateway.parse_reports(_report(body=json.dumps({"data": {"results": items}}).encode()))

    assert [item.reference for item in reports.items] == ["r0", "r1", "r2"]
    bare = make("http", None).parse_reports(_report(body=json.dumps(items[:2]).encode()))
    assert len(bare.items) == 2


@pytest.mark.parametrize(
    "request_",
    [
        _report(body=b"reference=r1&status=delivrd", headers={}),
        _report(body=b"", query="reference=r1&status=DELIVRD", method="GET"),
        _report(body=b"status=DELIVRD", query="reference=r1", headers={}),
        _report(body=b'{"status": "Delivrd"}', query="reference=r1"),
        _report(body=b'{"status": "DELIVRD"}', reference="r1"),
    ],
)
def test_reports_as_form_query_or_by_the_address(request_: GatewayCall) -> None:
    (report,) = make("http", None, report_id_path="").parse_reports(request_).items

    assert (report.reference, report.status) == ("r1", MessageStatus.DELIVERED)


def test_address_names_one_message_and_not_a_list() -> None:
    body = json.dumps([{"status": "DELIVRD"}, {"status": "UNDELIV"}]).encode()

    with pytest.raises(ValueError, match="no report"):
        make("http", None).parse_reports(_report(body=body, reference="r1"))


def test_reports_by_the_gateways_id_alone() -> None:
    gateway = make("http", None, report_reference_path="", report_id_path="data.id", report_code_path="err")

    (report,) = gateway.parse_reports(
        _report(body=b'{"data": {"id": 7}, "status": "UNDELIV", "err": 12}')
    ).items

    assert (report.gateway_message_id, report.reference, report.code) == ("7", "", "12")


def test_words_are_exact_and_a_star_catches_the_rest() -> None:
    gateway = make("http", None, status_map='{"ok": "delivered", "*": "failed"}')

    def status(word: str) -> MessageStatus | None:
        body = json.dumps({"reference": "r1", "status": word}).encode()
        return gateway.parse_reports(_report(body=body)).items[0].status

    assert status("OK") is MessageStatus.DELIVERED
    assert status("NOK") is MessageStatus.FAILED


def test_answer_to_reports_can_be_chosen() -> None:
    assert make("http", None).parse_reports(_report()).reply_body == "OK"
    assert make("http", None, report_reply="ACK/Jasmin").parse_reports(_report()).reply_body == "ACK/Jasmin"


@given(st.binary())
def test_any_report_is_read_or_the_callers_fault(body: bytes) -> None:
    gateway = make("http", None)
    for headers in ({}, {"content-type": "application/json"}):
        try:
            reports = gateway.parse_reports(_report(body=body, headers=headers))
        except (ValueError, KeyError):
            continue
        for item in reports.items:
            assert (item.raw_status + item.reference).encode()


# --- settings


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("url", ""),
        ("url", "http://gateway.example/"),
        ("url", "https://{to}.example/"),
        ("url", "https://gateway.example/{nobody}"),
        ("url", "https://user:pw@gateway.example/"),
        ("method", "DELETE"),
        ("method", "GET"),
        ("body", "soap"),
        ("body_text", "a\x01b"),
        ("template", "[]"),
        ("template", "{"),
        ("template", '{"to": "{to}"}'),
        ("template", '{"text": "{text}"}'),
        ("template", '{"to": "{to}", "text": "{text}", "x": ["{typo}"]}'),
        ("headers", '{"A": 1}'),
        ("headers", '{"A": "b\\nC: d"}'),
        ("headers", '{"Host": "evil.example"}'),
        ("headers", '{"A": "{text}"}'),
        ("status_map", '{"OK": "unknown"}'),
        ("status_map", '{"OK": "arrived"}'),
        ("error_map", '{"1": "bad"}'),
        ("idempotent", "perhaps"),
        ("check_url", "https://gateway.example/{text}"),
        ("lookup_url", "https://gateway.example/{text}"),
        ("originator", "a\nb"),
    ],
)
def test_settings_that_cannot_work_are_named(setting: str, value: str) -> None:
    with pytest.raises(SettingsInvalid) as caught:
        validate_settings(HttpGateway, {**sample("http")["settings"], setting: value})

    assert set(caught.value.errors) == {setting}
    assert caught.value.errors[setting].endswith((".", "}"))


def test_nested_forms_and_missing_secrets_are_named() -> None:
    nested = {"body": "form", "template": '{"to": "{to}", "text": {"a": "{text}"}}'}
    with pytest.raises(SettingsInvalid, match="template"):
        validate_settings(HttpGateway, {**sample("http")["settings"], **nested})
    with pytest.raises(SettingsInvalid, match="secret"):
        validate_settings(HttpGateway, {**sample("http")["settings"], "auth": "basic"})


def test_reports_must_name_their_message() -> None:
    bare = {
        "url": "https://gateway.example/",
        "template": '{"to": "{to}", "text": "{text}"}',
        "report_status_path": "status",
    }
    with pytest.raises(SettingsInvalid, match="report_status_path"):
        validate_settings(HttpGateway, bare)
    with pytest.raises(SettingsInvalid, match="id_path"):
        validate_settings(HttpGateway, {**bare, "report_id_path": "id"})
    assert validate_settings(HttpGateway, {**bare, "report_id_path": "id", "id_path": "id"})
    assert validate_settings(HttpGateway, {**bare, "report_reference_path": "ref"})
    with_url = {**bare, "template": '{"to": "{to}", "text": "{text}", "cb": "{report_url}"}'}
    assert validate_settings(HttpGateway, with_url)


def test_headers_are_kept_secret() -> None:
    secret = {field.name for field in HttpGateway.fields if field.secret}

    assert secret == {"headers", "secret", "report_secret"}


def test_settings_of_an_earlier_release_get_the_new_defaults() -> None:
    gateway = HttpGateway({"url": "https://gateway.example/"}, type("C", (), {"http": None})())

    assert gateway.settings["method"] == "POST"
    assert gateway.active_capabilities.reports == "none"
