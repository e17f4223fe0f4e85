"""Troubles that last are told once when they begin and once when they are over, and do no harm else."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest

from app.bitrix.client import PortalClient
from app.domain.incidents import amount_of
from app.domain.portals import PortalState
from app.domain.retry import BAD_CALLS_TO_PAUSE, Timing
from app.gateways.adapters.demo import Demo
from app.gateways.base import CheckResult
from app.jobs import alerts
from app.jobs.accounts import check as account_check
from app.store.accounts import accounts, checks, pace, stops
from app.store.accounts.accounts import Account
from app.store.database import utcnow, writing
from app.store.figures import counts, incidents
from app.store.portals import portals, tokens
from app.store.tables import message_counts
from app.store.tables import portals as portal_rows
from app.store.upkeep import installations
from tests.worlds import stopped
from tests.worlds.portals import PortalWorld, portal_world
from tests.worlds.product import MAY_SEE_METRICS

BEGUN, OVER = "refuses your account", "is over"


@pytest.fixture(scope="module")
def bitrix24() -> Iterator[PortalWorld]:
    with portal_world() as made:
        yield made


@pytest.fixture
def world(bitrix24: PortalWorld) -> Iterator[PortalWorld]:
    """A new portal that lets the app notify, with two administrators and a gateway."""
    bitrix24.portal = portal = bitrix24.portal.on(bitrix24.portal.create_portals()[0]["portal"])
    portal.configure(scope=["messageservice", "im"], bucket={"enabled": False})
    bitrix24.install()
    portal.open(user=2)
    connected = bitrix24.app.test_cli_runner().invoke(
        args=["gateways", "set", bitrix24.row.member_id, "demo"]
    )
    assert connected.exit_code == 0, connected.output
    yield bitrix24
    portal.clear_faults()
    bitrix24.engine.hints.clear()
    # The next test is not to look after it.
    installations.uninstall(bitrix24.row, clean=True, now=bitrix24.now(), timing=Timing())
    alerts.look_for_incidents(bitrix24.services)


def account(world: PortalWorld) -> Account:
    found = accounts.default_of(world.row.id)
    assert found is not None
    return found


def stop(world: PortalWorld) -> None:
    """The gateway refuses the account."""
    stopped.stop(account(world), "key k3y-of-the-gateway", probe_at=far(world), now=world.now())


def far(world: PortalWorld) -> Any:
    return world.now().replace(year=2100)


def mend(world: PortalWorld) -> None:
    stops.lift(account(world))


def minutes(world: PortalWorld, count: int) -> None:
    """Time goes by, and the sweeper's part in this is done meanwhile."""
    for _ in range(count * 2):
        world.pass_time(seconds=30)
        look_and_tell(world)


def look_and_tell(world: PortalWorld) -> None:
    alerts.look_for_incidents(world.services)
    for incident_id in incidents.due_notices(world.now(), limit=100):
        alerts.tell(world.services, incident_id)


def notices(world: PortalWorld, user: int = 1) -> list[str]:
    return [entry["text"] for entry in world.portal.ledger("notice") if entry["user"] == user]


def test_one_incident_is_one_notice_and_one_all_clear(world: PortalWorld) -> None:
    stop(world)
    minutes(world, 20)
    begun = notices(world)
    mend(world)
    minutes(world, 20)

    told = notices(world)
    assert len(begun) == 1
    assert BEGUN in begun[0]
    assert len(told) == 2
    assert OVER in told[1]


