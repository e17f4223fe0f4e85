"""What every gateway owes the core: a class of tests, to be subclassed for a gateway and its samples."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import parse_qsl, urlsplit

import pytest

from app.domain.outcomes import Accepted, RefusalKind, Refused, Unknown
from app.domain.status import MessageStatus
from app.gateways.base import Gateway, ReportRejected, SettingsInvalid, Submitted
from app.gateways.kit.case import MESSAGE, Case, Rerouted, inbound
from app.gateways.kit.peer import Handler, Peer, answer, close, hang, reset, say
from app.gateways.settings import validate_settings
from app.gateways.submission import submit_all
from app.transport import NoAnswer, NotSent, TransportError

# --- the declaration

# --- submissions

_JUNK = {
    "nothing": b"",
    "page": b"<!doctype html><p>Maintenance",
    "cut": b'{"id": "1',
    "other shape": b'[{"x": null}]',
    "odd types": b'{"id": {"id": []}, "sid": [1], "messages": 7}',
    "null": b"null",
    "text": b'"id"',
    "deep": b"[" * 100_000,
    "bytes": b"\xff\xfe\x00",
    "number": b"1e999",
}

_FAULTS: dict[str, Handler] = {
    "hang": hang,
    "close": close,
    "reset": reset,
    "truncated": say(b'HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{"id": "1"'),
    "huge": answer(b"a" * 1_100_000),
}

_TEXTS = {
    "emoji": "👩‍👩‍👧 Ünïcode ‮rtl‬ {to} {secret} %s $x \\ \" '",
    "lines": "one\r\ntwo\tthree",
    "control": "a\x01b",
    "nul": "a\x00b",
    "long": "ж" * 20_000,
    "braces": '{"to": "x"}&from=y',
}


def _sent_values(request: bytes) -> list[str]:
    """Every text that the request carries, wherever it stands in the query, the form or the JSON."""
    head, _, body = request.partition(b"\r\n\r\n")
    target = head.split(b" ", 2)[1].decode()
    query = dict(parse_qsl(urlsplit(target).query, keep_blank_values=True))
    if b"\r\ncontent-type: application/json" in head.lower():
        return list(_leaves(json.loads(body)))
    return [*query.values(), *dict(parse_qsl(body.decode(), keep_blank_values=True)).values()]


def _leaves(value: Any) -> Iterator[str]:
    if isinstance(value, (dict, list)):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _leaves(item)
    elif isinstance(value, str):
        yield value


# --- reports


def _tampered(body: bytes) -> bytes:
    """The same fields with one digit changed: the last one, which is never the signature's own."""
    text = body.decode()
    return text.replace("aaaa", "aaab", 1).replace("10000000", "10000001", 1).encode()


# --- polling, looking up, checking


def _accepted(case: Case) -> Handler:
    given = case.sample["accepted"]
    return answer(given["body"], given["status"], Content_Type=given.get("type", "application/json"))


_REFUSALS = {
    "302 Found": RefusalKind.CONFIG,
    "400 Bad Request": RefusalKind.PERMANENT,
    "401 Unauthorized": RefusalKind.CONFIG,
    "402 Payment Required": RefusalKind.CONFIG,
    "403 Forbidden": RefusalKind.CONFIG,
    "418 I'm a teapot": RefusalKind.PERMANENT,
    "429 Too Many Requests": RefusalKind.THROTTLE,
    "503 Service Unavailable": RefusalKind.TEMPORARY,
}
_UNCLEAR = ["408 Timeout", "500 Error", "502 Bad Gateway", "504 Timeout", "599 Odd"]
_HASTE_S = 0.3  # for a peer that would let us wait


def _submit(gateway: Gateway) -> Any:
    return gateway.submit(MESSAGE)


