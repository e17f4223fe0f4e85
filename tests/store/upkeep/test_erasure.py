"""Forgetting on request: what is gone, what stays, and what the proof says."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import sqlalchemy as sa
from click.testing import Result
from flask import Flask

from app.domain.life import Answered
from app.domain.messages import CallAuth, HandedMessage, Message, Work
from app.domain.outcomes import Accepted, DeliveryReport, RefusalKind, Refused, Unknown
from app.domain.portals import Portal, PortalSettings
from app.domain.rest_calls import RestCall
from app.domain.retry import Timing
from app.domain.status import MessageStatus
from app.jobs.messages import follow_up, submit
from app.services import services
from app.store.accounts import accounts
from app.store.database import db, overwrite_deleted, spool, statement, utcnow, writing
from app.store.database.spool import Spool, SpooledCall
from app.store.messages import acceptance, by_hand, messages, outcomes, reports
from app.store.messages.timeline import attempts_of, timeline
from app.store.portals import portals, rest_log
from app.store.tables import job_runs, message_events, portal_events
from app.store.tables import messages as rows
from app.store.tables import portals as portal_rows
from app.store.upkeep import erasure, installations
from tests.worlds.claiming import claim_one
from tests.worlds.product import a_portal, product

ONE, OTHER = "a" * 32, "b" * 32
NUMBER = "+4915112345678"
DIGITS = b"15112345678"
NEIGHBOUR = "+4915112345679"
TEXT = "Dear Ada, your appointment"


@pytest.fixture(scope="module")
def product_app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Flask]:
    folder = tmp_path_factory.mktemp("product")
    (folder / "spool").mkdir()
    with product(folder, SPOOL_DIR=str(folder / "spool")) as app:
        yield app


@pytest.fixture
def app(product_app: Flask) -> Iterator[Flask]:
    yield product_app
    with writing() as connection:
        for table in (portal_rows, portal_events, job_runs):
            connection.execute(table.delete())


@pytest.fixture
def portal(app: Flask) -> Portal:
    """A portal with the demo gateway."""
    portal = a_portal()
    assert _run(app, "gateways", "set", portal.member_id, "demo").exit_code == 0
    return portal


def _run(app: Flask, *args: str, typed: str = "") -> Result:
    return app.test_cli_runner().invoke(args=args, input=typed)


def _erase(app: Flask, *args: str, code: int = 0) -> Any:
    result = _run(app, "erase", *args, "--yes", "--json")
    assert result.exit_code == code, result.output
    return json.loads(result.stdout)


def _message(portal: Portal, message_id: str = "m1", *, to: str = NUMBER, text: str = TEXT) -> int:
    handler = portals.for_test_message(portal.id)
    assert handler is not None
    incoming = HandedMessage(
        message_id=message_id,
        recipient=to,
        text=text,
        sender_code="sms",
        bindings=({"OWNER_ID": "7"},),
        extra={"phone": to},
        auth=CallAuth(access_token="the author's own"),
    )
    accepted = acceptance.accept(handler, incoming, now=utcnow(), timing=services().timing)
    assert accepted.row_id is not None
    return accepted.row_id


def _row(portal: Portal, row_id: int) -> Message:
    found = messages.by_row(portal.id, row_id)
    assert found is not None
    return found


def _set(row_id: int, **values: Any) -> None:
    with writing() as connection:
        connection.execute(rows.update().where(rows.c.id == row_id).values(**values))


def _claim(portal: Portal, row_id: int) -> Any:
    account = accounts.default_of(portal.id)
    assert account is not None
    return claim_one(account, row_id, now=utcnow(), timing=services().timing)


def _sent(portal: Portal, row_id: int, gateway_id: str = f"id-{NUMBER}-1") -> Any:
    claim = _claim(portal, row_id)
    accepted = Accepted([gateway_id])
    outcomes.record([Answered(claim, accepted)], now=utcnow(), timing=services().timing)
    return claim


def _report(claim: Any, status: MessageStatus, words: str = "") -> None:
    report = DeliveryReport(status, status.value, reference=claim.reference, text=words)
    reports.apply_reports(claim.account_id, [report], now=utcnow(), timing=services().timing)


def _while_waiting(monkeypatch: pytest.MonkeyPatch, happens: Callable[[float], object]) -> None:
    """What happens in the pauses of the command, and of nobody else."""
    monkeypatch.setattr("app.cli.erase.time", SimpleNamespace(sleep=happens, monotonic=time.monotonic))


def _contents(app: Flask) -> bytes:
    database = Path(str(db.engine.url.database))
    return b"".join(path.read_bytes() for path in database.parent.glob("app.db*"))


# --- a number


def test_a_number_is_gone_from_every_table_and_file(app: Flask, portal: Portal) -> None:
    row_id = _message(portal)
    claim = _sent(portal, row_id)
    _report(claim, MessageStatus.UNDELIVERED, f"{NUMBER} (0151 - 1234 5678) is not in use")
    _set(row_id, push_due_at=None)
    early = DeliveryReport(None, "?", reference="nobody's", text=f"to 0049{NUMBER[3:]}")
    reports.apply_reports(claim.account_id, [early], now=utcnow(), timing=services().timing)
    call = RestCall("x", f'{{"to": {NUMBER[1:]}}}', 200, "", f"sent to {NUMBER}", 1)
    rest_log.add(portal.id, call, at=utcnow())
    about = _message(portal, "m2", to=NEIGHBOUR, text=f"Call {NUMBER}, please")
    _set(about, work="closed", status="delivered", due_at=None)
    overwrite_deleted()
    assert DIGITS in _contents(app)

    proof = _erase(app, "number", ONE, NUMBER)

    assert proof["found_afterwards"] == {}
    words = {"message_events", "parts", "parked_reports", "rest_calls"}
    assert set(proof["removed"]) == {"messages", *words}
    contents = _contents(app)
    for trace in (DIGITS, b"1234 5678", TEXT.encode()):
        assert trace not in contents
    erased = _row(portal, row_id)
    assert (erased.recipient, erased.text, erased.bindings, erased.reason_text) == ("", "", (), "")
    assert (erased.status, erased.message_id) == ("undelivered", "m1")  # still counted, still recognised
    assert _row(portal, about).text == "Call ***, please"
    assert _row(portal, about).recipient == NEIGHBOUR


SPELLINGS = [
    NUMBER, f"00{NUMBER[1:]}", "+49 (0)151 1234-5678", "0151/12345678", "(0151) 1234 5678",
    "+49-151-12345678", "49 151 12345678", "+49.151.1234.5678",
]  # fmt: skip


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_a_number_among_other_words_is_removed_however_it_is_written(
    app: Flask, portal: Portal, spelling: str
) -> None:
    about = _message(portal, "m2", to=NEIGHBOUR, text=f"Call {spelling}, please")
    _set(about, work="closed", status="delivered", due_at=None)

    proof = _erase(app, "number", ONE, NUMBER)

    text = _row(portal, about).text
    assert "***, please" in text
    assert not any(char.isdigit() for char in text)
    assert proof["found_afterwards"] == {}


@pytest.mark.parametrize("spelling", [each for each in SPELLINGS if each[0] in "+0("])
def test_the_proof_finds_what_the_removal_missed(
    app: Flask, portal: Portal, spelling: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A spelling that our own pattern does not know: nobody hears that nothing is left."""
    about = _message(portal, "m2", to=NEIGHBOUR, text=f"Call {spelling}, please")
    _set(about, work="closed", status="delivered", due_at=None)
    monkeypatch.setattr("app.store.upkeep.erasure.written_forms", lambda _: re.compile("(?!)"))

    proof = _erase(app, "number", ONE, NUMBER, code=1)

    assert proof["found_afterwards"] == {"messages": 1}


