"""What every gateway owes the core. A new adapter is tried here as soon as it has a file of samples."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest

from app.domain.outcomes import Accepted, RefusalKind, Refused, Unknown
from app.domain.status import MessageStatus
from app.gateways.base import Gateway, ReportRejected, SettingsInvalid, Submitted
from app.gateways.settings import validate_settings
from app.transport import NoAnswer, NotSent, TransportError
from tests.gateways.peer import Handler, Peer, answer, close, drip, hang, reset, say
from tests.gateways.world import ADAPTERS, MESSAGE, Rerouted, inbound, make, sample

_ON_NETWORK = [slug for slug in ADAPTERS if "accepted" in sample(slug)]
_CHECKED = [
    slug
    for slug in _ON_NETWORK
    if ADAPTERS[slug].capabilities.balance or ADAPTERS[slug].check is not Gateway.check
]
_CALLED_BACK = [slug for slug in ADAPTERS if "report" in sample(slug)]

every_gateway = pytest.mark.parametrize("slug", ADAPTERS)
every_networked = pytest.mark.parametrize("slug", _ON_NETWORK)
every_called_back = pytest.mark.parametrize("slug", _CALLED_BACK)


def _secrets(slug: str) -> list[str]:
    settings = sample(slug)["settings"]
    return [
        settings[field.name] for field in ADAPTERS[slug].fields if field.secret and field.name in settings
    ]


def _accepted(slug: str) -> Handler:
    given = sample(slug)["accepted"]
    return answer(given["body"], given["status"], Content_Type=given.get("type", "application/json"))


# --- the declaration


@every_gateway
def test_capabilities_are_backed_by_methods(slug: str) -> None:
    adapter = ADAPTERS[slug]
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
    assert ("report" in sample(slug)) == (can.reports in ("callback", "both"))
    assert can.poll_after_s > 0
    assert can.poll_max > 0


@every_gateway
def test_sample_settings_are_valid_and_complete(slug: str) -> None:
    settings = validate_settings(ADAPTERS[slug], sample(slug)["settings"])

    assert set(settings) == {field.name for field in ADAPTERS[slug].fields}
    assert validate_settings(ADAPTERS[slug], settings) == settings


@every_gateway
def test_each_required_setting_is_asked_for_by_name(slug: str) -> None:
    required = {field.name for field in ADAPTERS[slug].fields if field.required and not field.default}

    if required:
        with pytest.raises(SettingsInvalid) as caught:
            validate_settings(ADAPTERS[slug], {})
        assert required <= set(caught.value.errors)


@every_gateway
def test_unknown_settings_are_refused_by_name(slug: str) -> None:
    with pytest.raises(SettingsInvalid, match="no_such_setting"):
        validate_settings(ADAPTERS[slug], {**sample(slug)["settings"], "no_such_setting": "1"})


@every_gateway
def test_secrets_survive_an_empty_form_field(slug: str) -> None:
    stored = validate_settings(ADAPTERS[slug], sample(slug)["settings"])
    shown = {field.name: "" if field.secret else stored[field.name] for field in ADAPTERS[slug].fields}

    assert validate_settings(ADAPTERS[slug], shown, stored=stored) == stored


@every_gateway
def test_every_text_for_people_is_there(slug: str) -> None:
    for field in ADAPTERS[slug].fields:
        assert field.label[:1].isupper()
        assert not field.label.endswith((".", ":"))
        assert not field.help or field.help.endswith(".")


# --- submissions


@every_networked
def test_accepted_message_has_the_gateways_ids(slug: str) -> None:
    with Peer(_accepted(slug)) as peer:
        outcome = make(slug, Rerouted(peer.url)).submit(MESSAGE)

    assert isinstance(outcome, Accepted)
    assert list(outcome.ids) == sample(slug)["accepted_ids"]
    assert outcome.status in (MessageStatus.QUEUED, MessageStatus.SENT)
    assert b"4155552345" in peer.request
    assert b"Hello" in peer.request


@every_networked
@pytest.mark.parametrize(
    ("status", "kind"),
    [
        ("302 Found", RefusalKind.CONFIG),
        ("400 Bad Request", RefusalKind.PERMANENT),
        ("401 Unauthorized", RefusalKind.CONFIG),
        ("402 Payment Required", RefusalKind.CONFIG),
        ("403 Forbidden", RefusalKind.CONFIG),
        ("418 I'm a teapot", RefusalKind.PERMANENT),
        ("429 Too Many Requests", RefusalKind.THROTTLE),
        ("503 Service Unavailable", RefusalKind.TEMPORARY),
    ],
)
def test_refusals_by_http_status(slug: str, status: str, kind: RefusalKind) -> None:
    with Peer(answer("no", status, Location="http://127.0.0.1:1/", Retry_After="7")) as peer:
        outcome = make(slug, Rerouted(peer.url)).submit(MESSAGE)

    assert isinstance(outcome, Refused)
    assert outcome.kind is kind
    assert outcome.code
    later = kind in (RefusalKind.THROTTLE, RefusalKind.TEMPORARY)
    assert outcome.retry_after_s == (7 if later else None)
    assert len(peer.requests) == 1


@every_networked
@pytest.mark.parametrize("status", ["408 Timeout", "500 Error", "502 Bad Gateway", "504 Timeout", "599 Odd"])
def test_answers_after_which_nobody_knows(slug: str, status: str) -> None:
    if status in sample(slug).get("statuses", {}):
        return  # this gateway says by it that it did not take the message
    with Peer(answer("oops", status)) as peer:
        outcome = make(slug, Rerouted(peer.url)).submit(MESSAGE)

    assert isinstance(outcome, Unknown)
    assert outcome.reason


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


@every_networked
@pytest.mark.parametrize("junk", _JUNK)
def test_success_without_an_id_is_an_unknown_outcome(slug: str, junk: str) -> None:
    with Peer(answer(_JUNK[junk])) as peer:
        outcome = make(slug, Rerouted(peer.url)).submit(MESSAGE)

    assert isinstance(outcome, Unknown)


@every_networked
@pytest.mark.parametrize("junk", _JUNK)
def test_refusals_need_no_readable_body(slug: str, junk: str) -> None:
    with Peer(answer(_JUNK[junk], "400 Bad Request")) as peer:
        assert isinstance(make(slug, Rerouted(peer.url)).submit(MESSAGE), Refused)


_FAULTS: dict[str, Handler] = {
    "hang": hang,
    "close": close,
    "reset": reset,
    "truncated": say(b'HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{"id": "1"'),
    "slow": drip(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}" + b" " * 99, 0.01),
    "huge": answer(b"a" * 1_100_000),
}


@every_networked
@pytest.mark.parametrize("fault", _FAULTS)
def test_lost_answers_stay_unknown_and_are_never_repeated(slug: str, fault: str) -> None:
    timeout_s = 0.3 if fault in ("hang", "slow") else 5.0

    with Peer(_FAULTS[fault]) as peer, pytest.raises(NoAnswer):
        make(slug, Rerouted(peer.url, timeout_s)).submit(MESSAGE)

    assert len(peer.requests) == 1


@every_networked
def test_gateway_that_is_down_was_surely_not_reached(slug: str) -> None:
    with pytest.raises(NotSent):
        make(slug, Rerouted("http://127.0.0.1:1")).submit(MESSAGE)


_TEXTS = {
    "emoji": "👩‍👩‍👧 Ünïcode ‮rtl‬ {to} {secret} %s $x \\ \" '",
    "lines": "one\r\ntwo\tthree",
    "control": "a\x01b",
    "nul": "a\x00b",
    "long": "ж" * 20_000,
    "braces": '{"to": "x"}&from=y',
}


@every_networked
@pytest.mark.parametrize("text", _TEXTS)
def test_every_text_arrives_as_data(slug: str, text: str) -> None:
    with Peer(_accepted(slug)) as peer:
        outcome = make(slug, Rerouted(peer.url)).submit(replace(MESSAGE, text=_TEXTS[text]))

    assert isinstance(outcome, Accepted)
    assert _TEXTS[text] in _sent_values(peer)


def _sent_values(peer: Peer) -> list[str]:
    """Every text that the request carries, wherever it stands in the query, the form or the JSON."""
    target = peer.request.split(b" ", 2)[1].decode()
    query = dict(parse_qsl(urlsplit(target).query, keep_blank_values=True))
    if peer.header("Content-Type") == "application/json":
        return list(_leaves(json.loads(peer.body)))
    return [*query.values(), *dict(parse_qsl(peer.body.decode(), keep_blank_values=True)).values()]


def _leaves(value: Any) -> Iterator[str]:
    if isinstance(value, (dict, list)):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _leaves(item)
    elif isinstance(value, str):
        yield value


@every_gateway
def test_texts_that_no_encoding_can_write_do_no_harm(slug: str) -> None:
    message = replace(MESSAGE, text="a\ud800b")

    if slug not in _ON_NETWORK:
        assert make(slug, None).submit(message)
        return
    with Peer(_accepted(slug)) as peer:
        try:
            outcome: Any = make(slug, Rerouted(peer.url)).submit(message)
        except NotSent:
            assert peer.connections == 0
        else:
            assert isinstance(outcome, Accepted)


_REFUSALS = [(slug, one) for slug in _ON_NETWORK for one in sample(slug).get("refusals", ())]


@pytest.mark.parametrize(("slug", "refusal"), _REFUSALS, ids=[f"{s}-{r['code']}" for s, r in _REFUSALS])
def test_the_gateways_own_refusals_are_told_apart(slug: str, refusal: dict[str, str]) -> None:
    kind = "application/json" if refusal["body"][:1] in "{[" else "text/plain"
    with Peer(answer(refusal["body"], refusal["status"], Content_Type=kind)) as peer:
        outcome = make(slug, Rerouted(peer.url)).submit(MESSAGE)

    assert isinstance(outcome, Refused)
    assert (outcome.kind, outcome.code) == (refusal["kind"], refusal["code"])


@every_networked
def test_secrets_stay_out_of_addresses(slug: str) -> None:
    """But for gateways that have no other place for them; their samples say so."""
    with Peer(_accepted(slug)) as peer:
        make(slug, Rerouted(peer.url)).submit(MESSAGE)
    target = peer.requests[0].split(b" ", 2)[1].decode()

    allowed = sample(slug).get("secret_in_url", [])
    settings = sample(slug)["settings"]
    secret = [field.name for field in ADAPTERS[slug].fields if field.secret and field.name not in allowed]
    values = {name: settings.get(name, "") for name in secret}
    assert not [name for name, value in values.items() if len(value) > 5 and value in target]


# --- reports


@pytest.mark.parametrize("slug", [slug for slug in ADAPTERS if "other_event" in sample(slug)])
def test_other_events_are_heard_and_passed_over(slug: str) -> None:
    assert make(slug, None).parse_reports(inbound(sample(slug)["other_event"])).items == ()


@pytest.mark.parametrize("slug", [slug for slug in ADAPTERS if "reply" in sample(slug)])
def test_gateway_hears_exactly_what_it_wants_to_hear(slug: str) -> None:
    assert make(slug, None).parse_reports(inbound(sample(slug)["report"])).reply_body == sample(slug)["reply"]


@every_called_back
def test_report_is_read(slug: str) -> None:
    expected = sample(slug)

    reports = make(slug, None).parse_reports(inbound(expected["report"]))

    (report,) = reports.items
    assert report.status == expected["report_status"]
    assert report.gateway_message_id == expected["report_id"]
    assert report.reference == expected["report_reference"]
    assert 200 <= reports.reply_status < 300


@every_called_back
def test_repeated_report_reads_the_same(slug: str) -> None:
    adapter = make(slug, None)
    first, second = (adapter.parse_reports(inbound(sample(slug)["report"])) for _ in range(2))

    assert first == second


@every_called_back
def test_unknown_word_is_kept_and_changes_nothing(slug: str) -> None:
    (report,) = make(slug, None).parse_reports(inbound(sample(slug)["unknown_report"])).items

    assert report.status is None
    assert report.raw_status.lower() == "teleported"


@every_called_back
@pytest.mark.parametrize("junk", _JUNK)
@pytest.mark.parametrize("kind", ["application/json", "application/x-www-form-urlencoded", ""])
def test_junk_is_the_callers_fault(slug: str, junk: str, kind: str) -> None:
    junk_text = _JUNK[junk].decode(errors="replace")
    by_query = {"query": junk_text} if sample(slug)["report"]["method"] == "GET" else {}
    request = inbound(
        sample(slug)["report"],
        body=_JUNK[junk],
        headers={"content-type": kind},
        reference="",
        **by_query,
    )

    with pytest.raises((ValueError, KeyError, ReportRejected)):
        make(slug, None).parse_reports(request)


@pytest.mark.parametrize(
    "slug", [slug for slug in _CALLED_BACK if make(slug, None).active_capabilities.signed_callback]
)
def test_signed_reports_need_their_signature(slug: str) -> None:
    adapter = make(slug, None)
    good = inbound(sample(slug)["report"])
    forged = [replace(good, body=_tampered(good.body)) if good.body else replace(good, url=good.url + "x")]
    if set(good.headers) > {"content-type"}:  # the signature is in a header, else in the body
        plain = {"content-type": good.headers["content-type"]}
        forged += [
            replace(good, headers=plain),
            replace(good, headers=dict.fromkeys(good.headers, "x")),
        ]
    if sample(slug).get("signs_url"):
        forged += [
            replace(good, url=good.url + "x"),
            replace(good, url=good.url.replace("https", "http")),
        ]

    for request in forged:
        with pytest.raises(ReportRejected):
            adapter.parse_reports(request)


def _tampered(body: bytes) -> bytes:
    """The same fields with one digit changed: the last one, which is never the signature's own."""
    text = body.decode()
    return text.replace("aaaa", "aaab", 1).replace("10000000", "10000001", 1).encode()


