"""How a portal stands over days and weeks: doubts, probes, giving up; and when the fault is our own."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest

from app.bitrix.errors import PortalError
from app.domain.portals import PortalState
from app.domain.retry import Timing
from app.store.portals import portals, tokens
from app.store.upkeep import installations
from app.words.portal_states import meaning_of
from tests.worlds.portals import PortalWorld, portal_world


@pytest.fixture
def world() -> Iterator[PortalWorld]:
    with portal_world() as made:
        made.install()
        yield made


def looks(world: PortalWorld) -> int:
    """How often the portal was asked since the ledger was cleared."""
    count = len(world.portal.ledger("rest", limit=10_000))
    world.portal.clear_ledger()
    return count


def test_a_bad_state_is_probed_hourly_then_daily_and_after_a_month_no_more(world: PortalWorld) -> None:
    world.portal.add_fault(method="*", error="PORTAL_DELETED", count=0)
    world.pass_time(hours=30)
    world.sweep()
    assert world.row.state is PortalState.GONE
    looks(world)

    on_the_first_day = []
    for _ in range(3):
        world.pass_time(hours=1, minutes=1)
        world.sweep()
        on_the_first_day.append(looks(world))
    world.pass_time(days=1)
    world.sweep()
    looks(world)
    world.pass_time(hours=12)
    world.sweep()
    after_half_a_day = looks(world)
    world.pass_time(days=30)
    world.sweep()
    looks(world)
    world.pass_time(days=30)
    world.sweep()

    assert on_the_first_day == [1, 1, 1]
    assert after_half_a_day == 0
    assert looks(world) == 0
    assert tokens.service(world.row.id) is None  # nobody will come back for them


def test_a_portal_given_up_is_revived_by_its_admin(world: PortalWorld) -> None:
    world.portal.add_fault(method="*", error="PORTAL_DELETED", count=0)
    for days in (2, 31, 31):
        world.pass_time(days=days)
        world.sweep()
    world.portal.clear_faults()

    world.portal.open(user=1)

    assert world.row.state is PortalState.ACTIVE
    message = world.message_that_fails()
    world.work()
    assert world.told(message) == ["failed"]


def test_a_wrong_secret_blames_no_portal(world: PortalWorld, caplog: pytest.LogCaptureFixture) -> None:
    second = world.portal.on(world.portal.create_portals()[0]["portal"])
    second.install(finish=True)
    world.work()
    world.portal.add_fault(side="auth", method="token", error="invalid_client", count=0, everywhere=True)
    world.portal.expire_tokens(everywhere=True)

    for hours in (30, 0.2, 0.2, 0.2, 5):
        world.pass_time(hours=hours)
        world.sweep()

    assert {portal.state for portal in portals.all_portals()} == {PortalState.ACTIVE}
    assert "the authorization server accepts our client id and secret for no portal; check them" in [
        record.getMessage() for record in caplog.records if record.levelno == logging.ERROR
    ]


def test_one_portal_that_removed_the_app_is_found_out_while_others_are_served(world: PortalWorld) -> None:
    second = world.portal.on(world.portal.create_portals()[0]["portal"])
    second.install(finish=True)
    world.work()
    world.portal.set_queue(drop=1.0)  # its event is lost
    world.portal.uninstall(clean=True)

    for hours in (30, 0.2, 31, 0.2):  # in between the other one needs a new token
        world.pass_time(hours=hours)
        world.sweep()

    assert world.row.state is PortalState.GONE
    assert world.row_of(second).state is PortalState.ACTIVE


def test_a_doubt_that_was_none_is_forgotten(world: PortalWorld) -> None:
    world.portal.add_fault(method="*", error="APPLICATION_NOT_FOUND", count=1)
    world.pass_time(hours=30)
    world.sweep()
    assert world.row.state is PortalState.ACTIVE

    for _ in range(2):
        world.pass_time(minutes=11)
        world.sweep()

    assert world.row.state is PortalState.ACTIVE


@pytest.mark.parametrize(
    ("error", "state"),
    [
        ("PAYMENT_REQUIRED", PortalState.PAYMENT),
        ("PORTAL_DELETED", PortalState.GONE),
        ("authorization_error", PortalState.RECONNECT),
    ],
)
def test_messages_go_out_in_every_bad_state(world: PortalWorld, error: str, state: PortalState) -> None:
    object.__setattr__(world.services.config, "demo_gateway", "full")
    connected = world.app.test_cli_runner().invoke(args=["gateways", "set", world.row.member_id, "demo"])
    assert connected.exit_code == 0, connected.output
    world.portal.add_fault(method="*", error=error, count=0)
    world.pass_time(hours=30)
    world.sweep()
    assert world.row.state is state

    message = world.portal.send_sms(auth="none")["message_id"]
    world.work()

    shown = world.app.test_cli_runner().invoke(args=["messages", "show", world.row.member_id, message])
    assert "gateway: demo" in shown.output
    assert "status: sent" in shown.output


def test_a_person_reads_what_is_wrong_and_what_to_do(world: PortalWorld) -> None:
    world.portal.set_user(1, role="dismissed")
    world.pass_time(hours=30)
    world.sweep()

    shown = world.app.test_cli_runner().invoke(args=["portals", "show", world.row.member_id])

    assert "An administrator of the portal has to open the app once" in shown.output
    assert "the administrator who connected the app has left the company" in shown.output


@pytest.mark.parametrize("state", list(PortalState))
def test_every_state_has_words(state: PortalState) -> None:
    assert len(meaning_of(state)) > 15


# --- whoever hears it, and when


def test_what_a_command_hears_of_the_portal_is_kept(world: PortalWorld) -> None:
    """The administrator lost their rights, and the first to hear of it is the operator's command."""
    world.portal.set_user(1, role="employee")

    done = world.app.test_cli_runner().invoke(args=["senders", "reconcile", world.row.member_id])

    assert done.exit_code == 1
    shown = world.app.test_cli_runner().invoke(args=["portals", "show", world.row.member_id])
    assert "state: reconnect" in shown.output


@pytest.mark.parametrize("error", ["PAYMENT_REQUIRED", "PORTAL_DELETED", "insufficient_scope"])
def test_an_error_that_is_older_than_the_healing_says_nothing(
    world: PortalWorld, error: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A slow answer: meanwhile the portal was looked at by somebody else, and works."""
    before = world.row
    client = world.services.portal_client(before)
    world.portal.open(user=2)
    world.work()
    assert world.row.healings > before.healings
    world.portal.add_fault(method="event.get", error=error, count=1)

    with pytest.raises(PortalError):
        client.bound_events()

    assert world.row.state is PortalState.ACTIVE
    message = world.message_that_fails()
    world.work()
    assert world.told(message) == ["failed"]


@pytest.mark.parametrize("error", ["PAYMENT_REQUIRED", "PORTAL_DELETED", "ACCESS_DENIED"])
def test_a_late_error_never_moves_an_uninstalled_portal_to_another_state(
    world: PortalWorld, error: str
) -> None:
    before = world.row
    world.portal.add_fault(method="event.get", error=error, count=0)
    client = world.services.portal_client(before)
    answers = client.bound_events

    def removed_meanwhile() -> None:
        installations.uninstall(before, clean=False, now=world.now(), timing=Timing())
        answers()

    with pytest.raises(PortalError):
        removed_meanwhile()

    assert world.row.state is PortalState.UNINSTALLED