@pytest.mark.parametrize(
    ("stored", "country", "is_it"),
    [
        (NUMBER, "", True),
        ("0151 1234-5678", "DE", True),
        ("+15112345678", "DE", True),  # as the portal writes the national number
        ("0049 151 12345678", "", True),
        ("tel. 0151 12345678", "", True),
        (NEIGHBOUR, "", False),
        ("+4815112345678", "", False),
        ("+491511234567", "", False),
        ("+17112345678", "", False),
    ],
)
def test_a_number_is_known_in_every_spelling(
    app: Flask, portal: Portal, stored: str, country: str, is_it: bool
) -> None:
    portals.save_settings(portal.id, PortalSettings(default_country=country), version=1)
    number = "+4917112345678" if stored == "+17112345678" else NUMBER
    row_id = _message(portal, to=stored)

    proof = _erase(app, "number", ONE, number)

    assert _row(portal, row_id).recipient == ("" if is_it else stored)
    assert proof["removed"].get("messages", 0) == is_it


def test_a_number_goes_from_one_portal_or_from_all(app: Flask, portal: Portal) -> None:
    other = a_portal(OTHER)
    ours, theirs = _message(portal), _message(other)

    _erase(app, "number", ONE, NUMBER)
    assert (_row(portal, ours).recipient, _row(other, theirs).recipient) == ("", NUMBER)
    proof = _erase(app, "number", "--all", NUMBER)

    assert _row(other, theirs).recipient == ""
    assert proof["portal"] is None


def test_what_was_not_submitted_is_not_sent_and_is_told_as_failed(app: Flask, portal: Portal) -> None:
    queued, held = _message(portal, "m1"), _message(portal, "m2")
    _set(held, work="held")

    _erase(app, "number", ONE, NUMBER)
    submit.submit_messages(services(), portal.id)

    for row_id in (queued, held):
        row = _row(portal, row_id)
        assert (row.status, row.work, row.reason, row.attempts) == ("failed", "closed", "erased", 0)
        assert row.push_due_at is not None