def test_no_all_clear_by_a_look_that_is_older_than_the_next_trouble(
    world: PortalWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One look finds nothing and is paused; the trouble comes back, and another look sees it."""
    stop(world)
    minutes(world, 20)
    mend(world)
    minutes(world, 1)
    world.pass_time(minutes=6)  # away for long enough: the next look ends it
    end = incidents._update

    def late(*args: Any, **values: Any) -> None:
        monkeypatch.setattr(incidents, "_update", end)
        stop(world)
        alerts.look_for_incidents(world.services)
        end(*args, **values)

    monkeypatch.setattr(incidents, "_update", late)
    look_and_tell(world)
    minutes(world, 2)

    assert not any(OVER in text for text in notices(world))
    assert incidents.open_by_kind() == {"gateway": 1}


def test_the_sweeper_does_it_by_itself(world: PortalWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    balance_limit(world, "10")
    answers(monkeypatch, CheckResult(True, "fine", "3"))
    stop(world)
    for _ in range(5):
        world.pass_time(minutes=1)
        world.sweep()
    mend(world)
    for _ in range(4):
        world.pass_time(hours=3)
        world.sweep()
        world.pass_time(minutes=5)
        world.sweep()

    told = notices(world)
    assert [BEGUN in text for text in told[:1]] == [True]
    assert any("below your limit" in text for text in told)


def test_every_administrator_reads_it_in_his_language(world: PortalWorld) -> None:
    stop(world)
    minutes(world, 4)

    assert BEGUN in notices(world, 1)[0]
    assert "Das SMS-Gateway lehnt Ihr Konto ab" in notices(world, 2)[0]
    assert notices(world, 5) == []


def test_nothing_of_the_gateways_words_leaves_our_pages(world: PortalWorld) -> None:
    stop(world)
    minutes(world, 4)

    assert "k3y-of-the-gateway" not in str(world.portal.ledger(limit=100_000))


def test_what_passes_soon_is_not_told(world: PortalWorld) -> None:
    stop(world)
    minutes(world, 1)
    mend(world)
    minutes(world, 20)

    assert notices(world) == []
    assert incidents.open_by_kind() == {}


def test_what_comes_and_goes_is_one_incident(world: PortalWorld) -> None:
    for _ in range(4):
        stop(world)
        minutes(world, 4)
        mend(world)
        minutes(world, 3)
    minutes(world, 6)

    assert [BEGUN in text for text in notices(world)] == [True, False]


def test_a_second_incident_is_told_again(world: PortalWorld) -> None:
    for _ in range(2):
        stop(world)
        minutes(world, 4)
        mend(world)
        minutes(world, 7)

    assert [BEGUN in text for text in notices(world)] == [True, False, True, False]


def test_a_worker_that_looked_before_another_acted_changes_nothing(
    world: PortalWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    def another_worker_was_faster() -> None:
        stale = incidents._not_ended()
        look_and_tell(world)
        with monkeypatch.context() as late:
            late.setattr(incidents, "_not_ended", lambda: stale)
            alerts.look_for_incidents(world.services)
        look_and_tell(world)

    stop(world)
    alerts.look_for_incidents(world.services)
    world.pass_time(minutes=4)
    another_worker_was_faster()
    begun, asked = notices(world), world.calls("scope")
    with world.app.test_client() as client:
        figures = client.get("/metrics", headers=MAY_SEE_METRICS).text
    mend(world)
    alerts.look_for_incidents(world.services)
    world.pass_time(minutes=6)
    another_worker_was_faster()

    assert [BEGUN in text for text in begun] == [True]
    assert asked == 1
    assert 'sms_incidents{kind="gateway"} 1.0' in figures
    assert len(notices(world)) == 2


def test_a_notice_that_one_worker_is_telling_is_left_to_him(
    world: PortalWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    really = PortalClient.notify

    def slowly(client: PortalClient, user_id: str, text: str, *, tag: str) -> None:
        monkeypatch.setattr(PortalClient, "notify", really)
        alerts.tell(world.services, incident_id)  # another worker has the same hint
        really(client, user_id, text, tag=tag)

    stop(world)
    alerts.look_for_incidents(world.services)
    world.pass_time(minutes=4)
    alerts.look_for_incidents(world.services)
    [incident_id] = incidents.due_notices(world.now(), limit=10)
    monkeypatch.setattr(PortalClient, "notify", slowly)
    alerts.tell(world.services, incident_id)

    assert len(notices(world)) == 1


def test_workers_at_the_same_time_begin_one_incident(world: PortalWorld) -> None:
    stop(world)
    start = threading.Barrier(4)

    def work() -> None:
        with world.app.app_context():
            start.wait()
            alerts.look_for_incidents(world.services)

    workers = [threading.Thread(target=work) for _ in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    minutes(world, 4)

    assert len(notices(world)) == 1
    assert incidents.open_by_kind() == {"gateway": 1}


def test_without_the_right_nobody_is_told_and_nothing_is_refused(world: PortalWorld) -> None:
    world.portal.configure(scope=["messageservice"])
    stop(world)
    minutes(world, 60)

    assert notices(world) == []
    assert world.calls("im.notify.system.add") == 0
    assert world.calls("scope") == 1
    assert world.row.state is PortalState.ACTIVE


def test_a_right_that_is_taken_away_meanwhile_does_no_harm(world: PortalWorld) -> None:
    world.portal.add_fault(method="im.notify.system.add", error="insufficient_scope", count=0)
    world.portal.add_fault(method="scope", error="ACCESS_DENIED", count=0)
    stop(world)
    minutes(world, 20)

    assert world.row.state is PortalState.ACTIVE


@pytest.mark.parametrize("error", ["INTERNAL_SERVER_ERROR", "insufficient_scope"])
def test_a_notice_that_fails_is_tried_a_few_times_and_never_for_ever(world: PortalWorld, error: str) -> None:
    world.portal.add_fault(method="im.notify.system.add", error=error, count=0)
    stop(world)
    for _ in range(30):
        world.pass_time(minutes=20)
        look_and_tell(world)

    assert world.calls("im.notify.system.add") == alerts.TRIES
    assert incidents.due_notices(world.now().replace(year=2100), limit=10) == []
    assert tokens.has_working(world.row.id)
    assert world.row.state is PortalState.ACTIVE


def test_a_notice_that_reaches_one_and_fails_for_another_arrives_once(world: PortalWorld) -> None:
    world.portal.add_fault(method="im.notify.system.add", error="INTERNAL_SERVER_ERROR", every=2, count=1)
    stop(world)
    minutes(world, 40)

    assert len(notices(world, 1)) == 1
    assert len(notices(world, 2)) == 1


def test_a_beginning_is_not_told_after_the_trouble_went_away(world: PortalWorld) -> None:
    world.portal.add_fault(method="im.notify.system.add", error="INTERNAL_SERVER_ERROR", count=1)
    stop(world)
    minutes(world, 2)
    mend(world)
    minutes(world, 12)

    assert world.calls("im.notify.system.add") == 1
    assert notices(world) == []


def test_a_user_whom_the_portal_refuses_keeps_nobody_else_from_hearing(world: PortalWorld) -> None:
    world.portal.add_fault(method="im.notify.system.add", error="ACCESS_DENIED", count=1)
    stop(world)
    minutes(world, 20)

    assert [len(notices(world, user)) for user in (1, 2)] == [0, 1]
    assert len(tokens.administrators(world.row.id)) == 2


def test_a_portal_without_tokens_hears_when_it_is_over(world: PortalWorld) -> None:
    world.portal.add_fault(method="*", error="authorization_error", count=0)
    world.pass_time(hours=30)
    world.sweep()
    assert world.row.state is PortalState.RECONNECT
    minutes(world, 10)
    before = notices(world)
    asked = world.calls("scope")

    world.portal.clear_faults()
    world.portal.open(user=1)
    minutes(world, 10)

    assert before == []
    assert asked == 0
    assert incidents.open_by_kind() == {}
    told = notices(world)
    assert len(told) == 1
    assert "works again" in told[0]


def test_a_removed_app_tells_nobody(world: PortalWorld) -> None:
    stop(world)
    minutes(world, 4)
    world.portal.uninstall(clean=False)
    world.work()
    minutes(world, 20)

    assert incidents.open_by_kind() == {}
    assert len(notices(world)) == 1


def test_a_silent_gateway_is_an_incident(world: PortalWorld) -> None:
    for _ in range(BAD_CALLS_TO_PAUSE):
        pace.note_no_answer(account(world), pause_s=1, now=world.now())
    minutes(world, 4)

    assert "does not answer" in notices(world)[0]


# --- a rush


def sent(world: PortalWorld, count: int, *, days_ago: int) -> None:
    """So many messages were counted then."""
    with writing() as connection:
        connection.execute(
            message_counts.insert().values(
                portal_id=world.row.id,
                quarter=counts.quarter_of(world.now() - timedelta(days=days_ago, hours=2)),
                status="delivered",
                account_id=0,
                reason="",
                count=count,
                segments=count,
            )
        )


@pytest.mark.parametrize(
    ("usual", "today", "is_told"),
    [
        ([60] * 7, 601, True),
        ([60] * 7, 600, False),  # ten times is not over ten times
        ([1] * 7, 499, False),  # a small portal's
        ([1] * 7, 500, True),
        ([60] * 7 + [6000], 601, True),  # what was longer ago is not usual any more
        ([0, 0, 60, 60], 601, True),  # days without messages are no days
        ([], 5000, False),  # nobody knows what is usual
    ],
)
def test_a_portal_over_ten_times_its_usual_day_is_told_so(
    world: PortalWorld, usual: list[int], today: int, is_told: bool
) -> None:
    for days_ago, count in enumerate(usual, start=1):
        if count:
            sent(world, count, days_ago=days_ago)
    sent(world, today, days_ago=0)
    minutes(world, 4)

    assert ["ten times" in text for text in notices(world)] == [True] * is_told


def test_a_rush_is_over_when_its_day_is(world: PortalWorld) -> None:
    sent(world, 60, days_ago=1)
    sent(world, 601, days_ago=0)
    minutes(world, 4)
    assert incidents.open_by_kind() == {"rush": 1}
    world.pass_time(hours=24)
    minutes(world, 8)

    assert incidents.open_by_kind() == {}


# --- the regular check, and the balance


def balance_limit(world: PortalWorld, limit: str) -> None:
    settings = {**world.row.settings.to_json(), "low_balance": limit}
    with writing() as connection:
        connection.execute(
            portal_rows.update().where(portal_rows.c.id == world.row.id).values(settings=settings)
        )


def answers(monkeypatch: pytest.MonkeyPatch, result: CheckResult) -> list[int]:
    """What the demo gateway says to a check; the list grows with each."""
    asked: list[int] = []

    def check(_: Demo) -> CheckResult:
        asked.append(1)
        return result

    monkeypatch.setattr(Demo, "check", check)
    return asked


def hours(world: PortalWorld, count: int) -> None:
    """The same, often enough for every account's moment to come."""
    for _ in range(count * 2):
        world.pass_time(minutes=30)
        account_check.plan_checks(world.services)
        for account_id in checks.due_for_check(world.now(), limit=100):
            account_check.check_account(world.services, account_id)
        look_and_tell(world)


def test_a_low_balance_is_found_and_told(world: PortalWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    balance_limit(world, "10")
    answers(monkeypatch, CheckResult(True, "fine", "9.99 EUR"))
    hours(world, 15)
    told = list(notices(world))
    answers(monkeypatch, CheckResult(True, "fine", "1,250.00 EUR"))
    hours(world, 15)

    assert len(told) == 1
    assert "below your limit" in told[0]
    assert len(notices(world)) == 2
    found = account(world).check
    assert found is not None
    assert found.balance == "1,250.00 EUR"


@pytest.mark.parametrize(("limit", "balance"), [("", "0"), ("10", "plenty"), ("10", "10"), ("ten", "0")])
def test_no_alert_where_there_is_no_limit_or_no_clear_number(
    world: PortalWorld, monkeypatch: pytest.MonkeyPatch, limit: str, balance: str
) -> None:
    balance_limit(world, limit)
    answers(monkeypatch, CheckResult(True, "fine", balance))
    hours(world, 15)

    assert notices(world) == []


def test_the_regular_check_comes_a_few_times_a_day(
    world: PortalWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = answers(monkeypatch, CheckResult(True, "fine", "5"))
    hours(world, 48)

    assert 6 <= len(asked) <= 11


def test_a_removed_apps_gateway_is_left_alone(world: PortalWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    world.portal.uninstall(clean=False)
    world.work()
    asked = answers(monkeypatch, CheckResult(True, "fine", "5"))
    hours(world, 15)

    assert asked == []


def test_one_failed_regular_check_leaves_everything_as_it_is(
    world: PortalWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    checks.record_check(account(world).id, accounts.Check(True, "Saved and fine", "7", utcnow()))
    bad = [CheckResult(False, "A hiccup."), CheckResult(True, "fine", "6")]
    monkeypatch.setattr(Demo, "check", lambda _: bad.pop(0) if len(bad) > 1 else bad[0])
    hours(world, 15)

    assert len(bad) == 1
    assert notices(world) == []
    assert account(world).failed_checks == 0


def test_checks_that_go_on_failing_are_told_and_the_admins_own_result_stays(
    world: PortalWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    checks.record_check(account(world).id, accounts.Check(True, "Saved and fine", "7", utcnow()))
    answers(monkeypatch, CheckResult(False, "The key is wrong."))
    hours(world, 15)

    found = account(world)
    assert found.check is not None
    assert found.check.text == "Saved and fine"
    assert found.failed_check_text == "The key is wrong."
    assert ["regular check" in text for text in notices(world)] == [True]


def test_a_check_of_settings_that_were_changed_meanwhile_counts_for_nothing(world: PortalWorld) -> None:
    old = account(world)
    world.app.test_cli_runner().invoke(args=["gateways", "set", world.row.member_id, "demo"])

    checks.record_regular_check(old, accounts.Check(False, "old", "", utcnow()))

    assert account(world).failed_checks == 0


@pytest.mark.parametrize(
    ("said", "amount"),
    [
        ("12.34 EUR", "12.34"),
        ("$5", "5"),
        ("-2.10", "-2.10"),
        ("1,234.50", "1234.50"),
        ("1.234,50 €", "1234.50"),
        ("12,5", "12.5"),
        ("1,234", None),
        ("", None),
        ("unlimited", None),
        ("1.2.3", None),
        ("−5", None),
        ("minus 5", None),
        ("NaN", None),
        ("9" * 60, None),
    ],
)
def test_a_balance_is_a_number_only_where_it_is_clear(said: str, amount: str | None) -> None:
    found = amount_of(said)

    assert (str(found) if found is not None else None) == amount


def test_the_language_that_the_admin_chose_wins(world: PortalWorld) -> None:
    settings = portals.PortalSettings(language="ru")
    portals.save_settings(world.row.id, settings, version=world.row.settings_version)
    stop(world)
    minutes(world, 4)

    assert "SMS-шлюз не принимает" in notices(world, 2)[0]


def test_only_those_are_told_whom_the_settings_name(world: PortalWorld) -> None:
    settings = portals.PortalSettings(notices="some", notice_users=("2",))
    portals.save_settings(world.row.id, settings, version=world.row.settings_version)
    stop(world)
    minutes(world, 4)

    assert notices(world, 1) == []
    assert len(notices(world, 2)) == 1
