"""The demo gateway: the last two digits choose what happens."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from app.domain.outcomes import Accepted, RefusalKind, Refused, Unknown
from app.domain.status import MessageStatus
from app.gateway_accounts import connect
from app.gateways.adapters.demo import CASES
from app.gateways.base import Submitted
from app.gateways.registry import load_registry
from tests.worlds.faults import FaultWorld, fault_world
from tests.worlds.gateways import MESSAGE, make


def _walk(digits: str) -> tuple[object, list[MessageStatus | None]]:
    gateway = make("demo", None)
    outcome = gateway.submit(replace(MESSAGE, recipient=f"+491511234{digits}"))
    ids = outcome.ids if isinstance(outcome, Accepted) else ()
    return outcome, [report.status for report in gateway.poll([Submitted(id) for id in ids])]


@pytest.mark.parametrize(
    ("digits", "heard"),
    [
        ("00", [MessageStatus.DELIVERED]),
        ("99", [MessageStatus.DELIVERED]),
        ("01", [MessageStatus.UNDELIVERED]),
        ("02", [MessageStatus.FAILED]),
        ("09", []),
        ("10", [None]),
    ],
)
def test_accepted_messages_get_their_report(digits: str, heard: list[MessageStatus | None]) -> None:
    outcome, reports = _walk(digits)

    assert isinstance(outcome, Accepted)
    assert outcome.segments == 1
    assert reports == heard


@pytest.mark.parametrize(
    ("digits", "kind"),
    [
        ("03", RefusalKind.PERMANENT),
        ("04", RefusalKind.CONFIG),
        ("05", RefusalKind.TEMPORARY),
        ("06", RefusalKind.THROTTLE),
    ],
)
def test_refused_messages(digits: str, kind: RefusalKind) -> None:
    outcome, _ = _walk(digits)

    assert isinstance(outcome, Refused)
    assert outcome.kind is kind


def test_unknown_outcomes_and_the_one_that_is_found() -> None:
    gateway = make("demo", None)

    assert isinstance(_walk("07")[0], Unknown)
    assert isinstance(_walk("08")[0], Unknown)
    assert gateway.look_up("r1", "+4915112340007") is None
    found = gateway.look_up("r1", "+4915112340008")
    assert isinstance(found, Accepted)
    (report,) = gateway.poll([Submitted(*found.ids)])
    assert (report.reference, report.status) == ("r1", MessageStatus.DELIVERED)


def test_reports_carry_reference_and_id() -> None:
    gateway = make("demo", None)
    outcome = gateway.submit(replace(MESSAGE, reference="a.b-c"))
    assert isinstance(outcome, Accepted)

    (report,) = gateway.poll([Submitted(*outcome.ids)])

    assert (report.reference, report.gateway_message_id) == ("a.b-c", outcome.ids[0])


def test_every_case_says_what_it_means() -> None:
    assert all(case.meaning for case in CASES.values())


def test_documentation_has_every_case() -> None:
    page = (Path(__file__).parents[3] / "docs" / "gateways" / "demo.md").read_text()

    for digits, case in CASES.items():
        assert f"| `{digits}` | {case.meaning} |" in page


# --- what a portal may be told


@pytest.fixture
def world() -> Iterator[FaultWorld]:
    with fault_world() as started:
        adapter = started.services.gateways.get("demo")
        assert adapter is not None
        connect(started.world.row_of(started.portal), adapter, {}, now=started.world.now())
        yield started


def test_message_of_a_portal_is_never_told_as_delivered_by_a_trial(world: FaultWorld) -> None:
    sent = world.send()

    world.work()
    world.later(60)

    assert world.status(sent) == ("failed", "trial")
    assert "delivered" not in world.told(sent)
    assert world.told(sent)[-1] == "failed"


def test_instance_for_reviewers_tells_what_the_digits_say(
    world: FaultWorld,
) -> None:
    object.__setattr__(world.services.config, "demo_gateway", "full")
    sent = world.send(to="+4915112345600")

    world.work()
    world.later(5)

    assert world.status(sent)[0] == "delivered"


def test_trial_that_is_turned_off_is_not_offered() -> None:
    assert "demo" not in load_registry(with_trial=False).adapters
    assert "twilio" in load_registry(with_trial=False).adapters