def test_what_the_gateway_has_is_still_counted_by_its_report(app: Flask, portal: Portal) -> None:
    row_id = _message(portal)
    claim = _sent(portal, row_id)

    _erase(app, "number", ONE, NUMBER)
    _report(claim, MessageStatus.DELIVERED)

    row = _row(portal, row_id)
    assert (row.status, row.recipient, row.text) == ("delivered", "", "")
    assert row.push_due_at is not None


@pytest.mark.parametrize("work", [Work.QUEUED, Work.WAITING])
def test_an_unknown_outcome_is_neither_asked_for_nor_repeated(app: Flask, portal: Portal, work: Work) -> None:
    row_id = _message(portal)
    claim, parts = _claim(portal, row_id), services()
    outcomes.record([Answered(claim, Unknown("reset"), look_up_s=0)], now=utcnow(), timing=parts.timing)
    _set(row_id, work=work, due_at=utcnow())

    _erase(app, "number", ONE, NUMBER)
    submit.submit_messages(parts, portal.id)
    follow_up.follow_up(parts, row_id)

    row = _row(portal, row_id)
    assert (row.status, row.work) == ("unknown", "waiting")
    assert row.due_at == row.deadline_at
    assert [attempt["calls"] for attempt in attempts_of(row)] == [1]


def test_a_worker_writes_its_outcome_before_its_message_is_erased(
    app: Flask, portal: Portal, monkeypatch: pytest.MonkeyPatch
) -> None:
    row_id = _message(portal)
    claim = _claim(portal, row_id)
    naps = []

    def outcome_comes(_seconds: float) -> None:
        naps.append(_row(portal, row_id).recipient)
        accepted = Accepted(["g1"])
        outcomes.record([Answered(claim, accepted)], now=utcnow(), timing=services().timing)

    _while_waiting(monkeypatch, outcome_comes)

    _erase(app, "number", ONE, NUMBER)

    assert naps == [NUMBER]
    assert (_row(portal, row_id).status, _row(portal, row_id).recipient) == ("sent", "")


