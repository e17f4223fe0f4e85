"""The sandbox gateway: it misbehaves as ordered, and its ledger tells the truth about it."""

from __future__ import annotations

import http.client
import json
import re
import signal
import subprocess
import sys
import threading
import time
import timeit
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

import pytest

from app.domain.outcomes import Accepted, Outcome, RefusalKind, Refused, Unknown
from app.gateways.adapters.http import HttpGateway
from app.gateways.base import Context, GatewayCall, Outgoing
from app.gateways.settings import validate_settings
from app.transport import HttpClient, NoAnswer
from sandbox.gateway.app import GatewayApp
from sandbox.gateway.behaviour import ANSWERS, Behaviour, Reports
from sandbox.gateway.ledger import FILE_NAME, Ledger
from sandbox.gateway_client import GatewayClient, GatewayClientError
from sandbox.serving import Server

PROJECT = Path(__file__).resolve().parents[2]
KEY = "sandbox-key"
_HTTP = HttpClient(allow_private=True, timeout_s=5)


@pytest.fixture
def gateway() -> Iterator[GatewayClient]:
    app = GatewayApp(Ledger(), report_threads=4)
    server = Server(app).start()
    client = GatewayClient(f"http://127.0.0.1:{server.port}")
    client.behave(reports={"delay_s": 0.01, "gap_s": 0.01, "retry_delay_s": 0.02})
    yield client
    server.stop(grace_s=0.2)
    app.close()


class Receiver:
    """Takes delivery reports; answers with the next of `statuses`, then 200."""

    def __init__(self) -> None:
        self.reports: list[dict[str, Any]] = []
        self.requests: list[GatewayCall] = []
        self.statuses: list[int] = []
        self.server = Server(self).start()
        self.url = f"http://127.0.0.1:{self.server.port}/reports/http/secret"

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        body = environ["wsgi.input"].read()
        query = environ["QUERY_STRING"]
        kind = environ["CONTENT_TYPE"]
        self.requests.append(
            GatewayCall(environ["REQUEST_METHOD"], self.url, query, {"content-type": kind}, body)
        )
        parsed = json.loads(body) if "json" in kind else dict(parse_qsl(query or body.decode()))
        self.reports += parsed if isinstance(parsed, list) else [parsed]
        start_response(f"{self.statuses.pop(0) if self.statuses else 200} Word", [])
        return [b"OK"]

    @property
    def words(self) -> list[str]:
        return [report["status"] for report in self.reports]


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    receiver = Receiver()
    yield receiver
    receiver.server.stop(grace_s=0.2)


def _adapter(gateway: GatewayClient, **changes: str) -> HttpGateway:
    settings = validate_settings(HttpGateway, {**gateway.settings(), **changes}, allow_private=True)
    return HttpGateway(settings, Context(_HTTP))


def _message(
    text: str = "Hello", *, to: str = "+4915112345678", reference: str = "r1", url: str = ""
) -> Outgoing:
    return Outgoing(reference, to, text, "", url, "gsm7", 1, 3600)


def _submit(gateway: GatewayClient, message: Outgoing, **changes: str) -> Outcome | str:
    try:
        return _adapter(gateway, **changes).submit(message)
    except NoAnswer:
        return "no answer"


