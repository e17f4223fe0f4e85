"""Kannel: the real one from Debian, with its fake SMSC; and its reports, whose words are bits."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

import pytest
import smpp34

from app.domain.outcomes import Accepted, RefusalKind, Refused, Unknown
from app.domain.status import MessageStatus
from app.gateways.adapters.kannel import _STATUSES
from app.gateways.base import Gateway, GatewayCall
from app.transport import HttpAnswer, HttpClient
from sandbox.client import PortalSandbox
from sandbox.kannel import KannelMissing, RealKannel
from sandbox.stack import Stack
from tests.worlds.gateways import MESSAGE, Recorded, assert_page_has, make, query
from tests.worlds.lines import Operator, an_operator

_CLIENT = HttpClient(allow_private=True, timeout_s=10)


def _said(text: str, status: int = 202) -> Recorded:
    return Recorded(HttpAnswer(status, {"Content-Type": "text/html"}, text.encode()))


# --- the real one


@pytest.fixture(scope="module")
def kannel() -> Iterator[RealKannel]:
    try:
        running = RealKannel()
        running.start()
    except KannelMissing as missing:
        pytest.skip(str(missing))
    with running:
        yield running


def _gateway(kannel: RealKannel, **changes: str) -> Gateway:
    given = {"url": kannel.url, "user": kannel.user, "password": kannel.password, **changes}
    return make("kannel", _CLIENT, **given)


class _Reports(ThreadingHTTPServer):
    """Our report URL, as Kannel sees it: keeps the calls."""

    def __init__(self) -> None:
        self.calls: list[GatewayCall] = []
        calls = self.calls

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                path, _, query = self.path.partition("?")
                reference = path.rpartition("/")[2]
                calls.append(GatewayCall("GET", self.path, query, {}, b"", reference))
                self.send_response(200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                pass

        super().__init__(("127.0.0.1", 0), Handler)
        Thread(target=self.serve_forever, daemon=True).start()

    def url(self, reference: str) -> str:
        return f"http://127.0.0.1:{self.server_port}/reports/kannel/K7/{reference}"


@pytest.fixture
def reports() -> Iterator[_Reports]:
    server = _Reports()
    yield server
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        ("Hello & welcome = 100 % + more?", "gsm7"),
        ("Ваш заказ [готов]", "ucs2"),
        ("👋🏽 " * 40, "ucs2"),
        ("long text " * 40, "gsm7"),
    ],
)
def test_text_passes_a_real_kannel_and_comes_back_delivered(
    kannel: RealKannel, reports: _Reports, text: str, encoding: Any
) -> None:
    to = f"+7900{sum(map(ord, text)) % 10**7:07}"
    message = replace(
        MESSAGE,
        recipient=to,
        text=text,
        encoding=encoding,
        report_url=reports.url("ref_-1"),
        reference="ref_-1",
    )

    outcome = _gateway(kannel).submit(message)

    assert outcome == Accepted((), MessageStatus.QUEUED)
    deadline = time.monotonic() + 30
    found: list[Any] = []
    while MessageStatus.DELIVERED not in [report.status for report in found]:
        assert time.monotonic() < deadline, found
        found = [make("kannel", None).parse_reports(call).items[0] for call in list(reports.calls)]
        time.sleep(0.02)
    assert {report.reference for report in found} == {"ref_-1"}
    assert {report.recipient for report in found} == {to}
    assert {report.status for report in found} <= {MessageStatus.SENT, MessageStatus.DELIVERED}
    assert kannel.wait_received(to, text) == text


def test_check_costs_no_message_and_tells_a_wrong_password(kannel: RealKannel) -> None:
    before = kannel.count_received()

    good, bad = _gateway(kannel).check(), _gateway(kannel, password="wrong").check()
    wrong_page = _gateway(kannel, url=kannel.url.replace("sendsms", "send")).check()

    assert (good.ok, bad.ok, wrong_page.ok) == (True, False, False)
    assert "Authorization failed" in bad.words
    assert kannel.count_received() == before


def test_real_refusals(kannel: RealKannel) -> None:
    wrong_password = _gateway(kannel, password="wrong").submit(MESSAGE)
    no_number = _gateway(kannel).submit(replace(MESSAGE, recipient=""))
    wrong_page = _gateway(kannel, url=kannel.url.replace("sendsms", "send")).submit(MESSAGE)

    assert wrong_password == Refused(RefusalKind.CONFIG, "HTTP 403", "Authorization failed for sendsms")
    assert no_number == Refused(RefusalKind.PERMANENT, "HTTP 400", "Missing receiver number, rejected")
    assert wrong_page == Refused(RefusalKind.CONFIG, "HTTP 404", "Unknown request.")


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_message_from_a_card_goes_through_a_real_kannel_and_is_delivered_there(kannel: RealKannel) -> None:
    texts = {"+79005550001": "Hello", "+79005550002": "Ваш заказ [готов]", "+79005550003": "long text " * 40}
    quick = "first_push_s=1,push_fill_s=0.1,push_repeat_s=3,sweep_s=0.5,rehint_s=1"

    with Stack(env={"TIMING": quick}) as stack:
        portal = PortalSandbox(stack.portal_url)
        assert portal.install(finish=True)["status"] == 200
        member_id = portal.info()["member_id"]
        settings = {"url": kannel.url, "user": kannel.user, "password": kannel.password, "originator": "ACME"}
        stack.flask("gateways", "set", member_id, "kannel", *(f"{k}={v}" for k, v in settings.items()))
        sent = {
            to: portal.send_sms(to=to, text=text, origin="card")["message_id"] for to, text in texts.items()
        }
        for message_id in sent.values():
            portal.wait_status(message_id, "delivered", timeout_s=60)
        shown = {to: stack.flask("messages", "show", member_id, id) for to, id in sent.items()}

    assert {to: message["status"] for to, message in shown.items()} == dict.fromkeys(texts, "delivered")
    assert {to: kannel.wait_received(to, text) for to, text in texts.items()} == texts
    assert [len(message["attempts"]) for message in shown.values()] == [1, 1, 1]


# --- the real one as a client of somebody else's SMPP server

_OVER_SMPP = """\
group = smsc
smsc = smpp
smsc-id = centre
host = 127.0.0.1
port = {port}
transceiver-mode = true
smsc-username = me
smsc-password = secret
system-type = ""
address-range = ""
reconnect-delay = 1"""


@pytest.fixture(scope="module")
def operator() -> Iterator[Operator]:
    with an_operator() as made:
        yield made


@pytest.fixture(scope="module")
def kannel_over_smpp(operator: Operator) -> Iterator[RealKannel]:
    try:
        running = RealKannel(smsc=_OVER_SMPP.format(port=operator.centre.port))
        running.start()
    except KannelMissing as missing:
        pytest.skip(str(missing))
    with running:
        _wait(lambda: "online" in running.status())
        yield running


_WORDS = {
    "DELIVRD": (MessageStatus.DELIVERED, ""),
    "UNDELIV": (MessageStatus.UNDELIVERED, "UNDELIV"),
    "EXPIRED": (MessageStatus.UNDELIVERED, "EXPIRED"),
    "REJECTD": (MessageStatus.UNDELIVERED, "REJECTD"),
}


def test_what_a_centre_says_of_messages_comes_through_kannel(
    kannel_over_smpp: RealKannel, operator: Operator, reports: _Reports
) -> None:
    """Taken, throttled and taken after that, refused, and each end."""
    words = {f"49151000000{at}": word for at, word in enumerate(_WORDS)}
    centre, refused, throttled = operator.centre, "491510000008", "491510000009"
    busy = iter([smpp34.ESME_RTHROTTLED])

    def answer(number: str, count: int) -> str | int:
        return 0x0B if number == refused else next(busy, "late") if number == throttled else f"{count}"

    centre.answer, centre.words = answer, lambda number: (words.get(number, "DELIVRD"),)
    for number in (*words, refused, throttled):
        sent = replace(MESSAGE, recipient=f"+{number}", report_url=reports.url(number), reference=number)
        assert _gateway(kannel_over_smpp).submit(sent) == Accepted((), MessageStatus.QUEUED)

    ends = {number: _WORDS[word] for number, word in words.items()}
    ends |= {refused: (MessageStatus.FAILED, "0x0000000b"), throttled: (MessageStatus.DELIVERED, "")}
    _wait(lambda: ends.keys() <= _ends_of(reports).keys())
    assert _ends_of(reports) == ends
    assert Counter(number for number, _text in centre.taken) == {**dict.fromkeys(ends, 1), throttled: 2}


def _ends_of(reports: _Reports) -> dict[str, tuple[MessageStatus, str]]:
    """The final word on each message."""
    found = [make("kannel", None).parse_reports(call).items[0] for call in list(reports.calls)]
    return {
        each.reference: (each.status, each.code) for each in found if each.status and each.status.is_final
    }


def _wait(is_so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 90  # Kannel asks again when it likes
    while not is_so():
        assert time.monotonic() < deadline, "it did not become so"
        time.sleep(0.05)


# --- what is not said by a real one here


def test_submission_names_what_kannel_cannot_guess() -> None:
    http = _said("0: Accepted for delivery")
    gateway = make("kannel", http, smsc="de-1", account="shop")

    gateway.submit(replace(MESSAGE, text="Grüße 👋", encoding="ucs2", validity_s=30))

    (call,) = http.calls
    assert (call["method"], call["url"]) == ("GET", "https://kannel.example.org/cgi-bin/sendsms")
    assert call["params"] == {
        "username": "acme",
        "password": "secret-1",
        "from": "ACME",
        "to": "+14155552345",
        "text": "Grüße 👋",
        "charset": "UTF-8",
        "coding": "2",
        "validity": "1",
        "dlr-mask": "31",
        "dlr-url": f"{MESSAGE.report_url}?d=%d&id=%F&answer=%A&to=%p",
        "smsc": "de-1",
        "account": "shop",
    }


@pytest.mark.parametrize("text", ["0: Accepted for delivery", "3: Queued for later delivery", "Sent."])
def test_words_of_acceptance(text: str) -> None:
    assert make("kannel", _said(text)).submit(MESSAGE) == Accepted((), MessageStatus.QUEUED)


@pytest.mark.parametrize("text", ["", "4: Something else", "<p>Welcome</p>", "00"])
def test_other_words_prove_nothing(text: str) -> None:
    assert isinstance(make("kannel", _said(text)).submit(MESSAGE), Unknown)


def test_kannel_that_lost_its_other_half_surely_took_nothing() -> None:
    outcome = make("kannel", _said("Temporal failure, try again later.", 503)).submit(MESSAGE)

    assert outcome == Refused(RefusalKind.TEMPORARY, "HTTP 503", "Temporal failure, try again later.")


@pytest.mark.parametrize(
    ("d", "answer", "status", "code"),
    [
        ("8", "ACK/", MessageStatus.SENT, ""),
        ("1", "id:1 stat:DELIVRD err:000", MessageStatus.DELIVERED, ""),
        ("4", "", MessageStatus.QUEUED, ""),
        ("2", "id:1 sub:001 stat:UNDELIV err:0A1", MessageStatus.UNDELIVERED, "UNDELIV"),
        ("2", "stat:REJECTD", MessageStatus.UNDELIVERED, "REJECTD"),
        ("34", "id:1 stat:EXPIRED", MessageStatus.UNDELIVERED, "EXPIRED"),
        ("16", "NACK/0x0000000B/Invalid Destination Address", MessageStatus.FAILED, "0x0000000b"),
        ("32", "", None, ""),
        ("0", "", None, ""),
        ("-1", "", None, ""),
        ("x", "", None, ""),
    ],
)
def test_reports_are_bits_and_the_words_of_the_smsc(
    d: str, answer: str, status: MessageStatus | None, code: str
) -> None:
    call = query("kannel", {"d": d, "id": "", "answer": answer, "to": "+79001234567"}, reference="r1")

    (report,) = make("kannel", None).parse_reports(call).items

    assert (report.status, report.code, report.reference) == (status, code, "r1")
    assert report.raw_status == d


def test_report_at_an_address_without_a_message_is_nobodys() -> None:
    with pytest.raises(ValueError, match="names no message"):
        make("kannel", None).parse_reports(query("kannel", {"d": "1"}))


def test_page_has_every_word() -> None:
    assert_page_has("kannel", _STATUSES, {})