def test_no_worker_begins_another_call_between_two_looks(
    app: Flask, portal: Portal, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The gateway says "later" to the call under way, and a worker is quicker than the second look."""
    object.__setattr__(services().config, "demo_gateway", "full")
    row_id = _message(portal)
    claim = _claim(portal, row_id)

    def tried_again(_seconds: float) -> None:
        later = Refused(RefusalKind.TEMPORARY, "busy")
        outcomes.record([Answered(claim, later)], now=utcnow(), timing=services().timing)
        _set(row_id, due_at=utcnow())
        submit.submit_messages(services(), portal.id)

    _while_waiting(monkeypatch, tried_again)

    _erase(app, "number", ONE, NUMBER)

    row = _row(portal, row_id)
    assert [attempt["calls"] for attempt in attempts_of(row)] == [1]
    assert (row.status, row.recipient) == ("failed", "")


def test_a_text_on_its_way_to_somebody_else_is_not_changed_and_the_proof_says_so(
    app: Flask, portal: Portal
) -> None:
    row_id = _message(portal, to=NEIGHBOUR, text=f"Call {NUMBER}")

    result = _run(app, "erase", "number", ONE, NUMBER, "--yes", "--json")

    assert result.exit_code == 1
    assert json.loads(result.stdout)["found_afterwards"] == {"messages": 1}
    assert "Repeat this" in result.stderr
    assert _row(portal, row_id).text == f"Call {NUMBER}"


def test_a_repeat_of_the_call_brings_nothing_back(app: Flask, portal: Portal) -> None:
    row_id = _message(portal)
    _erase(app, "number", ONE, NUMBER)
    handler = portals.for_test_message(portal.id)
    assert handler is not None
    again = HandedMessage(message_id="m1", recipient=NUMBER, text=TEXT, sender_code="sms")

    accepted = acceptance.accept(handler, again, now=utcnow(), timing=services().timing)

    assert (accepted.row_id, accepted.is_repeat, accepted.is_conflict) == (None, True, False)
    assert _row(portal, row_id).recipient == ""
    assert not by_hand.resend(_row(portal, row_id), now=utcnow(), timing=services().timing)
    assert [entry.event for entry in timeline(_row(portal, row_id))] == ["received", "erased"]


def test_a_large_table_is_looked_through_in_pieces(
    app: Flask, portal: Portal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(erasure, "WINDOW", 2)
    for number in range(7):
        _message(portal, f"m{number}", to=NUMBER if number % 2 else NEIGHBOUR)

    assert _erase(app, "number", ONE, NUMBER)["removed"]["messages"] == 3


def test_the_spool_is_named_as_not_searched(app: Flask, portal: Portal) -> None:
    folder = services().config.spool_dir
    assert folder is not None
    Spool(folder).add(SpooledCall("secret", b"message_to=%2B4915112345678", utcnow()))

    named = [what for what in _erase(app, "number", ONE, NUMBER)["not_searched"] if "spool" in what]

    assert named == ["1 calls in the spool, which are sealed: repeat this when the spool is worked off"]
    assert spool.count_kept(folder) == 1


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["number", ONE], "give the portal's member id and the number"),
        (["number", "--all", ONE, NUMBER], "give the portal's member id and the number"),
        (["number", ONE, "12"], "too short"),
        (["number", "c" * 32, NUMBER], "no portal has the member id"),
        (["portal", "c" * 32], "no portal has the member id"),
        (["portal", ONE], "still installed"),
    ],
)
def test_a_command_that_cannot_work_says_why(app: Flask, portal: Portal, args: list[str], said: str) -> None:
    row_id = _message(portal)

    result = _run(app, "erase", *args, "--yes")

    assert result.exit_code != 0
    assert said in result.stderr
    assert _row(portal, row_id).recipient == NUMBER


@pytest.mark.parametrize("args", [["number", ONE, NUMBER], ["portal", ONE, "--force"]])
def test_nothing_happens_without_a_yes(app: Flask, portal: Portal, args: list[str]) -> None:
    row_id = _message(portal)

    result = _run(app, "erase", *args, typed="n\n")

    assert result.exit_code == 1
    assert "cannot be undone" in result.stderr
    assert _row(portal, row_id).recipient == NUMBER


def test_postgresql_forgets_alike(tmp_path: Path, postgres_url: str) -> None:
    with product(tmp_path, DATABASE_URL=postgres_url) as app:
        portal = a_portal()
        assert _run(app, "gateways", "set", portal.member_id, "demo").exit_code == 0
        claim = _sent(portal, _message(portal))
        _report(claim, MessageStatus.DELIVERED, f"to {NUMBER}")
        early = DeliveryReport(None, "?", reference="nobody's", text=f"to {NUMBER}")
        reports.apply_reports(claim.account_id, [early], now=utcnow(), timing=services().timing)

        number = _erase(app, "number", "--all", NUMBER)
        installations.uninstall(portal, clean=False, now=utcnow(), timing=Timing())
        whole = _erase(app, "portal", ONE)

    assert number["removed"] == {"messages": 1, "message_events": 2, "parked_reports": 1, "parts": 1}
    assert whole["removed"]["message_events"] == 3
    assert number["found_afterwards"] == whole["found_afterwards"] == {}


# --- a portal


def test_an_erased_portal_is_in_no_table_and_no_file(app: Flask, portal: Portal) -> None:
    other = a_portal(OTHER)
    _sent(portal, _message(portal))
    theirs = _message(other)
    rest_log.add(portal.id, RestCall("x", "canary-params", 200, "", "canary-answer", 1), at=utcnow())
    address = f"/sms/{portals.handler_secret(portal.id)}"
    installations.uninstall(portal, clean=False, now=utcnow(), timing=Timing())

    proof = _erase(app, "portal", ONE)

    assert proof["removed"]["portals"] == proof["removed"]["messages"] == 1
    assert {"gateway_accounts", "attempts", "parts", "rest_calls"} <= set(proof["removed"])
    assert proof["found_afterwards"] == {}
    contents = _contents(app)
    assert ONE.encode() not in contents
    assert b"canary" not in contents
    assert b"m1" in contents  # the other portal's message
    assert _row(other, theirs).text == TEXT
    assert app.test_client().post(address, data={"message_id": "m9"}).status_code == 404


def test_an_installed_portal_is_erased_by_force_with_what_comes_meanwhile(
    app: Flask, portal: Portal, monkeypatch: pytest.MonkeyPatch
) -> None:
    _while_waiting(monkeypatch, lambda _seconds: _message(portal, "late"))

    proof = _erase(app, "portal", ONE, "--force")

    assert proof["found_afterwards"] == {}
    assert portals.by_member(ONE) is None
    with statement() as connection:
        assert connection.scalar(sa.select(sa.func.count()).select_from(rows)) == 0
        assert connection.scalar(sa.select(sa.func.count()).select_from(message_events)) == 0


def test_more_messages_than_one_batch_go(app: Flask, portal: Portal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(erasure, "BATCH", 2)
    for number in range(5):
        _message(portal, f"m{number}")
    installations.uninstall(portal, clean=False, now=utcnow() - timedelta(days=1), timing=Timing())

    assert _erase(app, "portal", ONE)["removed"]["messages"] == 5