# --- polling, looking up, checking


@every_networked
@pytest.mark.parametrize("fault", ["reset", "truncated", "hang"])
def test_other_calls_fail_as_plainly(slug: str, fault: str) -> None:
    with Peer(_FAULTS[fault]) as peer:
        adapter = make(slug, Rerouted(peer.url, timeout_s=0.3))
        if adapter.active_capabilities.reports in ("poll", "both"):
            with pytest.raises(TransportError):
                adapter.poll([Submitted("id1", MESSAGE.recipient)])
        result = adapter.check()

    assert result.ok == (slug not in _CHECKED)
    assert not any(secret in result.summary for secret in _secrets(slug))


@pytest.mark.parametrize("slug", _CHECKED)
@pytest.mark.parametrize("status", ["401 Unauthorized", "404 Not Found", "500 Error", "302 Found"])
def test_refused_check_says_so(slug: str, status: str) -> None:
    with Peer(answer("{}", status)) as peer:
        result = make(slug, Rerouted(peer.url)).check()

    assert not result.ok
    assert result.text
    assert not any(secret in result.summary for secret in _secrets(slug))


@every_gateway
@pytest.mark.parametrize("junk", _JUNK)
def test_polling_survives_junk(slug: str, junk: str) -> None:
    if slug not in _ON_NETWORK:
        assert make(slug, None).poll([Submitted(id) for id in ("", "junk", "a.b", "\x00")]) == []
        return
    with Peer(answer(_JUNK[junk])) as peer:
        adapter = make(slug, Rerouted(peer.url))
        assert (
            adapter.poll([Submitted("id1", MESSAGE.recipient), Submitted("../id2", MESSAGE.recipient)]) == []
        )
        assert adapter.look_up("r1", MESSAGE.recipient) is None


# --- the page for people


@every_gateway
def test_documentation_has_every_setting_and_heading(slug: str) -> None:
    page = (Path(__file__).parents[2] / "docs" / "gateways" / f"{slug}.md").read_text()

    headings = [line.removeprefix("## ") for line in page.splitlines() if line.startswith("## ")]
    assert headings == [
        *("Get an account", "Settings", "Delivery reports", "Limits and quirks", "How it was tried")
    ]
    for field in ADAPTERS[slug].fields:
        assert f"| `{field.name}` |" in page