def _wait(condition: Callable[[], bool], timeout_s: float = 5.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "waited for too long"
        time.sleep(0.005)


# --- the product's http gateway and this one


def test_settings_connect_the_product(gateway: GatewayClient, receiver: Receiver) -> None:
    adapter = _adapter(gateway)

    outcome = adapter.submit(_message(url=receiver.url))
    _wait(lambda: len(receiver.reports) == 2)

    assert isinstance(outcome, Accepted)
    (message,) = gateway.messages()
    assert (message["id"], message["text"], message["from"]) == (outcome.ids[0], "Hello", "SANDBOX")
    reports = [adapter.parse_reports(request).items[0] for request in receiver.requests]
    assert [(report.reference, report.status) for report in reports] == [("r1", "sent"), ("r1", "delivered")]
    check = adapter.check()
    assert (check.ok, check.balance) == (True, "1000000.00")


@pytest.mark.parametrize("form", ["json", "array", "form", "query"])
def test_reports_come_in_every_form(gateway: GatewayClient, receiver: Receiver, form: str) -> None:
    gateway.behave(reports={"format": form})

    _submit(gateway, _message(url=receiver.url), body="form")
    _wait(lambda: len(receiver.requests) == 2)

    adapter = _adapter(gateway)
    assert {adapter.parse_reports(request).items[0].reference for request in receiver.requests} == {"r1"}


def test_reference_can_be_looked_up(gateway: GatewayClient) -> None:
    settings = validate_settings(HttpGateway, gateway.lookup_settings(), allow_private=True)
    adapter = HttpGateway(settings, Context(_HTTP))
    outcome = adapter.submit(_message(reference="r/1"))

    assert adapter.look_up("r/1", "+49") == outcome
    missing = adapter.look_up("r2", "+49")
    assert isinstance(missing, Refused)
    assert missing.kind is RefusalKind.TEMPORARY


# --- every answer

_SEEN: dict[str, object] = {
    "accept": Accepted,
    "hang": "no answer",
    "reset": "no answer",
    "close": "no answer",
    "error_after": Unknown,
    "html": Unknown,
    "truncated": "no answer",
    "no_id": Unknown,
    "slow": "no answer",
    "slow_head": "no answer",
    "huge": "no answer",
    "hang_before": "no answer",
    "reset_before": "no answer",
    "error_before": Unknown,
    "unavailable": RefusalKind.TEMPORARY,
    "rate_limit": RefusalKind.THROTTLE,
    "unauthorized": RefusalKind.CONFIG,
    "no_money": RefusalKind.CONFIG,
    "reject": RefusalKind.PERMANENT,
    "redirect": RefusalKind.CONFIG,
}


@pytest.mark.parametrize("answer", ANSWERS)
def test_each_answer_is_what_the_table_says(gateway: GatewayClient, answer: str) -> None:
    gateway.behave(answer=answer, slow_s=5, retry_after="7")
    adapter = _adapter(gateway)
    adapter.context = Context(_Hasty())

    try:
        seen: object = adapter.submit(_message())
    except NoAnswer:
        seen = "no answer"

    expected = _SEEN[answer]
    if isinstance(expected, RefusalKind):
        assert isinstance(seen, Refused)
        assert seen.kind is expected
    elif isinstance(expected, type):
        assert isinstance(seen, expected)
    else:
        assert seen == expected
    ledger = gateway.ledger()
    assert ledger["accepted"] == ANSWERS[answer][0]
    assert ledger["answers"] == {answer: 1}


class _Hasty:
    def request(self, method: str, url: str, **more: Any) -> Any:
        return _HTTP.request(method, url, **{**more, "timeout_s": 0.3})


def test_status_code_and_retry_after_can_be_chosen(gateway: GatewayClient) -> None:
    gateway.behave(next=1, answer="rate_limit", retry_after="999999")
    gateway.behave(next=1, answer="unavailable", retry_after="")
    gateway.behave(next=1, answer="error_before", status=502)
    gateway.behave(next=1, answer="reject", code="1001")

    outcomes = [_submit(gateway, _message()) for _ in range(5)]

    assert isinstance(outcomes[0], Refused)
    assert outcomes[0].retry_after_s == 3600
    assert isinstance(outcomes[1], Refused)
    assert outcomes[1].retry_after_s is None
    assert outcomes[2] == Unknown("The gateway answered HTTP 502.")
    assert outcomes[3] == Refused(RefusalKind.PERMANENT, "1001", "The message is refused.")
    assert isinstance(outcomes[4], Accepted)


# --- who gets which behaviour


def test_rules_by_next_calls_by_digits_and_by_account(gateway: GatewayClient) -> None:
    gateway.make_account("other")
    gateway.behave("other", answer="no_money")
    gateway.behave(KEY, suffix="07", answer="reject")
    gateway.behave(KEY, suffix="007", answer="unavailable")
    gateway.behave(KEY, next=2, answer="error_before")

    def seen(to: str = "+4915112345678", key: str = KEY) -> str:
        _submit(gateway, _message(to=to), headers=json.dumps({"Authorization": f"Bearer {key}"}))
        (answer,) = (set(gateway.ledger()["answers"].items()) - before) or {("unauthorized", 0)}
        return str(answer[0])

    found = []
    for to, key in [
        ("+491511234507", KEY),
        ("+4915112345678", KEY),
        ("+4915112345678", KEY),
        ("+491511234507", KEY),
        ("+491511234007", KEY),
        ("+4915112345678", "other"),
        ("+4915112345678", "nobody"),
    ]:
        before = set(gateway.ledger()["answers"].items())
        found.append(seen(to, key))

    assert found == [
        *("error_before", "error_before", "accept", "reject", "unavailable", "no_money", "unauthorized")
    ]


def test_credit_runs_out(gateway: GatewayClient) -> None:
    gateway.make_account(KEY, credit=2)

    outcomes = [_submit(gateway, _message(f"text {n}")) for n in range(3)]

    assert [isinstance(outcome, Accepted) for outcome in outcomes] == [True, True, False]
    assert _adapter(gateway).check().balance == "0.00"


def test_speed_limit(gateway: GatewayClient) -> None:
    gateway.behave(rate_per_s=2)

    outcomes = [_submit(gateway, _message(f"text {n}")) for n in range(6)]

    refused = [outcome for outcome in outcomes if isinstance(outcome, Refused)]
    assert 3 <= len(refused) <= 4
    assert {outcome.kind for outcome in refused} == {RefusalKind.THROTTLE}


def test_mixture_is_the_same_for_the_same_seed(gateway: GatewayClient) -> None:
    mixture = {"reject": 30, "unavailable": 20}

    def run(order: Iterable[int]) -> dict[int, str]:
        gateway.reset()
        gateway.behave(mixture=mixture, seed=7)
        return {n: type(_submit(gateway, _message(f"text {n}"))).__name__ for n in order}

    forward, backward = run(range(60)), run(reversed(range(60)))

    assert forward == backward
    assert 20 <= sum(name == "Refused" for name in forward.values()) <= 40


def test_a_repeated_submission_gets_its_own_chance(gateway: GatewayClient) -> None:
    gateway.behave(mixture={"unavailable": 50}, seed=1)

    outcomes = {type(_submit(gateway, _message())).__name__ for _ in range(30)}

    assert outcomes == {"Accepted", "Refused"}


def test_unknown_orders_are_refused(gateway: GatewayClient) -> None:
    for order in ({"answer": "explode"}, {"speed": 1}, {"reports": {"colour": "red"}}, {"mixture": {"x": 1}}):
        with pytest.raises(GatewayClientError):
            gateway.behave(**order)
    with pytest.raises(GatewayClientError):
        gateway.behave(reports={"format": "fax"})
    gateway.behave()


# --- doubles


def test_doubles_are_counted_unless_references_are_dropped(gateway: GatewayClient) -> None:
    for reference in ("r1", "r1", "r2"):
        _submit(gateway, _message(reference=reference))
    _submit(gateway, _message("Other"))

    ledger = gateway.ledger()
    assert (ledger["accepted"], ledger["distinct"], ledger["doubles"]) == (4, 2, 2)
    assert ledger["double_ids"] == ["G00000002", "G00000003"]

    gateway.reset()
    gateway.behave(deduplicate=True)
    first, second = (_submit(gateway, _message(reference="r1")) for _ in range(2))

    assert first == second
    ledger = gateway.ledger()
    assert (ledger["accepted"], ledger["doubles"], ledger["repeated"]) == (1, 0, 1)


def test_parallel_submissions_of_one_reference_are_taken_once(gateway: GatewayClient) -> None:
    gateway.behave(deduplicate=True)

    with ThreadPoolExecutor(8) as threads:
        ids = set(threads.map(lambda _: _submit(gateway, _message(reference="r1")), range(40)))

    assert len(ids) == 1
    assert gateway.ledger()["accepted"] == 1


# --- reports


def test_refused_reports_are_sent_again(gateway: GatewayClient, receiver: Receiver) -> None:
    receiver.statuses = [503, 404, 200]
    gateway.behave(reports={"words": ["DELIVRD"]})

    _submit(gateway, _message(url=receiver.url))
    ledger = gateway.wait_for(reports_taken=1, timeout_s=5)

    assert receiver.words == ["DELIVRD"] * 3
    assert (ledger["reports"], ledger["reports_refused"], ledger["reports_waiting"]) == (3, 2, 0)
    (message,) = gateway.messages()
    assert message["final"] == "DELIVRD"
    assert [report["answer"] for report in message["reports"]] == [503, 404, 200]


def test_reports_that_nobody_takes_are_given_up(gateway: GatewayClient) -> None:
    gateway.behave(reports={"words": ["DELIVRD"], "retries": 2, "retry_delay_s": 0.01})

    _submit(gateway, _message(url="http://127.0.0.1:1/x"))
    ledger = gateway.wait_for(reports_given_up=1, timeout_s=5)

    assert (ledger["reports"], ledger["reports_taken"]) == (3, 0)


def test_early_report_comes_before_the_answer(gateway: GatewayClient, receiver: Receiver) -> None:
    gateway.behave(reports={"early": True, "words": ["DELIVRD"]})

    _submit(gateway, _message(url=receiver.url))

    assert receiver.words == ["DELIVRD"]


def test_reports_are_lost_doubled_and_shuffled(gateway: GatewayClient, receiver: Receiver) -> None:
    gateway.behave(reports={"loss": 1.0})
    _submit(gateway, _message("lost", url=receiver.url))
    gateway.behave(reports={"loss": 0.0, "duplicates": 1.0})
    _submit(gateway, _message("doubled", reference="doubled", url=receiver.url))
    gateway.behave(reports={"duplicates": 0.0, "shuffle": 1.0, "words": ["A", "B", "C", "D"], "gap_s": 0.05})
    orders = []
    for n in range(4):
        _submit(gateway, _message(f"shuffled {n}", reference=f"s{n}", url=receiver.url))
    _wait(lambda: len(receiver.reports) == 4 + 16)

    by_reference: dict[str, list[str]] = {}
    for report in receiver.reports:
        by_reference.setdefault(report["reference"], []).append(report["status"])
    assert "r1" not in by_reference
    assert sorted(by_reference["doubled"]) == ["DELIVRD", "DELIVRD", "ENROUTE", "ENROUTE"]
    orders = [by_reference[f"s{n}"] for n in range(4)]
    assert all(sorted(order) == ["A", "B", "C", "D"] for order in orders)
    assert any(order != ["A", "B", "C", "D"] for order in orders)


def test_final_words_by_weight(gateway: GatewayClient, receiver: Receiver) -> None:
    gateway.behave(reports={"words": ["ENROUTE", "DELIVRD"], "final": {"UNDELIV": 1, "EXPIRED": 0}})

    _submit(gateway, _message(url=receiver.url))
    _wait(lambda: len(receiver.reports) == 2)

    assert sorted(receiver.words) == ["ENROUTE", "UNDELIV"]


def test_late_contradiction_on_demand(gateway: GatewayClient, receiver: Receiver) -> None:
    gateway.behave(reports={"words": []})
    outcome = _submit(gateway, _message(url=receiver.url))
    assert isinstance(outcome, Accepted)

    assert gateway.report(outcome.ids[0], "EXPIRED") == 200
    assert receiver.words == ["EXPIRED"]
    with pytest.raises(GatewayClientError):
        gateway.report("G99", "EXPIRED")


def test_a_refused_message_gets_no_report(gateway: GatewayClient, receiver: Receiver) -> None:
    gateway.behave(answer="reject")

    _submit(gateway, _message(url=receiver.url))

    assert gateway.ledger()["reports_waiting"] == 0


# --- the process


def test_ledger_is_on_disk_and_read_again(tmp_path: Path) -> None:
    first = Ledger(tmp_path, fsync=True)
    entry = {"to": "+49", "text": "Grüße", "from": "", "reference": "r1", "callback": ""}
    message, is_new = first.record_submission(KEY, entry, "accept", take=True)
    first.record_submission(KEY, entry, "accept", take=True, deduplicate=True)
    first.record_submission(KEY, entry, "reject", take=False)
    assert message is not None
    first.record_report(message, "DELIVRD", 200, 1)
    first.close()
    with (tmp_path / FILE_NAME).open("a") as file:
        file.write('{"event": "subm')  # killed while it wrote

    second = Ledger(tmp_path)
    again, is_new_again = second.record_submission(KEY, entry, "accept", take=True, deduplicate=True)

    assert (is_new, is_new_again) == (True, False)
    assert again is not None
    assert (again.id, again.final) == (message.id, "DELIVRD")
    assert second.summary() | {"submissions": 0, "repeated": 0} == first.summary() | {
        "submissions": 0,
        "repeated": 0,
        "answers": {"accept": 3, "reject": 1},
    }
    second.close()


def test_command_line(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "sandbox", "gateway", "--state-dir", str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=PROJECT) as process:
        assert process.stdout is not None
        url = json.loads(process.stdout.readline())["gateway_url"]
        client = GatewayClient(url)
        assert isinstance(_submit(client, _message()), Accepted)
        with subprocess.Popen(["sleep", "60"]) as victim:
            client.behave(next=1, kill_pid=victim.pid, answer="hang", hang_s=0.05)
            assert _submit(client, _message("Other")) == "no answer"
            assert victim.wait(5) == -signal.SIGKILL
        assert client.ledger()["accepted"] == 2
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 0
    lines = (tmp_path / FILE_NAME).read_text().splitlines()
    assert [json.loads(line)["id"] for line in lines] == ["G00000001", "G00000002"]


def test_hanging_calls_end_when_the_caller_goes(gateway: GatewayClient) -> None:
    gateway.behave(answer="hang", hang_s=30)
    connection = http.client.HTTPConnection(gateway.url.removeprefix("http://"))
    headers = {"Authorization": f"Bearer {KEY}", "Content-Type": "application/json"}
    connection.request("POST", "/v1/messages", b'{"to": "+49", "text": "x"}', headers)
    gateway.wait_for(accepted=1, timeout_s=5)
    hanging = threading.active_count()
    connection.close()

    _wait(lambda: threading.active_count() < hanging)


def test_junk_is_answered(gateway: GatewayClient) -> None:
    def post(path: str, body: bytes, key: str = KEY) -> int:
        headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
        return _HTTP.request("POST", gateway.url + path, data=body, headers=headers).status

    assert post("/v1/messages", b"{") == 400
    assert post("/v1/messages", b"[]") == 400
    assert post("/v1/messages", b'{"to": "+49"}') == 400
    assert post("/v1/messages", b"{}", "nobody") == 401
    assert post("/nowhere", b"{}") == 404
    assert post("/sandbox/nowhere", b"{}") == 404
    assert post("/sandbox/behaviour", b"[]") == 400


def test_counts_stay_cheap() -> None:
    few, many = _ledger(20), _ledger(20_000)

    assert _quickest(many.summary) < 50 * _quickest(few.summary)
    assert [message.to for message in many.page(19_999, 10)] == ["+4919999"]


def _ledger(count: int) -> Ledger:
    ledger = Ledger()
    entry = {"text": "x", "from": "", "reference": "", "callback": ""}
    for number in range(count):
        ledger.record_submission(KEY, {**entry, "to": f"+49{number}"}, "accept", take=True)
    return ledger


def _quickest(act: Callable[[], object]) -> float:
    return min(timeit.repeat(act, number=1, repeat=100))


def test_readme_lists_every_answer_and_field() -> None:
    readme = (PROJECT / "sandbox" / "gateway" / "README.md").read_text()
    listed = set(re.findall(r"^\| `(\w+)` \|", readme, re.MULTILINE))

    assert set(ANSWERS) <= listed
    assert {name for name in Behaviour.__dataclass_fields__ if name != "reports"} <= listed
    assert set(Reports.__dataclass_fields__) <= listed
    for answer, (takes, meaning) in ANSWERS.items():
        assert f"| `{answer}` | {'yes' if takes else 'no'} | {meaning} |" in readme


def test_it_knows_nothing_of_the_product() -> None:
    for file in [*(PROJECT / "sandbox" / "gateway").glob("*.py"), PROJECT / "sandbox" / "gateway_client.py"]:
        assert not re.search(r"^(from|import) app\b", file.read_text(), re.MULTILINE)