def _each(
    case: Case,
    answers: Mapping[str, Handler],
    call: Callable[[Gateway], Any] = _submit,
    *,
    timeout_s: float = 5.0,
) -> dict[str, Any]:
    """What comes of the same call for each of these answers, by its name: a result or an exception.

    One call is one request, whatever comes of it: nothing is repeated behind the core's back.
    """
    found: dict[str, Any] = {}
    with Peer(*answers.values()) as peer:
        gateway = case.make(Rerouted(peer.url, timeout_s))
        for number, name in enumerate(answers, start=1):
            try:
                found[name] = call(gateway)
            except Exception as error:
                found[name] = error
            assert len(peer.requests) == number, name
    return found


class Contract:
    """Subclass it with `gateway` and `samples`. What a gateway does not do is passed over without a word."""

    gateway: ClassVar[type[Gateway]]
    samples: ClassVar[Path]

    @pytest.fixture
    def case(self) -> Case:
        return Case(self.gateway, self.samples)

    def test_capabilities_are_backed_by_methods(self, case: Case) -> None:
        adapter = case.gateway
        can = adapter.capabilities

        def has(method: str) -> bool:
            return getattr(adapter, method) is not getattr(Gateway, method)

        assert has("submit")
        assert has("poll") or can.reports not in ("poll", "both")
        assert has("parse_reports")
        assert has("look_up") or not can.lookup
        assert has("originators") or not can.originators
        assert has("balance") or has("check") or not can.balance
        assert has("submit_many") or can.bulk_max == 1
        assert (has("on_enable") and has("on_disable")) or not can.webhooks
        assert ("report" in case.sample) == (can.reports in ("callback", "both"))
        assert can.poll_after_s > 0
        assert can.poll_max > 0

    def test_sample_settings_are_valid_and_complete(self, case: Case) -> None:
        settings = validate_settings(case.gateway, case.sample["settings"])

        assert set(settings) == {field.name for field in case.gateway.fields}
        assert validate_settings(case.gateway, settings) == settings

    def test_each_required_setting_is_asked_for_by_name(self, case: Case) -> None:
        required = {field.name for field in case.gateway.fields if field.required and not field.default}

        if required:
            with pytest.raises(SettingsInvalid) as caught:
                validate_settings(case.gateway, {})
            assert required <= set(caught.value.errors)

    def test_unknown_settings_are_refused_by_name(self, case: Case) -> None:
        with pytest.raises(SettingsInvalid, match="no_such_setting"):
            validate_settings(case.gateway, {**case.sample["settings"], "no_such_setting": "1"})

    def test_secrets_survive_an_empty_form_field(self, case: Case) -> None:
        stored = validate_settings(case.gateway, case.sample["settings"])
        shown = {field.name: "" if field.secret else stored[field.name] for field in case.gateway.fields}

        assert validate_settings(case.gateway, shown, stored=stored) == stored

    def test_every_text_for_people_is_there(self, case: Case) -> None:
        for field in case.gateway.fields:
            assert field.label[:1].isupper()
            assert not field.label.endswith((".", ":"))
            assert not field.help or field.help.endswith(".")

    def test_accepted_message_has_the_gateways_ids(self, case: Case) -> None:
        if not case.is_networked:
            return
        with Peer(_accepted(case)) as peer:
            outcome = case.make(Rerouted(peer.url)).submit(MESSAGE)

        assert isinstance(outcome, Accepted)
        assert list(outcome.ids) == case.sample["accepted_ids"]
        assert outcome.status in (MessageStatus.QUEUED, MessageStatus.SENT)
        assert b"4155552345" in peer.request
        assert b"Hello" in peer.request

    def test_refusals_by_http_status(self, case: Case) -> None:
        if not case.is_networked:
            return
        moved = "http://127.0.0.1:1/"
        found = _each(
            case, {status: answer("no", status, Location=moved, Retry_After="7") for status in _REFUSALS}
        )

        for status, kind in _REFUSALS.items():
            outcome = found[status]
            assert isinstance(outcome, Refused), (status, outcome)
            assert outcome.kind is kind, status
            assert outcome.code, status
            later = kind in (RefusalKind.THROTTLE, RefusalKind.TEMPORARY)
            assert outcome.retry_after_s == (7 if later else None), status

    def test_answers_after_which_nobody_knows(self, case: Case) -> None:
        if not case.is_networked:
            return
        told_apart = case.sample.get("statuses", {})  # by these this gateway says that it did not take it
        unclear = [status for status in _UNCLEAR if status not in told_apart]

        for status, outcome in _each(case, {status: answer("oops", status) for status in unclear}).items():
            assert isinstance(outcome, Unknown), (status, outcome)
            assert outcome.reason, status

    def test_success_without_an_id_is_an_unknown_outcome(self, case: Case) -> None:
        if not case.is_networked:
            return
        for junk, outcome in _each(case, {name: answer(body) for name, body in _JUNK.items()}).items():
            assert isinstance(outcome, Unknown), (junk, outcome)

    def test_refusals_need_no_readable_body(self, case: Case) -> None:
        if not case.is_networked:
            return
        found = _each(case, {name: answer(body, "400 Bad Request") for name, body in _JUNK.items()})

        for junk, outcome in found.items():
            assert isinstance(outcome, Refused), (junk, outcome)

    def test_lost_answers_stay_unknown_and_are_never_repeated(self, case: Case) -> None:
        if not case.is_networked:
            return
        quick = {name: fault for name, fault in _FAULTS.items() if name != "hang"}
        found = _each(case, quick) | _each(case, {"hang": _FAULTS["hang"]}, timeout_s=_HASTE_S)

        for fault, error in found.items():
            assert isinstance(error, NoAnswer), (fault, error)

    def test_gateway_that_is_down_was_surely_not_reached(self, case: Case) -> None:
        if not case.is_networked:
            return
        with pytest.raises(NotSent):
            case.make(Rerouted("http://127.0.0.1:1")).submit(MESSAGE)

    def test_every_text_arrives_as_data(self, case: Case) -> None:
        if not case.is_networked:
            return
        with Peer(_accepted(case)) as peer:
            gateway = case.make(Rerouted(peer.url))
            outcomes = [gateway.submit(replace(MESSAGE, text=text)) for text in _TEXTS.values()]

        for (name, text), outcome, request in zip(_TEXTS.items(), outcomes, peer.requests, strict=True):
            assert isinstance(outcome, Accepted), (name, outcome)
            assert text in _sent_values(request), name

    def test_texts_that_no_encoding_can_write_do_no_harm(self, case: Case) -> None:
        message = replace(MESSAGE, text="a\ud800b")

        if not case.is_networked:
            assert case.make().submit(message)
            return
        with Peer(_accepted(case)) as peer:
            try:
                outcome: Any = case.make(Rerouted(peer.url)).submit(message)
            except NotSent:
                assert peer.connections == 0
            else:
                assert isinstance(outcome, Accepted)

    def test_the_gateways_own_refusals_are_told_apart(self, case: Case) -> None:
        for refusal in case.sample.get("refusals", ()):
            kind = "application/json" if refusal["body"][:1] in "{[" else "text/plain"
            with Peer(answer(refusal["body"], refusal["status"], Content_Type=kind)) as peer:
                outcome = case.make(Rerouted(peer.url)).submit(MESSAGE)

            assert isinstance(outcome, Refused), refusal
            assert (outcome.kind, outcome.code) == (refusal["kind"], refusal["code"])

    def test_secrets_stay_out_of_addresses(self, case: Case) -> None:
        """But for gateways that have no other place for them; their samples say so."""
        if not case.is_networked:
            return
        with Peer(_accepted(case)) as peer:
            case.make(Rerouted(peer.url)).submit(MESSAGE)
        target = peer.requests[0].split(b" ", 2)[1].decode()

        allowed = case.sample.get("secret_in_url", [])
        settings = case.sample["settings"]
        secret = [field.name for field in case.gateway.fields if field.secret and field.name not in allowed]
        values = {name: settings.get(name, "") for name in secret}
        assert not [name for name, value in values.items() if len(value) > 5 and value in target]

    def test_other_events_are_heard_and_passed_over(self, case: Case) -> None:
        if "other_event" not in case.sample:
            return
        assert case.make().parse_reports(inbound(case.sample["other_event"])).items == ()

    def test_gateway_hears_exactly_what_it_wants_to_hear(self, case: Case) -> None:
        if "reply" not in case.sample:
            return
        assert case.make().parse_reports(inbound(case.sample["report"])).reply_body == case.sample["reply"]

    def test_report_is_read(self, case: Case) -> None:
        if not case.is_called_back:
            return
        expected = case.sample

        reports = case.make().parse_reports(inbound(expected["report"]))

        (report,) = reports.items
        assert report.status == expected["report_status"]
        assert report.gateway_message_id == expected["report_id"]
        assert report.reference == expected["report_reference"]
        assert 200 <= reports.reply_status < 300

    def test_repeated_report_reads_the_same(self, case: Case) -> None:
        if not case.is_called_back:
            return
        adapter = case.make()
        first, second = (adapter.parse_reports(inbound(case.sample["report"])) for _ in range(2))

        assert first == second

    def test_unknown_word_is_kept_and_changes_nothing(self, case: Case) -> None:
        if not case.is_called_back:
            return
        (report,) = case.make().parse_reports(inbound(case.sample["unknown_report"])).items

        assert report.status is None
        assert report.raw_status.lower() == "teleported"

    def test_junk_is_the_callers_fault(self, case: Case) -> None:
        if not case.is_called_back:
            return
        adapter = case.make()
        for name, junk in _JUNK.items():
            for kind in ("application/json", "application/x-www-form-urlencoded", ""):
                by_query = case.sample["report"]["method"] == "GET"
                request = inbound(
                    case.sample["report"],
                    body=junk,
                    headers={"content-type": kind},
                    reference="",
                    **({"query": junk.decode(errors="replace")} if by_query else {}),
                )
                try:
                    found: Any = adapter.parse_reports(request)
                except Exception as error:
                    found = error
                assert isinstance(found, (ValueError, KeyError, ReportRejected)), (name, kind, found)

    def test_signed_reports_need_their_signature(self, case: Case) -> None:
        if not case.is_called_back or not case.make().active_capabilities.signed_callback:
            return
        adapter = case.make()
        good = inbound(case.sample["report"])
        forged = [
            replace(good, body=_tampered(good.body)) if good.body else replace(good, url=good.url + "x")
        ]
        if set(good.headers) > {"content-type"}:  # the signature is in a header, else in the body
            plain = {"content-type": good.headers["content-type"]}
            forged += [
                replace(good, headers=plain),
                replace(good, headers=dict.fromkeys(good.headers, "x")),
            ]
        if case.sample.get("signs_url"):
            forged += [
                replace(good, url=good.url + "x"),
                replace(good, url=good.url.replace("https", "http")),
            ]

        for request in forged:
            with pytest.raises(ReportRejected):
                adapter.parse_reports(request)

    def test_other_calls_fail_as_plainly(self, case: Case) -> None:
        if not case.is_networked:
            return
        for fault in ("reset", "truncated"):
            with Peer(_FAULTS[fault]) as peer:
                adapter = case.make(Rerouted(peer.url))
                if adapter.active_capabilities.reports in ("poll", "both"):
                    with pytest.raises(TransportError):
                        adapter.poll([Submitted("id1", MESSAGE.recipient)])
                result = adapter.check()

            assert result.ok == (not case.checks), (fault, result)
            assert not any(secret in result.summary for secret in case.secrets()), fault

    def test_refused_check_says_so(self, case: Case) -> None:
        if not case.checks:
            return
        for status in ("401 Unauthorized", "404 Not Found", "500 Error", "302 Found"):
            with Peer(answer("{}", status)) as peer:
                result = case.make(Rerouted(peer.url)).check()

            assert not result.ok, status
            assert result.text, status
            assert not any(secret in result.summary for secret in case.secrets()), status

    def test_polling_survives_junk(self, case: Case) -> None:
        if not case.is_networked:
            assert case.make().poll([Submitted(id) for id in ("", "junk", "a.b", "\x00")]) == []
            return
        for name, junk in _JUNK.items():
            with Peer(answer(junk)) as peer:
                adapter = case.make(Rerouted(peer.url))
                asked = [Submitted("id1", MESSAGE.recipient), Submitted("../id2", MESSAGE.recipient)]
                assert adapter.poll(asked) == [], name
                assert adapter.look_up("r1", MESSAGE.recipient) is None, name

    def test_balance_has_its_amount_and_currency(self, case: Case) -> None:
        if "balance" not in case.sample:
            return
        expected = case.sample["balance"]
        with Peer(answer(expected["body"], Content_Type="application/json")) as peer:
            adapter = case.make(Rerouted(peer.url))

            assert str(adapter.balance()) == expected["says"]
            assert adapter.check().balance == expected["says"]

    def test_gateway_that_is_asked_tells_what_became_of_a_message(self, case: Case) -> None:
        if "polled" not in case.sample:
            return
        with Peer(answer(case.sample["polled"]["body"], Content_Type="application/json")) as peer:
            (report,) = case.make(Rerouted(peer.url)).poll([Submitted("id1", MESSAGE.recipient, "r1")])

        assert report.status == case.sample["polled"]["status"]
        assert report.gateway_message_id == "id1"

    def test_webhook_is_made_once_and_taken_back(self, case: Case) -> None:
        if "webhooks" not in case.sample:
            return
        url = "https://sms.example.org/reports/x/K7"
        hooks = {name: body.replace("{report_url}", url) for name, body in case.sample["webhooks"].items()}
        with Peer(answer(hooks["none"]), answer(hooks["made"]), answer(hooks["mine"])) as peer:
            adapter = case.make(Rerouted(peer.url))

            adapter.on_enable(url)
            made = len(peer.requests)
            adapter.on_enable(url)
            adapter.on_disable(url)

        methods = [request.split(b" ")[0] for request in peer.requests]
        assert made == 2
        assert methods == [b"GET", b"POST", b"GET", b"GET", b"DELETE"]

    # --- bulk and charsets

    def test_each_message_of_a_batch_has_an_outcome_of_its_own_in_their_order(self, case: Case) -> None:
        count = min(case.gateway.capabilities.bulk_max, 3)
        if count == 1 or not case.is_networked:
            return
        batch = [
            replace(MESSAGE, reference=f"r{n}", recipient=f"+1415555234{n}", text=f"Hello {n}")
            for n in range(count)
        ]
        with Peer(_accepted(case)) as peer:
            answered = submit_all(case.make(Rerouted(peer.url)), batch)
        with Peer(reset) as peer:
            lost = submit_all(case.make(Rerouted(peer.url)), batch)
        untaken = submit_all(case.make(Rerouted("http://127.0.0.1:1")), batch)

        assert len(answered) == count
        assert all(isinstance(outcome, Unknown) for outcome in lost)
        assert [getattr(outcome, "code", "") for outcome in untaken] == ["not_sent"] * count

    def test_answer_in_another_charset_is_read(self, case: Case) -> None:
        if not case.is_networked:
            return
        given = case.sample["accepted"]
        kind = given.get("type", "application/json")
        answers = {
            charset: answer(given["body"].encode(charset), given["status"], Content_Type=kind)
            for charset in ("utf-8-sig", "utf-16")
        }

        for charset, outcome in _each(case, answers).items():
            assert isinstance(outcome, Accepted), (charset, outcome)
            assert list(outcome.ids) == case.sample["accepted_ids"], charset
